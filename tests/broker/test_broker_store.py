from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from msgspec.structs import astuple

from pyros import messages
from pyros.broker import store as store_module
from pyros.broker.store import EventStore
from pyros.broker.transaction import Stored
from pyros.clock import VirtualClock
from pyros.errors import AlertError, JournalError
from pyros.journal import JournalReader, Outgoing
from pyros.wire import Entry, Refusal
from tests.broker.conftest import kept_rows, outcome
from tests.builders import InlineReactor

Result = Callable[[Any], Any]


def outbox(store: EventStore) -> list[int]:
    with closing(JournalReader(store.journal.path)) as reader:
        return [entry.seq for entry in reader.outbox("alert_manager", 0, 1000)]


def test_event_and_message_are_stored_together(store: EventStore, reactor: InlineReactor) -> None:
    posted: list[Outgoing] = []
    store.start(posted.extend)
    waiting = store.store(b"<packet/>", "ivo://a/b#1", "author 10.0.0.1")
    assert not waiting.called
    reactor.advance(0)
    assert outcome(waiting) == Stored(True, 1)
    (message,) = posted
    assert astuple(message)[:4] == ("alert_manager", 1, "epoch-of-1"[:8] + "-1", messages.ALERT_RECEIVED)
    kept = messages.AlertReceived(b"", "author 10.0.0.1", 1767323045.0, kept=1)
    assert messages.decode_payload(message.name, message.payload) == kept
    sent = messages.decode_payload(message.name, bytes(store.complete(message.entry()).payload))
    assert sent == messages.AlertReceived(b"<packet/>", "author 10.0.0.1", 1767323045.0, kept=1)
    assert outbox(store) == [1]
    assert kept_rows(store.journal, "SELECT ivorn, packet, source, received FROM events") == [
        ("ivo://a/b#1", b"<packet/>", "author 10.0.0.1", 1767323045.0)
    ]


def test_a_message_gets_its_packet_when_it_is_sent(
    store: EventStore, reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "LARGEST_PACKET", 10)
    sent: list[bytes] = []
    store.start(lambda outgoing: sent.extend(bytes(store.complete(each.entry()).payload) for each in outgoing))
    for number, packet in enumerate((b"at once", b"x" * 11)):
        store.store(packet, f"{number}", "x")
    reactor.advance(0)
    reader = JournalReader(store.journal.path)
    kept = reader.outbox("alert_manager", 0, 10)
    reader.close()
    assert sent == [bytes(store.complete(entry).payload) for entry in kept], "from memory as from the journal"
    packets = [messages.decode_payload(messages.ALERT_RECEIVED, payload).packet for payload in sent]
    assert packets == [b"at once", b""], "one too large for a message is left out"


def test_a_group_with_twins_and_a_conflict(store: EventStore, reactor: InlineReactor) -> None:
    posted: list[Outgoing] = []
    store.start(posted.extend)
    waiting = [
        store.store(packet, ivorn, "x") for packet, ivorn in [(b"1", "a"), (b"1", "a"), (b"2", "b"), (b"3", "a")]
    ]
    reactor.advance(0)
    assert [outcome(one) for one in waiting[:3]] == [Stored(True, 1), Stored(False, 1), Stored(True, 2)]
    conflict = outcome(waiting[3])
    assert isinstance(conflict, AlertError)
    assert "conflicts with the event that is stored under this ivorn (number 1)" in str(conflict)
    assert [message.seq for message in posted] == [1, 2]


def test_numbers_and_memory_survive_a_restart(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    for run in (1, 2):
        store = EventStore(reactor, clock, path, threaded=False, durable=False)
        store.start(lambda _: None)
        old, new = store.store(b"same", "same", "x"), store.store(b"%d" % run, f"event of run {run}", "x")
        reactor.advance(0)
        assert outcome(old) == Stored(run == 1, 1)
        assert outcome(new) == Stored(True, run + 1)
        assert store.waiting == run + 1
        outcome(store.stop())
        store.close()


def test_a_full_disk_refuses_and_accepts_again(store: EventStore, reactor: InlineReactor) -> None:
    posted: list[Outgoing] = []
    store.start(posted.extend)
    first = store.store(b"1", "a", "x")
    reactor.advance(0)
    store.on_answer("alert_manager", 1, [])
    store.journal.limit_growth(0)
    refused = [store.store(b"2" * 50_000, "b", "x"), store.store(b"1", "a", "x")]
    reactor.advance(0)
    for failure in map(outcome, refused):
        assert isinstance(failure, JournalError)
        assert "full" in str(failure)
    store.journal.limit_growth(None)
    again = store.store(b"2" * 50_000, "b", "x")
    reactor.advance(0)
    assert outcome(first) == Stored(True, 1)
    assert outcome(again) == Stored(True, 2)
    assert [message.seq for message in posted] == [1, 2]
    assert outbox(store) == [2], "the acknowledgement of message 1 was kept while the disk was full"


def test_a_mistake_of_ours_is_a_refusal_too(
    store: EventStore, reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.start(lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(messages, "encode_payload", lambda *_: 1 / 0)
        waiting = store.store(b"1", "a", "x")
        reactor.advance(0)
        assert isinstance(outcome(waiting), JournalError)
    waiting = store.store(b"1", "a", "x")
    reactor.advance(0)
    assert outcome(waiting) == Stored(True, 1)


def test_an_event_that_we_stumble_over_holds_no_other_up(store: EventStore, reactor: InlineReactor) -> None:
    store.start(lambda _: None)
    waiting = [store.store(b"%d" % number, str(number), "x" if number != 1 else "\udcff") for number in range(3)]
    reactor.advance(0)
    first, second, third = map(outcome, waiting)
    assert isinstance(second, JournalError)
    assert (first, third) == (Stored(True, 1), Stored(True, 2))
    assert outbox(store) == [1, 2]


def test_messages_to_others_have_numbers_of_their_own_and_outlive_a_full_disk(
    store: EventStore, reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[Outgoing] = []
    store.start(posted.extend)
    said = [messages.AlertSource("kafka gcn", str(number)) for number in range(3)]
    store.send_notice("monitoring", messages.ALERTS_SILENT, said[0])
    stored = store.store(b"1", "1", "x")
    reactor.advance(0.3)
    assert outcome(stored) == Stored(True, 1)
    with monkeypatch.context() as patch:
        patch.setattr(store.journal, "commit", Mock(side_effect=JournalError("the disk is full")))
        store.send_notice("monitoring", messages.ALERTS_HEARD, said[1])
        reactor.advance(0.3)
    store.send_notice("monitoring", messages.ALERTS_SILENT, said[2])
    reactor.advance(0.3)
    found = [(each.agent, each.seq, each.name) for each in posted if each.agent == "monitoring"]
    assert found == [
        ("monitoring", 1, messages.ALERTS_SILENT),
        ("monitoring", 2, messages.ALERTS_HEARD),
        ("monitoring", 3, messages.ALERTS_SILENT),
    ]
    assert (outbox(store), store.waiting) == ([1], 1)
    store.on_answer("monitoring", 3, [])
    assert store.waiting == 1
    entry = Entry(1, "id", messages.ALERTS_SILENT, 0.0, msgspec.Raw(posted[0].payload))
    assert store.complete(entry) == entry
    for _ in range(store_module.MAX_NOTICES + 10):
        store.send_notice("monitoring", messages.ALERTS_SILENT, said[0])
    del posted[:]
    reactor.advance(0.3)
    assert len(posted) == store_module.MAX_NOTICES


def test_answers_leave_the_outbox_within_a_moment(store: EventStore, reactor: InlineReactor) -> None:
    store.start(lambda _: None)
    for number in range(5):
        store.store(b"%d" % number, f"{number}", "x")
    reactor.advance(0)
    assert store.waiting == 5
    store.on_answer("alert_manager", 2, [])
    store.on_answer("alert_manager", 4, [Refusal(3, "payload of 'Alert received': no")])
    assert outbox(store) == [1, 2, 3, 4, 5]
    reactor.advance(0.25)
    reactor.advance(0)
    assert outbox(store) == [5]
    assert store.waiting == 1
    reader = JournalReader(store.journal.path)
    assert [(row[1], row[6]) for row in reader.refused()] == [(3, "payload of 'Alert received': no")]
    reader.close()
    reactor.advance(1)
    assert not reactor.getDelayedCalls()


def test_answers_are_stored_when_it_stops(reactor: InlineReactor, clock: VirtualClock, tmp_path: Path) -> None:
    store = EventStore(reactor, clock, tmp_path / "b.sqlite", threaded=False, durable=False)
    store.start(lambda _: None)
    store.store(b"1", "a", "x")
    reactor.advance(0)
    store.on_answer("alert_manager", 1, [])
    last = store.store(b"2", "b", "x")
    outcome(store.stop())
    assert outcome(last) == Stored(True, 2), "what waits is committed"
    assert outbox(store) == [2]
    late = outcome(store.store(b"3", "c", "x"))
    assert isinstance(late, JournalError)
    store.close()
    assert not reactor.getDelayedCalls()


def test_the_queue_is_bounded(store: EventStore, reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_WAITING", 3)
    store.start(lambda _: None)
    waiting = [store.store(b"x", f"{number}", "x") for number in range(4)]
    refused = outcome(waiting[3])
    assert isinstance(refused, JournalError)
    assert "wait to be stored" in str(refused)
    reactor.advance(0)
    assert [outcome(one).number for one in waiting[:3]] == [1, 2, 3]


def test_in_a_thread_many_events_share_a_commit(thread_reactor: Any, tmp_path: Path) -> None:
    reactor = thread_reactor
    start = datetime(2026, 1, 2, tzinfo=UTC)
    store = EventStore(reactor, VirtualClock(reactor, start), tmp_path / "b.sqlite", durable=False)
    groups: list[int] = []
    waiting = [store.store(b"%d" % number, f"{number % 900}", "x") for number in range(1000)]
    store.start(lambda outgoing: groups.append(len(outgoing)))
    reactor.advance(0)
    reactor.run_until(lambda: all(one.called for one in waiting))
    results = [outcome(one) for one in waiting]
    assert [stored.number for stored in results[:900]] == list(range(1, 901))
    assert all(isinstance(conflict, AlertError) for conflict in results[900:])
    assert groups == [256, 256, 256, 132]
    store.on_answer("alert_manager", 700, [])
    last = store.store(b"last", "last", "x")
    stopped = store.stop()
    reactor.run_until(lambda: bool(stopped.called))
    assert outcome(last) == Stored(True, 901)
    assert "journal of b" not in [thread.name for thread in threading.enumerate()]
    assert outbox(store) == list(range(701, 902))
    store.close()
