"""Alerts by the million: what one alert manager takes a second of processor time, and what the gate before it does.

The agent's turns are run as its thread runs them, on a journal that is synced to the disk, with the observatory's own
rules: detections as a survey's broker sends them in JSON, one object each, and VOEvents of 6 KB. The first packets are
measured in turns with the last ones of another alert manager, when all other events are in that one's journal. The
figures are processor time, which the disk's syncs don't count in.

The gate reads made packets of Rubin's shape: 97 fields a detection, 20 previous ones, three images of 15 kB; one of a
thousand is bright enough to pass. Beside it fastavro reads the same bytes: whole, and with a reader's schema of the
fields that the gate needs.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import msgspec
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher

from bench._authors import event
from bench._common import BenchReport, arguments
from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.agents.runtime.batches import Batch
from pyros.agents.runtime.host import Host
from pyros.alerts.gate import Gate, Projection
from pyros.alerts.gate.gate import fields
from pyros.alerts.rules.rules import Rules
from pyros.clock import RealClock
from pyros.config import AgentConfig, Config
from pyros.journal import Effects
from pyros.messages import AlertReceived, encode_payload
from pyros.wire import Entry

OBSERVATORY = Path(__file__).parents[1] / "observatory"
TURN = 64
"""Packets that wait when a turn begins."""
CHUNK = 250
"""Packets that one of two alert managers takes before the other's turn."""


def detection(number: int) -> bytes:
    """A detection as a survey's broker passes it on."""
    chance = random.Random(number)
    candidate = {
        "candid": 10_000_000 + number, "ra": chance.uniform(0, 360), "dec": chance.uniform(-30, 80),
        "jd": 2461000.5 + number * 1e-6, "magpsf": chance.uniform(15, 20.5), "sigmapsf": 0.1, "fid": 1 + number % 2,
        "rb": chance.random(), "drb": chance.random(), "distnr": 1.2, "isdiffpos": "t", "programid": 1,
    }  # fmt: skip
    letters = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(4))
    name = f"ZTF26{letters}{number:07}"
    return json.dumps({"objectId": name, "candid": candidate["candid"], "candidate": candidate}).encode()


def burst(number: int) -> bytes:
    """A VOEvent of an event of its own."""
    ra = f"<C1>{random.Random(number).uniform(0, 360):.6f}</C1>".encode()
    packet = event("surveys", number).replace(b'role="test"', b'role="observation"')
    return packet.replace(b"<C1>83.600000</C1>", ra)


class Manager:
    """An alert manager whose turns run when the bench says so."""

    def __init__(self, folder: Path) -> None:
        reactor: Callable[[], object] = MemoryReactorClock
        config = Config(
            path=folder / "pyros_agent_config.ini", name="bench", data=folder, site=OBSERVATORY / "site.yaml",
            alert_rules=OBSERVATORY / "alert_rules.yaml",
            agents={name: AgentConfig(name, "127.0.0.1", 9, "x") for name in ("alert_manager", "scheduler")},
        )  # fmt: skip
        made = reactor()
        self.host = Host(AlertManagerAgent(), config, made, RealClock(made), threaded=False)  # type: ignore[arg-type]
        self.host.start()
        self.host.outbound.stop()
        made.advance(0)  # type: ignore[attr-defined]
        self.number = 0

    @property
    def size(self) -> int:
        """Bytes of the journal, moved into its file."""
        self.host.journal.checkpoint()
        return self.host.journal.path.stat().st_size

    def take(self, make: Callable[[int], bytes], count: int) -> float:
        """Have so many packets handled; returns the processor seconds that it took."""
        spent = 0.0
        for first in range(self.number + 1, self.number + count + 1, TURN):
            numbers = range(first, min(first + TURN, self.number + count + 1))
            payloads = [
                encode_payload(messages.ALERT_RECEIVED, AlertReceived(make(each), "bench", time.time()))
                for each in numbers
            ]
            entries = [
                Entry(each, f"bench-{each}", messages.ALERT_RECEIVED, time.time(), msgspec.Raw(payload), 0.0)
                for each, payload in zip(numbers, payloads, strict=True)
            ]
            begin = time.process_time()
            self.host.turns.run([Batch(entries, "broker", ("broker", "epoch"), proved=True)], Effects())
            spent += time.process_time() - begin
        self.number += count
        if self.host.turns.failed:
            raise SystemExit("a packet was not handled")
        return spent

    def stop(self) -> None:
        self.host.stop()


def memory() -> float:
    """Resident now, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def manager(report: BenchReport, folder: Path, events: int, measured: int) -> list[list[str]]:
    """The first packets of one alert manager in turns with the last ones of another one that has so many events."""
    rows = []
    for what, make in (("detections of a survey", detection), ("VOEvents of 6 KB", burst)):
        places = [folder / f"{what.split(maxsplit=1)[0]}-{which}" for which in ("first", "last")]
        for place in places:
            place.mkdir()
        fresh, full = map(Manager, places)
        try:
            fresh.take(make, TURN)  # what is loaded late
            full.take(make, TURN)
            report.doing(f"{what}: {events - measured} events, then {measured} beside the first {measured}")
            small, before = full.size, memory()
            full.take(make, events - measured)
            spent = [0.0, 0.0]
            for _ in range(measured // CHUNK):
                for which, one in enumerate((fresh, full)):
                    spent[which] += one.take(make, CHUNK)
            each, grown = (full.size - small) / events, memory() - before
        finally:
            for one, place in zip((fresh, full), places, strict=True):
                one.stop()
                shutil.rmtree(place)
        first, last = (measured // CHUNK * CHUNK / seconds for seconds in spent)
        report.figures(
            f"alert manager, {what}", events=events, first_per_cpu_second=first, last_per_cpu_second=last,
            last_to_first=last / first, bytes_an_event=each, memory_grown_mib=grown,
        )  # fmt: skip
        rows.append([what, *(f"{rate:,.0f}" for rate in (first, last)), f"{last / first:.2f}", f"{each:,.0f}"])
        rows[-1].append(f"{grown:.1f}")
    return rows


def optional(kind: str) -> list[str]:
    return ["null", kind]


def rubin_schema() -> dict[str, Any]:
    """An alert as Rubin's are made up; the names beyond those that the gate reads are invented."""
    known = [
        ("diaSourceId", "long"),
        ("visit", "long"),
        ("midpointMjdTai", "double"),
        ("ra", "double"),
        ("dec", "double"),
    ]
    fields: list[dict[str, Any]] = [{"name": name, "type": kind} for name, kind in known]
    fields += [{"name": name, "type": optional("long")} for name in ("diaObjectId", "ssObjectId")]
    names = ("psfFlux", "reliability", "snr", *(f"measure{number}" for number in range(87)))
    fields += [{"name": name, "type": optional("float")} for name in names]
    source = {"type": "record", "name": "lsst.bench.diaSource", "fields": fields}
    return {
        "type": "record", "name": "lsst.bench.alert", "fields": [
            {"name": "diaSourceId", "type": "long"}, {"name": "observation_reason", "type": optional("string")},
            {"name": "diaSource", "type": source},
            {"name": "prvDiaSources", "type": ["null", {"type": "array", "items": "lsst.bench.diaSource"}]},
            *({"name": f"cutout{what}", "type": optional("bytes")} for what in ("Difference", "Science", "Template")),
        ],
    }  # fmt: skip


def rubin_packets(count: int, schema: Any) -> list[bytes]:
    chance = random.Random(7)
    names = [field["name"] for field in schema["fields"][2]["type"]["fields"]][7:]

    def source(number: int, flux: float) -> dict[str, Any]:
        made: dict[str, Any] = {name: chance.random() for name in names}
        return made | {
            "diaSourceId": number, "visit": 1, "midpointMjdTai": 61000.0 + number * 1e-6, "ra": chance.uniform(0, 360),
            "dec": chance.uniform(-80, 10), "diaObjectId": number, "ssObjectId": None, "psfFlux": flux,
        }  # fmt: skip

    images = {f"cutout{what}": os.urandom(15_000) for what in ("Difference", "Science", "Template")}
    previous = [source(number, 500.0) for number in range(20)]
    parsed = fastavro.parse_schema(schema)
    packets = []
    for number in range(1, count + 1):
        file = io.BytesIO()
        made = source(number, 500.0 if number % 1000 else 500_000.0)
        record = {"diaSourceId": number, "observation_reason": None, "diaSource": made, "prvDiaSources": previous}
        fastavro.schemaless_writer(file, parsed, record | images)
        packets.append(b"\0\0\0\0\1" + file.getvalue())
    return packets


def survey_gate(report: BenchReport, folder: Path, count: int, rounds: int) -> list[list[str]]:
    """The gate beside fastavro, over the same packets, alternated."""
    rules = folder / "rules.yaml"
    when = "{stream: lsst, max_magnitude: 18, min_real_bogus: 0.0, max_extinction: 5}"
    rules.write_text(f"rules:\n  - {{name: bright, when: {when}, observe: [{{filter: r, seconds: 60}}]}}\n")
    schema = rubin_schema()
    packets = rubin_packets(count, schema)
    gate = Gate(Rules.load(rules), schema)
    projection = Projection(fields(classes=False), schema)
    parsed = fastavro.parse_schema(schema)
    wanted = {**schema, "fields": [schema["fields"][0], {"name": "diaSource", "type": needed(schema)}]}
    reader = fastavro.parse_schema(wanted)
    ways: dict[str, Callable[[bytes], object]] = {
        "the gate, decisions included": gate.candidate,
        "the gate's decoding alone": projection.read,
        "fastavro, the same fields": lambda data: fastavro.schemaless_reader(io.BytesIO(data[5:]), parsed, reader),
        "fastavro, everything": lambda data: fastavro.schemaless_reader(io.BytesIO(data[5:]), parsed),
    }
    spent: dict[str, list[float]] = {what: [] for what in ways}
    for _ in range(rounds):
        for what, way in ways.items():
            begin = time.process_time()
            for packet in packets:
                way(packet)
            spent[what].append(time.process_time() - begin)
    rates = {what: count / min(times) for what, times in spent.items()}
    dropped = 1 - gate.passed / gate.taken
    figures = {f"{what.replace(' ', '_').replace(',', '')}_per_cpu_second": rate for what, rate in rates.items()}
    report.figures("gate", dropped=dropped, bytes_a_packet=len(packets[0]), **figures)
    return [[what, f"{rate:,.0f}"] for what, rate in rates.items()] + [["dropped by the gate", f"{dropped:.2%}"]]


def needed(schema: Any) -> Any:
    """The record of a detection with only what the gate reads of it."""
    names = {path.removeprefix("diaSource.") for path in fields(classes=False) if path.startswith("diaSource.")}
    source = schema["fields"][2]["type"]
    return {**source, "fields": [field for field in source["fields"] if field["name"] in names]}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000, help="events in the journal at the end")
    options = parser.parse_args()
    for observer in list(globalLogPublisher._observers):  # Twisted keeps the first lines for later
        globalLogPublisher.removeObserver(observer)
    events, measured = (1_000, 250) if options.quick else (options.events, 10_000)
    report = BenchReport("surveys", options.json)
    folder = Path(tempfile.mkdtemp(prefix="surveys-", dir=options.dir))
    try:
        report.doing("the gate beside fastavro")
        gate_rows = survey_gate(report, folder, *((1_000, 1) if options.quick else (4_000, 3)))
        rows = manager(report, folder, events, measured)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    last = f"last of {events:,}"
    columns = ("an alert manager takes", "first, per CPU s", last, "ratio", "bytes each", "MiB grown")
    report.table("Packets into decisions", columns, rows)
    report.table("Rubin's packets at the gate", ("", "per CPU s"), gate_rows)


if __name__ == "__main__":
    main()
