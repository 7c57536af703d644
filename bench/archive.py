"""How long the archive takes to find something among millions of packets: by time, event, stream, words and position.

The rows are made, not parsed: their columns vary as those of real packets do (a hundred streams, five packets an event,
positions all over the sky). Each question is asked many times, for other values each time, on one reader; the plan that
the database says it has must not go through whole tables. ``--url`` measures another database than SQLite.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from bench._authors import event
from bench._common import Report, arguments, median, quantile
from pyros.alerts import parse, sky
from pyros.alerts.archive import Archive, names, packets, raw
from pyros.alerts.query import Query
from pyros.alerts.search import ArchiveReader

STREAMS = 100
PER_EVENT = 5
CHUNK = 20_000
FIRST = 1.7e9  # Unix seconds of the first packet; one a minute comes after it
MINUTE = 60.0
_PACKET = zlib.compress(b"made for the bench", 3)


def fill(archive: Archive, count: int, told: Callable[[int], None]) -> None:
    """As if so many packets had been archived."""
    chance = np.random.default_rng(1)
    with archive.writing() as connection:
        start = connection.execute(sa.select(sa.func.max(packets.c.number))).scalar() or 0
    for begin in range(start + 1, count + 1, CHUNK):
        rows = list(_rows(begin, min(begin + CHUNK, count + 1), chance))
        with archive.writing() as connection:
            connection.execute(packets.insert(), [columns for columns, _ in rows])
            connection.execute(raw.insert(), [{"number": columns["number"], "packet": _PACKET} for columns, _ in rows])
            keys = [columns["key"] for columns, _ in rows if columns["kind"] == "initial"]
            connection.execute(names.insert(), [{"key": key, "event": key} for key in keys])
            archive._words.add(connection, ((columns["number"], words) for columns, words in rows))
        told(begin)


def _rows(begin: int, end: int, chance: np.random.Generator) -> Iterator[tuple[dict[str, Any], list[str]]]:
    size = end - begin
    ra = chance.uniform(0, 360, size)
    dec = np.degrees(np.arcsin(chance.uniform(-1, 1, size)))
    core, degrees = sky._library()
    cells = core.lonlat_to_healpix(ra * degrees, dec * degrees, 2**sky.LEVEL, order="nested")
    words = chance.integers(0, 10_000, (size, 2))
    alert = parse(event("made", 0))
    for index in range(size):
        number = begin + index
        stream, key = f"observatory{number % STREAMS}/stream", f"event-{number // PER_EVENT}"
        sent = FIRST + MINUTE * number
        identity, position = f"ivo://{stream}#{number}", (float(ra[index]), float(dec[index]))
        said = msgspec.structs.replace(alert, id=identity, stream=stream, event=key, ra=position[0], dec=position[1])
        yield {
            "number": number, "identity": identity, "sha256": number.to_bytes(32, "little"), "source": "bench",
            "topic": "", "received": sent + 1, "size": 6_000, "stream": stream,
            "role": "test" if number % 10 == 0 else "observation",
            "kind": "update" if number % PER_EVENT and number > 1 else "initial", "key": key, "time": sent,
            "ra": position[0], "dec": position[1], "cell": int(cells[index]), "alert": msgspec.json.encode(said),
            "error": None,
        }, ["burst", "common", f"trigger{number // PER_EVENT}", *(f"word{each}" for each in words[index])]  # fmt: skip


def questions(count: int) -> dict[str, Callable[[random.Random], Query]]:
    """What people ask, by a name for the table."""

    def day(chance: random.Random) -> dict[str, Any]:
        begin = FIRST + MINUTE * chance.randrange(max(1, count - 1_440))
        return {"since": begin, "until": begin + 86_400}

    def cone(chance: random.Random, radius: float) -> tuple[float, float, float]:
        return chance.uniform(0, 360), chance.uniform(-80, 80), radius

    def stream(chance: random.Random) -> tuple[str, ...]:
        return (f"observatory{chance.randrange(STREAMS)}/stream",)

    def number(chance: random.Random) -> int:
        return chance.randrange(1, count)

    return {
        "the last 20": lambda _: Query(last=20),
        "a day": lambda chance: Query(**day(chance)),
        "the last 20 of a stream": lambda chance: Query(streams=stream(chance), last=20),
        "a day of a stream": lambda chance: Query(streams=stream(chance), **day(chance)),
        "the last 20 updates": lambda _: Query(kinds=("update",), last=20),
        "an event": lambda chance: Query(event=f"event-{number(chance) // PER_EVENT}"),
        "the event of a packet": lambda chance: Query(event=_identity(number(chance))),
        "a rare word": lambda chance: Query(words=f"trigger{number(chance) // PER_EVENT}"),
        "two words": lambda chance: Query(words=f"word{chance.randrange(10_000)} burst"),
        "a word of every packet, the last 20": lambda _: Query(words="burst", last=20),
        "a beginning of words, the last 20": lambda chance: Query(words=f"word{chance.randrange(10, 100)}*", last=20),
        "5 arcminutes": lambda chance: Query(cone=cone(chance, 5 / 60)),
        "1 degree": lambda chance: Query(cone=cone(chance, 1.0)),
        "10 degrees, the last 20": lambda chance: Query(cone=cone(chance, 10.0), last=20),
        "5 degrees, on a day": lambda chance: Query(cone=cone(chance, 5.0), **day(chance)),
        "1 degree, with a word": lambda chance: Query(cone=cone(chance, 1.0), words=f"word{chance.randrange(10_000)}"),
    }


def _identity(number: int) -> str:
    return f"ivo://observatory{number % STREAMS}/stream#{number}"


def plan(reader: ArchiveReader, query: Query) -> list[str]:
    """The steps of a plan that go through a whole table (SQLite) or all that PostgreSQL says."""
    with reader._engine.connect() as connection:
        compiled = reader.statement(query).compile(reader._engine, compile_kwargs={"literal_binds": True})
        if reader._engine.dialect.name == "sqlite":
            steps = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
            return [step for step in steps if step.startswith("SCAN packets") and "INDEX" not in step]
        text = str(compiled).replace("%%", "%")
        steps = [str(row[0]) for row in connection.execute(sa.text(f"EXPLAIN {text}".replace(":", "\\:")))]
        return [step.strip() for step in steps if "Seq Scan on packets" in step]


def measure(report: Report, archive: Path | str, count: int, rounds: int) -> None:
    """Ask everything; how long until all rows of the answer were there."""
    reader, chance, table = ArchiveReader(archive), random.Random(2), []
    for name, make in questions(count).items():
        seconds, rows = [], []
        scanned = plan(reader, make(chance))
        for _ in range(rounds):
            query = make(chance)
            begin = time.perf_counter()
            rows.append(len(list(reader.find(query))))
            seconds.append(time.perf_counter() - begin)
        p50, p99 = median(seconds) * 1e3, quantile(seconds, 0.99) * 1e3
        figures = {"rows": median(rows), "p50_ms": p50, "p99_ms": p99, "scans": len(scanned)}
        report.figures("query", question=name, packets=count, **figures)
        table.append([name, f"{median(rows):,}", f"{p50:.1f}", f"{p99:.1f}", "; ".join(scanned) or "-"])
    reader.close()
    report.table(f"{count:,} packets", ["", "rows", "p50 ms", "p99 ms", "whole tables"], table)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="packets in the archive; 1,000,000 by default, 20,000 with --quick")
    parser.add_argument("--rounds", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--url", help="measure this database, such as postgresql+psycopg://...")
    parser.add_argument("--keep", type=Path, help="an archive to fill up and measure, and to leave there")
    options = parser.parse_args()
    count = options.count or (20_000 if options.quick else 1_000_000)
    report = Report("archive", options.json, ["SQLAlchemy"])
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir))
    try:
        where = options.url or options.keep or folder / "archive.sqlite"
        archive, begin = Archive(where), time.perf_counter()
        fill(archive, count, lambda number: print(f"\r{number:,}", end="", file=sys.stderr, flush=True))
        archive.close()
        seconds = time.perf_counter() - begin
        size = Path(where).stat().st_size / 2**30 if not options.url else 0.0
        report.figures("fill", packets=count, seconds=seconds, gib=size)
        report.note(f"\nfilled in {seconds:.0f} s, {size:.2f} GiB")
        measure(report, where, count, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.ends()


if __name__ == "__main__":
    main()
