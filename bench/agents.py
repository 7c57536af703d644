"""How fast messages reach an agent: durable, acknowledged, dispatched to its handler in another process.

Three ways in the same run, on the same disk, in alternating order:

* PYROS: `Sender.open` from plain programs; the acknowledgement comes when the handler has run and its turn is on disk
  (``synchronous=FULL``); and, in a row of its own, from agent to agent through an outbox, durable at both ends;
* plain sockets: blocking, frames of JSON with their length before them, nothing is stored;
* Redis Streams, where redis-server is installed: ``appendfsync always``, redis-py with hiredis, pipelines of 1,000, and
  a consumer group that dispatches and acknowledges. One at a time, XADD is answered when the message is on disk, before
  the handler has had it; "until handled" waits for the word of the consumer after its XACK, as PYROS always does.

A figure is the median of the rounds, a ratio the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import msgspec

from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from bench._peers import (
    NAME,
    Context,
    Handled,
    RedisClient,
    RedisServer,
    SocketsClient,
    SocketsServer,
)
from pyros import config as configuration
from pyros import wire
from pyros.agents import Agent
from pyros.sender import Sender, ask

SEND_MANY = "Send many"
CHUNK = 500
"""How many messages an agent sends in one handler, in the row from agent to agent."""

GOALS = {"pipelined": 2.5, "one at a time": 0.9, "until handled": 0.9}


class Measure(NamedTuple):
    """One row: what is sent, by how many, how often."""

    title: str
    task: str
    senders: int
    messages: int
    size: int


class Round(NamedTuple):
    """What one round of one measure gave."""

    rate: float
    times: list[float]


# PYROS -------------------------------------------------------------------------------------------------------------


class MessagesCounted(msgspec.Struct):
    """An agent's state: how many messages it has handled."""

    messages: int = 0


class BenchScheduler(Agent):
    """Reads the payload and counts, in its durable state."""

    state: MessagesCounted

    def __init__(self, handled: Handled) -> None:
        super().__init__(Agent.SCHEDULER)
        self.actions_by_message[NAME] = self.measured
        self._handled = handled

    def measured(self, message: Any) -> None:
        self.state.messages += len(message.payload) > 0
        if message.sender == Agent.MAJORDOME and message.payload.get("last"):
            self.after_commit(self._handled.add, 1)


class BenchMajordome(Agent):
    """Sends to the scheduler what it is told to."""

    def __init__(self) -> None:
        super().__init__(Agent.MAJORDOME)
        self.actions_by_message[SEND_MANY] = self.send_many

    def send_many(self, message: Any) -> None:
        payload = message.payload["payload"]
        for _ in range(CHUNK - 1):
            self.send_to(Agent.SCHEDULER, NAME, payload)
        self.send_to(Agent.SCHEDULER, NAME, payload | {"last": True} if message.payload["last"] else payload)


def _live(path: str, handled: Handled, which: str) -> None:
    (BenchScheduler(handled) if which == Agent.SCHEDULER else BenchMajordome()).start(path)


class PyrosServer:
    """Two agents, each in a process of its own."""

    name = "PYROS"

    def __init__(self, directory: Path, keys: str = "", at: str = "") -> None:
        """``keys`` are further lines of [observatory]; ``at`` is said of both agents, where there is one."""
        directory.mkdir(parents=True)
        path = directory / "pyros_agent_config.ini"
        ports = zip((Agent.SCHEDULER, Agent.MAJORDOME), free_ports(2), strict=True)
        agents = keys + "".join(f"[{name}]\nport = {port}\n{at}" for name, port in ports)
        path.write_text(f"[observatory]\nname = bench\nsite = {path.name}\nalert_rules = {path.name}\n{agents}")
        self.address = str(path)
        self.config = configuration.load(path)
        self.handled = Handled()
        self._rounds = 0
        self.processes = [
            Context.Process(target=_live, args=(self.address, self.handled, name), daemon=True)
            for name in (Agent.SCHEDULER, Agent.MAJORDOME)
        ]
        for process in self.processes:
            process.start()
        for name in (Agent.SCHEDULER, Agent.MAJORDOME):
            _until_up(self.config, name)

    def taken(self) -> int:
        return int(ask(self.config.agent(Agent.SCHEDULER), "status")["taken"])

    def agent_to_agent(self, measure: Measure) -> Round:
        """From the first message to the majordome until the scheduler has committed the last of its."""
        before = self.taken()
        payload = _payload(measure.size)
        self._rounds += 1
        chunks = measure.messages // CHUNK
        begin = time.monotonic()
        with Sender.open(Agent.MAJORDOME, config=self.config) as majordome:
            for number in range(chunks):
                majordome.post(SEND_MANY, {"payload": payload, "last": number == chunks - 1})
        end = self.handled.wait(self._rounds, PATIENCE)
        if (taken := self.taken() - before) != chunks * CHUNK:
            raise SystemExit(f"the scheduler took {taken} messages of {chunks * CHUNK}")
        return Round(chunks * CHUNK / (end - begin), [])

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(10)


def _until_up(config: configuration.Config, name: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            ask(config.agent(name), "status")
            return
        except Exception:
            time.sleep(0.02)
    raise SystemExit(f"agent {name} did not start")


class PyrosClient:
    """The public way: Sender.open."""

    def __init__(self, path: str) -> None:
        self._connection = Sender.open(Agent.SCHEDULER, config=configuration.load(path), timeout=PATIENCE)

    def post(self, payload: dict[str, str]) -> None:
        self._connection.post(NAME, payload)

    def flush(self) -> None:
        self._connection.flush()

    def send(self, payload: dict[str, str]) -> None:
        self._connection.send(NAME, payload)

    def close(self) -> None:
        self._connection.close()


# The senders -------------------------------------------------------------------------------------------------------

CLIENTS: dict[str, Callable[[Any], Any]] = {
    PyrosServer.name: PyrosClient,
    SocketsServer.name: SocketsClient,
    RedisServer.name: RedisClient,
}


def _payload(size: int) -> dict[str, str]:
    """A payload whose JSON has that many bytes."""
    return {"result": "x" * (size - len(msgspec.json.encode({"result": ""})))}


def _send(kind: str, address: Any, measure: Measure, barrier: Any, results: Any) -> None:
    """One sender: its first message connects and is not counted."""
    client, payload = CLIENTS[kind](address), _payload(measure.size)
    client.send(payload)
    times = []
    barrier.wait()
    begin = time.monotonic()
    if measure.task == "pipelined":
        for _ in range(measure.messages):
            client.post(payload)
        client.flush()
    else:
        send = getattr(client, "send_until_handled", client.send) if measure.task == "until handled" else client.send
        for _ in range(measure.messages):
            before = time.perf_counter()
            send(payload)
            times.append(time.perf_counter() - before)
    results.put((begin, time.monotonic(), times))
    client.close()


def _answer(results: Any, senders: list[Any]) -> tuple[float, float, list[float]]:
    """What the next sender to end has measured; ends the bench when one has failed."""
    while not any(sender.exitcode for sender in senders):
        with contextlib.suppress(Empty):
            answer: tuple[float, float, list[float]] = results.get(timeout=0.5)
            return answer
    raise SystemExit("a sender failed")


def run(server: Any, measure: Measure) -> Round:
    """One round: all senders at once, until everything is acknowledged and (pipelined) handled."""
    if measure.task == "agent to agent":
        return PyrosServer.agent_to_agent(server, measure)
    barrier, results = Context.Barrier(measure.senders), Context.Queue()
    total = measure.senders * (measure.messages + 1)
    taken = server.taken() if isinstance(server, PyrosServer) else server.handled.done()
    senders = [
        Context.Process(target=_send, args=(server.name, server.address, measure, barrier, results), daemon=True)
        for _ in range(measure.senders)
    ]
    for sender in senders:
        sender.start()
    answers = [_answer(results, senders) for _ in senders]
    for sender in senders:
        sender.join()
    end = max(end for _, end, _ in answers)
    if isinstance(server, PyrosServer):
        if server.taken() - taken != total:
            raise SystemExit(f"the agent took {server.taken() - taken} messages of {total}")
    else:
        handled = server.handled.wait(taken + total, PATIENCE)
        end = max(end, handled) if measure.task == "pipelined" else end
    if isinstance(server, RedisServer):
        server.clear()
    begin = min(begin for begin, _, _ in answers)
    return Round((total - measure.senders) / (end - begin), [value for *_, times in answers for value in times])


# The report --------------------------------------------------------------------------------------------------------


def measures(quick: bool) -> list[Measure]:
    many, one, few, large = (10_000, 300, 50, 3) if quick else (50_000, 1_500, 300, 10)
    return [
        Measure("pipelined, 1 sender", "pipelined", 1, many, 200),
        Measure("pipelined, 8 senders", "pipelined", 8, many // 4, 200),
        Measure("one at a time, 1 sender", "one at a time", 1, one, 200),
        Measure("one at a time, 8 senders", "one at a time", 8, few, 200),
        Measure("one at a time until handled, 1 sender", "until handled", 1, one, 200),
        Measure("one at a time until handled, 8 senders", "until handled", 8, few, 200),
        Measure("agent to agent", "agent to agent", 1, many, 200),
        Measure("16 MB, one at a time", "large", 1, large, wire.MAX_FRAME - 1024),
    ]


def disk_sync(directory: Path) -> list[float]:
    """How long the disk takes to make 4 kB durable (seconds), a hundred times."""
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            before = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - before)
    return times


def on_disk(directory: Path) -> None:
    """Refuse a file system in memory, where a sync costs nothing."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    parents = [str(parent) for parent in (directory.resolve(), *directory.resolve().parents)]
    kind = max((mount for mount in mounts if mount[0] in parents), key=lambda mount: len(mount[0]))[1]
    if kind in ("tmpfs", "ramfs"):
        raise SystemExit(f"{directory.resolve()} is in memory ({kind}): name a directory on a disk with --dir")


def main(argv: list[str] | None = None) -> int:
    parser = arguments("How fast messages reach an agent, compared with plain sockets and with Redis Streams.")
    parser.add_argument("--rounds", type=int, help="how often each is measured (5, with --quick 1)")
    parser.add_argument("--only", default="", help="only measures whose title has this in it")
    options = parser.parse_args(argv)
    on_disk(options.dir)
    redis = RedisServer.version()
    report = BenchReport("agents", options.json, ("redis", "hiredis"), **{"redis-server": redis} if redis else {})
    with tempfile.TemporaryDirectory(prefix="bench-agents-", dir=options.dir) as name:
        _compare(Path(name), options, report, bool(redis))
    if not redis:
        report.note("Redis Streams left out: redis-server, redis-py or hiredis is not installed")
    report.ends()
    return 0


def _compare(directory: Path, options: argparse.Namespace, report: BenchReport, redis: bool) -> None:
    sync = disk_sync(directory)
    wanted = [measure for measure in measures(options.quick) if options.only in measure.title]
    rounds: dict[Measure, dict[str, list[Round]]] = {measure: {} for measure in wanted}
    servers: list[Any] = []
    try:
        servers += [PyrosServer(directory / "pyros"), SocketsServer()]
        servers += [RedisServer(directory / "redis")] if redis else []
        for number in range(options.rounds or (1 if options.quick else 5)):
            for measure in wanted:
                for server in servers if number % 2 == 0 else reversed(servers):
                    if measure.task != "agent to agent" or isinstance(server, PyrosServer):
                        rounds[measure].setdefault(server.name, []).append(run(server, measure))
    finally:
        for server in servers:
            server.stop()
    _print(report, rounds, [server.name for server in servers])
    report.figures("disk sync", p50_ms=median(sync) * 1e3, p99_ms=quantile(sync, 0.99) * 1e3)
    report.note(
        f"one sync of 4 kB on this disk: p50 {median(sync) * 1e3:.2f} ms, p99 {quantile(sync, 0.99) * 1e3:.2f} ms"
    )


def _print(report: BenchReport, rounds: dict[Measure, dict[str, list[Round]]], names: list[str]) -> None:
    rows = []
    for measure, by_name in rounds.items():
        row = [measure.title]
        for name in names:
            results = by_name.get(name)
            row.append(_cell(measure, results) if results else "-")
            if results:
                report.figures(measure.title, system=name, **_figures(measure, results))
        for other in names[1:]:
            ratio = _ratio(by_name.get(names[0], []), by_name.get(other, []))
            row.append(f"{ratio:.2f}" if ratio else "-")
            if ratio:
                report.figures(measure.title, ratio_to=other, ratio=ratio)
        rows.append(row)
    columns = ["", *names, *(f"PYROS / {name}" for name in names[1:])]
    report.table("Messages of 200 bytes to an agent in another process", columns, rows)
    goals = ", ".join(f"{task} {goal}" for task, goal in GOALS.items())
    report.note(f"ratios are of messages per second; the goals against {RedisServer.name}: {goals}")


def _ratio(ours: list[Round], theirs: list[Round]) -> float:
    """Of the rates, round by round."""
    return median([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]) if theirs else 0.0


def _figures(measure: Measure, results: list[Round]) -> dict[str, Any]:
    times = [value for result in results for value in result.times]
    figures: dict[str, Any] = {
        "senders": measure.senders, "messages": measure.senders * measure.messages, "bytes": measure.size,
        "per_second": median([result.rate for result in results]), "rounds": [result.rate for result in results],
    }  # fmt: skip
    if times:
        figures |= {"p50_ms": median(times) * 1e3, "p99_ms": quantile(times, 0.99) * 1e3}
    return figures


def _cell(measure: Measure, results: list[Round]) -> str:
    figures = _figures(measure, results)
    if measure.task == "large":
        speed = figures["per_second"] * measure.size / 1e6
        return f"{speed:,.0f} MB/s\np50 {figures['p50_ms']:.0f} ms"
    if "p50_ms" in figures:
        return f"{figures['per_second']:,.0f} /s\np50 {figures['p50_ms']:.2f} p99 {figures['p99_ms']:.2f} ms"
    return f"{figures['per_second']:,.0f} /s"


if __name__ == "__main__":
    sys.exit(main())
