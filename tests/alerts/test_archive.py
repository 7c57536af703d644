"""The archive: everything is there once, is found in every way, and comes back as it came."""

from __future__ import annotations

import math
import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pyros.alerts import parse
from pyros.alerts.archive import archive as module
from pyros.alerts.archive import healpix, text_index
from pyros.alerts.archive import search as search_module
from pyros.alerts.archive import volumes as volumes_module
from pyros.alerts.archive.archive import Archive, ArchiveResult, Cursor, Packet, engine
from pyros.alerts.archive.query import Query
from pyros.alerts.archive.region import SkyRegion
from pyros.alerts.archive.search import ArchiveReader
from pyros.alerts.archive.tables import metadata, packets, raw
from pyros.alerts.archive.text_index import PostgresqlTextIndex, split, words_of
from pyros.angles import separation
from pyros.errors import AlertError, JournalError
from tests.alerts.conftest import new_database
from tests.builders import voevent

SAMPLES = Path(__file__).with_name("samples")
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def event(
    ivorn: str, *, ra: float = 10.0, dec: float = 20.0, role: str = "observation", text: str = "a burst",
    date: str = "2026-01-02T03:04:05", cites: tuple[str, ...] = (),
) -> bytes:  # fmt: skip
    citations = [("followup", cited) for cited in cites]
    return voevent(ivorn, role=role, date=date, ra=ra, dec=dec, text=text, citations=citations)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server_or_none(request: pytest.FixtureRequest) -> str:
    """Of a whole module, so that the server starts before a test's own processes are counted."""
    found: str = request.getfixturevalue("server") if request.param == "postgresql" else ""
    return found


@pytest.fixture
def place(server_or_none: str, tmp_path: Path) -> Path | str:
    """Where an archive can be made, of each kind."""
    return new_database(server_or_none) if server_or_none else tmp_path / "archive.sqlite"


@pytest.fixture
def archive(place: Path | str) -> Iterator[Archive]:
    archive = Archive(place)
    yield archive
    archive.close()


def ids(archive: Archive, **query: Any) -> list[str]:
    with closing(ArchiveReader(archive.where)) as reader:
        return [entry.identity for entry in reader.find(Query(**query))]


def test_a_packet_comes_back_as_it_came(archive: Archive) -> None:
    packet = (SAMPLES / "burst.xml").read_bytes()
    assert archive.store([Packet(packet, "author 10.0.0.1", 1000.5)]) == ArchiveResult(1, 0, 0)
    reader = ArchiveReader(archive.where)
    (entry,) = reader.find(Query())
    assert reader.packet(entry.number) == packet
    assert entry.alert == parse(packet)
    assert (entry.source, entry.received, entry.size, entry.error) == ("author 10.0.0.1", 1000.5, len(packet), None)
    assert reader.count() == 1
    with pytest.raises(JournalError, match="there is no packet 2"):
        reader.packet(2)
    reader.close()


def test_the_same_bytes_are_kept_once_and_other_bytes_of_the_same_name_beside_them(archive: Archive) -> None:
    one, other = event("ivo://a/b#1"), event("ivo://a/b#1", text="other words")
    assert archive.store([Packet(one, "x", 1.0), Packet(one, "y", 2.0)]) == ArchiveResult(1, 1, 0)
    assert archive.store([Packet(one, "z", 3.0), Packet(other, "z", 3.0)]) == ArchiveResult(1, 1, 0)
    assert ids(archive) == ["ivo://a/b#1", "ivo://a/b#1"]


def test_what_is_there_already_is_not_understood_once_more(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that was interrupted is repeated, and comes quickly to where it was."""
    packets = [Packet(event(f"ivo://a/b#{number}"), "x", 1.0) for number in range(3)]
    archive.store(packets[:2])
    understood: list[bytes] = []

    def counted(packet: bytes, **more: Any) -> Any:
        understood.append(packet)
        return parse(packet, **more)

    monkeypatch.setattr(module, "parse", counted)
    assert archive.store(packets, only_alerts=True) == ArchiveResult(1, 2, 0)
    assert understood == [packets[2].packet]


def test_packets_of_a_span_are_counted(archive: Archive) -> None:
    archive.store([Packet(event(f"ivo://a/b#{number}"), "x", float(number)) for number in range(5)])
    reader = ArchiveReader(archive.where)
    assert [reader.count(), reader.count(since=1.0), reader.count(1.0, 3.0), reader.count(until=3.0)] == [5, 4, 2, 3]
    reader.close()


def test_what_is_not_understood_is_kept_with_the_reason(archive: Archive) -> None:
    assert archive.store([Packet(b"garbage", "x", 1.0), Packet(b"", "x", 2.0)]) == ArchiveResult(2, 0, 2)
    reader = ArchiveReader(archive.where)
    found = list(reader.find(Query()))
    assert [entry.alert for entry in found] == [None, None]
    assert found[0].error is not None
    assert "begins with 'garbage'" in found[0].error
    assert found[1].error == "the packet is empty"
    assert reader.packet(2) == b""
    reader.close()


def test_what_the_broker_refused_is_kept_and_is_no_part_of_an_event(archive: Archive) -> None:
    archive.store([Packet(event("ivo://a/b#1"), "x", 1.0, refused="conflicts with event 7")])
    reader = ArchiveReader(archive.where)
    (entry,) = reader.find(Query())
    assert entry.error == "conflicts with event 7"
    reader.close()


def test_found_by_stream_role_kind_and_time(archive: Archive) -> None:
    packets = [
        event("ivo://a/b#1"), event("ivo://c/d#2", role="test"), event("ivo://a/b#3", cites=("ivo://a/b#1",)),
    ]  # fmt: skip
    archive.store([Packet(packet, "x", 100.0 + number) for number, packet in enumerate(packets)])
    assert ids(archive, streams=("a/b",)) == ["ivo://a/b#1", "ivo://a/b#3"]
    assert ids(archive, roles=("test",)) == ["ivo://c/d#2"]
    assert ids(archive, kinds=("update",)) == ["ivo://a/b#3"]
    assert ids(archive, since=101.0, until=102.0) == ["ivo://c/d#2"]
    assert ids(archive, last=2) == ["ivo://c/d#2", "ivo://a/b#3"]
    assert ids(archive, last=1, streams=("a/b",)) == ["ivo://a/b#3"]


def test_an_imported_packet_has_the_time_at_which_it_was_written(archive: Archive) -> None:
    archive.store([Packet(event("ivo://a/b#1"), "import"), Packet(b"?", "import", otherwise=42.0)])
    reader = ArchiveReader(archive.where)
    assert [entry.received for entry in reader.find(Query())] == [42.0, 1767323045.0]
    reader.close()


def test_an_imported_packet_that_tells_only_when_it_happened(archive: Archive) -> None:
    packet = event("ivo://a/b#1").replace(b"<Date>2026-01-02T03:04:05</Date>", b"")
    happened = 1767323045.0
    archive.store([
        Packet(packet, "saved as it came", otherwise=happened + 60),
        Packet(packet.replace(b"#1", b"#2"), "copied years later", otherwise=happened + 1e8),
    ])  # fmt: skip
    reader = ArchiveReader(archive.where)
    assert [entry.received - happened for entry in reader.find(Query())] == [0.0, 60.0]
    reader.close()


def test_found_by_words(archive: Archive) -> None:
    archive.store([
        Packet(event("ivo://a/b#1", text="A bright GRB 260102A, seen by Swift"), "x", 1.0),
        Packet(event("ivo://a/b#2", text="nothing Swift to see"), "x", 2.0),
    ])  # fmt: skip
    assert ids(archive, words="swift") == ["ivo://a/b#1", "ivo://a/b#2"]
    assert ids(archive, words="SWIFT bright") == ["ivo://a/b#1"]
    assert ids(archive, words="GRB 2601*") == ["ivo://a/b#1"]
    assert ids(archive, words="2601") == []
    assert ids(archive, words="GRB-260102A") == ["ivo://a/b#1"]
    assert ids(archive, words='"; DROP TABLE packets; -- swift') == []
    for nothing in ("", "*", "- ?"):
        if nothing:
            with pytest.raises(AlertError, match="no word to search for"):
                ids(archive, words=nothing)


@pytest.mark.parametrize(
    ("volume", "many", "together", "few", "own"),
    [(131_072, 2_000, 500, 10_000, 32_768), (7, 2, 3, 10_000, 1), (10, 0, 1, 5, 1_500), (10, 9, 4, 0, 1_000_000)],
)
def test_every_way_of_searching_finds_the_same(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, volume: int, many: int, together: int, few: int, own: int
) -> None:
    monkeypatch.setattr(text_index, "VOLUME", volume)
    monkeypatch.setattr(volumes_module, "MANY_PACKETS", many)
    monkeypatch.setattr(volumes_module, "MAX_GROUP", together)
    monkeypatch.setattr(volumes_module, "FIRST_GROUP", together)
    monkeypatch.setattr(volumes_module, "OWN_WORDS_BYTES", own)
    monkeypatch.setattr(volumes_module, "QUICK_SECONDS", math.inf)
    monkeypatch.setattr(text_index, "ROWS_A_LOOKUP", together)
    monkeypatch.setattr(search_module, "FEW_PACKETS", few)
    chance = random.Random(3)
    numbers = list(range(60))
    chance.shuffle(numbers)  # packets that are imported don't come in the order of their times

    def said(number: int) -> str:
        return f"common item{number}" + (" rare" if number % 7 == 0 else "")

    def fits(word: str, words: list[str]) -> bool:
        return any(each.startswith(word[:-1]) for each in words) if word.endswith("*") else word in words

    group = [
        Packet(event(f"ivo://a/b#{number}", ra=10 + number / 20, text=said(number)), "x", float(number // 2))
        for number in numbers
    ]  # fmt: skip
    for begin in range(0, 60, 6):
        archive.store(group[begin : begin + 6])
    reader = ArchiveReader(archive.where)
    placed = sorted(range(60), key=lambda number: (number // 2, numbers.index(number)))
    for words, cone, since, until in [
        ("common", None, None, None), ("common rare", None, None, None), ("comm*", None, None, None),
        ("item1*", None, None, None), ("rare item4* comm*", None, None, None), ("none", None, None, None),
        ("rare", (10.0, 20.0, 0.29), None, None), ("comm*", (10.0, 20.0, 0.29), None, None),
        ("item2*", (10.0, 20.0, 5.0), None, None), ("common", (10.0, 20.0, 5.0), None, None),
        ("common", None, 5.0, 21.0), ("item*", None, 12.0, None), ("rare", None, None, 12.0),
        ("", None, None, None), ("", (10.0, 20.0, 1.0), None, None),
    ]:  # fmt: skip
        expected = [
            f"ivo://a/b#{number}" for number in placed
            if all(fits(word, said(number).split()) for word in words.split())
            and (cone is None or separation(cone[0], cone[1], 10 + number / 20, 20.0) <= cone[2])
            and (since is None or number // 2 >= since) and (until is None or number // 2 < until)
        ]  # fmt: skip
        assert bool(expected) == (words != "none")
        query: dict[str, Any] = {"words": words, "cone": cone, "since": since, "until": until}
        assert [entry.identity for entry in reader.find(Query(**query))] == expected
        for last in (1, 3, 20):
            found = [entry.identity for entry in reader.find(Query(last=last, **query))]
            assert found == expected[-last:], (query, last)
        paged: list[str] = []
        page = list(reader.find(Query(last=7, **query)))
        while page:
            paged = [entry.identity for entry in page] + paged
            page = list(reader.find(Query(last=7, before=(page[0].received, page[0].number), **query)))
        assert paged == expected, query
        if together == 1:  # too many pages
            continue
        some, paused = reader.page(Query(last=7, **query), 0.0), list[str]()
        while some.before is not None:
            paused += [entry.identity for entry in some.packets]
            some = reader.page(Query(last=7, before=some.before, **query), 0.0)
        assert [*paused, *(entry.identity for entry in some.packets)] == expected[::-1], query
    reader.close()


def test_a_search_for_the_newest_ends_when_it_has_them(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_index, "VOLUME", 5)
    monkeypatch.setattr(search_module, "FEW_PACKETS", 0)
    for number in range(20):
        archive.store([Packet(event(f"ivo://a/b#{number}", text=f"common item{number}"), "x", float(number))])
    looked: list[int] = []
    some = text_index.SqliteTextIndex.newest, text_index.PostgresqlTextIndex.newest

    def counted(self: Any, connection: Any, volume: int, *args: Any) -> list[int]:
        looked.append(volume)
        return some[isinstance(self, PostgresqlTextIndex)](self, connection, volume, *args)

    for kind in (text_index.SqliteTextIndex, text_index.PostgresqlTextIndex):
        monkeypatch.setattr(kind, "newest", counted)
    assert ids(archive, words="comm*", last=2) == ["ivo://a/b#18", "ivo://a/b#19"]
    assert looked == [4]
    looked.clear()
    assert ids(archive, words="common", until=8.0, last=2) == ["ivo://a/b#6", "ivo://a/b#7"]
    assert looked == [2]


def test_an_archive_of_format_1_is_brought_up_to_date(archive: Archive, place: Path | str) -> None:
    archive.store([
        Packet(event(f"ivo://a/b#{number}", text=f"common item{number}"), "x", float(number)) for number in range(3)
    ])  # fmt: skip
    with archive.writing() as connection:  # as format 1 was
        connection.execute(sa.text("UPDATE meta SET format = 1"))
        if connection.dialect.name == "sqlite":
            connection.execute(sa.text("ALTER TABLE words_1 RENAME TO words"))
        else:
            connection.execute(sa.text("CREATE TABLE word_table (word VARCHAR(40), packet BIGINT)"))
            connection.execute(sa.text(
                "INSERT INTO word_table SELECT unnest(tsvector_to_array(words)), packet FROM words_1"
            ))  # fmt: skip
            connection.execute(sa.text("DROP TABLE words_1"))
        for dropped in ("TABLE volumes", "INDEX packets_role", "INDEX packets_kind", "INDEX packets_cell"):
            connection.execute(sa.text(f"DROP {dropped}"))
        connection.execute(sa.text("CREATE INDEX ix_packets_cell ON packets (cell)"))
    with pytest.raises(JournalError, match="an archive of format 1, this PYROS has 3; the broker, when it starts, or"):
        ArchiveReader(place)
    told: list[tuple[int, int]] = []

    def given_up(done: int, of: int) -> None:
        raise JournalError(f"{done} of {of}")

    with pytest.raises(JournalError, match="0 of 3"):
        Archive(place, given_up)
    newer = Archive(place, lambda *progress: told.append(progress))
    assert told[0] == (0, 3)
    assert isinstance(place, Path) or told[-1] == (3, 3)
    newer.store([Packet(event("ivo://a/b#3", text="common item3"), "x", 3.0)])
    assert ids(newer, words="common") == [f"ivo://a/b#{number}" for number in range(4)]
    assert ids(newer, words="item*", last=2) == ["ivo://a/b#2", "ivo://a/b#3"]
    assert {"packets_role", "packets_kind", "packets_cell"} <= indexed(place)
    assert "ix_packets_cell" not in indexed(place)
    newer.close()
    Archive(place, given_up).close()


def indexed(place: Path | str) -> set[str | None]:
    """Return the names of the indices of packets."""
    database = engine(place)
    try:
        return {each["name"] for each in sa.inspect(database).get_indexes("packets")}
    finally:
        database.dispose()


def test_an_archive_of_format_2_is_brought_up_to_date(archive: Archive, place: Path | str) -> None:
    archive.store([Packet(event(f"ivo://a/b#{number}", ra=10.0, dec=20.0), "x", float(number)) for number in range(3)])
    with archive.writing() as connection:  # as format 2 was
        connection.execute(sa.text("UPDATE meta SET format = 2"))
        connection.execute(sa.text("DROP INDEX packets_cell"))
        connection.execute(sa.text("CREATE INDEX ix_packets_cell ON packets (cell)"))
    told: list[tuple[int, int]] = []
    newer = Archive(place, lambda *progress: told.append(progress))
    assert told == [(0, 3), (3, 3)]
    assert {"packets_cell"} == {"packets_cell", "ix_packets_cell"} & indexed(place)
    assert ids(newer, cone=(10.0, 20.0, 0.5), last=2) == ["ivo://a/b#1", "ivo://a/b#2"]
    newer.close()


def test_an_empty_archive_of_format_1_too(tmp_path: Path) -> None:
    Archive(tmp_path / "archive.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "archive.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE meta SET format = 1")
        db.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=none)")
    archive = Archive(tmp_path / "archive.sqlite")
    archive.store([Packet(event("ivo://a/b#3", text="common item3"), "x", 3.0)])
    assert ids(archive, words="common") == ["ivo://a/b#3"]
    archive.close()


@pytest.fixture
def executed() -> Iterator[list[str]]:
    """Gather the plans of all that is asked of an archive's packets."""
    plans: list[str] = []

    def explained(connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM packets" in statement:
            cursor = connection.connection.cursor()
            plans.extend(str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    sa.event.listen(sa.Engine, "before_cursor_execute", explained)
    yield plans
    sa.event.remove(sa.Engine, "before_cursor_execute", explained)


@pytest.mark.parametrize(
    ("query", "index", "few"),
    [
        (Query(last=20), "ix_packets_received", True),
        (Query(since=1.0, until=2.0), "ix_packets_received", True),
        (Query(streams=("a/b",), last=20), "COVERING INDEX packets_stream", True),
        (Query(streams=("a/b",)), "packets_stream", True),
        (Query(event="ivo://a/b#1"), "ix_packets_", True),
        (Query(cone=(10.0, 20.0, 1.0)), "packets_cell", True),
        (Query(cone=(10.0, 20.0, 1.0), last=20), "COVERING INDEX packets_cell", True),
        (Query(cone=(10.0, 20.0, 1.0), since=1.0, before=(5.0, 7), last=20), "COVERING INDEX packets_cell", True),
        (Query(cone=(10.0, 20.0, 10.0), last=20), "COVERING INDEX ix_packets_received", False),
        (Query(cone=(10.0, 20.0, 10.0), streams=("a/b",), last=20), "COVERING INDEX packets_stream", False),
        (Query(roles=("utility",), last=20), "COVERING INDEX packets_role", True),
        (Query(kinds=("retraction",), last=20), "COVERING INDEX packets_kind", True),
        (Query(kinds=("retraction",), roles=("test",), last=20),
         "COVERING INDEX packets_kind (kind=? AND received=? AND rowid", False),
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_goes_through_the_whole_table(
    tmp_path: Path, executed: list[str], monkeypatch: pytest.MonkeyPatch, query: Query, index: str, few: bool
) -> None:
    if not few:
        monkeypatch.setattr(search_module, "FEW_PACKETS", -1)
        monkeypatch.setattr(search_module, "COUNTED", (0, 400_000))
    archive = Archive(tmp_path / "archive.sqlite")
    with closing(ArchiveReader(archive.where)) as reader:
        executed.clear()
        assert list(reader.find(query)) == []
    archive.close()
    assert any(index in step for step in executed), executed
    assert not any(step.startswith("SCAN packets") and "INDEX" not in step for step in executed), executed


OF_SKY, VOLUMES = 4_000, 8


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an archive of 4,000 packets in 8 volumes, without right ascensions of 180 to 360 degrees."""
    archive = Archive(tmp_path_factory.mktemp("large") / "archive.sqlite")
    chance = random.Random(5)
    with pytest.MonkeyPatch.context() as patch, archive.writing() as connection:
        patch.setattr(text_index, "VOLUME", OF_SKY // VOLUMES)
        for begin in range(1, OF_SKY + 1, 100):
            rows, bytes_of, said = [], [], []
            for number in range(begin, begin + 100):
                ra, dec = chance.uniform(0, 180), math.degrees(math.asin(chance.uniform(-1, 1)))
                words = [f"one{number}", "every", *(f"common{n}" for n in range(40)), f"some{number % 7}"]
                rows.append({
                    "number": number, "identity": f"p{number}", "sha256": number.to_bytes(32, "big"), "source": "",
                    "topic": "", "received": float(number), "size": 1, "stream": f"s{number % 10}/s",
                    "role": "utility" if number % 400 == 3 else "test" if number % 2 else "observation",
                    "kind": "retraction" if number % 500 == 8 else "update", "key": f"e{number}", "time": None,
                    "ra": ra, "dec": dec, "cell": healpix.cell(ra, dec), "alert": None, "error": None,
                })  # fmt: skip
                bytes_of.append({"number": number, "packet": zlib.compress(" ".join(words).encode())})
                said.append((number, float(number), words))
            connection.execute(packets.insert(), rows)
            connection.execute(raw.insert(), bytes_of)
            text_index.add_to_index(connection, text_index.SqliteTextIndex(), said)
    archive.close()
    return Path(archive.where)


NOWHERE, DENSE = (270.0, 0.0, 40.0), (90.0, 0.0, 8.0)


@pytest.mark.parametrize(
    ("asked", "rows", "least"),
    [
        ({"cone": NOWHERE}, 0, 0),
        ({"cone": NOWHERE, "words": "every"}, 0, 0),
        ({"roles": ("utility",), "streams": ("s3/s",)}, 10, 10),
        ({"roles": ("utility",), "streams": ("s4/s",)}, 10, 0),
        ({"kinds": ("retraction",), "roles": ("test",)}, 8, 0),
        ({"kinds": ("update",), "roles": ("utility",)}, 10, 10),
        ({"kinds": ("update",), "roles": ("utility",), "words": "comm* every"}, 10, 10),
        ({"streams": ("s4/s",), "roles": ("test",), "words": "every"}, 400, 0),
        ({"since": 100.0, "until": 120.0, "words": "comm*", "roles": ("test",)}, 20, 10),
        ({"cone": DENSE, "roles": ("utility",), "words": "some*"}, 10, 0),
        ({"words": "comm* every some3 one7*"}, 20, 1),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_combined_costs_what_its_smallest_side_does(
    large: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], rows: int, least: int
) -> None:
    """In steps of SQLite's machine: a walk through all the packets takes 40,000 and more."""
    monkeypatch.setattr(search_module, "FEW_PACKETS", 200)
    monkeypatch.setattr(search_module, "COUNTED", (500,))
    monkeypatch.setattr(text_index, "ROWS_A_LOOKUP", 5)
    monkeypatch.setattr(volumes_module, "OWN_WORDS_BYTES", 10_000)
    monkeypatch.setattr(volumes_module, "QUICK_SECONDS", math.inf)
    steps = 0

    def counted() -> int:
        nonlocal steps
        steps += 10
        return 0

    with closing(ArchiveReader(large)) as reader:
        found = list(reader.find(Query(**asked, last=20)))  # what the schema costs is paid
        assert len(found) >= least

        def prepared(connection: Any, *_: Any) -> None:
            connection.connection.dbapi_connection.set_progress_handler(counted, 10)

        sa.event.listen(sa.Engine, "before_cursor_execute", prepared)
        try:
            assert list(reader.find(Query(**asked, last=20))) == found
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", prepared)
    assert steps < 22_000 + 20 * (rows + 20), steps


@pytest.mark.parametrize(
    ("asked", "candidates", "found"),
    [
        ({"roles": ("utility",)}, 10, 10), ({"cone": DENSE}, 70, 20), ({"streams": ("s4/s",)}, 400, 20),
        ({"since": 1_000.0, "until": 1_050.0, "roles": ("test",)}, 50, 20), ({}, 50, 20), ({"words": "one77"}, 1, 1),
        ({"words": "every", "roles": ("utility",)}, 10, 10),
    ],
    ids=repr,
)  # fmt: skip
def test_a_beginning_that_all_have_is_not_gone_through(
    large: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], candidates: int, found: int
) -> None:
    """FTS5 collects all that has one, before it tells anything: the packets' own words are cheaper, where few fit."""
    paid = 0
    index = text_index.SqliteTextIndex
    newest, matching, split_words = index.newest, index.matching, words_of

    def paying(kind: Any) -> Any:
        def call(self: Any, connection: Any, volume: int, wanted: Any, *args: Any) -> Any:
            nonlocal paid
            paid += self.price(connection, volume, wanted)
            return kind(self, connection, volume, wanted, *args)

        return call

    def splitting(*args: Any) -> list[str]:
        nonlocal paid
        paid += own
        return split_words(*args)

    words = f"comm* {asked.get('words', '')}"
    own = 10_000  # of an index that is a two hundredth of a real one
    monkeypatch.setattr(volumes_module, "OWN_WORDS_BYTES", own)
    monkeypatch.setattr(volumes_module, "QUICK_SECONDS", math.inf)
    monkeypatch.setattr(index, "newest", paying(newest))
    monkeypatch.setattr(index, "matching", paying(matching))
    monkeypatch.setattr(search_module, "words_of", splitting)
    with closing(ArchiveReader(large)) as reader:
        assert len(list(reader.find(Query(**{**asked, "words": words}, last=20)))) == found
    assert 0 < paid <= own * min(candidates, 70)


@pytest.mark.parametrize("words", ["", "every", "comm*", "some3"])
def test_of_a_place_only_the_newest_packets_rows_are_read(large: Path, words: str) -> None:
    """Each is a read of a place of its own from a disk: 2 ms, where nothing of it is in memory."""
    looked: set[int] = set()

    def counted(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "packets.ra" in statement:
            looked.update(values)

    sa.event.listen(sa.Engine, "before_cursor_execute", counted)
    try:
        with closing(ArchiveReader(large)) as reader:
            page = reader.page(Query(cone=(90.0, 0.0, 40.0), words=words, last=10), 60.0)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", counted)
    assert len(page.packets) == 10
    assert len(looked) <= 50


def test_words_leave_out_markup_and_embedded_maps() -> None:
    found = words_of(b'<VOEvent><Param name="Trig_ID" value="naive"/>A \xc3\xa9toile</VOEvent>', "swift:1")
    assert found == ["swift", "trig", "id", "naive", "étoile"]
    notice = b'{"superevent_id": "S1234a", "skymap": "' + b"QUJD" * 10_000 + b'", "group": "CBC"}'
    assert words_of(notice) == ["superevent", "id", "s1234a", "skymap", "group", "cbc"]
    assert words_of("<a>UTF Sixteen</a>".encode("utf-16")) == ["utf", "sixteen"]
    assert split("GRB_Pos 1017711-349 x") == ["grb", "pos", "1017711", "349"]


def test_a_cone_search_finds_what_is_there_and_nothing_else(archive: Archive) -> None:
    chance = random.Random(7)
    places = [
        (chance.uniform(0, 360), math.degrees(math.asin(chance.uniform(-1, 1)))) for _ in range(300)
    ] + [(0.001, 0.0), (359.999, 0.001), (123.0, 89.99), (303.0, 89.99), (0.0, -90.0)]  # fmt: skip
    archive.store([
        Packet(event(f"ivo://a/b#{number}", ra=ra, dec=dec), "x", float(number))
        for number, (ra, dec) in enumerate(places)
    ])  # fmt: skip
    for ra, dec, radius in [(0, 0, 0.01), (0, 0, 5), (200, 90, 0.05), (10, -90, 20), (180, 30, 40), (5, 5, 170)]:
        expected = [
            f"ivo://a/b#{number}" for number, place in enumerate(places)
            if separation(ra, dec, *place) <= radius
        ]  # fmt: skip
        assert expected
        assert ids(archive, cone=(ra, dec, radius)) == expected
        assert ids(archive, cone=(ra, dec, radius), last=1) == expected[-1:]
    for moc in ("6/0-2000", "0/0-11", "3/5 9/3000000", "8/" + " ".join(str(number * 700) for number in range(1000))):
        region = SkyRegion.of_moc(moc)
        inside = [number for number, place in enumerate(places) if region.has_cell(healpix.cell(*place))]
        assert ids(archive, region=region) == [f"ivo://a/b#{number}" for number in inside]
        assert ids(archive, region=region, last=2) == [f"ivo://a/b#{number}" for number in inside[-2:]]
        near = [number for number in inside if separation(180, 30, *places[number]) <= 80]
        assert ids(archive, region=region, cone=(180, 30, 80)) == [f"ivo://a/b#{number}" for number in near]


@pytest.mark.parametrize("together", [True, False])
def test_an_event_has_all_packets_that_cite_each_other(archive: Archive, together: bool) -> None:
    packets = [
        event("ivo://a/one#1"), event("ivo://b/two#2", cites=("ivo://a/one#1", "ivo://c/late#3")),
        event("ivo://c/late#3"), event("ivo://d/alone#4"), event("ivo://e/five#5", cites=("ivo://c/late#3",)),
    ]  # fmt: skip
    for order in (packets, packets[::-1]):
        groups = [order] if together else [[packet] for packet in order]
        for group in groups:
            archive.store([Packet(packet, "x", 1.0) for packet in group])
        for name in ("ivo://a/one#1", "ivo://b/two#2", "ivo://c/late#3", "ivo://e/five#5"):
            assert sorted(ids(archive, event=name)) == [
                "ivo://a/one#1", "ivo://b/two#2", "ivo://c/late#3", "ivo://e/five#5",
            ]  # fmt: skip
        assert ids(archive, event="ivo://d/alone#4") == ["ivo://d/alone#4"]
    assert ids(archive, event="nothing") == []


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of real packets at {CORPUS}")
def test_the_archive_joins_the_corpus_as_the_alert_manager_does(archive: Archive) -> None:
    from pyros.alerts.identity import Event, add, is_same_event, join, packet_record

    files = sorted(path for path in (CORPUS / "voevent").rglob("*.xml") if path.is_file())
    random.Random(3).shuffle(files)
    packets = [Packet(path.read_bytes(), str(path), 1.0) for path in files]
    for start in range(0, len(packets), 37):
        archive.store(packets[start : start + 37])
    reader = ArchiveReader(archive.where)
    found: dict[str, set[str]] = {}
    events: list[Event] = []
    for entry in reader.find(Query()):
        assert entry.alert is not None
        found.setdefault(entry.event, set()).add(entry.identity)
        new = packet_record(entry.alert)
        mine = [each for each in events if is_same_event(each, new)]
        events = [each for each in events if each not in mine] + [add(join(*mine), new)]
    assert {frozenset(ids) for ids in found.values()} == {
        frozenset(each.id for each in event.packets) for event in events
    }
    reader.close()


def test_a_group_and_its_cursor_are_one(archive: Archive) -> None:
    assert archive.cursor("broker") == Cursor("broker", "", 0)
    archive.store([Packet(event("ivo://a/b#1"), "x", 1.0)], Cursor("broker", "e", 1))
    assert archive.cursor("broker") == Cursor("broker", "e", 1)

    def fails(*_: Any) -> None:
        raise sa.exc.OperationalError("", {}, Exception("database or disk is full"))

    sa.event.listen(sa.Engine, "commit", fails)
    try:
        with pytest.raises(JournalError, match=r"archive[^ ]*: the archive cannot be used: .*disk is full"):
            archive.store([Packet(event("ivo://a/b#2"), "x", 1.0)], Cursor("broker", "e", 2))
    finally:
        sa.event.remove(sa.Engine, "commit", fails)
    assert archive.cursor("broker") == Cursor("broker", "e", 1)
    assert ids(archive) == ["ivo://a/b#1"]
    archive.store([Packet(event("ivo://a/b#2"), "x", 1.0)], Cursor("broker", "e", 2))
    assert ids(archive) == ["ivo://a/b#1", "ivo://a/b#2"]


def test_two_writers_take_turns(archive: Archive) -> None:
    other = Archive(archive.where)
    for number in range(5):
        archive.store([Packet(event(f"ivo://a/b#{number}"), "x", 1.0)])
        other.store([Packet(event(f"ivo://c/d#{number}"), "x", 1.0)])
    other.close()
    assert len(ids(archive)) == 10


def test_what_is_no_archive_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "garbage.sqlite").write_bytes(b"x" * 5000)
    for make in (Archive, ArchiveReader):
        with pytest.raises(JournalError, match=r"garbage\.sqlite: the archive cannot be used: file is not a database"):
            list(ArchiveReader(tmp_path / "garbage.sqlite").find(Query())) if make is ArchiveReader else make(
                tmp_path / "garbage.sqlite"
            )
    (tmp_path / "begun.sqlite").touch()  # its writer was killed before it had made its tables
    for none in ("none.sqlite", "begun.sqlite"):
        with pytest.raises(JournalError, match="no such archive"):
            ArchiveReader(tmp_path / none)
    with pytest.raises(JournalError, match="the archive cannot be used"):
        Archive("nonsense://x")
    Archive(tmp_path / "new.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE meta SET format = 99")
    with pytest.raises(JournalError, match="an archive of format 99, this PYROS has 3"):
        Archive(tmp_path / "new.sqlite")
    with pytest.raises(JournalError, match="format 99, this PYROS has 3; take a newer PYROS"):
        ArchiveReader(tmp_path / "new.sqlite")


def test_postgresql_can_take_its_place(tmp_path: Path) -> None:
    """All of it but the words of SQLite is SQL that PostgreSQL's dialect can be given."""
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        text = str(sa.schema.CreateTable(table).compile(dialect=dialect))
        assert "BLOB" not in text
        assert "SERIAL" not in text, "the numbers are ours"
    archive = Archive(tmp_path / "a.sqlite")
    reader = ArchiveReader(archive.where)
    everything = Query(event="e", streams=("a",), roles=("b",), kinds=("c",), since=1, until=2, cone=(1, 2, 3), last=4)
    statement = reader.statement(everything, packets.c.number.in_((1, 2)), (0.0, 9.0), side="cell", few=False)
    text = str(statement.compile(dialect=dialect))
    assert "MATCH" not in text
    assert "BETWEEN" in text
    reader.close()
    archive.close()
