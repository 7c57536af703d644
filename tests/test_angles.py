"""Angles and days against known values."""

from __future__ import annotations

import numpy as np
import pytest

from pyros import angles


@pytest.mark.parametrize(
    ("one", "other", "degrees"),
    [
        ((0, 0), (90, 0), 90),
        ((10, 90), (200, 89), 1),
        ((359.5, 0), (0.5, 0), 1),
        ((10, 0), (10, 1 / 3600), 1 / 3600),
        ((20, 30), (200, -30), 180),
    ],
)
def test_separation_of_two_positions(one: tuple[float, float], other: tuple[float, float], degrees: float) -> None:
    assert angles.separation(*one, *other) == pytest.approx(degrees, rel=1e-9, abs=1e-6)
    assert angles.separation_arcsec(*one, *other) == 3600 * angles.separation(*one, *other)
    many = angles.separations(np.array([one[0]] * 3), np.array([one[1]] * 3), *other)
    assert many == pytest.approx([angles.separation(*one, *other)] * 3)


def test_angles_are_wrapped_the_shorter_way() -> None:
    assert [angles.wrapped(each) for each in (0.0, 179.0, 180.0, 350.0, -190.0, 730.0)] == [0, 179, -180, -10, 170, 10]
    assert angles.wrapped(np.array([350.0, 10.0])).tolist() == [-10, 10]
    assert angles.turn_between(350, 10) == angles.turn_between(10, 350) == 20


def test_days_of_the_unix_epoch() -> None:
    assert angles.mjd_of_unix(86_400) == 40_588
    assert angles.unix_of_mjd(60_000.5) == 1_677_326_400  # 2023-02-25 12:00
