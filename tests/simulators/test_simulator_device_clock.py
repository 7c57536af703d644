"""A device's own time: faster, and still while it is stuck."""

from __future__ import annotations

import pytest

from pyros.clock import VirtualClock
from pyros.simulators.device_clock import DeviceClock
from tests.builders import InlineReactor
from tests.simulators.conftest import MIDNIGHT


class Time:
    """A device's clock over virtual time, and what its timers did."""

    def __init__(self, speed: float) -> None:
        self.reactor = InlineReactor()
        self.device_clock = DeviceClock(VirtualClock(self.reactor, MIDNIGHT), speed)
        self.fired: list[str] = []

    def pass_by(self, seconds: float) -> None:
        self.reactor.advance(seconds)


def test_it_passes_faster() -> None:
    time = Time(10)
    start = time.device_clock.monotonic()
    timer = time.device_clock.call_later(50, time.fired.append, "a")
    time.pass_by(4.9)
    assert (time.fired, timer.active()) == ([], True)
    time.pass_by(0.2)
    assert (time.fired, timer.active()) == (["a"], False)
    assert time.device_clock.monotonic() - start == pytest.approx(51)
    assert time.device_clock.now().timestamp() == pytest.approx(MIDNIGHT.timestamp() + 5.1)


def test_it_stands_still_and_goes_on() -> None:
    time = Time(2)
    start = time.device_clock.monotonic()
    time.device_clock.call_later(20, time.fired.append, "late")
    early = time.device_clock.call_later(10, time.fired.append, "early")
    gone = time.device_clock.call_later(10, time.fired.append, "gone")
    time.pass_by(4)
    time.device_clock.stand_still()
    time.device_clock.stand_still()
    time.pass_by(1000)
    assert time.device_clock.monotonic() - start == pytest.approx(8)
    assert early.active()
    gone.cancel()
    time.device_clock.call_later(1, time.fired.append, "meanwhile")
    assert time.reactor.getDelayedCalls() == []
    time.device_clock.go_on()
    time.device_clock.go_on()
    time.pass_by(0.6)
    assert time.fired == ["meanwhile"]
    time.pass_by(0.5)
    assert time.fired == ["meanwhile", "early"]
    time.pass_by(5)
    assert time.fired == ["meanwhile", "early", "late"]
    assert time.reactor.getDelayedCalls() == []
