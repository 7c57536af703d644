"""What is kept of journals: never older than they are."""

from __future__ import annotations

from contextlib import closing

from pyros.config import Config
from pyros.errors import JournalError
from pyros.journal import Journal, JournalReader
from pyros.views import Observed
from tests.views.written import commit, received, write


class Reading:
    """Reads the number of an agent's newest message, and counts how often."""

    def __init__(self, agent: str = "dome") -> None:
        self.agent, self.times = agent, 0

    def __call__(self, journal: JournalReader) -> int:
        self.times += 1
        return journal.newest()

    def ask(self, observed: Observed) -> int:
        return observed.kept(self.agent, "newest", self, -1)


def test_a_journal_is_read_once_for_each_commit(config: Config, observed: Observed) -> None:
    journal, newest = Journal(config.journal("dome"), durable=False), Reading()
    try:
        for count in (1, 2, 3):
            write(journal, None, [received("Close")])
            assert [newest.ask(observed) for _ in range(3)] == [count] * 3
            assert newest.times == count
        commit(config, "telescope", None, [received("Park")])
        assert (newest.ask(observed), newest.times) == (3, 3)  # another's journal is not its own
    finally:
        journal.close()


def test_a_commit_while_it_is_read_is_seen_by_the_next(config: Config, observed: Observed) -> None:
    journal = Journal(config.journal("dome"), durable=False)

    def read(reader: JournalReader) -> int:
        newest = reader.newest()
        if newest == 1:
            write(journal, None, [received("Close")])
        return newest

    try:
        write(journal, None, [received("Open")])
        assert [observed.kept("dome", "newest", read, -1) for _ in range(2)] == [1, 2]
    finally:
        journal.close()


def test_a_journal_in_anothers_place_is_read_anew(config: Config, observed: Observed) -> None:
    newest = Reading()
    for count in (1, 2):
        for end in ("", "-wal", "-shm"):
            config.journal("dome").with_name(config.journal("dome").name + end).unlink(missing_ok=True)
        assert newest.ask(observed) == -1
        commit(config, "dome", None, [received("Close")] * count)
        assert newest.ask(observed) == count


def test_what_could_not_be_read_is_not_kept(config: Config, observed: Observed) -> None:
    commit(config, "dome", None, [received("Close")])

    def broken(journal: JournalReader) -> int:
        raise JournalError("damaged")

    assert observed.kept("dome", "newest", broken, -1) == -1
    assert observed.problems == {"dome": "damaged"}
    assert Reading().ask(observed) == 1
    assert observed.problems == {}
    assert observed.kept("nobody", "newest", broken, -1) == -1


def test_a_glance_sees_the_journals_as_they_are_or_newer(config: Config, observed: Observed) -> None:
    journal, newest = Journal(config.journal("dome"), durable=False), Reading()
    try:
        write(journal, None, [received("Close")])
        first = observed.glance()
        assert newest.ask(first) == 1
        write(journal, None, [received("Close")])
        assert newest.ask(first) == 1
        assert newest.ask(observed.glance()) == 2
        assert newest.ask(observed) == 2
        assert newest.ask(first) == 2
    finally:
        journal.close()


def test_what_grows_is_read_on_from_where_it_was(config: Config, observed: Observed) -> None:
    seen: list[list[int] | None] = []

    def read(journal: JournalReader, known: list[int] | None) -> list[int]:
        seen.append(known)
        return [*(known or []), journal.newest()]

    def ask() -> list[int]:
        return observed.followed("dome", "numbers", read, [])

    assert ask() == []
    with closing(Journal(config.journal("dome"), durable=False)) as journal:
        for count in (1, 2, 3):
            write(journal, None, [received("Close")])
            assert [ask() for _ in range(2)] == [list(range(1, count + 1))] * 2
        assert seen == [None, [1], [1, 2]]
    for end in ("", "-wal", "-shm"):
        config.journal("dome").with_name(config.journal("dome").name + end).unlink(missing_ok=True)
    keep = config.journal("dome").with_name("keeps-the-inode")
    keep.write_text("")  # or the next file might have it
    commit(config, "dome", None, [received("Close")])
    assert (ask(), seen[-1]) == ([1], None)


def test_who_runs_is_asked_again_after_a_while(config: Config, observed: Observed) -> None:
    path = config.journal("dome")
    assert observed.glance().running()[path] is False
    with closing(Journal(path, durable=False)):
        assert observed.glance().running()[path] is True
        observed.running_seconds = 1000.0
        assert observed.glance().running()[path] is True
    assert observed.glance().running()[path] is True
    assert observed.look_who_runs()[path] is False
    assert observed.glance().running()[path] is False
