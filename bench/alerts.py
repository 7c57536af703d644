"""How fast alerts come in and go out: PYROS's broker beside plain Comet and a bare Twisted receiver, in one run.

The same authors send the same VOEvents of 6 KB to each, one at a time and 32 at a time, each over a connection of its
own, as VTP wants it. PYROS acknowledges what is synced to the disk together with the message to the alert manager;
Comet acknowledges before it handles. Subscribers count deliveries. Parsing is measured beside lxml's.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree
from twisted.internet.task import Clock

from bench._authors import event, send, subscribed
from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import alerts
from pyros.broker.store import EventStore
from pyros.clock import RealClock
from pyros.errors import AlertError
from pyros.journal import Effects
from pyros.rehearsal.reactor import MemoryReactor

BENCH = Path(__file__).parent
DEBIAN = "/usr/bin/python3"
SETTLE = 4.0  # seconds that a broker has after its first events, to load what it loads late
COMET = "Comet 3.1.0"
_COMETS_FILE = "pyros.observatory_bench"  # its name for the events of one author


class Server(NamedTuple):
    """A broker that runs: where authors and subscribers connect, its process, its name for the table."""

    name: str
    receiver: int
    broadcaster: int
    pid: int

    @property
    def memory(self) -> float:
        """Resident now, MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def pyros(folder: Path, stored: int) -> Iterator[Server]:
    """PYROS's broker, as twistd runs it; its alert manager is away, so every event also waits in the outbox."""
    receiver, broadcaster = free_ports(2)
    for name in ("site.yaml", "rules.yaml"):
        (folder / name).touch()
    (folder / "pyros_agent_config.ini").write_text(
        "[observatory]\nname = bench\nsite = site.yaml\nalert_rules = rules.yaml\ndata = .\n"
        f"[alert_manager]\nport = 9\n[broker]\nreceiver_port = {receiver}\nbroadcaster_port = {broadcaster}\n"
    )
    if stored:
        store = EventStore(
            MemoryReactor(), RealClock(Clock()), folder / "journals" / "broker.sqlite", threaded=False, durable=False
        )
        effects = Effects()
        effects.also.append(lambda db: fill(db, stored))
        store.journal.commit(effects)
        store.close()
    with _run([sys.executable, BENCH / "_alert_servers.py", "pyros", folder], folder) as (process, ports):
        yield Server("PYROS", ports["receiver_port"], ports["broadcaster_port"], process.pid)


def fill(db: sqlite3.Connection, stored: int) -> None:
    """As if so many events were in the journal already, and handed over long ago."""
    rows = ((f"ivo://pyros.observatory/bench#old-{number}", event("old", number)) for number in range(stored))
    db.executemany(
        "INSERT INTO events (ivorn, sha256, packet, source, received) VALUES (?, ?, ?, 'bench', 0)",
        ((ivorn, sha256(packet).digest(), packet) for ivorn, packet in rows),
    )


@contextmanager
def bare(folder: Path, stored: int) -> Iterator[Server]:
    """The least that stores durably: see ``_alert_servers.py``. What is stored doesn't matter to it."""
    with _run([sys.executable, BENCH / "_alert_servers.py", "bare", folder], folder) as (process, ports):
        yield Server("bare receiver", ports["receiver_port"], 0, process.pid)


@contextmanager
def comet(folder: Path, stored: int) -> Iterator[Server]:
    """Plain Comet as its users run it, on a Python that has ndbm where there is one."""
    python, environment, dbm = python_for_comet()
    receiver, broadcaster = free_ports(2)
    if stored:
        (folder / "db").mkdir()
        fill_comet = (
            "import dbm, sys, time\n"
            "db = dbm.open(sys.argv[1], 'c')\n"
            "for number in range(int(sys.argv[2])): db['%040x' % number] = str(time.time())\n"
            "db.close()\n"
        )
        subprocess.run(
            [python, "-c", fill_comet, folder / "db" / _COMETS_FILE, str(stored)], env=environment, check=True
        )
    command = [python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "-l", folder / "log"]
    command += ["comet", "--local-ivo=ivo://pyros.observatory/comet", "--receive", f"--receive-port={receiver}"]
    command += ["--broadcast", f"--broadcast-port={broadcaster}", "--broadcast-test-interval=0"]
    command += [f"--eventdb={folder / 'db'}", "--save-event", f"--save-event-directory={folder / 'saved'}"]
    (folder / "saved").mkdir()
    with _run(command, folder, environment, ready=lambda: _listens(receiver) and _listens(broadcaster)) as (process, _):
        yield Server(f"{COMET} ({dbm})", receiver, broadcaster, process.pid)


def python_for_comet() -> tuple[str, dict[str, str], str]:
    """The interpreter, its environment, and the name of the dbm that it has."""
    lines = [
        "import lxml.etree, twisted, comet",
        "for name in ('dbm.gnu', 'dbm.ndbm', 'dbm.dumb'):",  # the order in which Python takes them
        "    try: __import__(name)",
        "    except ImportError: continue",
        "    break",
        "print(name)",
    ]
    ask = "\n".join(lines)
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    for python, environment in ((DEBIAN, os.environ | {"PYTHONPATH": packages}), (sys.executable, dict(os.environ))):
        ran = subprocess.run([python, "-c", ask], env=environment, capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            return python, environment, ran.stdout.strip()
    raise SystemExit("no Python here can run Comet")


@contextmanager
def _run(
    command: list[Any], folder: Path, environment: dict[str, str] | None = None, ready: Callable[[], bool] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    with (folder / "err").open("w") as err, subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=err, text=True, env=environment, cwd=folder
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            ports: dict[str, int] = {}
            if ready is None:
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"{command}: {(folder / 'err').read_text()}")
                ports = json.loads(line)
            else:
                end = time.monotonic() + PATIENCE
                while not ready():
                    if time.monotonic() > end or process.poll() is not None:
                        raise SystemExit(f"{command}: {(folder / 'err').read_text()}")
                    time.sleep(0.05)
            yield process, ports
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)


SERVERS = {"pyros": pyros, "bare": bare, "comet": comet}


class AlertsRun(NamedTuple):
    """What one server did in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    refused: int


def _run_authors(what: str, folder: Path, authors: int, number: int, stored: int) -> tuple[str, AlertsRun]:
    with _folder(folder) as place, SERVERS[what](place, stored) as server:
        send(server.receiver, [event("warm", each) for each in range(50)], authors)
        time.sleep(SETTLE if what == "pyros" else 0)
        sent = send(server.receiver, [event("run", each) for each in range(number)], authors)
        p50, p99 = median(sent.answers) * 1e3, quantile(sent.answers, 0.99) * 1e3
        return server.name, AlertsRun(number / sent.seconds, p50, p99, server.memory, sent.refused)


def measure_authors(
    report: BenchReport, folder: Path, authors: int, count: int, comet_count: int, stored: int, rounds: int
) -> None:
    """Events a second accepted, and how long an author waits: each server once a round, medians over the rounds."""
    rows: list[list[str]] = []
    titles: dict[str, str] = {}
    runs: dict[str, list[AlertsRun]] = {what: [] for what in SERVERS}
    for _ in range(rounds):
        for what in SERVERS:
            number = comet_count if what == "comet" else count
            titles[what], run = _run_authors(what, folder, authors, number, stored)
            runs[what].append(run)
    for what, title in titles.items():
        number = comet_count if what == "comet" else count
        middle = AlertsRun(*(median(values) for values in zip(*runs[what], strict=True)))  # type: ignore[arg-type]
        figures = {"server": title, "authors": authors, "events": number, "stored": stored, "rounds": rounds}
        report.figures("authors", **figures, **middle._asdict())
        rates = [
            f"{middle.per_second:,.0f}",
            f"{middle.p50_ms:.1f}",
            f"{middle.p99_ms:.1f}",
            f"{middle.memory_mib:.0f}",
        ]
        rows.append([title, f"{number:,}", *rates])
    report.table(
        f"{authors} author{'s' * (authors > 1)} at a time, {stored:,} events stored before",
        ["", "events", "a second", "p50 ms", "p99 ms", "MiB"], rows,
    )  # fmt: skip
    ratios = {}
    for other in ("comet", "bare"):
        pairs = zip(runs["pyros"], runs[other], strict=True)
        ratios[f"to_{other}"] = median(ours.per_second / theirs.per_second for ours, theirs in pairs)
    report.figures("ratios", authors=authors, events=count, stored=stored, **ratios)
    report.note(f"PYROS: {ratios['to_comet']:.1f} times Comet, {ratios['to_bare']:.2f} of the bare receiver\n")


def measure_subscribers(report: BenchReport, folder: Path, subscribers: int, count: int) -> None:
    """Deliveries a second, from the first event sent to the last one received by the last subscriber."""
    rows = []
    for what in ("pyros", "comet"):
        number = max(10, count // 5) if what == "comet" else count
        with _folder(folder) as place, SERVERS[what](place, 0) as server:
            send(server.receiver, [event("warm", each) for each in range(50)], 8)
            time.sleep(SETTLE if what == "pyros" else 0)
            packets = [event("run", each) for each in range(number)]
            with subscribed(server.broadcaster, subscribers) as crowd:
                deliveries, seconds = crowd.deliver(server.receiver, packets, authors=8)
            rate = deliveries / seconds
        report.figures("subscribers", server=server.name, subscribers=subscribers, events=number, per_second=rate)
        rows.append([server.name, f"{number:,}", f"{rate:,.0f}"])
    report.table(f"{subscribers} subscribers", ["", "events", "deliveries a second"], rows)


def measure_parsing(report: BenchReport, corpus: Path | None, rounds: int) -> None:
    """Packets a second on one core: ours to an Alert, and lxml's to a tree."""
    files = [path for path in sorted(corpus.rglob("*.xml")) if path.is_file()] if corpus else []
    packets = [path.read_bytes() for path in files] or [event("parse", number) for number in range(200)]
    packets = [packet for packet in packets if _is_alert(packet)]
    figures = {}
    for name, parse in (("PYROS, to an Alert", alerts.parse), ("lxml, to a tree", etree.fromstring)):
        begin = time.perf_counter()
        for _ in range(rounds):
            for packet in packets:
                parse(packet)
        figures[name] = rounds * len(packets) / (time.perf_counter() - begin)
    report.figures("parsing", packets=len(packets), **{name.split(",")[0]: rate for name, rate in figures.items()})
    report.table(
        f"Parsing {len(packets)} packets", ["", "a second"], [[name, f"{rate:,.0f}"] for name, rate in figures.items()]
    )


def _is_alert(packet: bytes) -> bool:
    try:
        alerts.parse(packet)
        etree.fromstring(packet)
    except (AlertError, etree.XMLSyntaxError):
        return False
    return True


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent)).absolute()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="a folder of packets to parse, instead of made ones")
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured, one after the other")
    parser.add_argument("--authors", type=int, nargs="*", default=[1, 32], help="at a time")
    parser.add_argument(
        "--events", type=int, nargs="*", default=[2_000, 10_000], help="in a run (Comet: 2,000 at most)"
    )
    parser.add_argument("--stored", type=int, nargs="*", default=[0, 50_000], help="before the run")
    parser.add_argument("--subscribers", type=int, nargs="*", default=[1, 50, 200], help="at once")
    options = parser.parse_args()
    report = BenchReport("alerts", options.json, ["Comet", "lxml"])
    if options.quick:
        measure_authors(report, options.dir, 1, 200, 60, 0, 1)
        measure_authors(report, options.dir, 32, 2_000, 2_000, 0, 1)
        measure_subscribers(report, options.dir, 50, 300)
    else:
        for stored in options.stored:
            for authors in options.authors:
                for count in options.events:
                    measure_authors(report, options.dir, authors, count, min(count, 2_000), stored, options.rounds)
        for subscribers in options.subscribers:
            measure_subscribers(report, options.dir, subscribers, 1_000 if subscribers < 200 else 300)
    measure_parsing(report, options.corpus, 1 if options.quick else 5)
    report.ends()


if __name__ == "__main__":
    main()
