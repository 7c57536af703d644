"""What the garbage collector needn't look through."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock as TwistedClock

from pyros.clock import VirtualClock
from pyros.garbage import LongLivedObjects


@pytest.fixture
def scheduler() -> Iterator[TwistedClock]:
    gc.unfreeze()  # a night that was rehearsed in this process has put its modules aside
    yield TwistedClock()
    gc.unfreeze()


def aside(scheduler: TwistedClock, ready: list[bool]) -> LongLivedObjects:
    clock = VirtualClock(scheduler, datetime(2026, 3, 20, tzinfo=UTC))
    return LongLivedObjects(clock, lambda: bool(ready))


def test_what_lives_long_is_put_aside_once_all_is_ready(scheduler: TwistedClock) -> None:
    ready: list[bool] = []
    objects = aside(scheduler, ready)
    objects.start()
    scheduler.advance(60)
    scheduler.advance(60)
    assert gc.get_freeze_count() == 0
    ready.append(True)
    scheduler.advance(60)
    assert gc.get_freeze_count() > 1000
    assert not scheduler.getDelayedCalls()


def test_an_end_gives_everything_back_to_the_collector(scheduler: TwistedClock) -> None:
    objects = aside(scheduler, [True])
    objects.start()
    scheduler.advance(60)
    objects.stop()
    assert gc.get_freeze_count() == 0


def test_an_end_before_that_leaves_no_timer_behind(scheduler: TwistedClock) -> None:
    objects = aside(scheduler, [])
    objects.stop()
    objects.start()
    objects.stop()
    assert not scheduler.getDelayedCalls()
