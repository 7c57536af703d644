"""Cells and cones: no position within a cone is ever missed, and not much more than the cone is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyros.alerts.archive import healpix
from pyros.angles import separation

RA = st.floats(0, 360, exclude_max=True)
DEC = st.floats(-90, 90)
RADIUS = st.floats(-4, 2.25).map(lambda power: 10**power)


def moved(ra: float, dec: float, distance: float, angle: float) -> tuple[float, float]:
    """Return the position at a distance and position angle from another, all in degrees."""
    a, d, s, p = map(math.radians, (ra, dec, distance, angle))
    sine = math.sin(d) * math.cos(s) + math.cos(d) * math.sin(s) * math.cos(p)
    east = math.atan2(math.sin(p) * math.sin(s) * math.cos(d), math.cos(s) - math.sin(d) * sine)
    return math.degrees(a + east) % 360, math.degrees(math.asin(max(-1.0, min(1.0, sine))))


def test_the_twelve_cells_of_the_first_level_are_numbered_as_in_the_paper() -> None:
    """Gorski et al. 2005, figure 4: 0 to 3 in the north, 4 to 7 on the equator from RA 0, 8 to 11 in the south."""
    fine = 4**healpix.LEVEL
    centres = [(45, 41.81), (135, 41.81), (0, 0.0), (90, 0.0), (45, -41.81), (315, -41.81)]
    assert [healpix.cell(ra, dec) // fine for ra, dec in centres] == [0, 1, 4, 5, 8, 11]


@settings(max_examples=300)
@example(0.546875, 86.42578125, 0.001, 0.75, 130.0)  # beside the edge of a cell
@given(RA, DEC, RADIUS, st.floats(0, 0.999999), st.floats(0, 360))
def test_a_position_within_a_cone_is_in_its_ranges(
    ra: float, dec: float, radius: float, share: float, angle: float
) -> None:
    radius = min(radius, 179.0)
    there = moved(ra, dec, radius * share, angle)
    if separation(ra, dec, *there) <= radius:
        found = healpix.cell(*there)
        assert any(first <= found <= last for first, last in healpix.cone(ra, dec, radius))


@pytest.mark.parametrize("radius", [0.001, 0.05, 1.0, 10.0, 40.0])
def test_a_cone_is_few_ranges_of_about_its_size(radius: float) -> None:
    ranges = healpix.cone(123.4, -33.3, radius)
    assert len(ranges) <= 60
    assert ranges == sorted(ranges)
    sky_area = 4 * math.pi * math.degrees(1) ** 2
    area = sum(last - first + 1 for first, last in ranges) * sky_area / (12 * 4**healpix.LEVEL)
    assert area < 8 * max(math.pi * radius**2, 0.0143**2 * 4)
