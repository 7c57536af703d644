"""Regions of cells: what belongs to them, what comes near them, and how they are written as a MOC."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyros.alerts.archive import healpix
from pyros.alerts.archive.region import SkyRegion
from pyros.alerts.skymaps import SkyMap
from pyros.angles import separation
from tests.alerts.test_healpix import DEC, RA, moved

CELLS = st.integers(0, 9).flatmap(lambda level: st.tuples(st.just(level), st.integers(0, 12 * 4**level - 1)))
REGIONS = st.lists(CELLS, min_size=1, max_size=8)


def region_of(cells: list[tuple[int, int]]) -> SkyRegion:
    return SkyRegion.of_moc(" ".join(f"{level}/{cell}" for level, cell in cells))


def circles(ra: float, dec: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, d = math.radians(ra), math.radians(dec)
    vector = (math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d))
    return np.array([healpix.cell(ra, dec)]), np.array([vector]), np.array([radius])


@given(REGIONS, RA, DEC)
def test_a_position_is_in_the_cells_that_hold_it(cells: list[tuple[int, int]], ra: float, dec: float) -> None:
    region, here = region_of(cells), healpix.cell(ra, dec)
    inside = any(here >> 2 * (healpix.LEVEL - level) == cell for level, cell in cells)
    assert region.has_cell(here) == inside == region.has(np.array([here]))[0]
    if inside:
        for most in (1, 2, 100):
            ranges = region.covering(most)
            assert len(ranges) <= most
            assert any(first <= here <= last for first, last in ranges)


@settings(max_examples=50)
@given(REGIONS, RA, DEC, st.floats(-3, 1.8).map(lambda power: 10**power), st.floats(0, 0.999), st.floats(0, 360))
def test_what_comes_near_a_region_is_around_it_and_touches_it(
    cells: list[tuple[int, int]], ra: float, dec: float, radius: float, share: float, angle: float
) -> None:
    here = healpix.cell(ra, dec)
    region = region_of([*cells, (healpix.LEVEL, here)])
    there = moved(ra, dec, radius * share, angle)
    assume(separation(ra, dec, *there) <= radius)
    assert region.around(radius).has_cell(healpix.cell(*there))
    assert region.touches(*circles(*there, radius))[0]


@given(RA, DEC, st.floats(0, 20), st.floats(0, 360), st.integers(3, 9))
def test_a_circle_far_from_a_region_does_not_touch_it(
    ra: float, dec: float, radius: float, angle: float, level: int
) -> None:
    size = 58.6 / 2**level
    region = region_of([(level, healpix.cell(ra, dec) >> 2 * (healpix.LEVEL - level))])
    there = moved(ra, dec, radius + 3 * size, angle)
    assert not region.touches(*circles(*there, radius))[0]


def test_a_moc_is_read_as_the_recommendation_writes_it() -> None:
    region = SkyRegion.of_moc("s1/1,2 3/18-20 8/")
    fine = 4 ** (healpix.LEVEL - 3)
    assert region.first.tolist() == [16 * fine]
    assert region.last.tolist() == [48 * fine - 1]
    assert region.share == pytest.approx(2 / 48)
    assert SkyRegion.of_moc("14/5").has_cell(0)  # the whole cell of the index that it lies in


@pytest.mark.parametrize(
    "text", ["", "5/", "17", "5/x", "0/12", "30/1", "5/9-3", "5/1-2-3", "5//1", "{}", "5/" + "9" * 50]
)
def test_what_is_no_moc_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="moc: "):
        SkyRegion.of_moc(text)


def test_a_region_of_all_levels_is_that_of_its_cells() -> None:
    level = np.array([0, 3, 14, 14])
    cell = np.array([0, 64 * 4, (4**14) * 6, (4**14) * 6 + 1])
    chance = np.array([0.5, 0.3, 0.1, 0.1])
    inside = SkyMap(level, cell, chance).region(0.9)
    region = SkyRegion.of_cells(level[inside], cell[inside])
    assert region.has_cell(6 * 4**healpix.LEVEL)
    assert region.has_cell(64 * 4 * 4 ** (healpix.LEVEL - 3))
