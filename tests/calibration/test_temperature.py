"""How the focus moves with the temperature."""

from __future__ import annotations

import pytest

from pyros.calibration.temperature import steps_per_kelvin


def test_the_steps_for_each_kelvin_are_learnt() -> None:
    curves = [(11.0, 25000.0), (9.0, 25122.0), (6.5, 25268.0), (5.0, 25360.0)]
    assert steps_per_kelvin(curves) == pytest.approx(-60, abs=1)


def test_a_wrong_focus_does_not_spoil_what_is_learnt() -> None:
    curves = [(12.0 - n, 25000.0 + 60 * n) for n in range(6)]
    curves[2] = (10.0, 27000.0)
    assert steps_per_kelvin(curves) == pytest.approx(-60, abs=1)


@pytest.mark.parametrize("curves", [[], [(1.0, 5.0), (9.0, 7.0)], [(1.0, 5.0), (1.5, 5.0), (2.0, 9.0)]])
def test_too_little_is_learnt_from_few_or_equal_temperatures(curves: list[tuple[float, float]]) -> None:
    assert steps_per_kelvin(curves) is None
