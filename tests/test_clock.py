"""The clocks: real, virtual and scaled."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock as Scheduler

from pyros.clock import Deadline, RealClock, VirtualClock, system_time

NIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)


def test_a_virtual_clock_stands_still_until_it_is_advanced() -> None:
    scheduler = Scheduler()
    scheduler.advance(1000)
    clock = VirtualClock(scheduler, NIGHT)
    assert clock.now() == NIGHT
    before = clock.monotonic()
    scheduler.advance(90.5)
    assert clock.now().isoformat() == "2026-03-20T23:31:30.500000+00:00"
    assert clock.time() == NIGHT.timestamp() + 90.5
    assert clock.monotonic() - before == 90.5


def test_timers_fire_in_their_order_and_can_be_cancelled() -> None:
    scheduler = Scheduler()
    clock = VirtualClock(scheduler, NIGHT)
    fired: list[str] = []
    clock.call_later(2, fired.append, "second")
    clock.call_later(1, fired.append, "first")
    clock.call_later(-5, fired.append, "at once")
    never = clock.call_later(1.5, fired.append, "never")
    never.cancel()
    assert not never.active()
    scheduler.pump([0, 1, 1])
    assert fired == ["at once", "first", "second"]


def test_the_real_clock_is_the_computers_shifted() -> None:
    clock = RealClock(Scheduler(), offset=3600)
    assert clock.time() - time.time() == pytest.approx(3600, abs=5)
    assert (clock.now() - datetime.now(UTC)).total_seconds() == pytest.approx(3600, abs=5)
    assert clock.monotonic() <= clock.monotonic()
    assert system_time() == pytest.approx(time.time(), abs=5)


def test_the_real_clock_uses_the_schedulers_timers() -> None:
    scheduler = Scheduler()
    fired: list[str] = []
    timer = RealClock(scheduler).call_later(3, fired.append, "x")
    assert timer.active()
    scheduler.advance(3)
    assert fired == ["x"]


def test_a_deadline_never_waits_longer_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    deadline = Deadline(0.0)
    assert deadline.left() == 0.0
    deadline.pause(60)
    Deadline(600).pause(60)
    assert slept == [0.0, 60.0]
    assert 0 < Deadline(60).left() <= 60
