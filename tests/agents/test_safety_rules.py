"""The safety table against a model that looks at the whole past each time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.agents.safety_rules import Broken, Facts, as_markdown, dew_spread, judge, rules
from pyros.config import WeatherLimits
from pyros.messages import WeatherReading

LIMITS = WeatherLimits(quiet=60.0, rain_quiet=90.0)
TABLE = rules(LIMITS)


class SafetyQuantity(NamedTuple):
    """A quantity, above what it is unsafe, at what it is safe again, and for how long."""

    name: str
    most: float
    safe: float
    quiet: float


QUANTITIES = (
    SafetyQuantity("wind", 15.0, 12.0, 60.0),
    SafetyQuantity("humidity", 90.0, 85.0, 60.0),
    SafetyQuantity("rain", 0.5, 0.5, 90.0),
)


def value(reading: WeatherReading, quantity: SafetyQuantity) -> float | None:
    measured = getattr(reading, quantity.name)
    return None if measured is None else float(measured)


def is_safe(past: list[tuple[float, WeatherReading]], quantity: SafetyQuantity) -> bool:
    """Whether a quantity is safe now: it was never too much, or since then good enough for its whole quiet time."""
    times = [when for when, reading in past if (value(reading, quantity) or 0.0) > quantity.most]
    if not times:
        return True
    since = None
    for when, reading in past:
        measured = value(reading, quantity)
        if when <= times[-1] or measured is None or measured > quantity.safe:
            since = None if when >= times[0] else since
        elif since is None:
            since = when
        if since is not None and when - since >= quantity.quiet:
            return is_safe([each for each in past if each[0] > when], quantity)
    return False


readings = st.builds(
    WeatherReading,
    temperature=st.just(30.0),
    humidity=st.sampled_from((None, 50.0, 86.0, 91.0)),
    wind=st.sampled_from((None, 3.0, 13.0, 16.0)),
    rain=st.sampled_from((None, False, True)),
    dew_point=st.just(5.0),
)
steps = st.lists(st.tuples(st.sampled_from((10.0, 30.0, 60.0)), readings, st.integers(1, 4)), max_size=25)


@given(steps)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_it_is_unsafe_exactly_as_long_as_the_past_says(steps: list[tuple[float, WeatherReading, int]]) -> None:
    now, past, broken = 0.0, list[tuple[float, WeatherReading]](), dict[str, Broken]()
    for seconds, reading, times in steps:
        for _ in range(times):
            now += seconds
            past.append((now, reading))
            verdict = judge(TABLE, Facts(now=now, reading=reading), broken)
            safe = not verdict.reason and verdict.wait <= 0
            assert safe == all(is_safe(past, quantity) for quantity in QUANTITIES)


@given(st.floats(-20, 40), st.floats(1, 100))
def test_the_dew_point_is_never_above_the_air(temperature: float, humidity: float) -> None:
    spread = dew_spread(WeatherReading(temperature, humidity, 1.0, False))
    assert spread is not None
    assert -1e-9 <= spread < 80


def test_the_dew_point_is_that_of_a_table() -> None:
    spread = dew_spread(WeatherReading(20.0, 50.0, 1.0, False))
    assert spread is not None
    assert abs(spread - (20.0 - 9.3)) < 0.1, "WMO's tables: 9.3 degrees"


def test_a_limit_of_ones_own_is_never_above_the_first() -> None:
    table = {rule.name: rule for rule in rules(WeatherLimits(max_wind=8.0))}
    assert table["wind"].safe.startswith("8 m/s or less")


def test_one_number_may_replace_every_quiet_time() -> None:
    assert {rule.quiet for rule in rules(LIMITS, 5.0) if rule.check is not None} == {5.0}


def test_the_document_has_the_table_as_it_is_by_default() -> None:
    document = (Path(__file__).parents[2] / "docs" / "safety.md").read_text("utf-8")
    assert as_markdown(rules(WeatherLimits())) in document, "write it anew: python -m pyros.agents.safety_rules"
