"""The journal: all of a turn or nothing, one writer, and nothing lost that counts."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pyros.errors import JournalError, JournalInUse, WriteFailed
from pyros.journal import Effects, Journal, JournalReader, Outgoing, Received, StoredTimer, limits
from pyros.journal.file import JournalFile
from tests.conftest import PATIENCE

PEER = ("telescope", "epoch-1")


def received(number: int, *, error: str | None = None, taken: float = 100.0) -> Received:
    return Received(f"id-{number}", "Slew", "telescope", 1.0, taken, b"{}", error)


def outgoing(seq: int, agent: str = "dome") -> Outgoing:
    return Outgoing(agent, seq, f"out-{seq}", "Open", 2.0, b'{"reason": "clear"}')


def effects(**values: Any) -> Effects:
    made = Effects()
    for key, value in values.items():
        assert hasattr(made, key)
        setattr(made, key, value)
    return made


def content(path: Path) -> list[str]:
    """Everything in the file, as text."""
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "scheduler.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def reopened(journal: Journal) -> Journal:
    journal.close()
    journal.__init__(journal.path)  # type: ignore[misc]
    return journal


def test_a_turn_is_there_after_it_is_opened_again(journal: Journal) -> None:
    epoch = journal.epoch
    journal.commit(
        effects(
            received=[received(1), received(2, error="Traceback ...")],
            seen={PEER: 2},
            outgoing=[outgoing(1), outgoing(2), outgoing(1, "camera")],
            timers_set=[StoredTimer(7, 500.0, "Check", b"{}")],
            state=b'{"open":true}',
        )
    )
    for each in (journal, reopened(journal)):
        assert each.epoch == epoch
        assert each.seen == {PEER: 2}
        assert each.destinations == {"dome": 2, "camera": 1}
        assert each.waiting == {"dome": 2, "camera": 1}
        assert each.state == b'{"open":true}'
        assert each.received_number == 2
    assert journal.failed == 1
    assert journal.timers == [StoredTimer(7, 500.0, "Check", b"{}")]
    assert journal.timer_number == 7
    reader = JournalReader(journal.path)
    assert [number for number, _ in reader.received()] == [1, 2]
    assert reader.received(failed=True) == [(2, received(2, error="Traceback ..."))]
    assert [entry.seq for entry in reader.outbox("dome", 0, 10)] == [1, 2]
    reader.close()


def test_what_is_acknowledged_leaves_the_outbox_and_what_is_refused_stays(journal: Journal) -> None:
    journal.commit(effects(outgoing=[outgoing(seq) for seq in (1, 2, 3, 4)]))
    journal.commit(effects(acknowledged={"dome": 3}, refused=[("it is not a dome", "dome", 2)]))
    assert journal.waiting == {"dome": 1}
    reader = JournalReader(journal.path)
    assert [entry.seq for entry in reader.outbox("dome", 0, 10)] == [4]
    assert [(row[0], row[1], row[6]) for row in reader.refused()] == [("dome", 2, "it is not a dome")]
    reader.close()
    assert reopened(journal).waiting == {"dome": 1}
    assert journal.destinations == {"dome": 4}


def test_timers_go_and_failed_messages_are_retried(journal: Journal) -> None:
    journal.commit(
        effects(timers_set=[StoredTimer(1, 5.0, "a", b"{}"), StoredTimer(2, 6.0, "b", b"{}")],
                received=[received(1, error="E"), received(2, error="E")])
    )  # fmt: skip
    assert journal.failed_message(2) == received(2, error="E")
    journal.commit(effects(timers_gone=[1], retried=[(None, 2)]))
    assert journal.failed_message(2) is None
    assert journal.failed_message(1) is not None
    reopened(journal)
    assert [timer.number for timer in journal.timers] == [2]
    assert (journal.timer_number, journal.failed) == (2, 1)


def test_a_number_of_a_timer_is_never_given_twice(journal: Journal) -> None:
    journal.commit(effects(timers_set=[StoredTimer(9, 5.0, "a", b"{}")]))
    journal.commit(effects(timers_gone=[9]))
    assert reopened(journal).timer_number == 9


@pytest.mark.parametrize("last", ["outgoing", "timers_set", "also"])
def test_a_commit_that_fails_leaves_nothing(journal: Journal, path: Path, last: str) -> None:
    journal.commit(effects(outgoing=[outgoing(1)], timers_set=[StoredTimer(1, 5.0, "a", b"{}")], state=b"1"))
    before, seen, waiting = content(path), dict(journal.seen), dict(journal.waiting)
    bad: dict[str, Any] = {
        "outgoing": [outgoing(2), outgoing(1)],
        "timers_set": [StoredTimer(2, 5.0, "a", b"{}"), StoredTimer(1, 5.0, "a", b"{}")],
        "also": [lambda db: db.execute("INSERT INTO nowhere VALUES (1)")],
    }
    turn = {"received": [received(1)], "seen": {PEER: 1}, "state": b"2", "acknowledged": {"dome": 1}}
    with pytest.raises(JournalError, match=f"{path}: cannot store: "):
        journal.commit(effects(**turn, **{last: bad[last]}))
    assert content(path) == before
    assert (journal.seen, journal.waiting, journal.state, journal.received_number) == (seen, waiting, b"1", 0)
    journal.commit(effects(**turn))
    assert journal.seen == {PEER: 1}


def test_an_exception_of_a_further_write_undoes_the_turn_too(journal: Journal, path: Path) -> None:
    before = content(path)

    def fail(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(WriteFailed, match="ZeroDivisionError") as raised:
        journal.commit(effects(received=[received(1)], also=[lambda _: None, fail]))
    assert raised.value.place == 1
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert content(path) == before
    journal.commit(effects(received=[received(1)]))


def test_a_full_disk_is_told_and_nothing_changes(journal: Journal, path: Path) -> None:
    """SQLite's own limit of pages gives the error that a full disk gives; the agent's test uses a real limit."""
    journal.commit(effects(received=[received(1)], state=b"1"))
    journal.limit_growth(0)
    before = content(path)
    large = effects(received=[received(number) for number in range(2, 3000)], seen={PEER: 3000}, state=b"2")
    with pytest.raises(JournalError, match=f"{path}: cannot store: database or disk is full"):
        journal.commit(large)
    assert content(path) == before
    assert (journal.state, journal.seen, journal.received_number) == (b"1", {}, 1)
    journal.limit_growth(None)
    journal.commit(large)
    assert (journal.state, journal.received_number) == (b"2", 2999)


def test_killed_in_the_middle_of_a_commit_nothing_is_there(path: Path) -> None:
    program = """if True:
        import os, signal, sys
        from pathlib import Path
        from pyros.journal import Effects, Journal
        journal = Journal(Path(sys.argv[1]))
        first, second = Effects(), Effects()
        first.state, second.state = b"1", b"2"
        journal.commit(first)
        second.also = [lambda db: os.kill(os.getpid(), signal.SIGKILL)]
        journal.commit(second)
    """
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    journal = Journal(path)  # the lock has gone with its process
    assert journal.state == b"1"
    journal.close()


def test_a_second_process_is_kept_away_and_told_who_holds_it(journal: Journal, path: Path) -> None:
    program = "import sys, pathlib; from pyros.journal import Journal; Journal(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert f"{path}: the journal is in use by process {os.getpid()}; stop that one first" in done.stderr
    journal.close()
    subprocess.run([sys.executable, "-c", program, str(path)], timeout=PATIENCE, check=True)


def test_a_second_writer_in_the_same_process_is_kept_away_too(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match=f"in use by process {os.getpid()}"):
        Journal(path)
    journal.commit(effects(state=b"1"))


def test_a_reader_reads_while_the_writer_writes(journal: Journal, path: Path) -> None:
    reader = JournalReader(path)
    for number in range(1, 5):
        journal.commit(effects(received=[received(number)]))
        assert len(reader.received()) == number
    assert [number for number, _ in reader.received(after=1, last=2)] == [3, 4]
    with pytest.raises(JournalError, match="cannot read the journal: attempt to write a readonly database"):
        reader.rows("DELETE FROM turns")
    reader.close()


def test_a_reader_of_a_journal_that_is_not_there(path: Path) -> None:
    with pytest.raises(JournalError, match=f"{path}: no such journal"):
        JournalReader(path)


def test_each_new_journal_has_an_epoch_of_its_own(journal: Journal, path: Path, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other.sqlite")
    named = Journal(tmp_path / "named.sqlite", epoch="of-a-rehearsal")
    assert len({journal.epoch, other.epoch, named.epoch}) == 3
    assert named.epoch == "of-a-rehearsal"
    other.close()
    named.close()
    first = journal.epoch
    assert reopened(journal).epoch == first
    journal.close()
    for file in path.parent.iterdir():
        file.unlink()
    assert reopened(journal).epoch != first


def newer(journal: Journal, path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    db.commit()
    db.close()


def damaged(journal: Journal, path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TABLE timers")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (newer, "journal of format 99, this PYROS reads 2"),
        (damaged, "cannot read the journal: no such table: timers"),
    ],
)
def test_a_journal_that_cannot_be_used_says_why_and_is_let_go(
    journal: Journal, path: Path, spoil: Callable[[Journal, Path], None], told: str
) -> None:
    journal.close()
    spoil(journal, path)
    kept: list[BaseException] = []  # an exception that is kept keeps its frames, and so the journal's lock, if leaked
    for _ in range(2):
        with pytest.raises(JournalError, match=f"{path}: {told}") as caught:
            Journal(path)
        kept.append(caught.value)
    path.unlink()
    reopened(journal)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"cannot open the journal: .*file"):
        Journal(tmp_path / "file" / "x.sqlite")


def test_a_closed_journal_says_so(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="the journal is closed"):
        journal.commit(effects(state=b"1"))


def test_messages_are_read_as_they_came(journal: Journal) -> None:
    payloads = [
        b'{"text": "a \\"quoted\\" \\\\ \\u0000 \xc3\xa9\xe2\x82\xac", "number": 0.1000, "empty": {}}',
        b'{"deep": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b"{}",
    ]
    sent = [Received("a", "Slew", "x", 1.7e9 + 1 / 3, 1.7e9 + 2 / 3, payload) for payload in payloads]
    failed = Received("f", "Park", 'a "sender"', 0.0, 1e-9, b"\xff not JSON", "Traceback ...")
    journal.commit(effects(received=[sent[0], failed, *sent[1:]]))
    reader = JournalReader(journal.path)
    assert reader.received() == [(1, sent[0]), (2, failed), (3, sent[1]), (4, sent[2])]
    assert reader.received(after=1, last=2) == [(3, sent[1]), (4, sent[2])]
    assert reader.received(failed=True) == [(2, failed)]
    assert reader.rows("SELECT number, name, payload FROM received WHERE number = 1") == [(1, "Slew", payloads[0])]
    reader.close()


def test_pruning_keeps_failed_messages_and_living_senders(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY", 100)
    monkeypatch.setattr(limits, "PRUNE_CHUNK", 150)
    day = 86_400.0
    old, new = ("program:nc-1", "a"), ("program:nc-2", "b")
    journal.commit(effects(seen={old: 1, PEER: 1}, seen_at=0.0))
    for first in range(1, 401, 40):
        turn = [received(n, error="E" if n in (5, 350) else None) for n in range(first, first + 40)]
        journal.commit(effects(received=turn, seen={new: 399}, seen_at=day))
    journal.commit(effects(retried=[("again", 5)]))
    assert journal.prune(day + 1)
    reader = JournalReader(journal.path)
    assert [number for number, _ in reader.received(last=500)] == [5, *range(161, 401)]
    assert journal.prune(day + 1) is False
    assert [number for number, _ in reader.received(last=500)] == [5, *range(281, 401)]
    journal.commit(effects(retried=[(None, 5)]))
    journal.prune(day + 1)
    assert [number for number, _ in reader.received(last=500)] == [*range(281, 401)]
    assert reader.newest() == 400
    reader.close()
    assert journal.seen == {PEER: 1, new: 399}
    assert reopened(journal).seen == {PEER: 1, new: 399}
    assert journal.received_number == 400
    assert journal.failed == 1


def test_a_program_whose_messages_were_all_refused_is_remembered_for_its_day_too(journal: Journal) -> None:
    program = ("program:x", "a")
    journal.commit(effects(received=[received(1, taken=1e6)], seen={program: 1}, seen_at=1e6))
    journal.commit(effects(seen={program: 2}, seen_at=1e6))
    journal.prune(1e6 + 60)
    assert journal.seen == {program: 2}


def test_further_tables_are_made_once(tmp_path: Path) -> None:
    schema = "CREATE TABLE IF NOT EXISTS events (ivorn TEXT PRIMARY KEY)"
    for number in range(2):
        journal = Journal(tmp_path / "broker.sqlite", schema=schema)
        journal.commit(
            effects(also=[lambda db, n=number: db.execute("INSERT INTO events VALUES (?)", (f"ivo://{n}",))])
        )
        journal.close()
    reader = JournalReader(tmp_path / "broker.sqlite")
    assert reader.rows("SELECT ivorn FROM events") == [("ivo://0",), ("ivo://1",)]
    reader.close()


def test_the_oldest_failed_messages_go_when_there_are_too_many(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_FAILED", 10)
    monkeypatch.setattr(limits, "FORGET_CHUNK", 4)
    journal.commit(effects(received=[received(n, error="E") for n in range(1, 18)]))
    assert [journal.prune(0.0) for _ in range(3)] == [True, True, False]
    assert (journal.failed, journal.forgotten) == (10, {"failed messages": 7})
    reader = JournalReader(journal.path)
    assert [number for number, _ in reader.received(failed=True, last=100)] == list(range(8, 18))
    reader.close()
    assert reopened(journal).failed == 10


def test_the_oldest_failed_messages_go_when_they_are_too_large(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_FAILED_BYTES", 3000)
    large = [replace(received(n, error="E"), payload=b"x" * 1000) for n in range(1, 6)]
    journal.commit(effects(received=large))
    while journal.prune(0.0):
        pass
    assert (journal.failed, journal.failed_bytes) == (3, 3000)
    assert reopened(journal).failed_bytes == 3000


def test_the_oldest_refusals_go_when_there_are_too_many(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REFUSED", 2)
    journal.commit(effects(outgoing=[replace(outgoing(n), sent=float(n)) for n in range(1, 7)]))
    agent = outgoing(1).agent
    journal.commit(effects(refused=[("no", agent, n) for n in range(1, 6)]))
    while journal.prune(0.0):
        pass
    rows = JournalReader(journal.path)
    assert rows.rows("SELECT seq, refused FROM outbox ORDER BY seq") == [(4, "no"), (5, "no"), (6, None)]
    rows.close()
    assert (journal.kept_refused, journal.forgotten) == (2, {"refusals": 3})


def test_a_crowd_of_names_makes_no_agent_forgotten(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SENDERS", 3)
    dome = ("dome", "e")
    journal.commit(effects(seen={dome: 7}, seen_at=0.0))
    for number in range(10):
        journal.commit(effects(seen={(f"x{number}", "e"): 1}, seen_at=1.0 + number))
    for number in range(5):
        journal.commit(effects(seen={("camera", f"e{number}"): 1}, seen_at=20.0 + number))
    journal.prune(100.0, {"dome", "camera"})
    expected = {("x7", "e"), ("x8", "e"), ("x9", "e"), ("camera", "e2"), ("camera", "e3"), ("camera", "e4")}
    assert set(journal.seen) == expected
    assert set(reopened(journal).seen) == expected


def test_an_agent_that_was_heard_lately_is_not_forgotten(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SENDERS", 3)
    for number in range(10):
        journal.commit(effects(seen={("dome", "e"): number, (f"x{number}", "e"): 1}, seen_at=1.0 + number))
    journal.prune(100.0, {"dome"})
    assert journal.seen == {("dome", "e"): 9, ("x7", "e"): 1, ("x8", "e"): 1, ("x9", "e"): 1}


def test_a_commit_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    for durable in (True, False):
        journal = Journal(tmp_path / f"{durable}.sqlite", durable=durable)
        assert journal.durable is durable
        journal.close()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "malformed"),
        (lambda path: os.truncate(path, 0), "it is empty"),
        (lambda path: path.write_bytes(b"no journal at all" * 1000), "not a database"),
    ],
)
def test_a_damaged_journal_is_kept_aside_and_a_new_one_says_so(
    journal: Journal, path: Path, harm: Callable[[Path], object], why: str
) -> None:
    for seq in range(1, 200):
        journal.commit(effects(received=[received(seq)], outgoing=[outgoing(seq)], state=b"x" * 1000))
    journal.close()
    harm(path)
    spoilt = path.read_bytes()
    with closing(Journal(path)) as new:
        assert why in new.damage
        assert str(path) in new.damage
        assert (new.received_number, new.destinations, new.state) == (0, {}, None)
        new.commit(effects(received=[received(1)]))
    assert path.with_name("scheduler.sqlite.damaged-1").read_bytes() == spoilt
    with closing(Journal(path)) as again:
        assert again.damage == ""
        assert again.received_number == 1


def test_a_journal_that_is_gone_is_missed(journal: Journal, path: Path) -> None:
    assert journal.damage == ""
    journal.close()
    path.unlink()
    with closing(Journal(path)) as new:
        assert f"{path}: the journal is gone" in new.damage


def test_a_copy_is_told_from_the_journal_that_was_open_last(journal: Journal, path: Path, tmp_path: Path) -> None:
    journal.close()
    shutil.copy2(path, tmp_path / "copy")
    for _ in range(2):  # it is the same one, however often it is opened
        with closing(Journal(path)) as again:
            assert again.damage == ""
    shutil.copy2(tmp_path / "copy", path)
    with closing(Journal(path)) as copy:
        assert f"{path}: the journal was restored, or came from elsewhere" in copy.damage
    with closing(Journal(path)) as again:
        assert again.damage == ""


@pytest.mark.parametrize("place", ["claim", "sign"])
def test_a_start_that_failed_is_no_restored_journal(
    journal: Journal, path: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.close()
    shutil.copy2(path, tmp_path / "copy")
    with closing(Journal(path)) as again:
        again.commit(effects(outgoing=[outgoing(1)]))
    carry_out = getattr(JournalFile, place)

    def fail(file: JournalFile) -> None:
        carry_out(file)
        raise OSError(errno.EIO, "the disk is failing")

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(JournalFile, place, fail)
            with pytest.raises(JournalError, match="the disk is failing"):
                Journal(path)
    with closing(Journal(path)) as again:
        assert again.damage == ""
        assert again.unconfirmed == {"dome": 0}
    shutil.copy2(tmp_path / "copy", path)
    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, place, fail)
        with pytest.raises(JournalError, match="the disk is failing"):
            Journal(path)
    with closing(Journal(path)) as copy:
        assert "the journal was restored" in copy.damage


def test_a_start_on_a_full_disk_is_no_restored_journal(journal: Journal, path: Path) -> None:
    journal.close()
    start = (
        "import resource, sys; from pathlib import Path; from pyros.journal import Journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "Journal(Path(sys.argv[1]))"
    )
    failed = subprocess.run([sys.executable, "-c", start, path], capture_output=True, text=True, check=False)
    assert "cannot open the journal" in failed.stderr
    with closing(Journal(path)) as again:
        assert again.damage == ""


def test_two_never_write_though_the_lock_was_removed(journal: Journal, path: Path) -> None:
    path.with_suffix(".lock").unlink()
    with pytest.raises(JournalInUse, match="in use by another process"):
        Journal(path)
    journal.commit(effects(received=[received(1)]))
    assert not journal.is_gone()
    path.unlink()
    assert journal.is_gone()
    saved = journal.save()
    assert JournalReader(saved).newest() == 1


def test_no_reader_takes_the_writers_locks_away(journal: Journal, path: Path) -> None:
    """Else the next program that opens the journal deletes the WAL that the writer goes on to write into."""
    journal.commit(effects(received=[received(1)]))
    reader = journal.reader()
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM received').fetchone())"
    )
    for number in (2, 3):
        journal.commit(effects(received=[received(number)]))
        seen = subprocess.run([sys.executable, "-c", count, path], capture_output=True, text=True, check=True)
        assert seen.stdout == f"({number},)\n"
    assert reader.newest() == 3
    reader.close()
