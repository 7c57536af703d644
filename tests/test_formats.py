"""Journals of every format that there was are opened, with all that they had: ``tests/formats`` keeps one of each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pyros.errors import JournalError
from pyros.journal import FORMAT, Journal, JournalReader, Received

FORMATS = Path(__file__).parent / "formats"
TAKEN = [
    Received("b-1", "Weather safe", "b", 1774000000.25, 1774000000.5, '{"reason":"étoile"}'.encode()),
    Received("b-2", "Close", "b", 1774000001.0, 1774000001.125, b"{}", "Traceback: it is stuck"),
    Received("b-3", "Open", "b", 1774000002.0, 1774000002.123456, b'{"for":1}'),
    Received("b-4", "Open", "b", 1774000004.0, 1774000004.5, b"{}"),
]


def kept(folder: Path, number: int) -> Path:
    """Make the journal of that format."""
    path = folder / "a.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FORMATS / f"journal-{number}.sql").read_text())
    return path


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_journal_of_each_format_goes_on(tmp_path: Path, number: int) -> None:
    path = kept(tmp_path, number)
    for _ in range(2):
        journal = Journal(path)
        assert journal.epoch == "epoch-of-a"
        assert (journal.seen, journal.destinations) == ({("b", "epoch-of-b"): 4}, {"c": 2})
        assert (journal.waiting, journal.received_number, journal.failed) == ({"c": 1}, 4, 1)
        assert [(timer.number, timer.due, timer.name) for timer in journal.timers] == [(1, 1774000100.0, "Wake")]
        assert journal.state == b'{"count":3}'
        assert journal.failed_message(2) == TAKEN[1]
        with closing(JournalReader(path)) as reader:
            assert reader.format() == FORMAT
            assert reader.received() == list(enumerate(TAKEN, 1))
            assert [each for _, each in reader.page()] == TAKEN[::-1]
            assert [entry.id for entry in reader.outbox("c", 0, 10)] == ["a-2"]
        journal.close()


def test_a_conversion_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = kept(tmp_path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE turns (mine TEXT)")
        before = list(db.iterdump())
        with pytest.raises(JournalError, match="cannot open the journal: table turns already exists"):
            Journal(path)
        assert list(db.iterdump()) == before


def test_the_newest_format_is_the_one_that_is_kept(tmp_path: Path) -> None:
    """Other tables or columns are another format, and need a conversion and a sample of their own."""

    def tables(path: Path) -> list[str]:
        with closing(sqlite3.connect(path)) as db:
            return [
                row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY type, name")
            ]

    Journal(tmp_path / "new.sqlite").close()
    assert tables(kept(tmp_path, FORMAT)) == tables(tmp_path / "new.sqlite")
    assert not (FORMATS / f"journal-{FORMAT + 1}.sql").exists()
