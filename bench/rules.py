"""How fast rules are tried on the past: `pyros rules try` over an archive that is made for it.

The archive has what real ones have: half of it is nothing to look at, events have updates, some are taken back. It is
read as the command reads it, with and without a site, with the observatory's rules and with ones that ask where each
alert stood in the sky. The time is that of the whole command, its start included.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from bench._common import BenchReport, arguments
from pyros.alerts import Alert
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import Archive
from pyros.alerts.archive.tables import names, packets

OBSERVATORY = Path(__file__).parents[1] / "observatory"
BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
YEARS = 10
GROUP = 5_000
KINDS = (  # share, stream, notice types of an event one after the other, error radius in degrees
    (0.50, "swift", ("SWIFT_BAT_SUBSUB",), 0.1),
    (0.15, "fermi", ("FERMI_GBM_FLT_POS", "FERMI_GBM_GND_POS", "FERMI_GBM_FIN_POS"), 4.0),
    (0.10, "swift", ("SWIFT_BAT_GRB_POS_ACK", "SWIFT_XRT_POSITION"), 0.05),
    (0.08, "integral", ("INTEGRAL_WAKEUP", "INTEGRAL_REFINED", "INTEGRAL_OFFLINE"), 0.05),
    (0.07, "svom", ("SVOM_ECLAIRS_WAKEUP", "SVOM_SLEWING"), 0.1),
    (0.05, "einstein_probe", ("einstein_probe.wxt.alert",), 0.04),
    (0.05, "icecube", ("ICECUBE_ASTROTRACK_GOLD", "ICECUBE_ASTROTRACK_GOLD"), 0.8),
)
SKY = """
rules:
  - name: high, dark and far from the Moon
    when: {min_altitude_now: 30, min_moon_distance: 30, max_sun_altitude: -12, max_age: 1 d}
    observe: [{filter: r, seconds: 60}]
  - name: up for an hour
    when: {any: [{min_time_up: 1 h}, {max_error_radius: 1 arcmin}], not: {min_galactic_latitude: 20}}
    observe: [{filter: r, seconds: 60}]
"""


def made(count: int) -> Iterator[Alert]:
    """So many alerts, in the order in which they came; the same every time."""
    chance = random.Random(42)
    number = 0
    kinds = [(kind, kind[0] / len(kind[2])) for kind in KINDS]
    while number < count:
        (_, stream, notices, radius), _share = chance.choices(kinds, [share for _, share in kinds])[0]
        when = BEGIN + timedelta(days=365.25 * YEARS * number / count)
        ra, dec = chance.uniform(0, 360), chance.choice((-1, 1)) * 90 * (1 - chance.random() ** 0.5)
        event = f"{stream}:{number}"
        taken_back = chance.random() < 0.03
        for step, notice in enumerate((*notices, *(("RETRACTION",) if taken_back else ()))):
            last = taken_back and step == len(notices)
            yield Alert(
                stream=stream,
                id=f"ivo://bench/{stream}#{event}-{step}",
                ivorn=f"ivo://bench/{stream}#{event}-{step}",
                kind="retraction" if last else "update" if step else "initial",
                event=event,
                notice_type=notice,
                time=when - timedelta(seconds=20),
                sent=when + timedelta(seconds=30 * step),
                ra=None if last else ra,
                dec=None if last else dec,
                error_radius=None if last else radius / (step + 1) * chance.uniform(0.3, 3),
                containment=None if last else 0.9,
                importance=chance.random(),
            )
            number += 1


def fill(path: Path, count: int) -> None:
    """As if so many packets had been archived; their bytes are left out, which `rules try` doesn't read."""
    archive = Archive(path)
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        with archive.writing() as connection:
            connection.execute(packets.insert(), rows)
            events = {row["key"]: row["key"] for row in rows}
            known = [{"key": key, "event": event} for key, event in events.items()]
            connection.execute(names.insert().prefix_with("OR IGNORE"), known)
        rows.clear()

    for number, alert in enumerate(made(count), 1):
        assert alert.sent is not None
        rows.append(
            {
                "number": number, "identity": alert.id, "sha256": sha256(alert.id.encode()).digest(),
                "source": "bench", "topic": "", "received": alert.sent.timestamp(), "size": 6000,
                "stream": alert.stream, "role": alert.role, "kind": alert.kind, "key": alert.event,
                "time": alert.time.timestamp() if alert.time else None, "ra": alert.ra, "dec": alert.dec,
                "cell": number % (12 * 4**healpix.LEVEL), "alert": msgspec.json.encode(alert), "error": None,
            }
        )  # fmt: skip
        if len(rows) == GROUP:
            flush()
    if rows:
        flush()
    archive.close()


def measure(report: BenchReport, archive: Path, count: int, rules: Path, site: Path | None, name: str) -> list[str]:
    command = [sys.executable, "-c", "from pyros.cli import main; main()", "rules", "try", str(rules), "--json"]
    command += ["--archive", str(archive), *(["--site", str(site)] if site else [])]
    begin = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if ran.returncode:
        raise SystemExit(ran.stderr)
    events = sum(json.loads(line)["events"] for line in ran.stdout.splitlines())
    per_minute = count / seconds * 60
    report.figures("rules try", rules=name, packets=count, events=events, seconds=seconds, per_minute=per_minute)
    return [name, f"{count:,}", f"{events:,}", f"{seconds:.1f}", f"{per_minute:,.0f}"]


def main() -> None:
    options = arguments(__doc__.splitlines()[0]).parse_args()
    report = BenchReport("rules", options.json, ["SQLAlchemy", "pyerfa"])
    count = 4_000 if options.quick else 200_000
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir)).absolute()
    try:
        archive, asking = folder / "archive.sqlite", folder / "sky.yaml"
        fill(archive, count)
        asking.write_text(SKY)
        site, shipped = OBSERVATORY / "site.yaml", OBSERVATORY / "alert_rules.yaml"
        rows = [
            measure(report, archive, count, shipped, None, "the observatory's, without a site"),
            measure(report, archive, count, shipped, site, "the observatory's, from its site"),
            measure(report, archive, count, asking, site, "asking for altitude, Sun and Moon"),
        ]
        report.table(
            "Trying rules on the past", ["rules", "packets", "events accepted", "seconds", "packets a minute"], rows
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.ends()


if __name__ == "__main__":
    main()
