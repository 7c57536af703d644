from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import pytest
from astropy.wcs import WCS

from pyros.simulators.celestial import Sky, between, offset, separation
from pyros.simulators.sky import Floats, Optics, Stars, project, render, stars_near

OPTICS = Optics(
    width=600, height=400, arcsec_per_pixel=1.8, seeing=4, zero_point=22, gain=1.5, read_noise=8, bias=1000,
    saturation=65535, dark_current=0.02, sky_background=3,
)  # fmt: skip
QUIET = dataclasses.replace(OPTICS, read_noise=0, sky_background=0, dark_current=0)
POINTINGS = [Sky(150, 2), Sky(0.01, 40), Sky(359.99, -35), Sky(200, 89.95), Sky(77, -90), Sky(10, 90), Sky(45, -89.5)]


def wcs(pointing: Sky, optics: Optics) -> WCS:
    """The convention as the docstring states it, for astropy to judge."""
    world = WCS(naxis=2)
    scale = optics.arcsec_per_pixel / 3600
    world.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    world.wcs.crval = [pointing.ra, pointing.dec]
    world.wcs.crpix = [(optics.width + 1) / 2, (optics.height + 1) / 2]
    world.wcs.lonpole = 180
    world.wcs.cd = [[-scale, 0], [0, scale]]
    return world


def in_field(pointing: Sky, optics: Optics, margin: float) -> tuple[Stars, Floats, Floats]:
    stars = stars_near(pointing, 0.3)
    column, row, front = project(stars, pointing, optics)
    inside = front & (column > margin) & (column < optics.width - 1 - margin)
    inside &= (row > margin) & (row < optics.height - 1 - margin)
    return Stars(stars.ra[inside], stars.dec[inside], stars.magnitude[inside]), column[inside], row[inside]


@pytest.mark.parametrize("pointing", POINTINGS)
def test_the_projection_is_that_of_the_world_coordinate_system(pointing: Sky) -> None:
    stars, column, row = in_field(pointing, OPTICS, 0)
    assert len(column) > 100
    x, y = wcs(pointing, OPTICS).all_world2pix(stars.ra, stars.dec, 0)
    assert np.allclose(x, column, atol=1e-6)
    assert np.allclose(y, row, atol=1e-6)


@pytest.mark.parametrize("pointing", POINTINGS)
def test_bright_stars_are_where_the_world_coordinate_system_says(pointing: Sky) -> None:
    image = render(QUIET, pointing, 5, 1.0, (1,)).astype(float) - QUIET.bias
    stars, _, _ = in_field(pointing, QUIET, 20)
    x, y = wcs(pointing, QUIET).all_world2pix(stars.ra, stars.dec, 0)
    checked = 0
    for i in np.argsort(stars.magnitude)[:15]:
        apart = np.hypot(x - x[i], y - y[i])
        crowded = np.any((apart < 12) & (apart > 0) & (stars.magnitude < stars.magnitude[i] + 4))
        column, row = round(float(x[i])), round(float(y[i]))
        box = image[row - 5 : row + 6, column - 5 : column + 6]
        if crowded or box.max() > 60000:
            continue
        grid = np.arange(-5, 6)
        assert (box.sum(axis=0) @ grid) / box.sum() + column == pytest.approx(x[i], abs=0.2)
        assert (box.sum(axis=1) @ grid) / box.sum() + row == pytest.approx(y[i], abs=0.2)
        electrons = 5 * 10 ** (0.4 * (QUIET.zero_point - stars.magnitude[i]))
        assert box.sum() * QUIET.gain == pytest.approx(electrons, rel=0.1)
        checked += 1
    assert checked >= 3


def test_east_is_left_and_north_is_up() -> None:
    centre = Sky(30, 20)
    stars = Stars(np.array([30.05, 30.0]), np.array([20.0, 20.05]), np.array([10.0, 10.0]))
    column, row, _ = project(stars, centre, OPTICS)
    middle = ((OPTICS.width - 1) / 2, (OPTICS.height - 1) / 2)
    assert column[0] < middle[0] - 50
    assert row[1] == pytest.approx(middle[1] + 100, abs=0.1)


def test_a_field_has_the_same_stars_whatever_the_pointing() -> None:
    def around(pointing: Sky) -> set[tuple[float, float, float]]:
        stars = stars_near(pointing, 0.4)
        rows = zip(stars.ra.tolist(), stars.dec.tolist(), stars.magnitude.tolist(), strict=True)
        return {row for row in rows if separation(Sky(row[0], row[1]), Sky(0, 50)) < 0.15}

    here = around(Sky(0, 50))
    assert len(here) > 100
    assert around(Sky(0.2, 50.1)) == here == around(Sky(359.8, 49.9))


@pytest.mark.parametrize("pointing", POINTINGS)
def test_no_star_of_the_circle_is_missing_and_none_is_there_twice(pointing: Sky) -> None:
    wide, narrow = stars_near(pointing, 3), stars_near(pointing, 1)
    everything = set(zip(wide.ra.tolist(), wide.dec.tolist(), strict=True))
    assert len(everything) == len(wide.ra)
    assert {star for star in everything if separation(Sky(*star), pointing) < 1} <= set(
        zip(narrow.ra.tolist(), narrow.dec.tolist(), strict=True)
    )


def test_star_counts_follow_their_law() -> None:
    stars = stars_near(Sky(120, 30), 4)
    sure = np.array([separation(Sky(ra, dec), Sky(120, 30)) < 4 for ra, dec in zip(stars.ra, stars.dec, strict=True)])
    area = 2 * math.pi * (1 - math.cos(math.radians(4))) * math.degrees(1) ** 2
    for faintest in (14, 16, 18):
        count = int((stars.magnitude[sure] < faintest).sum())
        expected = area * 10 * 10 ** (0.33 * (faintest - 10))
        assert count == pytest.approx(expected, rel=5 / math.sqrt(expected) + 0.01)


def test_the_background_and_its_noise_are_those_of_the_settings() -> None:
    image = render(OPTICS, Sky(10, 10), 60, 0.5, (3,)).astype(float)
    electrons = 60 * (3 * 1.5 * 0.5 + 0.02)
    assert np.median(image) == pytest.approx(1000 + electrons / 1.5, abs=2)
    below = np.median(image) - np.percentile(image, 15.87)
    assert below == pytest.approx(math.sqrt(electrons + 64) / 1.5, rel=0.1)


def test_a_dark_frame_and_a_bias_frame() -> None:
    dark = render(OPTICS, None, 1000, 1.0, (4,)).astype(float)
    assert dark.mean() == pytest.approx(1000 + 20 / 1.5, abs=0.1)
    bias = render(OPTICS, Sky(10, 10), 0, 1.0, (4,)).astype(float)
    assert bias.mean() == pytest.approx(1000, abs=0.1)
    assert bias.std() == pytest.approx(math.sqrt(64) / 1.5, rel=0.02)


def test_saturation_and_type() -> None:
    optics = dataclasses.replace(OPTICS, saturation=20000)
    image = render(optics, Sky(80, 10), 3000, 1.0, (5,))
    assert image.dtype == np.dtype("<u2")
    assert image.shape == (400, 600)
    assert image.max() == 20000
    assert (image == 20000).sum() > 50


def test_the_noise_is_seeded_and_the_stars_are_not() -> None:
    first, same, other = (render(OPTICS, Sky(10, 10), 20, 1.0, (1, n)) for n in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    bright = first > np.percentile(first, 99.9)
    assert (other[bright] > np.percentile(other, 99)).mean() > 0.9


def test_an_image_is_drawn_in_a_moment() -> None:
    optics = dataclasses.replace(OPTICS, width=768, height=768)
    render(optics, Sky(10, 10), 20, 1.0, (1,))
    best = min(_seconds(optics) for _ in range(5))
    assert best < 0.2


def _seconds(optics: Optics) -> float:
    began = time.perf_counter()
    render(optics, Sky(10, 10), 20, 1.0, (1,))
    return time.perf_counter() - began


def test_great_circles() -> None:
    a, b = Sky(359, 60), Sky(5, 62)
    assert separation(between(a, b, 0.25), a) == pytest.approx(separation(a, b) / 4)
    assert between(a, a, 0.5) == a
    assert between(Sky(0, 0), Sky(180, 0), 0.5) == Sky(0, 0)
    assert between(Sky(0, 0), Sky(180, 0), 1) == Sky(180, 0)
    for sky in (Sky(10, 20), Sky(0, 90), Sky(77, -90), Sky(0, 0)):
        moved = offset(sky, 0.003, 0.004)
        assert separation(sky, moved) == pytest.approx(0.005, rel=1e-5)
