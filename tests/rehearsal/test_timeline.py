"""The heap of events: the order of calls, what is cancelled, moved, and waited for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface.verify import verifyObject

from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.timeline import EndlessError

DELAYS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from(["keep", "cancel", "later"])))


@given(DELAYS)
def test_calls_come_by_time_and_then_in_their_order(delays: list[tuple[float, str]]) -> None:
    reactor, made, wanted = MemoryReactor(), list[int](), list[tuple[float, int, int]]()
    calls = [reactor.callLater(delay, made.append, number) for number, (delay, _) in enumerate(delays)]
    for number, (delay, what) in enumerate(delays):
        if what == "cancel":
            calls[number].cancel()
        elif what == "later":
            calls[number].delay(3)
            wanted.append((delay + 3, 1, number))
        else:
            wanted.append((delay, 0, number))
    assert len(reactor.getDelayedCalls()) == len(wanted)
    reactor.run_until(10)
    assert made == [number for _, _, number in sorted(wanted)]
    assert reactor.seconds() == 10
    assert reactor.getDelayedCalls() == []


def test_time_stops_when_what_is_waited_for_is_so() -> None:
    reactor, made = MemoryReactor(), list[float]()
    for second in range(1, 6):
        reactor.callLater(second, lambda: made.append(reactor.seconds()))
    assert reactor.run_until(100, lambda: len(made) == 3)
    assert reactor.seconds() == 3
    assert not reactor.run_until(4.5, lambda: False)
    assert made == [1, 2, 3, 4]


def test_a_call_is_cancelled_once() -> None:
    reactor = MemoryReactor()
    call = reactor.callLater(1, lambda: None)
    verifyObject(IDelayedCall, call)
    call.cancel()
    assert not call.active()
    with pytest.raises(AlreadyCancelled):
        call.cancel()
    made = reactor.callLater(1, lambda: None)
    reactor.run_until(2)
    with pytest.raises(AlreadyCalled):
        made.cancel()


def test_cancelled_calls_do_not_fill_the_heap() -> None:
    reactor, made = MemoryReactor(), list[int]()
    reactor.callLater(50, made.append, 1)
    for _ in range(10_000):
        reactor.callLater(100, made.append, 2).cancel()
    assert len(reactor.timeline.waiting()) == 1
    reactor.run_until(60)
    assert made == [1]


def test_a_dead_reactor_calls_nothing() -> None:
    reactor, made = MemoryReactor(), list[int]()
    reactor.callLater(1, made.append, 1)
    reactor.alive = False
    reactor.run_until(2)
    assert made == []


def test_a_timer_that_rounding_keeps_from_its_end_comes_to_it() -> None:
    reactor, made = MemoryReactor(), list[float]()
    reactor.origin = -30.1
    reactor.run_until(4123.189117730344)
    due = math.nextafter(reactor.seconds(), math.inf)

    def wait() -> None:
        if reactor.seconds() < due:
            reactor.callLater(due - reactor.seconds(), wait)
        else:
            made.append(reactor.seconds())

    wait()
    reactor.run_until(5000)
    assert made


def test_calls_without_end_are_told() -> None:
    reactor = MemoryReactor()

    def again() -> None:
        reactor.callLater(0, again)

    again()
    with pytest.raises(EndlessError, match=r"calls come without end, such as .*again"):
        reactor.run_until(1)
