"""Messages between two sites over a bad network: how late an urgent one comes, and whether any is lost or doubled.

Two agents, each in a process of its own, with a network between them that is a program (`bench._wan`): outages, a
router that forgets the connection, delay, a narrow line. What is measured is the time from when the network is whole
again, or, on a narrow line, from when the message was said, until its receiver has handled it.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import _rabbit
from bench._common import PATIENCE, BenchReport, arguments, free_ports
from bench._peers import Context
from pyros import config as configuration
from pyros.agents import Agent
from pyros.messages import guard
from pyros.sender import Sender, ask
from tests.jobs.rabbit import RABBIT, rabbit_node

URGENT, TELL = "Urgent", "Tell"
BULK = guard("Picture", bulk=True)
OUTAGES = (3.0, 10.0, 30.0, 60.0)
ROOM = 4 * 1024 * 1024
"""Bytes that the path holds in each direction where messages flow: what Linux lets a connection's buffer grow to."""
LINKS = {
    "20 ms there and back": (0.01, 0.0),
    "200 ms": (0.1, 0.0),
    "200 ms, 1 % lost": (0.1, 0.01),
    "200 ms, 5 % lost": (0.1, 0.05),
}
"""Delay each way in seconds, and the share that is lost."""


class West(Agent):
    """Sends on to the other site what it is told."""

    def __init__(self) -> None:
        super().__init__("west")
        self.actions_by_message[TELL] = self.tell

    def tell(self, message: Any) -> None:
        for _ in range(message.payload["count"]):
            size = message.payload["size"]
            self.send_to("east", message.payload["name"], {"n": message.payload["n"], "data": "x" * size})


class East(Agent):
    """Notes what has come, and when."""

    def __init__(self, heard: Any) -> None:
        super().__init__("east")
        self._heard = heard
        self.actions_by_message |= {URGENT: self.take, BULK: self.take}

    def take(self, message: Any) -> None:
        self._heard.put((message.name, message.payload["n"], time.monotonic()))


def _live_west(path: str) -> None:
    West().start(path)


def _live_east(path: str, heard: Any) -> None:
    East(heard).start(path)


class WanSites:
    """The two agents and the network between them."""

    def __init__(self, folder: Path, rabbit: int = 0) -> None:
        """``rabbit`` is the port of a RabbitMQ at east by which west reaches it; 0: it is reached by TCP."""
        folder.mkdir(parents=True)
        near, west, east = free_ports(3)
        paths = [folder / name for name in ("west.ini", "east.ini")]
        for path, port in zip(paths, (near, rabbit), strict=True):
            path.write_text(
                f"[observatory]\nname = bench\nsite = {path.name}\nalert_rules = {path.name}\n"
                f"tls = DANGEROUSLY_OFF\namqp = amqp://127.0.0.1:{port or 1}\n"
                f"[west]\napp = bench.wan\nport = {west}\n"
                f"[east]\napp = bench.wan\nport = {east}\nat = {'amqp' if rabbit else f'127.0.0.1:{near}'}\n"
            )
        self.config = configuration.load(paths[0])
        self.near = near
        """The port at west's side of the network."""
        self._wan = subprocess.Popen(
            [sys.executable, "-m", "bench._wan", str(near), str(rabbit or east)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self.heard: Any = Context.Queue()
        self._agents = [
            Context.Process(target=_live_west, args=(str(paths[0]),), daemon=True),
            Context.Process(target=_live_east, args=(str(paths[1]), self.heard), daemon=True),
        ]
        self.wan("count")
        for process in self._agents:
            process.start()
        self._numbers = itertools.count()
        until(lambda: _is_up(self.config, "west"))
        self.say(URGENT)
        self.take(1)

    def wan(self, command: str) -> str:
        """Tell the network something."""
        assert self._wan.stdin is not None
        assert self._wan.stdout is not None
        self._wan.stdin.write(command + "\n")
        self._wan.stdin.flush()
        return self._wan.stdout.readline().strip()

    def say(self, name: str, count: int = 1, size: int = 0) -> int:
        """Have messages sent from west to east; returns their number."""
        n = next(self._numbers)
        Sender.send_to("west", TELL, {"name": name, "count": count, "size": size, "n": n}, config=self.config)
        return n

    def take(self, count: int) -> list[tuple[str, int, float]]:
        """Wait for so many messages; returns name, number and instant of each."""
        return [self.heard.get(timeout=PATIENCE) for _ in range(count)]

    def waiting(self) -> int:
        """How many messages wait in west's outbox."""
        return sum(ask(self.config.agent("west"), "status")["outbox"].values())

    def close(self) -> None:
        for process in self._agents:
            process.terminate()
        for process in self._agents:
            process.join(10)
        assert self._wan.stdin is not None
        self._wan.stdin.close()
        self._wan.wait(10)


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        time.sleep(0.02)


def _is_up(config: configuration.Config, name: str) -> bool:
    try:
        ask(config.agent(name), "status")
    except Exception:
        return False
    return True


def after_outage(sites: WanSites, seconds: float, said_before_end: float) -> float:
    """How late (seconds after the healing) a message comes that was said in an outage."""
    sites.wan("outage")
    time.sleep(seconds - said_before_end)
    sites.say(URGENT)
    time.sleep(said_before_end)
    sites.wan("heal")
    healed = time.monotonic()
    return sites.take(1)[0][2] - healed


def after_forgetting(sites: WanSites) -> float:
    """How late a message comes that is said into a connection which the router has forgotten."""
    sites.wan("forget")
    said = time.monotonic()
    sites.say(URGENT)
    return sites.take(1)[0][2] - said


def behind_bulk(sites: WanSites, megabytes: int, rate: float) -> tuple[list[float], float]:
    """How late urgent messages come that are said behind pictures, and when the last picture is there."""
    sites.wan(f"rate {rate}")
    count = megabytes * 4
    begin = time.monotonic()
    sites.say(BULK, count, 250_000)
    said = []
    for _ in range(megabytes):
        time.sleep(1.3)
        said.append(time.monotonic())
        sites.say(URGENT)
    came = sites.take(count + len(said))
    sites.wan("rate inf")
    late = [at - then for then, at in zip(said, (at for name, _, at in came if name == URGENT), strict=True)]
    return late, came[-1][2] - begin


def steady(sites: WanSites, seconds: float, each: float, size: int, partitions: int) -> tuple[int, int, int]:
    """Send a message each so many seconds, through so many partitions; returns lost, doubled and disordered ones."""
    stop = threading.Event()

    def part() -> None:
        for number in range(partitions):
            if stop.wait(seconds / (partitions + 1)):
                return
            sites.wan(("outage", "forget", "cut")[number % 3])
            time.sleep(0.2 + number % 4)
            sites.wan("heal")

    network = threading.Thread(target=part)
    network.start()
    end = time.monotonic() + seconds
    sent = []
    while time.monotonic() < end:
        sent.append(sites.say(URGENT, 1, size))
        time.sleep(each)
    network.join()
    stop.set()
    until(lambda: not sites.waiting())
    came: list[int] = []
    while not sites.heard.empty() or len(came) < len(sent):
        came.append(sites.take(1)[0][1])
    return len(set(sent) - set(came)), len(came) - len(set(came)), int(came != sorted(came))


def narrow(sites: WanSites, seconds: float) -> tuple[int, int]:
    """Send pictures over 64 kbit/s for so long; returns how many came, and how many connections were made meanwhile."""
    sites.wan("rate 8000")
    before = int(sites.wan("count"))
    count = max(1, round(seconds * 8000 / 250_000))
    sites.say(BULK, count, 250_000)
    came = sites.take(count)
    made = int(sites.wan("count")) - before
    sites.wan("rate inf")
    return len(came), made


def flow(sites: WanSites, count: int) -> float:
    """How many messages of 200 bytes a second go to the other site, said in turns of 500."""
    begin = time.monotonic()
    for _ in range(count // 500):
        sites.say(URGENT, 500, 200)
    return count / (sites.take(count)[-1][2] - begin)


def rabbit_flow(sites: WanSites, heard: Any, first: int, count: int) -> tuple[float, int]:
    """Send the same by RabbitMQ's quorum queue as such; returns the rate, and how many came twice."""
    sender = Context.Process(target=_rabbit.send, args=(sites.near, first, count, 190, heard))
    sender.start()
    begin = last = 0.0
    came: Counter[int] = Counter()
    while len(came) < count:
        word, number, at = heard.get(timeout=PATIENCE)
        if word == "begin":
            begin = begin or at
        else:
            came[number] += 1
            last = at
    sender.join()
    return count / (last - begin), came.total() - count


def beside_rabbit(folder: Path, report: BenchReport) -> None:
    """Compare TCP, RabbitMQ's queue as such, and agents through RabbitMQ: in turn, on the same links."""
    (folder / "rabbit").mkdir(parents=True)
    count, rounds = 10_000, 3
    rates: dict[tuple[str, str], list[float]] = {}
    first, twice = itertools.count(step=count), 0
    with rabbit_node(folder / "rabbit") as node:
        tcp, amqp = WanSites(folder / "tcp"), WanSites(folder / "amqp", node.port)
        _rabbit.declare(node.port)
        heard: Any = Context.Queue()
        consumer = Context.Process(target=_rabbit.consume, args=(node.port, heard), daemon=True)
        consumer.start()
        try:
            for _, (link, (delay, loss)) in itertools.product(range(rounds), LINKS.items()):
                for sites in (tcp, amqp):
                    sites.wan(f"delay {delay}")
                    sites.wan(f"loss {loss}")
                    sites.wan(f"room {ROOM}")
                rates.setdefault((link, "TCP"), []).append(flow(tcp, count))
                rate, doubled = rabbit_flow(amqp, heard, next(first), count)
                twice += doubled
                rates.setdefault((link, "RabbitMQ"), []).append(rate)
                rates.setdefault((link, "through RabbitMQ"), []).append(flow(amqp, count))
                report.doing(f"{link}: {[f'{of[-1]:.0f}' for (at, _), of in rates.items() if at == link]}")
        finally:
            consumer.terminate()
            consumer.join()
            tcp.close()
            amqp.close()
    rows = []
    for link in LINKS:
        ours, queue, through = (rates[link, what] for what in ("TCP", "RabbitMQ", "through RabbitMQ"))
        ratios = [mine / its for mine, its in zip(ours, queue, strict=True)]
        report.figures(f"beside RabbitMQ, {link}", tcp=ours, rabbit=queue, through=through, worst=min(ratios))
        rows.append((link, *(f"{min(of):,.0f} to {max(of):,.0f}" for of in (ours, queue, through)),
                     f"{min(ratios):.1f} to {max(ratios):.1f}"))  # fmt: skip
    report.figures("RabbitMQ's quorum queue", twice=twice)
    report.table(
        "Messages of 200 bytes a second to another site",
        ("", "TCP", "RabbitMQ's quorum queue", "agents through RabbitMQ", "TCP to queue"), rows,
    )  # fmt: skip


def _measure(sites: WanSites, quick: bool, report: BenchReport) -> None:
    rows: list[tuple[str, str]] = []

    def told(title: str, text: str, **figures: Any) -> None:
        rows.append((title, text))
        report.figures(title, **figures)
        report.doing(f"{title}: {text}")

    for seconds in OUTAGES[:2] if quick else OUTAGES:
        late = [after_outage(sites, seconds, before) for before in (0.0, 0.2, seconds / 2)]
        told(f"after {seconds:g} s of outage", f"{min(late):.2f} to {max(late):.2f} s", worst=max(late), seconds=late)
    late = [after_forgetting(sites) for _ in range(1 if quick else 5)]
    told("into a forgotten connection", f"{min(late):.2f} to {max(late):.2f} s", worst=max(late), seconds=late)
    urgent, all_there = behind_bulk(sites, 1 if quick else 8, 250_000)
    told(
        "behind pictures at 2 Mbit/s", f"{min(urgent):.2f} to {max(urgent):.2f} s, the pictures {all_there:.0f} s",
        worst=max(urgent), seconds=urgent, all=all_there,
    )  # fmt: skip
    came, made = narrow(sites, 20 if quick else 180)
    told("pictures at 64 kbit/s", f"{came} came, {made} reconnections", came=came, reconnections=made)
    sites.wan("delay 0.1")
    lost, doubled, disordered = steady(sites, 20 if quick else 180, 0.1, 200, 3 if quick else 20)
    told(
        "200 ms there and back, with partitions", f"{lost} lost, {doubled} doubled, {disordered} out of order",
        lost=lost, doubled=doubled, disordered=disordered,
    )  # fmt: skip
    report.table("Between two sites", ("", ""), rows)


def main() -> None:
    """Measure, and print what was found."""
    options = arguments(__doc__ or "").parse_args()
    report = BenchReport("wan", options.json)
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-wan-") as folder:
        sites = WanSites(Path(folder) / "sites")
        try:
            _measure(sites, options.quick, report)
        finally:
            sites.close()
        if RABBIT.exists() and not options.quick:
            beside_rabbit(Path(folder) / "beside", report)
    report.ends()


if __name__ == "__main__":
    main()
