from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import Sky

BURST = Transient(Sky(150, 2), magnitude=14.0, begin=1000.0, slope=1.2, after=60.0)


def test_it_fades_as_a_power_law() -> None:
    assert BURST.mean_magnitude(1060, 1060) == pytest.approx(14.0, abs=1e-3)
    later = BURST.mean_magnitude(1600, 1600)
    assert later == pytest.approx(14.0 + 2.5 * 1.2, abs=1e-3)


@pytest.mark.parametrize("slope", [0.0, 0.7, 1.0, 1.2, 3.0])
@pytest.mark.parametrize(
    ("opened", "closed"), [(1000, 1020), (990, 1010), (1010, 1070), (1000.2, 1000.6), (5000, 9000)]
)
def test_an_exposure_sees_the_mean(slope: float, opened: float, closed: float) -> None:
    source = dataclasses.replace(BURST, slope=slope)
    t = np.linspace(opened, closed, 2_000_001) - 1000
    flux = np.where(t > 0, (np.maximum(t, 1.0) / 60) ** -slope, 0.0)
    expected = 14 - 2.5 * math.log10(flux.mean())
    assert source.mean_magnitude(opened, closed) == pytest.approx(expected, abs=2e-3)


def test_before_it_begins_there_is_nothing() -> None:
    assert BURST.mean_magnitude(900, 1000) is None
    assert BURST.mean_magnitude(900, 1000.5) is not None
