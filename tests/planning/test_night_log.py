"""What is kept of each night's plan."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pyros.journal import Effects, Journal, JournalReader
from pyros.planning import Site, night_log
from pyros.planning.night_log import NightLine


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "scheduler.sqlite"
    Journal(path, durable=False).close()
    return path


def store(path: Path, *writes: object) -> None:
    journal = Journal(path, durable=False)
    effects = Effects()
    effects.also += [night_log.prepare, *writes]  # type: ignore[list-item]
    journal.commit(effects)
    journal.close()


def test_a_night_is_named_by_its_evening_at_the_site() -> None:
    hawaii = Site("Mauna Kea", 19.8, -155.5, 4200.0)
    assert night_log.night_name(hawaii, datetime(2026, 11, 30, 5, tzinfo=UTC).timestamp()) == "2026-11-29"
    assert night_log.night_name(hawaii, datetime(2026, 11, 30, 15, tzinfo=UTC).timestamp()) == "2026-11-29"
    noon = night_log.noon_before(hawaii, date(2026, 11, 29))
    assert night_log.night_name(hawaii, noon + 1) == "2026-11-29"
    assert night_log.night_name(hawaii, noon - 1) == "2026-11-28"


def test_a_journal_without_plans_has_none(journal: Path) -> None:
    reader = JournalReader(journal)
    assert (night_log.nights(reader), night_log.read(reader, "2026-11-29")) == ([], [])


def test_a_later_plan_overwrites_an_earlier_one_but_not_what_happened(journal: Path) -> None:
    line = NightLine(night="2026-11-29", observation="a", target="A", start=10.0, end=20.0, reason="up", planned=1.0)
    happened = NightLine(night="2026-11-29", observation="a", fate="observed", began=11.0, ended=19.0, images=3)
    left_out = NightLine(night="2026-11-29", observation="a", target="A", reason="outranked", planned=2.0)
    store(
        journal,
        lambda db: night_log.write(db, [line]),
        lambda db: night_log.write_fate(db, [happened]),
        lambda db: night_log.write(db, [left_out]),
    )
    (kept,) = night_log.read(JournalReader(journal), "2026-11-29")
    assert (kept.start, kept.reason, kept.planned) == (None, "outranked", 2.0)
    assert (kept.fate, kept.began, kept.ended, kept.images) == ("observed", 11.0, 19.0, 3)


def test_lines_are_in_order_of_time(journal: Path) -> None:
    lines = [
        NightLine(night="2026-11-29", observation="refused"),
        NightLine(night="2026-11-29", observation="late", start=20.0),
        NightLine(night="2026-11-29", observation="early", start=10.0),
    ]
    store(journal, lambda db: night_log.write(db, lines))
    assert [each.observation for each in night_log.read(JournalReader(journal), "2026-11-29")] == [
        "early", "late", "refused",
    ]  # fmt: skip


def test_nights_and_their_lines_are_bounded(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night_log, "MAX_NIGHTS", 2)
    monkeypatch.setattr(night_log, "MAX_LINES", 3)
    lines = [
        NightLine(night=f"2026-11-{night}", observation=f"o{number}") for night in (10, 11, 12) for number in (1, 2)
    ]
    store(journal, lambda db: night_log.write(db, lines), night_log.forget_oldest)
    assert night_log.nights(JournalReader(journal)) == ["2026-11-11", "2026-11-12"]

    def many(db: sqlite3.Connection) -> None:
        night_log.write(db, [NightLine(night="2026-11-12", observation=f"o{number}") for number in range(5)])
        night_log.write(db, [NightLine(night="2026-11-12", observation="o1", reason="again")])

    store(journal, many)
    kept = night_log.read(JournalReader(journal), "2026-11-12")
    assert len(kept) == 3
    assert next(each.reason for each in kept if each.observation == "o1") == "again"
