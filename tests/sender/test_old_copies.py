"""Journals that were deleted, or in whose place an old copy was put: the flow goes on, and what was lost is said."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyros.agents.runtime import host
from pyros.sender import ask
from pyros.wire import Frame
from tests.conftest import wait_until
from tests.sender.test_outbound import HandPlayedAgent, HearingAgent, TellingAgent, tell


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Any:
    return observatory("telling", "hearing")


def copy(place: Any, agent: str, folder: Path, files: str = ".sqlite*") -> None:
    """Copy the journal of an agent that is down."""
    folder.mkdir()
    for file in place.config.journal(agent).parent.glob(f"{agent}{files}"):
        shutil.copy2(file, folder)


def put_back(place: Any, agent: str, folder: Path) -> None:
    journals = place.config.journal(agent).parent
    for file in journals.glob(f"{agent}.*"):
        file.unlink()
    for file in folder.iterdir():
        shutil.copy2(file, journals)


def write_over(place: Any, agent: str, folder: Path) -> None:
    """Put a copy back as `cp` does: the files stay the same, with other content."""
    journals = place.config.journal(agent).parent
    for file in journals.glob(f"{agent}.sqlite-*"):
        file.unlink()
    for file in folder.iterdir():
        (journals / file.name).write_bytes(file.read_bytes())


def alarms(place: Any, agent: str) -> str:
    return " ".join(alarm["text"] for alarm in ask(place.config.agent(agent), "status")["alarms"])


def test_a_receivers_old_copy_takes_what_follows_and_says_what_it_has_forgotten(
    place: Any, running: Callable[..., Any], tmp_path: Path
) -> None:
    running(place, TellingAgent())
    hearing = HearingAgent()
    hearing.start(place.config)
    tell(place, 0, 10)
    wait_until(lambda: len(hearing.heard) == 10)
    hearing.stop()
    copy(place, "hearing", tmp_path / "copy")
    hearing.start(place.config)
    tell(place, 10, 25)
    wait_until(lambda: len(hearing.heard) == 25)
    wait_until(lambda: place.up("telling")["outbox"] == {})
    hearing.stop()
    put_back(place, "hearing", tmp_path / "copy")
    running(place, hearing)
    tell(place, 25, 30)
    wait_until(lambda: len(hearing.heard) == 30)
    assert hearing.heard == list(range(30))
    wait_until(lambda: "the messages 11 to 25 of telling were taken once" in alarms(place, "hearing"))
    tell(place, 30, 31)
    wait_until(lambda: len(hearing.heard) == 31)


def test_a_senders_old_copy_sends_all_that_is_new_and_nothing_twice(
    place: Any, running: Callable[..., Any], tmp_path: Path
) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, hearing)
    telling.start(place.config)
    tell(place, 0, 10)
    wait_until(lambda: len(hearing.heard) == 10)
    telling.stop()
    copy(place, "telling", tmp_path / "copy")
    telling.start(place.config)
    tell(place, 10, 40)
    wait_until(lambda: len(hearing.heard) == 40)
    telling.stop()
    hearing.stop()
    put_back(place, "telling", tmp_path / "copy")
    telling.start(place.config)
    tell(place, 1000, 1003)  # fewer than it has forgotten, while nobody is there to say so
    telling.stop()
    running(place, telling)
    tell(place, 1003, 1005)
    running(place, hearing)
    wait_until(lambda: len(hearing.heard) == 45)
    tell(place, 1005, 1100)
    wait_until(lambda: len(hearing.heard) == 140)
    assert hearing.heard == [*range(40), *range(1000, 1100)]
    assert "hearing has 30 messages of telling that this journal doesn't know" in alarms(place, "telling")
    wait_until(lambda: place.rows("telling", "SELECT count(*) FROM outbox") == [(0,)])


def test_a_link_that_began_with_fleeting_messages_is_no_old_copy(place: Any, running: Callable[..., Any]) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, hearing)
    telling.start(place.config)
    tell(place, 0, 0, glance=True)
    wait_until(lambda: hearing.glances == [0])
    tell(place, 0, 10)
    wait_until(lambda: len(hearing.heard) == 10)
    telling.stop()
    assert place.rows("telling", "SELECT count(*) FROM unconfirmed") == [(0,)]
    running(place, telling)
    tell(place, 10, 12)
    wait_until(lambda: len(hearing.heard) == 12)
    assert place.rows("telling", "SELECT last_seq FROM destinations WHERE agent = 'hearing'") == [(12,)]
    assert (alarms(place, "telling"), alarms(place, "hearing")) == ("", "")


@pytest.mark.parametrize(
    ("files", "putting"),
    [(".sqlite*", put_back), (".sqlite*", write_over), (".*", put_back), (".*", write_over)],
    ids=["removed first", "written over", "removed first, with its lock", "written over, with its lock"],
)
def test_what_waited_in_the_copy_and_was_delivered_since_is_not_sent_again(
    files: str, putting: Callable[..., None], place: Any, running: Callable[..., Any], tmp_path: Path
) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    telling.start(place.config)
    tell(place, 0, 10)
    telling.stop()
    copy(place, "telling", tmp_path / "copy", files)
    running(place, hearing)
    telling.start(place.config)
    wait_until(lambda: len(hearing.heard) == 10)
    tell(place, 10, 12)
    wait_until(lambda: len(hearing.heard) == 12)
    telling.stop()
    putting(place, "telling", tmp_path / "copy")
    running(place, telling)
    tell(place, 20, 21)
    wait_until(lambda: len(hearing.heard) == 13)
    assert hearing.heard == [*range(12), 20]


def test_a_new_journal_is_told_by_who_knew_the_old_one(place: Any, running: Callable[..., Any]) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, hearing)
    telling.start(place.config)
    tell(place, 0, 2)
    wait_until(lambda: len(hearing.heard) == 2)
    telling.stop()
    place.config.journal("telling").unlink()
    running(place, telling)
    assert "the journal is gone; a new one is begun" in alarms(place, "telling")
    tell(place, 2, 4)
    wait_until(lambda: len(hearing.heard) == 4)
    wait_until(lambda: "telling has begun a new journal" in alarms(place, "hearing"))


def test_a_journal_removed_under_its_agent_is_saved_and_the_agent_ends(
    place: Any, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "HOLD_LOOK_SECONDS", 0.05)
    telling = TellingAgent()
    telling.start(place.config)
    tell(place, 0, 3)
    path = place.config.journal("telling")
    path.unlink()
    wait_until(lambda: all(thread.name != "pyros-telling" for thread in threading.enumerate()))
    saved = path.with_name("telling.sqlite.saved-1")
    with closing(sqlite3.connect(saved)) as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (3,)
    telling.stop()


def test_a_receiver_of_an_older_copy_is_told_from_where_the_numbers_go_on(
    place: Any, running: Callable[..., Any]
) -> None:
    running(place, TellingAgent())
    tell(place, 0, 3)
    peer = HandPlayedAgent(place)
    peer.welcome(0)
    peer.read()
    peer.say(Frame(ack=3))  # it has all of them: they are forgotten
    wait_until(lambda: place.up("telling")["outbox"] == {})
    peer.connection.close()
    peer.accept()
    peer.welcome(1)
    tell(place, 3, 5)
    frames = peer.read()
    assert frames[0].after == 3
    assert frames[0].messages[0].seq == 4
    peer.close()
