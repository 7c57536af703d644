"""How long the archive takes to find something among millions of packets: by time, event, stream, words and position.

The rows are made, not parsed: their columns vary as those of real packets do (a hundred streams, five packets an event,
positions all over the sky). Each question is asked many times, for other values each time, on one reader; the plan that
the database says it has must not go through whole tables. ``--url`` measures another database than SQLite.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import sqlalchemy as sa

from bench._authors import event
from bench._common import BenchReport, arguments, median, quantile
from pyros.alerts import parse
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import Archive
from pyros.alerts.archive.query import Query
from pyros.alerts.archive.search import ArchiveReader
from pyros.alerts.archive.tables import names, packets, raw
from pyros.alerts.archive.text_index import VOLUME, SqliteTextIndex, TextIndex, add_to_index

STREAMS = 100
PER_EVENT = 5
CHUNK = VOLUME // 4
FIRST = 1.7e9  # Unix seconds of the first packet; one a minute comes after it
MINUTE = 60.0
POOL = 5_000
WORDY = 2 * VOLUME
"""The newest packets, which are as large as real ones. Older ones have a fifth of the words: 10 million take enough."""

_Said = tuple[int, float, list[str]]


def fill(archive: Archive, count: int, told: Callable[[int], None], until: float = math.inf) -> bool:
    """As if so many packets had been archived; False where the time (of `time.monotonic`) came before the end.

    SQLite gets its rows without SQLAlchemy's parameters and without a journal, a volume of words in each transaction:
    a file whose filling was killed is of no use. `pyros alerts import` tells how fast a real archive fills up.
    """
    with archive.writing() as connection:
        start = connection.execute(sa.select(sa.func.max(packets.c.number))).scalar() or 0
        in_file = connection.dialect.name == "sqlite"
    words = _WordsAtOnce() if in_file else archive._words
    made = _Made(lists=not in_file)
    _without_journal(archive, in_file and start < count)
    for begin in range(start + 1, count + 1, VOLUME):
        if time.monotonic() > until:
            return False
        wordy, end = begin > count - WORDY or not in_file, min(begin + VOLUME, count + 1)
        with archive.writing() as connection:
            if wordy or begin % VOLUME != 1 or begin == 1 or end - begin < VOLUME:
                for first in range(begin, end, CHUNK):
                    rows, said, keys = made.rows(first, min(first + CHUNK, end), wordy)
                    _insert(connection, packets, rows)
                    _insert(connection, raw, [(one, made.packet(" ".join(text), wordy)) for one, _, text in said])
                    _insert(connection, names, [(key, key) for key in keys])
                    add_to_index(connection, words, said)
            else:
                _copy_volume(connection, words, made, begin - 1)
        told(begin)
    _without_journal(archive, False)
    if not in_file:
        with archive.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
    return True


def _copy_volume(connection: sa.Connection, words: TextIndex, made: _Made, more: int) -> None:
    """Write a volume by SQLite itself: the first volume's packets with numbers ``more`` higher, and other positions."""
    run = connection.exec_driver_sql
    run("CREATE TEMP TABLE IF NOT EXISTS texts (number INTEGER PRIMARY KEY, text)")
    run("CREATE TEMP TABLE IF NOT EXISTS places (number INTEGER PRIMARY KEY, ra, dec, cell)")
    if not run("SELECT count(*) FROM texts").scalar():
        for first in range(1, VOLUME + 1, CHUNK):
            said = made.rows(first, first + CHUNK, False)[1]
            run("INSERT INTO texts VALUES (?, ?)", [(number, text.partition(" ")[2]) for number, _, (text,) in said])
    run(
        "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
        list(zip(range(1, VOLUME + 1), *_places(more, VOLUME), strict=True)),
    )
    stream = f"'observatory' || ((p.number + {more}) % {STREAMS}) || '/stream'"
    changed = {
        "number": f"p.number + {more}", "identity": f"'ivo://' || {stream} || '#' || (p.number + {more})",
        "sha256": f"CAST(printf('%032d', p.number + {more}) AS BLOB)", "received": f"received + {more * MINUTE}",
        "stream": stream, "key": f"'event-' || ((p.number + {more}) / {PER_EVENT})", "time": f"time + {more * MINUTE}",
        "ra": "q.ra", "dec": "q.dec", "cell": "q.cell",
    }  # fmt: skip
    columns = [column.name for column in packets.columns]
    run(
        f"INSERT INTO packets ({', '.join(columns)}) SELECT {', '.join(changed.get(each, each) for each in columns)}"
        f" FROM packets AS p JOIN places AS q ON q.number = p.number WHERE p.number <= {VOLUME}"
    )
    run(f"INSERT INTO raw SELECT number + {more}, packet FROM raw WHERE number <= {VOLUME}")
    run(f"INSERT OR IGNORE INTO names SELECT key, key FROM packets WHERE number > {more} AND number % {PER_EVENT} = 0")
    volume = more // VOLUME + 1
    words.close(connection, volume - 1)
    words.create(connection, volume)
    oldest = FIRST + 1 + MINUTE * (more + 1)
    run("INSERT INTO volumes VALUES (?, ?, ?, ?)", (volume, more + 1, oldest, oldest + MINUTE * (VOLUME - 1)))
    run(
        f"INSERT INTO words_{volume} (rowid, text)"
        f" SELECT number + {more}, 'trigger' || ((number + {more}) / {PER_EVENT}) || ' ' || text FROM texts"
    )


def _places(seed: int, size: int) -> tuple[list[float], list[float], list[int]]:
    """Return right ascensions, declinations and cells, all over the sky."""
    chance = np.random.default_rng(seed)
    ra, dec = chance.uniform(0, 360, size), np.degrees(np.arcsin(chance.uniform(-1, 1, size)))
    return ra.tolist(), dec.tolist(), healpix.cells(ra, dec).tolist()


def _without_journal(archive: Archive, wanted: bool) -> None:
    """Let SQLite write without a journal and with a large cache, or as the archive does."""
    if archive._engine.dialect.name != "sqlite":
        return
    archive._engine.dispose()  # a mode is changed by the only connection, outside of any transaction
    connection = archive._engine.raw_connection()
    quick = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000")
    for pragma in quick if wanted else ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-2000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.close()


class _WordsAtOnce(SqliteTextIndex):
    """Writes a volume as one segment, which its optimizing would make of it."""

    def create(self, connection: sa.Connection, volume: int) -> None:
        super().create(connection, volume)
        self._configure(connection, volume, 1 << 30)

    def close(self, connection: sa.Connection, volume: int) -> None:
        super().close(connection, volume)
        self._configure(connection, volume, 1 << 20)

    def _configure(self, connection: sa.Connection, volume: int, hashed: int) -> None:
        name = f"words_{volume}"
        connection.exec_driver_sql(f"INSERT INTO {name} ({name}, rank) VALUES ('hashsize', {hashed})")


def _insert(connection: sa.Connection, table: sa.Table, rows: list[tuple[Any, ...]]) -> None:
    columns = [column.name for column in table.columns]
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})", rows)
    else:
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])


class _Made:
    """Packets as real ones are, as far as the archive can see: those of the corpus have 170 words, 65 of them being in
    nearly every one, and 1.6 KB when they are compressed. Of these the newest `WORDY` have 125 words, older ones 25."""

    def __init__(self, lists: bool) -> None:
        self._lists = lists
        fixed = np.random.default_rng(1)
        alert = parse(event("made", 0))
        said = msgspec.structs.replace(alert, id="@0", ivorn="@0", stream="@1", event="@2", ra=1.25, dec=2.5)
        text = msgspec.json.encode(said).decode().replace("%", "%%")
        marks = {
            "@0": "id",
            "@1": "stream",
            "@2": "event",
            "2026-01-02T03:04:00Z": "time",
            "2026-01-02T03:04:05Z": "time",
        }
        for mark, name in marks.items():
            text = text.replace(mark, f"%({name})s")
        for mark, name in (('"role":"test"', "role"), ('"kind":"initial"', "kind")):
            assert mark in text
            text = text.replace(mark, f'"{name}":"%({name})s"')
        self._alert = text.replace(":1.25", ":%(ra).6f", 1).replace(":2.5", ":%(dec).6f", 1)
        vocabulary = (fixed.zipf(1.3, (POOL, 60)) % 6_000).tolist()
        figures = fixed.integers(0, 100_000, (POOL, 20)).tolist()
        self._words = [
            (
                " ".join(["burst", *(f"common{number}" for number in range(64 // less))]),
                [" ".join({f"prose{word}" for word in words[: 60 // less]}) for words in vocabulary],
                [" ".join({f"{word:05d}" for word in words[: 20 // less]}) for words in figures],
            )
            for less in (6, 1)
        ]
        self._encoded = [f' "{fixed.bytes(1_000).hex()}"' for _ in range(64)]

    def packet(self, text: str, wordy: bool) -> bytes:
        """Return the bytes that have these words, and for one as large as real ones what is none, as an image."""
        return zlib.compress((text + self._encoded[len(text) % 64] if wordy else text).encode(), 3)

    def rows(self, begin: int, end: int, wordy: bool) -> tuple[list[tuple[Any, ...]], list[_Said], list[str]]:
        """The rows of `packets`, what their words are, and the events that are new."""
        size, chance = end - begin, np.random.default_rng(begin)
        own = chance.integers(0, 10_000, (size, 2)).tolist()
        pools = chance.integers(0, POOL, (size, 2)).tolist()
        once = chance.integers(10**7, 10**8, (size, 8 if wordy else 1)).tolist()
        common, pool, more = self._words[wordy]
        found, said, keys = list[tuple[Any, ...]](), list[_Said](), list[str]()
        seconds = np.datetime64(int(FIRST), "s") + np.arange(begin, end) * int(MINUTE)
        for number, here_ra, here_dec, cell, (one, other), (prose, figures), values, when in zip(
            range(begin, end), *_places(begin, size), own, pools, once,
            np.datetime_as_string(seconds, timezone="UTC").tolist(), strict=True,
        ):  # fmt: skip
            stream, key = f"observatory{number % STREAMS}/stream", f"event-{number // PER_EVENT}"
            sent, identity = FIRST + MINUTE * number, f"ivo://{stream}#{number}"
            first = not number % PER_EVENT or number == 1
            if first:
                keys.append(key)
            kind = "initial" if first else "retraction" if number % 1_000 == 4 else "update"
            role = "test" if number % 10 == 0 else "utility" if number % 10_000 == 1 else "observation"
            alert = self._alert % {
                "id": identity, "stream": stream, "event": key, "role": role, "kind": kind,
                "ra": here_ra, "dec": here_dec, "time": when,
            }  # fmt: skip
            found.append((
                number, identity, number.to_bytes(32, "big"), "bench", "", sent + 1, 6_000, stream, role, kind, key,
                sent, here_ra, here_dec, cell, alert.encode(), None,
            ))  # fmt: skip
            text = f"trigger{number // PER_EVENT} word{one} word{other} {common} {pool[prose]} "
            text += f"{more[figures]} {' '.join(map(str, values))}"
            said.append((number, sent + 1, text.split() if self._lists else [text]))
        return found, said, keys


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
        "the last 20 of a role that is rare": lambda _: Query(roles=("utility",), last=20),
        "the last 20 retractions": lambda _: Query(kinds=("retraction",), last=20),
        "an event": lambda chance: Query(event=f"event-{number(chance) // PER_EVENT}"),
        "the event of a packet": lambda chance: Query(event=_identity(number(chance))),
        "a rare word": lambda chance: Query(words=f"trigger{number(chance) // PER_EVENT}"),
        "all with two words": lambda chance: Query(words=f"word{chance.randrange(10_000)} burst"),
        "two words, the last 20": lambda chance: Query(words=f"word{chance.randrange(10_000)} burst", last=20),
        "two words of every packet, the last 20": lambda _: Query(words="burst common7", last=20),
        "two words in a fifth of all, the last 20": lambda _: Query(words="prose12 prose14", last=20),
        "a word of every packet, the last 20": lambda _: Query(words="burst", last=20),
        "a beginning of words, the last 20": lambda chance: Query(words=f"word{chance.randrange(10, 100)}*", last=20),
        "one of 60 words a packet, the last 20": lambda _: Query(words="comm*", last=20),
        "one of a word a packet, the last 20": lambda _: Query(words="trigger*", last=20),
        "a rare one, the last 20": lambda chance: Query(words=f"trigger{number(chance) // PER_EVENT // 10}*", last=20),
        "one of two digits, the last 20": lambda chance: Query(words=f"{chance.randrange(10, 100)}*", last=20),
        "a beginning and a rare word": lambda chance: Query(
            words=f"comm* trigger{number(chance) // PER_EVENT}", last=20
        ),
        "a word of a stream, the last 20": lambda chance: Query(words="burst", streams=stream(chance), last=20),
        "a word on a day": lambda chance: Query(words="burst", **day(chance)),
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
        side, left = reader._side(connection, query)
        compiled = reader.statement(query, side=side, few=left <= 10_000).compile(
            reader._engine, compile_kwargs={"literal_binds": True}
        )
        if reader._engine.dialect.name == "sqlite":
            steps = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
            return [step for step in steps if step.startswith("SCAN packets") and "INDEX" not in step]
        text = str(compiled).replace("%%", "%")
        steps = [str(row[0]) for row in connection.execute(sa.text(f"EXPLAIN {text}".replace(":", "\\:")))]
        return [step.strip() for step in steps if "Seq Scan on packets" in step]


def measure(report: BenchReport, archive: Path | str, count: int, rounds: int) -> None:
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
    parser.add_argument("--minutes", type=float, default=math.inf, help="fill for so long only; again to go on")
    options = parser.parse_args()
    count = options.count or (20_000 if options.quick else 1_000_000)
    report = BenchReport("archive", options.json, ["SQLAlchemy"])
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir))
    try:
        where = options.url or options.keep or folder / "archive.sqlite"
        archive, begin = Archive(where), time.perf_counter()
        end = time.monotonic() + 60 * options.minutes
        filled = fill(archive, count, lambda number: print(f"\r{number:,}", end="", file=sys.stderr, flush=True), end)
        archive.close()
        if not filled:
            raise SystemExit(3)
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
