"""Alerts by the million: how many packets one alert manager takes a second of processor time, and what an event costs.

The agent's turns are run as its thread runs them, on a journal that is synced to the disk, with the observatory's own
rules: detections as a survey's broker sends them in JSON, one object each, and VOEvents of 6 KB. The first packets are
measured beside the last ones, when all other events are in the journal. The figures are processor time, which the
disk's syncs don't count in.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher

from bench._authors import event
from bench._common import Report, arguments
from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.agents.runtime.host import Host
from pyros.agents.runtime.turns import Batch
from pyros.clock import RealClock
from pyros.config import AgentConfig, Config
from pyros.journal import Effects
from pyros.messages import AlertReceived, encode_payload
from pyros.wire import Entry

OBSERVATORY = Path(__file__).parents[1] / "observatory"
TURN = 64
"""Packets that wait when a turn begins."""


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


def manager(report: Report, folder: Path, events: int, measured: int) -> list[list[str]]:
    """The first and the last packets of so many events, of each kind."""
    rows = []
    for what, make in (("detections of a survey", detection), ("VOEvents of 6 KB", burst)):
        place = folder / what.split(maxsplit=1)[0]
        place.mkdir()
        made = Manager(place)
        try:
            made.take(make, TURN)  # what is loaded late
            report.doing(f"{what}: {measured} packets, then {events} events more")
            first, empty, before = measured / made.take(make, measured), made.size, memory()
            between = max(0, events - 2 * measured)
            made.take(make, between)
            last = measured / made.take(make, measured)
            each, grown = (made.size - empty) / max(1, between + measured), memory() - before
        finally:
            made.stop()
            shutil.rmtree(place)
        report.figures(
            f"alert manager, {what}", events=events, first_per_cpu_second=first, last_per_cpu_second=last,
            bytes_an_event=each, memory_grown_mib=grown,
        )  # fmt: skip
        rows.append([what, f"{first:,.0f}", f"{last:,.0f}", f"{each:,.0f}", f"{grown:.1f}"])
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000, help="events in the journal at the end")
    options = parser.parse_args()
    for observer in list(globalLogPublisher._observers):  # Twisted keeps the first lines for later
        globalLogPublisher.removeObserver(observer)
    events, measured = (1_000, 256) if options.quick else (options.events, 2_000)
    report = Report("surveys", options.json)
    folder = Path(tempfile.mkdtemp(prefix="surveys-", dir=options.dir))
    try:
        rows = manager(report, folder, events, measured)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    columns = ("an alert manager takes", "first, per CPU s", f"after {events:,} events", "bytes each", "MiB grown")
    report.table("Packets into decisions", columns, rows)


if __name__ == "__main__":
    main()
