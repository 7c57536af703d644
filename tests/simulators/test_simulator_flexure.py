"""The pointing terms against what they mean: tilted axes are rotations, a tube sags away from the zenith."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.simulators.celestial import Ground, SiteCoordinates, Sky, half_turn, separation
from pyros.simulators.mount.mechanics import AltAzimuth, Axes, Equatorial, German, Mount, MountFrame
from pyros.simulators.mount.pointing_model import SIDEREAL_RATE, optics, periodic_error

SITE = SiteCoordinates(43.9308, 5.7133)
ANGLES = st.tuples(st.floats(-180, 180), st.floats(-85, 85))


def looks(mount: Mount, at: tuple[float, float], **terms: float) -> MountFrame:
    return optics(mount, Axes(*at), terms, not isinstance(mount, AltAzimuth))


def shift(mount: Mount, at: tuple[float, float], **terms: float) -> tuple[float, float]:
    """Arcseconds of the coordinates."""
    frame = looks(mount, at, **terms)
    return half_turn(frame.first - at[0]) * 3600, (frame.second - at[1]) * 3600


def test_index_errors_are_everywhere_the_same() -> None:
    mount = Equatorial(SITE)
    for at in ((0, 0), (50, 60), (-100, -20)):
        assert shift(mount, at, IH=30, ID=-20) == pytest.approx((30, -20), abs=0.01)
    assert shift(AltAzimuth(SITE, 90), (50, 40), IA=30, IE=20) == pytest.approx((-30, 20), abs=0.01)


def test_collimation_and_axes_that_are_not_square_grow_to_the_pole() -> None:
    mount = Equatorial(SITE)
    assert shift(mount, (0, 60), CH=10)[0] == pytest.approx(20, abs=0.01)
    assert shift(mount, (0, 60), NP=10)[0] == pytest.approx(10 * math.tan(math.radians(60)), abs=0.01)


@pytest.mark.parametrize(
    ("mount", "terms"),
    [
        (Equatorial(SITE), {"MA": 90, "ME": -140}),
        (Equatorial(SITE), {"ME": 60, "IH": 40}),
        (AltAzimuth(SITE, 90), {"AN": 90, "AW": -140}),
    ],
)
@given(ANGLES, ANGLES)
def test_a_tilted_axis_is_a_rotation(
    mount: Mount, terms: dict[str, float], first: tuple[float, float], second: tuple[float, float]
) -> None:
    before = separation(Sky(*first), Sky(*second))
    after = separation(Sky(*looks(mount, first, **terms)), Sky(*looks(mount, second, **terms)))
    assert after * 3600 == pytest.approx(before * 3600, abs=0.5)  # of the second order in the terms


def test_the_polar_axis_too_high_and_to_the_side() -> None:
    mount = Equatorial(SITE)
    assert shift(mount, (0, 20), ME=60) == pytest.approx((0, 60), abs=0.05)
    assert shift(mount, (90, 20), MA=60)[1] == pytest.approx(60, abs=0.05)


@pytest.mark.parametrize("mount", [Equatorial(SITE), AltAzimuth(SITE, 90)], ids=["equatorial", "altazimuth"])
@given(st.floats(0, 359), st.floats(15, 85))
def test_a_tube_sags_towards_the_horizon(mount: Mount, az: float, alt: float) -> None:
    at = mount.frame_of_ground(Ground(alt, az))
    there = mount.ground(looks(mount, at, TF=40))
    assert (there.alt - alt) * 3600 == pytest.approx(-40 * math.cos(math.radians(alt)), abs=0.1)
    assert half_turn(there.az - az) * 3600 * math.cos(math.radians(alt)) == pytest.approx(0, abs=0.1)


def test_on_the_other_side_of_the_pier_the_tubes_errors_are_mirrored() -> None:
    mount = German(SITE, 5)
    east, west = Axes(-2, 30), Axes(178, 150, True)
    assert mount.pointing(east) == mount.pointing(west)

    def at(axes: Axes, **terms: float) -> tuple[float, float]:
        frame = optics(mount, axes, terms, True)
        return (frame.first - 358) * 3600, (frame.second - 30) * 3600

    for name in ("ID", "CH", "NP"):
        assert at(east, **{name: 20}) == pytest.approx([-value for value in at(west, **{name: 20})], abs=0.01)
    for name in ("IH", "MA", "ME", "TF"):
        assert at(east, **{name: 20}) == pytest.approx(at(west, **{name: 20}), abs=0.01)


def test_the_worm_turns_once_in_its_period() -> None:
    degrees = SIDEREAL_RATE * 480
    assert periodic_error(Axes(0, 0), 6, 480) == 0
    assert periodic_error(Axes(degrees / 4, 0), 6, 480) == pytest.approx(6)
    assert periodic_error(Axes(degrees * 3.25, 0), 6, 480) == pytest.approx(6)
