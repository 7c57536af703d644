"""From the last byte of a VOEvent to the slew command's bytes at the telescope: the whole observatory in one process.

    python bench/alert_to_slew.py                   200 alerts one after the other, 200 that come while the image of the
                                                    one before is analysed, 200 that come while large images are, 200
                                                    while sky maps are read, and 200 that each preempt the one before
    python bench/alert_to_slew.py --quick           20 of each
    python bench/alert_to_slew.py --console         rounds of 20 alerts, in turns without and with 20 requests a second
                                                    to the console, which is a process of its own
    python bench/alert_to_slew.py --before FOLDER   beside another version, a checkout with its own .venv: in turns

The observatory is the demo's (real threads, real sockets, journals with synchronous=FULL); its simulators are sped up
so that an observation ends within a fraction of a second. The author is a blocking socket in a thread of its own, and
the clock that is read at its last byte is the one that the telescope simulator reads when the command's line arrives.
The images that are analysed meanwhile have 2048 x 2048 pixels and some hundred stars; another one always waits already.
The maps have 21,504 cells; each comes within the packet of a gravitational wave, an hour after the one before, as a
file of 0.9 MB, just before the alert.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet import reactor as _reactor

import pyros
from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import config as configuration
from pyros import messages
from pyros.agents import Agent
from pyros.clock import Deadline, RealClock
from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.interfaces import Image
from pyros.journal import JournalReader, Received
from pyros.messages import AlertReceived
from pyros.observatory import RunningObservatory, clock_for
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.simulators import load
from pyros.simulators.camera.scene import Scene, ShutterOpening
from pyros.simulators.celestial import Sky

reactor: Any = _reactor
HERE = Path(pyros.__file__).resolve().parent.parent
SPEED = 1000
WARM_UP = 9999
KINDS = {
    "calm": ("one after the other", 1),
    "following": ("while the image before is analysed", 1),
    "analysing": ("while large images are analysed", 1),
    "mapping": ("while sky maps are read", 1),
    "visited": ("beside requests to the console", 1),
    "preempting": ("each preempts the one before", 50_000),
}
"""Of alerts: in words, and the seconds of the exposures that they ask for."""
PIXELS = 2048
ROUND = 20
"""Alerts of a round, with or without requests to the console."""
RATE = 20.0
"""Requests a second."""

# Its own, not that of the tests: with --before it is run by another version, whose tests may have none.
EVENT = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"
 version="2.0" role="observation" ivorn="{ivorn}">
<Who><AuthorIVORN>ivo://pyros.bench</AuthorIVORN><Date>{time}</Date></Who>
<What>{params}</What>
<WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation>
<AstroCoordSystem id="UTC-FK5-GEO"/><AstroCoords coord_system_id="UTC-FK5-GEO">
<Time unit="s"><TimeInstant><ISOTime>{time}</ISOTime></TimeInstant></Time>
<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2><C1>{ra:.5f}</C1><C2>{dec:.5f}</C2></Value2>
<Error2Radius>0.05</Error2Radius></Position2D></AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
<Why importance="0.9"><Name>burst</Name></Why></voe:VOEvent>
"""


def write_observatory(folder: Path, alerts: int) -> Path:
    """The demo observatory with free ports, fast simulators, and a rule for each alert; returns its configuration."""
    shutil.copytree(HERE / "observatory", folder / "observatory")
    demo = configuration.load(HERE / configuration.FILE_NAME)
    instruments = [name for name in configuration.INSTRUMENTS if name in demo.agents]
    ports = iter(free_ports(len(demo.agents) + len(instruments) + 3))
    devices = {name: next(ports) for name in instruments}
    for name, port in devices.items():
        path = folder / "observatory" / "simulators" / f"{name}.yaml"
        lines = []
        for line in path.read_text().splitlines():
            key = line.partition(":")[0]
            replaced = {
                "listen": f"listen: tcp:{port}:interface=127.0.0.1",
                "telescope": f"telescope: tcp:127.0.0.1:{devices['telescope']}",
                "filter_wheel": f"filter_wheel: tcp:127.0.0.1:{devices['filter_wheel']}",
                "speed": f"speed: {SPEED}",
                "width": "width: 128",
                "height": "height: 128",
            }
            lines.append(replaced.get(key, line))
        path.write_text("\n".join(lines))
    rules = ["rules:"]
    for kind, (_, seconds) in KINDS.items():
        for number in [*range(alerts), WARM_UP]:
            rules += [
                f"  - {{name: {kind} {number}, when: {{stream: '*bench-{kind}-{number}'}}, "
                f" priority: {0 if number == WARM_UP else number + 1},"
                f" observe: [{{filter: r, seconds: {seconds}, count: 1}}], min_altitude: 15, expires_after: 1 h}}"
            ]
    (folder / "rules.yaml").write_text("\n".join(rules))
    ini = [
        "[observatory]", "name = bench", "site = observatory/site.yaml", "alert_rules = rules.yaml", "clock = night",
        "simulators = " + " ".join(f"observatory/simulators/{name}.yaml" for name in instruments),
        "[console]", f"port = {next(ports)}",
        "[broker]", f"receiver_port = {next(ports)}", f"broadcaster_port = {next(ports)}",
    ]  # fmt: skip
    for name in demo.agents:
        ini += [f"[{name}]", f"port = {next(ports)}"]
        if name == Agent.ALERT_MANAGER:
            ini += ["option_field = 2"]
        if name in devices:
            ini += ["driver = native", f"address = tcp:127.0.0.1:{devices[name]}"]
    (folder / "bench.ini").write_text("\n".join(ini))
    return folder / "bench.ini"


class SlewRun:
    """The observatory under a real reactor, driven from another thread."""

    def __init__(self, path: Path) -> None:
        self.config = configuration.load(path)
        self.clock: RealClock = clock_for(self.config, reactor)
        self.site = Site.load(self.config.site)
        self.observatory = RunningObservatory(self.config, reactor, self.clock)
        self.telescope = next(each for each in self.observatory.simulators if each.description.device == "telescope")
        self.position = place_overhead(self.site, self.clock.now())
        self.image: Path | None = None
        self.images = 0
        self.map = ""
        self.random = random.Random(1)

    def journal(self, agent: str) -> JournalReader:
        return JournalReader(self.config.journal(agent))

    def publish(self, kind: str, number: int, size: int = 6000) -> tuple[float, float]:
        """Send one alert; the monotonic time of its last byte, and the observatory's."""
        ra, dec = self.position
        packet = EVENT.format(
            ivorn=f"ivo://pyros.bench-{kind}-{number}/bench-{kind}-{number}#1",
            time=datetime.fromtimestamp(self.clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            params="".join(f'<Param name="p{index}" value="{index}"/>' for index in range(size // 35)),
            ra=ra,
            dec=dec - 0.02 * (number % 50),
        ).encode()
        assert self.config.broker is not None
        with socket.create_connection(("127.0.0.1", self.config.broker.receiver_port)) as author:
            author.sendall(len(packet).to_bytes(4, "big") + packet[:-1])
            author.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent = (self.clock.monotonic(), self.clock.time())
            author.sendall(packet[-1:])
            answer = author.recv(65536)
        if b'role="ack"' not in answer:
            raise SystemExit(f"the broker refused the alert: {answer[4:].decode(errors='replace')}")
        return sent

    def slew_after(self, sent: float) -> float:
        """When the first slew command's line came in that is later than an alert (both monotonic)."""
        deadline = Deadline(PATIENCE)
        while deadline.left():
            newer = takewhile(lambda request: request[0] > sent, reversed(list(self.telescope.requests)))
            if slews := [when for when, line in newer if "DO slew" in line]:
                return slews[-1]
            deadline.pause(0.002)
        raise SystemExit(f"no slew came within {PATIENCE:g} s")

    def wait_until_safe(self) -> None:
        """Until the weather is known; then one alert, so that the dome is open and everything has run once."""
        deadline = Deadline(PATIENCE)
        while not self.observatory.hosts["monitoring"].agent.state.safe:
            if not deadline.left():
                raise SystemExit("the weather does not become safe")
            deadline.pause(0.01)
        Deadline(5).pause(5)  # what a process does once after its start is over
        self.measure("calm", 1, first=WARM_UP)

    def wait_until_idle(self, analysed: bool) -> None:
        """Until the observation that runs has ended and everybody knows, and its image has been analysed if wanted."""
        deadline = Deadline(PATIENCE)
        agents = {name: host.agent for name, host in self.observatory.hosts.items()}
        while (
            agents["majordome"].state.running
            or agents["scheduler"].state.requests
            or (analysed and agents[Agent.ANALYZER].state.waiting)
        ):
            if not deadline.left():
                raise SystemExit("an observation does not end")
            deadline.pause(0.002)
        deadline.pause(0.05)

    def measure(self, kind: str, alerts: int, first: int = 0) -> list[tuple[float, float]]:
        """(latency in seconds, the observatory's time of the last byte) of each alert."""
        results = []
        for number in range(first, first + alerts):
            if kind == "analysing":
                self.analyse()
            if kind == "mapping":
                self.read_map(number)
            monotonic, time = self.publish(kind, number)
            results.append((self.slew_after(monotonic) - monotonic, time))
            if kind != "preempting":
                self.wait_until_idle(analysed=kind in ("calm", "visited"))
        return results

    def analyse(self) -> None:
        """Return in the midst of the analysis of an image, with another one waiting."""
        if self.image is None:
            self.image = self.write_image()
        analyzer: Any = self.observatory.hosts[Agent.ANALYZER].agent
        while len(analyzer.state.waiting) < 2:
            self.images += 1
            path = self.image.with_name(f"image-{self.images}.fits")
            path.hardlink_to(self.image)
            analyzer.post_to_self(messages.IMAGE_TAKEN, messages.ImageTaken("bench", str(path), ra=150.2, dec=40.1))
            Deadline(0.1).pause(0.1)
        Deadline(1).pause(self.random.uniform(0, 0.3))

    def read_map(self, number: int) -> None:
        """Return while the alert manager's worker reads a sky map, most of the time."""
        from bench.skymaps import drawn

        if not self.map:
            self.map = base64.b64encode(drawn()).decode()
        time = f"{datetime(2026, 1, 2, 3, 3, 5, tzinfo=UTC) + timedelta(hours=number):%Y-%m-%dT%H:%M:%SZ}"
        wave = {
            "alert_type": "INITIAL", "time_created": time, "superevent_id": f"S260102{number:05}a",
            "event": {"time": time, "far": 1e-9, "significant": True, "skymap": self.map},
        }  # fmt: skip
        manager: Any = self.observatory.hosts[Agent.ALERT_MANAGER].agent
        packet = AlertReceived(json.dumps(wave).encode(), "bench", self.clock.time())
        manager.post_to_self(messages.ALERT_RECEIVED, packet)
        Deadline(1).pause(self.random.uniform(0.05, 0.15))

    def write_image(self) -> Path:
        """What the analyzer is given, drawn once."""
        settings: Any = load(HERE / "observatory" / "simulators" / "camera.yaml").changed(
            width=PIXELS, height=PIXELS, stars="synthetic"
        ).settings  # fmt: skip
        pixels = Scene(settings).image(ShutterOpening(1.77e9, 20, -20, Sky(150.2, 40.1), 1.0), (1,))
        image = Image(
            np.frombuffer(pixels, np.uint16).reshape(PIXELS, PIXELS), 1.77e9, 20.0, "r", -20.0, 1.5,
            settings.arcsec_per_pixel,
        )  # fmt: skip
        folder = self.config.path.parent / "images"
        folder.mkdir()
        return write_image(folder / "drawn.fits", image, ImageFacts("bench", 150.2, 40.1, "bench"))

    def hops(self, kind: str, results: list[tuple[float, float]]) -> dict[str, list[float]]:
        """Where the time went: for each hop the seconds from what came before it."""
        marks = {
            "broker: stored, in the outbox": self._sent("alert_manager", messages.ALERT_RECEIVED, kind, "sent"),
            "alert manager: taken": self._sent("alert_manager", messages.ALERT_RECEIVED, kind, "taken"),
            "alert manager: parsed, decided": self._sent("scheduler", messages.OBSERVATION_REQUESTED, kind, "sent"),
            "scheduler: taken": self._sent("scheduler", messages.OBSERVATION_REQUESTED, kind, "taken"),
            "majordome: taken": self._plans(kind),
            "observation manager: taken": self._sent("observation_manager", messages.OBSERVE, kind, "taken"),
            "telescope: taken": self._sent("telescope", messages.SLEW, kind, "taken"),
        }
        hops: dict[str, list[float]] = {name: [] for name in [*marks, "at the telescope simulator"]}
        for number, (latency, began) in enumerate(results):
            before = began
            for name, times in marks.items():
                if number not in times:
                    break
                hops[name].append(times[number] - before)
                before = times[number]
            else:
                hops["at the telescope simulator"].append(began + latency - before)
        return hops

    def _messages(self, agent: str, name: str) -> Iterator[tuple[Received, bytes]]:
        for _, received in self.journal(agent).received(last=1_000_000):
            if received.name == name:
                yield received, bytes(received.payload)

    def _sent(self, agent: str, name: str, kind: str, what: str) -> dict[int, float]:
        """For each alert, when the first message of that name about it was sent or taken."""
        found: dict[int, float] = {}
        for received, payload in self._messages(agent, name):
            value = messages.decode_payload(name, payload)
            text = value.packet.decode() if name == messages.ALERT_RECEIVED else str(value)
            marker = f"bench-{kind}-"
            if marker in text:
                digits = text.partition(marker)[2]
                number = int(digits[: next(i for i, c in enumerate(digits) if not c.isdigit())])
                found.setdefault(number, getattr(received, what))
        return found

    def _plans(self, kind: str) -> dict[int, float]:
        found: dict[int, float] = {}
        for received, payload in self._messages("majordome", messages.PLAN_UPDATED):
            start = messages.decode_payload(messages.PLAN_UPDATED, payload).start_now or ""
            if f"bench-{kind}-" in start:
                number = int(start.partition(f"bench-{kind}-")[2].split("-")[0])
                found.setdefault(number, received.taken)
        return found


def bench(run: SlewRun, alerts: int, kinds: Sequence[str], report: BenchReport) -> None:
    """In a thread of its own: warm up, measure, report."""
    run.wait_until_safe()
    columns = ("", "alerts", "p50 ms", "p90 ms", "p99 ms", "max ms")
    rows, hop_rows = [], []
    for kind in kinds:
        words, _ = KINDS[kind]
        results = run.measure(kind, alerts)
        latencies = [latency * 1000 for latency, _ in results]
        figures = {
            "p50_ms": median(latencies), "p90_ms": quantile(latencies, 0.9), "p99_ms": quantile(latencies, 0.99),
            "max_ms": max(latencies),
        }  # fmt: skip
        report.figures(f"alert to slew, {words}", alerts=alerts, **figures)
        rows.append((words, str(alerts), *(f"{value:.1f}" for value in figures.values())))
        for name, times in run.hops(kind, results).items():
            if times:
                p50, p99 = median(times) * 1000, quantile(times, 0.99) * 1000
                report.figures(f"hop, {words}: {name}", p50_ms=p50, p99_ms=p99)
                hop_rows.append((f"{words}: {name}", f"{p50:.2f}", f"{p99:.2f}"))
    report.table("From the last byte of the VOEvent to the slew command at the telescope", columns, rows)
    report.table("Where the time goes", ("hop", "p50 ms", "p99 ms"), hop_rows)
    report.ends()


def beside_console(run: SlewRun, alerts: int, report: BenchReport) -> None:
    """In a thread of its own: rounds of alerts, in turns without and with requests to the console."""
    from bench.console import cpu, is_listening, running, wait_for

    run.wait_until_safe()
    latencies: dict[bool, list[float]] = {False: [], True: []}
    rounds: dict[bool, list[float]] = {False: [], True: []}
    pages, longest, spent, seconds = 0, 0.0, 0.0, 0.0
    with running(run.config, "pyros-console") as console:
        wait_for("the console", lambda: is_listening(run.config))
        visitor = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("_console_visitor.py")), str(run.config.path), str(RATE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HERE)},
        )  # fmt: skip
        assert visitor.stdin is not None
        assert visitor.stdout is not None
        try:
            visitor.stdout.readline()
            for number, first in enumerate(range(0, alerts, ROUND)):
                for busy in (False, True) if number % 2 == 0 else (True, False):
                    begin, before = run.clock.monotonic(), cpu(console.pid)
                    if busy:
                        print("go", file=visitor.stdin, flush=True)
                    kind = "visited" if busy else "calm"
                    times = [latency * 1000 for latency, _ in run.measure(kind, min(ROUND, alerts - first), first)]
                    if busy:
                        print("stop", file=visitor.stdin, flush=True)
                        answer = visitor.stdout.readline().split()
                        pages, longest = pages + int(answer[0]), max(longest, float(answer[1]))
                        spent += cpu(console.pid) - before
                        seconds += run.clock.monotonic() - begin
                    latencies[busy] += times
                    rounds[busy].append(median(times))
        finally:
            visitor.stdin.close()
            visitor.wait(PATIENCE)
    ratios = [busy / free for free, busy in zip(rounds[False], rounds[True], strict=True)]
    ratio = median(latencies[True]) / median(latencies[False])
    rows = []
    for busy, words in ((False, "without"), (True, f"{pages / seconds:.1f} requests a second to the console")):
        p50, p99 = median(latencies[busy]), quantile(latencies[busy], 0.99)
        report.figures(f"alert to slew, {words}", alerts=len(latencies[busy]), p50_ms=p50, p99_ms=p99)
        rows.append((words, str(len(latencies[busy])), f"{p50:.1f}", f"{p99:.1f}"))
    report.figures("beside the console", ratio=ratio, least=min(ratios), most=max(ratios), pages=pages,
                   rate=pages / seconds, longest_ms=1e3 * longest, console_cpu=spent / seconds)  # fmt: skip
    report.table("From the last byte of the VOEvent to the slew command", ("", "alerts", "p50 ms", "p99 ms"), rows)
    report.note(
        f"medians: {ratio:.2f} of that without; of the rounds {min(ratios):.2f} to {max(ratios):.2f}; the console took "
        f"{100 * spent / seconds:.0f} % of a core, a page at most {1e3 * longest:.0f} ms"
    )
    report.ends()


def compare(options: Any, alerts: int) -> None:
    """Measure both versions in turns, each time in a process of its own; tell the range of each figure."""
    report = BenchReport("alert_to_slew", options.json)
    programs = {"before": options.before.absolute() / ".venv" / "bin" / "python", "now": Path(sys.executable)}
    figures: dict[tuple[str, str], list[Any]] = {}
    for _ in range(options.rounds):
        for version, program in programs.items():
            done = subprocess.run(
                [program, __file__, "--json", "--alerts", str(alerts), "--dir", options.dir, "--kinds", *options.kinds],
                cwd=options.dir, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            for line in map(json.loads, done.stdout.splitlines()):
                for words, _ in KINDS.values():
                    if line["measure"] == f"alert to slew, {words}":
                        figures.setdefault((words, version), []).append(line)
    rows = []
    for (words, version), lines in sorted(figures.items()):
        values = {key: [line[key] for line in lines] for key in ("p50_ms", "p99_ms", "max_ms")}
        report.figures(f"compared, {version}: {words}", rounds=len(lines), **{k: median(v) for k, v in values.items()})
        ranges = (f"{median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in values.values())
        rows.append((words, version, *ranges))
    columns = ("", "version", "p50 ms", "p99 ms", "max ms")
    report.table("The median round's figure (and its range) of both versions", columns, rows)
    report.ends()


def main() -> None:
    """Run the observatory until the bench's thread is through."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--alerts", type=int, default=200, help="how many of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[each for each in KINDS if each != "visited"],
                        help="which of them")  # fmt: skip
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another version's checkout, to compare with")
    parser.add_argument("--console", action="store_true", help="beside requests to the console, and without them")
    parser.add_argument("--rounds", type=int, default=3, help="how often each version is measured")
    options = parser.parse_args()
    alerts = 20 if options.quick else options.alerts
    if options.before is not None:
        compare(options, alerts)
        return
    failed: list[BaseException] = []
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-") as folder:
        run = SlewRun(write_observatory(Path(folder), alerts))

        def work() -> None:
            try:
                report = BenchReport("alert_to_slew", options.json, ("Comet", "lxml", "astropy", "pyerfa"))
                if options.console:
                    beside_console(run, alerts, report)
                else:
                    bench(run, alerts, options.kinds, report)
            except BaseException as error:
                failed.append(error)
            reactor.callFromThread(lambda: run.observatory.stop().addBoth(lambda _: reactor.stop()))

        def fail(failure: Any) -> None:
            failed.append(failure.value)
            reactor.stop()

        def begin() -> None:
            started = run.observatory.start()
            started.addCallback(lambda _: threading.Thread(target=work, daemon=True).start())
            started.addErrback(fail)

        reactor.callWhenRunning(begin)
        reactor.run()
    if failed:
        sys.exit(f"alert_to_slew: {failed[0]}")


if __name__ == "__main__":
    main()
