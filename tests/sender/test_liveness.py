"""Whether the other end lives: who says what, and who is given up, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyros.sender.liveness import (
    ANSWER_SECONDS,
    INBOUND_PATIENCE_SECONDS,
    MAX_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    PING_SECONDS,
    SIGN_SECONDS,
    STALE_SECONDS,
    Path,
    ReceiverWatch,
    SenderWatch,
)
from tests.builders import InlineReactor


class DelayedWire:
    """Both sides of a connection that takes ``delay`` seconds each way, and loses everything once it is ``dead``."""

    def __init__(self, *, local: bool = False, seldom: bool = True) -> None:
        self.clock = InlineReactor()
        self.delay = 0.01
        self.dead = False
        self.unread = False
        self.said = self.arrived = self.pings = self.signs = 0
        self.ended: dict[str, float] = {}
        self.sender = SenderWatch(self.clock, Path(), self._ping, lambda _: self._end("sender"))
        self.receiver = ReceiverWatch(
            self.clock, lambda: self.unread, self._sign, lambda _: self._end("receiver"), local=local, seldom=seldom
        )
        self.sender.start(2 * self.delay, local=local)

    def say(self, pieces: int = 1, apart: float = 0.0) -> None:
        """Write as many bytes as there are pieces, which arrive so many seconds apart."""
        self.said += pieces
        self.sender.wrote()
        for piece in range(pieces):
            self._later(self._arrive, piece * apart)

    def say_fleeting(self) -> None:
        """Write a frame of fleeting messages."""
        self.said += 1
        self.sender.wrote(fleeting=True)
        self._later(self._arrive_fleeting)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def _later(self, function: Callable[[], None], pause: float = 0.0) -> None:
        if not self.dead:
            self.clock.callLater(self.delay + pause, lambda: None if self.dead else function())

    def _arrive(self) -> None:
        if not self.unread:
            self.arrived += 1
            self.receiver.heard()

    def _arrive_fleeting(self) -> None:
        self.arrived += 1
        self.receiver.on_fleeting()

    def _ping(self) -> None:
        self.pings += 1
        self.say()

    def _sign(self) -> None:
        self.signs += 1
        told = self.arrived
        self._later(lambda: self._hear(told >= self.said))

    def _hear(self, everything: bool) -> None:
        self.sender.signed()
        self.sender.heard(everything)

    def _end(self, side: str) -> None:
        self.ended[side] = self.clock.seconds()


@pytest.fixture
def line() -> DelayedWire:
    return DelayedWire()


def test_an_idle_connection_stays_and_is_pinged(line: DelayedWire) -> None:
    line.run(3600)
    assert not line.ended
    assert line.pings == pytest.approx(3600 / PING_SECONDS, rel=0.1)
    assert line.signs == line.pings


def test_an_idle_connection_within_a_computer_stays_without_a_word() -> None:
    line = DelayedWire(local=True)
    line.run(3600)
    assert (line.ended, line.pings, line.signs) == ({}, 0, 0)
    assert not line.clock.getDelayedCalls()


def test_a_word_within_a_computer_is_answered_once() -> None:
    line = DelayedWire(local=True)
    for said in range(1, 4):
        line.run(100)
        line.say()
        line.run(ANSWER_SECONDS + 0.5)
        assert line.signs == said
    line.run(100)
    assert not line.ended
    assert not line.clock.getDelayedCalls()


@pytest.mark.parametrize("local", [False, True])
def test_what_is_said_into_a_dead_connection_ends_it_soon(local: bool) -> None:
    line = DelayedWire(local=local)
    line.run(5)
    line.dead = True
    line.say()
    line.run(PATIENCE_SECONDS + 1)
    assert "sender" in line.ended


def test_an_idle_connection_that_has_died_is_found_by_both_ends(line: DelayedWire) -> None:
    line.run(5)
    line.dead = True
    line.run(60)
    assert line.ended["sender"] <= 5 + PING_SECONDS + PATIENCE_SECONDS + 1
    assert line.ended["receiver"] <= 60


def test_a_frame_that_comes_slowly_is_a_sign_of_life(line: DelayedWire) -> None:
    line.say(pieces=60, apart=1.0)
    line.run(70)
    assert not line.ended
    assert line.signs >= 50


def test_a_frame_that_stops_in_the_middle_is_none(line: DelayedWire) -> None:
    line.say(pieces=60, apart=1.0)
    line.run(20)
    line.dead = True
    line.run(PATIENCE_SECONDS + ANSWER_SECONDS + 1)
    assert "sender" in line.ended


def test_the_last_word_is_missed_though_the_one_before_was_heard(line: DelayedWire) -> None:
    line.say()
    line.run(0.5)
    line.dead = False
    line.say()
    line.arrived -= 1  # the second one is lost, and the sign of the first one comes after it was said
    line.run(ANSWER_SECONDS)
    line.dead = True
    line.run(PATIENCE_SECONDS + 1)
    assert "sender" in line.ended


@pytest.mark.parametrize("local", [False, True])
def test_a_receiver_that_reads_nothing_lives(local: bool) -> None:
    """Its mailbox is full. Within a computer there is then nothing left to be said, either."""
    line = DelayedWire(local=local)
    line.unread = True
    line.receiver.held()
    line.say()
    line.run(600)
    assert not line.ended
    line.unread = False
    line.arrived = line.said
    line.receiver.heard()
    line.run(60)
    assert not line.ended
    assert bool(line.clock.getDelayedCalls()) is not local


def test_a_path_that_was_slow_from_the_beginning_gets_more_time() -> None:
    clock = InlineReactor()
    ended: list[str] = []
    watch = SenderWatch(clock, Path(), lambda: None, ended.append)
    watch.start(round_trip=4.0)
    watch.wrote()
    clock.advance(7.0)
    assert not ended
    clock.advance(1.1)
    clock.advance(0.6)
    assert ended == ["no sign of life for 8.7 s"]


def test_a_process_that_was_held_up_reads_before_it_judges() -> None:
    clock = InlineReactor()
    ended: list[str] = []
    watch = SenderWatch(clock, Path(), lambda: None, ended.append)
    watch.start(0.1)
    watch.wrote()
    clock.advance(60.0)
    watch.heard(everything=True)
    clock.advance(1.0)
    assert not ended


def test_a_stopped_watch_calls_nothing(line: DelayedWire) -> None:
    line.say()
    line.sender.stop()
    line.receiver.stop()
    line.dead = True
    line.run(200)
    assert not line.ended
    assert not line.clock.getDelayedCalls()


def test_a_busy_connection_says_nothing_more_than_its_answers(line: DelayedWire) -> None:
    for _ in range(1000):
        line.say()
        line.clock.advance(0.02)
        line.receiver.answered()
        line.sender.heard(everything=True)
        line.clock.advance(0.08)
    assert not line.pings
    assert line.signs <= 100, "one a second at most"
    assert not line.ended
    assert STALE_SECONDS > 2 * PING_SECONDS


def test_a_connection_waits_longer_while_another_one_fills_the_path() -> None:
    clock, path = InlineReactor(), Path()
    ended: list[str] = []
    bulk = SenderWatch(clock, path, lambda: None, lambda _: None)
    watch = SenderWatch(clock, path, lambda: None, ended.append)
    watch.start(0.1)
    watch.wrote()
    for _ in range(20):
        clock.advance(1.0)
        bulk.heard(everything=False)
    assert not ended
    clock.pump([0.5] * 10)
    assert ended, "nobody hears anything any more"
    ended.clear()
    again = SenderWatch(clock, path, lambda: None, ended.append)
    again.start(0.1)
    again.wrote()
    for _ in range(round(MAX_PATIENCE_SECONDS) + 1):
        clock.advance(1.0)
        bulk.heard(everything=False)
    assert ended, "this one is dead, though the path is not"


def test_what_the_other_side_says_of_its_own_makes_patient_but_not_for_long(line: DelayedWire) -> None:
    """Its answers may stand behind that on a narrow line."""
    path = Path()
    ends: list[float] = []
    watch = SenderWatch(line.clock, path, lambda: None, lambda _: ends.append(line.clock.seconds()))
    watch.start(0.02)
    watch.wrote()
    begin = line.clock.seconds()
    while not ends:
        path.heard_inbound = line.clock.seconds()
        line.clock.advance(0.1)
        assert line.clock.seconds() < begin + MAX_PATIENCE_SECONDS
    assert INBOUND_PATIENCE_SECONDS <= ends[0] - begin <= INBOUND_PATIENCE_SECONDS + 1.0


def test_what_is_fleeting_within_a_computer_is_answered_twice_a_minute() -> None:
    line = DelayedWire(local=True)
    for _ in range(60):
        line.say_fleeting()
        line.run(10)
    assert 10 < line.signs <= 600 / SIGN_SECONDS
    assert not line.ended
    assert not line.clock.getDelayedCalls()


def test_a_connection_within_a_computer_that_has_died_is_found_before_a_lease_ends() -> None:
    line = DelayedWire(local=True)
    line.say_fleeting()
    line.run(10)
    line.dead = True
    for _ in range(5):
        line.say_fleeting()
        line.run(10)
    assert 0 < line.ended["sender"] <= SIGN_SECONDS + 10 + PATIENCE_SECONDS + 1


def test_a_sender_of_an_older_version_has_every_word_answered() -> None:
    line = DelayedWire(local=True, seldom=False)
    for _ in range(6):
        line.say_fleeting()
        line.run(10)
    assert line.signs == 6
