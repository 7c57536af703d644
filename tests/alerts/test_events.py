"""The table of events finds by packet, key and name what a plain list would, on files and on objects, mid-turn too."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import events, identity
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.journal import SQLITE, AnyJournals, Effects, MemoryJournals

PATH = Path("alert_manager.sqlite")


class EventTurns:
    """What an agent does with the table: turns with handlers, some of which raise."""

    def __init__(self, journals: AnyJournals, folder: Path) -> None:
        self.path = folder / PATH
        self.journals = journals
        self.journal = journals.open(self.path, durable=False, schema=events.SCHEMA)
        self.effects = Effects()
        self.table = EventTable(self.journal.rows, lambda: self.effects.also)

    def commit(self) -> None:
        self.journal.commit(self.effects)
        self.effects = Effects()

    def take(self, new: PacketRecord) -> bool:
        """Put a packet into its event, unless one of its name is there, as the alert manager does."""
        known, _ = self.table.about(new)
        if any(each.followed.event.has(new.id) for each in known):
            return False
        stored = known[0] if known else StoredEvent(0, new.key + (" (test)" if new.role == "test" else ""), Followed())
        merged = identity.join(*(each.followed.event for each in known), Event((new,)))
        stored.followed = Followed(merged)
        self.effects.also.append(self.table.change(stored, (new,), known[1:]))
        return True


PACKETS = st.builds(
    lambda number, key, cites, test: PacketRecord(
        id=f"p{number}", key=f"k:{key}", role="test" if test else "observation", sent=float(number),
        links=tuple(f"p{each}" for each in cites),
    ),
    st.integers(0, 12), st.integers(0, 9), st.lists(st.integers(0, 12), max_size=2), st.booleans(),
)  # fmt: skip
STEPS = st.lists(st.one_of(PACKETS, st.sampled_from(["commit", "undo", "restart"])), max_size=25)


def joined(packets: Sequence[PacketRecord]) -> list[Event]:
    """Put the packets together as plainly as can be."""
    found: list[Event] = []
    for new in packets:
        same = [each for each in found if identity.is_same_event(each, new)]
        merged = identity.join(*same, Event((new,)))
        found = [merged if same and each is same[0] else each for each in found if each not in same[1:]]
        found += [] if same else [merged]
    return found


@pytest.mark.parametrize("kind", ["files", "objects"])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_finds_what_a_plain_list_finds(kind: str, steps: list[PacketRecord | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        turns = EventTurns(SQLITE if kind == "files" else MemoryJournals(), Path(folder))
        taken: list[PacketRecord] = []
        for step in steps:
            if step == "commit":
                turns.commit()
            elif step == "restart":
                turns.commit()
                turns.journal.close()
                turns.__init__(turns.journals, Path(folder))  # type: ignore[misc]
            elif step == "undo":  # a handler that raises after it has changed the table
                mark = len(turns.effects.also)
                turns.take(PacketRecord(id="lost", key="k:0", role="observation", links=("p1", "p2")))
                del turns.effects.also[mark:]
            elif isinstance(step, PacketRecord):
                taken += [step] if turns.take(step) else []
        plain = joined(taken)
        for each in taken:
            (found,), _ = turns.table.about(each)
            (wanted,) = [event for event in plain if identity.is_same_event(event, each)]
            assert found.followed.event == wanted
            assert turns.table.named(found.name) == found
        assert turns.table.having("lost") == []
        turns.commit()
        reader = turns.journals.reader(turns.path)
        assert len(events.read(reader)) == len(plain)
        reader.close()
        turns.journal.close()


def test_a_name_that_was_given_on_is_free(tmp_path: Path) -> None:
    turns = EventTurns(SQLITE, tmp_path)
    turns.take(PacketRecord(id="t", key="k:1", role="test"))
    turns.commit()
    stored = turns.table.named("k:1 (test)")
    assert stored is not None
    stored.name = "other"
    turns.effects.also.append(turns.table.change(stored))
    assert turns.table.named("k:1 (test)") is None
    assert turns.table.named("other") == stored
    turns.commit()
    assert turns.table.named("k:1 (test)") is None


def test_a_journal_of_an_earlier_version_has_no_events(tmp_path: Path) -> None:
    journal = SQLITE.open(tmp_path / PATH, durable=False)
    assert events.read(journal.reader()) == []
    with closing(sqlite3.connect(tmp_path / PATH)) as db, pytest.raises(sqlite3.OperationalError):
        db.execute("SELECT * FROM alert_events")
    journal.close()


def test_what_is_stored_is_json_that_sqlite_can_read(tmp_path: Path) -> None:
    turns = EventTurns(SQLITE, tmp_path)
    turns.take(PacketRecord(id="p", key="k:1", ra=1.0, dec=2.0))
    turns.commit()
    ((content,),) = turns.journal.rows("SELECT CAST(content AS TEXT) FROM alert_events")
    assert msgspec.json.decode(content)["event"]["sightings"][0][0] == "p"
    turns.journal.close()
