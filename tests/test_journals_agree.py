"""Journals in SQLite and those of Python objects: the same turns leave the same, also after a kill."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pyros.agents import Agent, Message
from pyros.errors import JournalError, JournalInUse, WriteFailed
from pyros.journal import (
    SQLITE,
    AnyJournal,
    AnyJournals,
    Effects,
    MemoryJournals,
    Outgoing,
    Received,
    StoredTimer,
    limits,
)
from pyros.rehearsal.rehearsal import Rehearsal
from tests.rig import AgentRig

PATH = Path("journals") / "scheduler.sqlite"
SCHEMA = "CREATE TABLE IF NOT EXISTS own (number INTEGER PRIMARY KEY)"


@pytest.fixture(params=["files", "objects"])
def journals(request: pytest.FixtureRequest) -> AnyJournals:
    return SQLITE if request.param == "files" else MemoryJournals()


def received(number: int, error: str | None = None) -> Received:
    return Received(f"id-{number}", f"Name {number % 3}", "other", 1.0, float(number), b'{"n": %d}' % number, error)


def execute(query: str) -> Callable[[sqlite3.Connection], None]:
    def write(db: sqlite3.Connection) -> None:
        db.execute(query)

    return write


def view(journals: AnyJournals, path: Path, journal: AnyJournal) -> dict[str, Any]:
    """Return everything that a journal tells."""
    with closing(journals.reader(path)) as reader:
        return {
            "seen": dict(sorted(journal.seen.items())), "destinations": dict(sorted(journal.destinations.items())),
            "waiting": {agent: count for agent, count in sorted(journal.waiting.items()) if count},
            "counts": (journal.received_number, journal.failed, journal.failed_bytes, journal.kept_refused),
            "forgotten": dict(+journal.forgotten), "state": journal.state, "stored": reader.state(),
            "received": reader.received(last=1000), "later": reader.received(after=4, last=3),
            "failed": reader.received(failed=True), "newest": reader.newest(),
            "errors": [reader.error(number) for number in range(12)],
            "one failed": [journal.failed_message(number) for number in range(12)],
            "outbox": [reader.outbox(agent, *which) for agent in ("dome", "mount") for which in ((0, 100), (2, 1))],
            "stored waiting": dict(sorted(reader.waiting().items())), "refused": reader.refused(),
            "about": reader.received_about('"n": 1', "Name 1", "Name 2"),
            "about, sent": reader.received_about('"n": 1', "Name 1", "Name 2", sent=True),
            "own": reader.rows("SELECT number FROM own ORDER BY number"),
            "own, for its writer": journal.rows("SELECT number FROM own WHERE number > ? ORDER BY number", 0),
        }  # fmt: skip


def opened_again(journals: AnyJournals, path: Path, journal: AnyJournal) -> AnyJournal:
    journal.close()
    return journals.open(path, epoch="anything", durable=False, schema=SCHEMA)


TURNS = st.lists(
    st.one_of(
        st.fixed_dictionaries({
            "taken": st.lists(st.sampled_from([None, None, "traceback"]), max_size=3),
            "seen": st.dictionaries(st.sampled_from(["one", "two", "program:x", "x"]), st.integers(1, 9), max_size=2),
            "sent": st.lists(st.sampled_from(["dome", "mount"]), max_size=3),
            "acknowledged": st.dictionaries(st.sampled_from(["dome", "mount"]), st.integers(0, 3), max_size=2),
            "refused": st.booleans(), "retried": st.sampled_from([None, None, "again"]), "timers": st.integers(0, 2),
            "gone": st.booleans(), "state": st.one_of(st.none(), st.binary(max_size=3)),
            "row": st.sampled_from([None, "row", "row", "error"]),
        }),
        st.sampled_from(["kill", "prune", "full"]),
    ),
    max_size=15,
)  # fmt: skip


class JournalScript:
    """Does the same to a journal whichever it is."""

    def __init__(self, journals: AnyJournals, path: Path) -> None:
        self.journals, self.path = journals, path
        self.journal: AnyJournal = journals.open(path, epoch="e", durable=False, schema=SCHEMA)
        self.rows = 0

    def step(self, number: int, step: Any) -> str:
        match step:
            case "kill":
                self.journal = opened_again(self.journals, self.path, self.journal)
                return str((self.journal.epoch, sorted(self.journal.timers), self.journal.timer_number))
            case "prune":
                while self.journal.prune(100.0 + 86_400, ("one", "two")):
                    continue
                return ""
            case "full":
                self.journal.limit_growth(0)
                effects = Effects()
                effects.received = [replace(received(number), payload=b'"' + b"x" * 100_000 + b'"')]
                effects.seen, effects.state = {("one", "full"): 1}, b"full"
                try:
                    with pytest.raises(JournalError, match="cannot store: database or disk is full"):
                        self.journal.commit(effects)
                finally:
                    self.journal.limit_growth(None)
                return ""
        try:
            self.journal.commit(self.effects(number, step))
        except WriteFailed as error:
            return f"{error.place} {error}".replace(str(self.path), "")
        return ""

    def effects(self, number: int, step: Any) -> Effects:
        journal, effects = self.journal, Effects()
        effects.received = [received(10 * number + place, error) for place, error in enumerate(step["taken"])]
        effects.seen = {(name, "epoch"): seq for name, seq in step["seen"].items()}
        effects.seen_at = float(number)
        last = dict(journal.destinations)
        for agent in step["sent"]:
            last[agent] = last.get(agent, 0) + 1
            effects.outgoing.append(Outgoing(agent, last[agent], f"o-{number}", "Name", float(number), b"{}", 4.0))
        effects.acknowledged = {
            agent: journal.destinations[agent] - back
            for agent, back in step["acknowledged"].items()
            if journal.destinations.get(agent, 0) > back
        }
        waiting = self.journals.reader(self.path)
        entries = waiting.outbox("dome", 0, 1)
        failed = waiting.received(failed=True, last=1)
        waiting.close()
        if step["refused"] and entries:
            effects.refused = [("no", "dome", entries[0].seq)]
        if step["retried"] is not None and failed:
            effects.retried = [(None, failed[0][0])]
        first = max((timer.number for timer in journal.timers), default=0) + 10 * number
        effects.timers_set = [StoredTimer(first + each, 5.0, "Tick", b"{}", 7.0) for each in range(step["timers"])]
        if step["gone"]:
            effects.timers_gone = [first - 10, first]
        effects.state = step["state"]
        if step["row"] is not None:
            effects.also = [lambda db: self.write(db, step["row"])]
        return effects

    def write(self, db: sqlite3.Connection, what: str) -> None:
        self.rows += 1
        db.execute("INSERT INTO own VALUES (?)", (self.rows,))
        if what == "error":
            raise RuntimeError("no luck")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HISTORY", 6), ("MAX_FAILED", 3), ("MAX_REFUSED", 1), ("MAX_SENDERS", 2)):
        monkeypatch.setattr(limits, name, value)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TURNS)
def test_the_same_turns_leave_the_same_in_both(few: None, steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PATH
        files, objects = JournalScript(SQLITE, path), JournalScript(MemoryJournals(), path)
        try:
            for number, step in enumerate(steps, 1):
                assert files.step(number, step) == objects.step(number, step)
                assert view(files.journals, path, files.journal) == view(objects.journals, path, objects.journal)
        finally:
            files.journal.close()


def test_a_commit_that_fails_leaves_nothing(journals: AnyJournals, tmp_path: Path) -> None:
    path = tmp_path / PATH
    journal = journals.open(path, schema=SCHEMA)
    before = view(journals, path, journal)
    effects = Effects()
    effects.received, effects.seen, effects.state = [received(1)], {("one", "e"): 1}, b"{}"
    effects.also = [execute("INSERT INTO own VALUES (1)"), execute("COMMIT")]
    with pytest.raises(WriteFailed):
        journal.commit(effects)
    assert view(journals, path, journal) == before
    assert view(journals, path, opened_again(journals, path, journal)) == before


def test_a_journal_has_one_writer_and_a_closed_one_says_so(journals: AnyJournals, tmp_path: Path) -> None:
    path = tmp_path / PATH
    with pytest.raises(JournalError, match="no such journal"):
        journals.reader(path)
    journal = journals.open(path)
    with pytest.raises(JournalInUse):
        journals.open(path)
    journal.close()
    journal.close()
    for use in (lambda: journal.commit(Effects()), lambda: journal.prune(0.0)):
        with pytest.raises(JournalError, match="closed"):
            use()
    again = journals.open(path)
    assert again.epoch == journal.epoch
    again.close()


# In use -----------------------------------------------------------------------------------------------------------


class RecountingAgent(Agent):
    state: dict[str, int]

    def __init__(self) -> None:
        super().__init__("counting")
        self.actions_by_message["Count"] = self.count

    def count(self, message: Message) -> None:
        self.state["n"] = self.state.get("n", 0) + 1
        self.send_to("other", "Counted", self.state)
        self.call_later(60, "Count")
        if message.payload.get("fail"):
            raise RuntimeError("no luck")


def test_what_was_committed_survives_a_kill_and_the_rest_does_not(journals: AnyJournals, tmp_path: Path) -> None:
    rig = AgentRig(RecountingAgent(), tmp_path, "other", journals=journals)
    rig.turn("Count", ("Count", b'{"fail": true}'), "Count")
    rig.journal.limit_growth(0)
    with pytest.raises(JournalError):
        rig.turn(("Count", msgspec.json.encode({"data": "x" * 100_000})), first=4)
    rig.host.kill()
    again = AgentRig(RecountingAgent(), tmp_path, "other", journals=journals)
    assert again.agent.state == {"n": 2}
    assert again.journal.seen == {("other", "epoch"): 3}
    reader = again.journal.reader()
    assert [entry.seq for entry in reader.outbox("other", 0, 9)] == [1, 2]
    assert reader.received(failed=True)[0][0] == 2
    assert again.turns.next_due() is not None
    reader.close()
    again.stop()


def test_a_rehearsal_on_objects_gives_the_same_night(tmp_path: Path) -> None:
    def night(folder: Path, journals: AnyJournals) -> Any:
        rehearsal = Rehearsal(folder, journals=journals)
        rehearsal.until(lambda: rehearsal.agent("monitoring").state.safe)
        rehearsal.publish(rehearsal.burst("ivo://pyros.test/agree#1"))
        rehearsal.until(lambda: rehearsal.said("shutter opens", "camera") or rehearsal.slews(), 300)
        rehearsal.restart("majordome")
        rehearsal.run(300)
        names = [row.name for row in rehearsal.received("majordome")]
        assert rehearsal.close() == []
        return names, [line.text for line in rehearsal.log]

    assert night(tmp_path / "files", SQLITE) == night(tmp_path / "objects", MemoryJournals())
