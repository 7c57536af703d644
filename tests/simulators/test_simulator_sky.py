from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.wcs import WCS

from pyros.angles import Floats
from pyros.simulators.camera.sky import Optics, View, electrons, project
from pyros.simulators.celestial import Sky
from pyros.stars import Stars, SyntheticStars

OPTICS = Optics(width=600, height=400, arcsec_per_pixel=1.8, seeing=4, zero_point=22)
POINTINGS = [Sky(150, 2), Sky(0.01, 40), Sky(359.99, -35), Sky(200, 89.95), Sky(77, -90), Sky(10, 90), Sky(45, -89.5)]


def wcs(pointing: Sky, optics: Optics) -> WCS:
    """Express the convention as the docstring states it, for astropy to judge."""
    world = WCS(naxis=2)
    scale = optics.arcsec_per_pixel / 3600
    cos, sin = np.cos(np.radians(optics.rotation)), np.sin(np.radians(optics.rotation))
    world.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    world.wcs.crval = [pointing.ra, pointing.dec]
    world.wcs.crpix = [(optics.width + 1) / 2, (optics.height + 1) / 2]
    world.wcs.lonpole = 180
    world.wcs.cd = scale * np.array([[-cos, sin], [sin, cos]])
    return world


def in_field(pointing: Sky, optics: Optics, margin: float) -> tuple[Stars, Floats, Floats]:
    stars = SyntheticStars().near(pointing.ra, pointing.dec, 0.3)
    column, row, front = project(stars, pointing, optics)
    inside = front & (column > margin) & (column < optics.width - 1 - margin)
    inside &= (row > margin) & (row < optics.height - 1 - margin)
    return stars.chosen(inside), column[inside], row[inside]


def view(pointing: Sky, **changed: float) -> View:
    stars = SyntheticStars().near(pointing.ra, pointing.dec, OPTICS.radius)
    return dataclasses.replace(View(pointing, stars, 0.0), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("rotation", [0.0, 30.0, 250.0])
@pytest.mark.parametrize("pointing", POINTINGS)
def test_the_projection_is_that_of_the_world_coordinate_system(pointing: Sky, rotation: float) -> None:
    optics = dataclasses.replace(OPTICS, rotation=rotation)
    stars, column, row = in_field(pointing, optics, 0)
    assert len(column) > 100
    x, y = wcs(pointing, optics).all_world2pix(stars.ra, stars.dec, 0)
    assert np.allclose(x, column, atol=1e-6)
    assert np.allclose(y, row, atol=1e-6)


@pytest.mark.parametrize("pointing", POINTINGS)
def test_bright_stars_are_where_the_world_coordinate_system_says(pointing: Sky) -> None:
    image = electrons(OPTICS, view(pointing), 5).astype(float)
    stars, _, _ = in_field(pointing, OPTICS, 20)
    x, y = wcs(pointing, OPTICS).all_world2pix(stars.ra, stars.dec, 0)
    checked = 0
    for i in np.argsort(stars.magnitude)[:15]:
        apart = np.hypot(x - x[i], y - y[i])
        if np.any((apart < 12) & (apart > 0) & (stars.magnitude < stars.magnitude[i] + 4)):
            continue
        column, row = round(float(x[i])), round(float(y[i]))
        box = image[row - 5 : row + 6, column - 5 : column + 6]
        grid = np.arange(-5, 6)
        assert (box.sum(axis=0) @ grid) / box.sum() + column == pytest.approx(x[i], abs=0.2)
        assert (box.sum(axis=1) @ grid) / box.sum() + row == pytest.approx(y[i], abs=0.2)
        assert box.sum() == pytest.approx(5 * 10 ** (0.4 * (22 - stars.magnitude[i])), rel=0.1)
        checked += 1
    assert checked >= 3


def test_east_is_left_and_north_is_up_and_a_rotation_turns_north_to_the_left_side() -> None:
    stars = Stars(np.array([30.05, 30.0]), np.array([20.0, 20.05]), np.array([10.0, 10.0]))
    middle = ((OPTICS.width - 1) / 2, (OPTICS.height - 1) / 2)
    column, row, _ = project(stars, Sky(30, 20), OPTICS)
    assert column[0] < middle[0] - 50
    assert row[1] == pytest.approx(middle[1] + 100, abs=0.1)
    column, row, _ = project(stars, Sky(30, 20), dataclasses.replace(OPTICS, rotation=90))  # east is up, so ...
    assert column[1] == pytest.approx(middle[0] + 100, abs=0.1)  # ... north is right
    assert row[0] > middle[1] + 50


def test_filter_air_and_background() -> None:
    clear = electrons(OPTICS, view(Sky(10, 10), background=2.0), 10)
    assert np.median(clear) == pytest.approx(20, abs=0.5)
    dimmed = electrons(OPTICS, view(Sky(10, 10), background=2.0, throughput=0.5, extinction=1.0), 10)
    assert np.median(dimmed) == pytest.approx(10, abs=0.5)
    ratio = (dimmed - 10).sum(dtype=float) / (clear - 20).sum(dtype=float)
    assert ratio == pytest.approx(0.5 * 10**-0.4, rel=1e-3)


def test_a_telescope_out_of_focus_spreads_the_same_light() -> None:
    star = Stars(np.array([10.0]), np.array([10.0]), np.array([12.0]))
    sharp, blurred = (electrons(OPTICS, View(Sky(10, 10), star, 0.0, blur=blur), 10) for blur in (0.0, 8.0))
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=1e-4)

    def fwhm(image: np.ndarray) -> float:
        across = image.sum(axis=0, dtype=float)
        x = np.arange(len(across))
        mean = (across @ x) / across.sum()
        return 2.355 * float(np.sqrt((across @ (x - mean) ** 2) / across.sum())) * OPTICS.arcsec_per_pixel

    assert fwhm(sharp) == pytest.approx(4, rel=0.08)  # a pixel is wide, too
    assert fwhm(blurred) == pytest.approx(np.hypot(4, 8), rel=0.05)
    hopeless = electrons(OPTICS, View(Sky(10, 10), star, 0.0, blur=3600), 10)
    assert hopeless.sum() == pytest.approx(sharp.sum(), rel=0.01)


def test_no_star_of_the_corners_is_missing() -> None:
    corner = dataclasses.replace(OPTICS, rotation=33)
    near = view(Sky(120, 30)).stars
    far = SyntheticStars().near(120, 30, 3)
    drawn = [electrons(corner, View(Sky(120, 30), stars, 0.0), 1) for stars in (near, far)]
    assert np.allclose(drawn[0], drawn[1])


def test_no_time_no_light() -> None:
    assert not electrons(OPTICS, view(Sky(10, 10), background=3.0), 0).any()
