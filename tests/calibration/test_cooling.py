"""The ramp of a detector's temperature."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyros.calibration import cooling
from pyros.calibration.cooling import LOOK_SECONDS, STEADY_LOOKS, Ramp


class CooledDetector:
    """A cooler that follows its set point at a rate, kelvins a second, and cannot be warmer than the air."""

    def __init__(self, temperature: float, rate: float, air: float) -> None:
        self.temperature, self.rate, self.air = temperature, rate, air

    def follow(self, set_point: float | None) -> None:
        goal = self.air if set_point is None else min(set_point, self.air)
        way = self.rate * LOOK_SECONDS
        self.temperature += max(-way, min(way, goal - self.temperature))


def run(ramp: Ramp, detector: CooledDetector, most: int = 2000) -> list[float | None]:
    """Follow a ramp to its end; returns its set points."""
    ramp.set_point = cooling.first(ramp, detector.temperature)
    points, ramp.begun = [ramp.set_point], True
    for _ in range(most):
        detector.follow(ramp.set_point)
        if cooling.reached(ramp, detector.temperature):
            return points
        ramp.set_point = cooling.following(ramp, detector.temperature)
        points.append(ramp.set_point)
    raise AssertionError(f"no end: {points[-5:]}, {detector.temperature}")


@given(
    st.floats(-60, 30), st.one_of(st.none(), st.floats(0.5, 30)), st.floats(-40, 25), st.floats(0.01, 2),
)  # fmt: skip
def test_every_ramp_ends_at_its_goal(goal: float, rate: float | None, begin: float, follows: float) -> None:
    detector = CooledDetector(begin, follows, 30.0)
    points = run(Ramp(goal, rate), detector)
    assert abs(detector.temperature - goal) <= cooling.TOLERANCE_KELVIN
    if rate is not None:
        steps = [abs(b - a) for a, b in pairwise(points) if a is not None and b is not None]
        assert max(steps) <= rate * LOOK_SECONDS / 60 + 1e-9
        assert all(min(begin, goal) - 1e-9 <= each <= max(begin, goal) + 1e-9 for each in points if each is not None)


@given(st.floats(-60, 10), st.floats(0.5, 30), st.floats(-10, 40), st.floats(0.01, 2))
def test_every_warm_up_ends_with_the_cooler_off(begin: float, rate: float, air: float, follows: float) -> None:
    points = run(Ramp(None, rate), CooledDetector(min(begin, air), follows, air))
    assert points[-1] is None
    assert all(each is not None for each in points[:-1])


def test_without_a_ramp_the_goal_is_given_at_once() -> None:
    assert run(Ramp(-20.0), CooledDetector(10.0, 5.0, 12.0)) == [-20.0] * STEADY_LOOKS
    assert run(Ramp(None), CooledDetector(-20.0, 5.0, 12.0)) == [None]


def test_a_camera_that_tells_no_temperature_gets_the_goal() -> None:
    assert cooling.first(Ramp(-20.0, 5.0), None) == -20.0


def test_a_cooler_without_power_has_warmed_up() -> None:
    assert cooling.following(Ramp(None, 5.0, set_point=8.0, begun=True), 8.0, power=0.0) is None
