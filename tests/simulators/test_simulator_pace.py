"""A device's own time: faster, and still while it is stuck."""

from __future__ import annotations

import pytest

from pyros.clock import VirtualClock
from pyros.simulators.device_clock import Pace
from tests.simulators.conftest import MIDNIGHT, VirtualReactor


class Time:
    """A pace over virtual time, and what its timers did."""

    def __init__(self, speed: float) -> None:
        self.reactor = VirtualReactor()
        self.pace = Pace(VirtualClock(self.reactor, MIDNIGHT), speed)
        self.fired: list[str] = []

    def pass_by(self, seconds: float) -> None:
        self.reactor.advance(seconds)


def test_it_passes_faster() -> None:
    time = Time(10)
    start = time.pace.monotonic()
    timer = time.pace.call_later(50, time.fired.append, "a")
    time.pass_by(4.9)
    assert (time.fired, timer.active()) == ([], True)
    time.pass_by(0.2)
    assert (time.fired, timer.active()) == (["a"], False)
    assert time.pace.monotonic() - start == pytest.approx(51)
    assert time.pace.now().timestamp() == pytest.approx(MIDNIGHT.timestamp() + 5.1)


def test_it_stands_still_and_goes_on() -> None:
    time = Time(2)
    start = time.pace.monotonic()
    time.pace.call_later(20, time.fired.append, "late")
    early = time.pace.call_later(10, time.fired.append, "early")
    gone = time.pace.call_later(10, time.fired.append, "gone")
    time.pass_by(4)
    time.pace.stand_still()
    time.pace.stand_still()
    time.pass_by(1000)
    assert time.pace.monotonic() - start == pytest.approx(8)
    assert early.active()
    gone.cancel()
    time.pace.call_later(1, time.fired.append, "meanwhile")
    assert time.reactor.getDelayedCalls() == []
    time.pace.go_on()
    time.pace.go_on()
    time.pass_by(0.6)
    assert time.fired == ["meanwhile"]
    time.pass_by(0.5)
    assert time.fired == ["meanwhile", "early"]
    time.pass_by(5)
    assert time.fired == ["meanwhile", "early", "late"]
    assert time.reactor.getDelayedCalls() == []
