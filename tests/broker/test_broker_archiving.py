"""From the broker's journal into the archive: every acknowledged event, once, whatever is killed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyros.alerts.archive.query import Query
from pyros.alerts.archive.search import ArchiveReader
from pyros.broker.archiving import AFTER, ArchiveFiller, Archiving
from pyros.broker.store import EventStore
from pyros.clock import VirtualClock
from pyros.errors import JournalError, PyrosError
from tests.broker.conftest import Configuration, make_event
from tests.broker.process import BrokerProgram
from tests.builders import InlineReactor
from tests.conftest import wait_until

Until = Callable[[Callable[[], Any]], Any]
HERE = Path(__file__).parent


@pytest.fixture
def reactor() -> InlineReactor:
    return InlineReactor()


@pytest.fixture
def archiving(reactor: InlineReactor, store: EventStore, tmp_path: Path) -> Iterator[Archiving]:
    archiving = Archiving(reactor, store, tmp_path / "archive.sqlite")
    store.start(lambda _: archiving.poke())
    yield archiving
    archiving.stop()


def archived(path: Path) -> list[str]:
    try:
        reader = ArchiveReader(path)
    except JournalError:  # it is not there, or is being made
        return []
    try:
        return [entry.identity for entry in reader.find(Query())]
    finally:
        reader.close()


def test_an_event_is_archived_after_its_commit(
    reactor: InlineReactor, clock: VirtualClock, store: EventStore, archiving: Archiving, tmp_path: Path
) -> None:
    path = tmp_path / "archive.sqlite"
    packet = make_event("ivo://test/a#1")
    store.store(packet, "ivo://test/a#1", "author 127.0.0.1")
    received = clock.time()
    reactor.advance(0)
    assert archived(path) == [], "the telescope comes first"
    reactor.advance(AFTER)
    reader = ArchiveReader(path)
    (entry,) = reader.find(Query())
    assert (entry.identity, entry.source, entry.received) == ("ivo://test/a#1", "author 127.0.0.1", received)
    assert reader.packet(entry.number) == packet
    reader.close()
    reactor.pump([0.0] * 5)
    assert reactor.getDelayedCalls() == [], "it rests when there is nothing to do"


def test_what_an_earlier_process_left_is_archived_at_the_start(
    reactor: InlineReactor, store: EventStore, tmp_path: Path
) -> None:
    store.start(lambda _: None)
    for number in range(200):
        store.store(make_event(f"ivo://test/a#{number}"), f"ivo://test/a#{number}", "x")
    reactor.advance(0)
    archiving = Archiving(reactor, store, tmp_path / "archive.sqlite")
    archiving.poke()
    reactor.pump([AFTER, *[0.0] * 10])
    assert len(archived(tmp_path / "archive.sqlite")) == 200
    archiving.stop()


def test_an_archive_that_fails_is_tried_again_and_nothing_is_lost(
    reactor: InlineReactor, store: EventStore, archiving: Archiving, tmp_path: Path
) -> None:
    (tmp_path / "archive.sqlite").mkdir()
    for number in range(3):
        store.store(make_event(f"ivo://test/a#{number}"), f"ivo://test/a#{number}", "x")
    reactor.advance(0)
    reactor.advance(AFTER)
    (tmp_path / "archive.sqlite").rmdir()
    reactor.pump([60.0, 0.0, 0.0])
    assert len(archived(tmp_path / "archive.sqlite")) == 3


def test_a_new_journal_is_read_from_its_beginning(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    for epoch in ("one", "two"):
        store = EventStore(reactor, clock, tmp_path / f"{epoch}.sqlite", threaded=False, durable=False, epoch=epoch)
        archiving = Archiving(reactor, store, tmp_path / "archive.sqlite")
        store.start(lambda _, archiving=archiving: archiving.poke())  # type: ignore[misc]
        store.store(make_event(f"ivo://test/{epoch}#1"), f"ivo://test/{epoch}#1", "x")
        reactor.pump([0.0, AFTER, 0.0])
        archiving.stop()
        store.stop()
        store.close()
    assert archived(tmp_path / "archive.sqlite") == ["ivo://test/one#1", "ivo://test/two#1"]


def test_killed_at_random_instants_it_archives_everything_once(
    reactor: InlineReactor, store: EventStore, tmp_path: Path
) -> None:
    store.start(lambda _: None)
    chance = random.Random(11)
    path, count, kills = tmp_path / "archive.sqlite", 0, 0
    for _ in range(8):
        for _ in range(40):
            store.store(make_event(f"ivo://test/a#{count}"), f"ivo://test/a#{count}", "x")
            count += 1
        reactor.advance(0)
        process = subprocess.Popen(
            [sys.executable, HERE / "archiving_process.py", store.journal.path, path], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 7)):  # steps of five events, of eight that there are to do
            process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.01))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills == 8
    partly = archived(path)
    assert 0 < len(partly) == len(set(partly))
    archiving = Archiving(reactor, store, path)
    archiving.poke()
    reactor.pump([AFTER, *[0.0] * 20])
    assert sorted(archived(path)) == sorted(f"ivo://test/a#{number}" for number in range(count))
    archiving.stop()


def test_every_event_that_a_killed_broker_acknowledged_gets_into_the_archive(
    configuration: Configuration, tmp_path: Path
) -> None:
    config = configuration()
    path = config.parent / "var" / "archive.sqlite"
    chance = random.Random(5)
    acknowledged: list[str] = []
    for life in range(3):
        broker = BrokerProgram(config)
        try:
            last = life == 2
            for number in range(60):
                ivorn = f"ivo://test/a#{life}-{number}"
                if not last and number == 50:
                    pause = AFTER + chance.uniform(0, 0.5)  # about when it archives
                    with pytest.raises(subprocess.TimeoutExpired):
                        broker.process.wait(pause)
                    broker.process.kill()
                try:
                    broker.publish(make_event(ivorn))
                except PyrosError:
                    break
                acknowledged.append(ivorn)
            if last:
                wait_until(lambda: len(archived(path)) >= len(acknowledged))
        finally:
            broker.kill()
    stored = [row[0] for row in broker.rows("SELECT ivorn FROM events ORDER BY number")]
    assert len(acknowledged) >= 150
    assert set(acknowledged) <= set(stored)
    assert sorted(archived(path)) == sorted(stored)


def test_a_broker_that_stops_does_not_wait_for_an_older_archive(
    reactor: InlineReactor, store: EventStore, archiving: Archiving, tmp_path: Path
) -> None:
    path = tmp_path / "archive.sqlite"
    store.store(make_event("ivo://test/a#1"), "ivo://test/a#1", "author 127.0.0.1")
    reactor.advance(0)
    reactor.advance(AFTER)
    archiving.stop()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:  # as format 1 was
        for statement in ("UPDATE meta SET format = 1", "ALTER TABLE words_1 RENAME TO words", "DROP TABLE volumes"):
            db.execute(statement)
    journal = store.journal
    stopping, starting = (ArchiveFiller(journal.path, journal.epoch, path) for _ in range(2))
    stopping.hurry()
    with pytest.raises(JournalError, match="the broker stops"):
        stopping.step(reactor.seconds, 10)
    stopping.close()
    with pytest.raises(JournalError, match="an archive of format 1"):
        ArchiveReader(path)
    starting.step(reactor.seconds, 10)
    starting.close()
    assert archived(path) == ["ivo://test/a#1"]
