from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from pyros.analysis import lightcurve
from pyros.analysis.lightcurve import Point
from pyros.analysis.masters import Masters
from pyros.analysis.photometry import alone, instrumental
from pyros.analysis.pipeline import Measured, SearchArea, detect, measure
from pyros.analysis.positions import to_pixels
from pyros.errors import ImageError
from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import Sky, separation
from pyros.stars import Catalogue, Stars, SyntheticStars, catalogue, gaia

Cameras = Callable[..., Any]
CENTRE = Sky(150.2, 40.1)
TIME = 1_774_049_400.0


def measured(
    path: Path, target: SearchArea | None = None, stars: Catalogue | None = None, masters: Masters | None = None
) -> Measured:
    detected = detect(path, masters or Masters(), 60_000)
    return measure(detected, stars or catalogue("auto"), target, None)


def errors(result: Measured, most: int) -> np.ndarray:
    """Measured minus true magnitudes of the brightest good stars."""
    assert result.matched is not None
    assert result.zero is not None
    sources, stars = result.detected.found.sources, result.stars
    magnitude, _ = instrumental(sources, result.detected.seconds)
    s, c = result.matched.sources, result.matched.stars
    good = sources.clean[s] & alone(stars, result.matched, result.detected.found.fwhm)[c]
    difference: np.ndarray = (magnitude[s] + result.zero.magnitude - stars.magnitude[c])[good][:most]
    return difference


@pytest.mark.parametrize("pointing", [CENTRE, Sky(280, 5), Sky(0.01, -60), Sky(33, 80)])
@pytest.mark.parametrize(("rotation", "error"), [(0.0, (0, 0)), (0.0, (120, -170)), (30.0, (-300, 250))])
def test_the_true_pointing_is_found(
    camera: Cameras, pointing: Sky, rotation: float, error: tuple[float, float]
) -> None:
    result = measured(camera(rotation=rotation)(pointing=pointing, error=error))
    assert result.problem == ""
    assert result.pointing is not None
    assert separation(Sky(result.pointing.ra, result.pointing.dec), pointing) * 3600 < 0.3
    assert (result.pointing.east, result.pointing.north) == pytest.approx(error, abs=3)  # of angles this wide
    assert result.matched is not None
    assert result.matched.rms < 0.6


def test_fifty_stars_of_a_wide_field_have_their_magnitudes(camera: Cameras) -> None:
    wide = camera(width=2048, height=2048, arcsec_per_pixel=3.5, seeing=7, rotation=30, vignetting=0.0)
    result = measured(wide(error=(60, 40)))
    if gaia.installed():
        assert (result.stars.magnitude < 10).sum() > 20  # real ones are among them
    difference = errors(result, 50)
    assert len(difference) == 50
    assert difference.std() < 0.05
    assert abs(difference.mean()) < 0.02


def test_the_stars_width_is_the_seeing(camera: Cameras) -> None:
    found = detect(camera(seeing=6.0)(), Masters(), 60_000).found
    assert found.fwhm * 1.8 == pytest.approx(6.0, rel=0.07)
    assert found.background == pytest.approx(1000 + 60, rel=0.02)


def test_a_burst_is_found_and_fades_as_it_does(camera: Cameras) -> None:
    """The slope of a power law comes back within ten percent, from seven exposures of 20 to 60 seconds."""
    shoot = camera()
    burst = Transient(Sky(150.23, 40.12), magnitude=14.0, begin=TIME, slope=1.2)
    shoot.transients.append(burst)
    points = []
    for after, seconds in ((10, 20), (40, 20), (80, 20), (150, 20), (300, 20), (500, 60), (800, 60)):
        result = measured(shoot(seconds, at=TIME + after, error=(20, 10)), SearchArea(150.24, 40.12, 0.05))
        (new,) = result.new
        assert separation(Sky(new.ra, new.dec), burst.position) * 3600 < 1
        assert new.distance == pytest.approx(0.01 * np.cos(np.radians(40.12)) * 3600, abs=1)
        true = burst.mean_magnitude(TIME + after, TIME + after + seconds)
        assert new.magnitude == pytest.approx(true, abs=0.05 + 3 * new.error)
        time = (result.detected.middle - 40587) * 86400 - TIME
        points.append(Point("A", "", result.detected.middle, time, "r", seconds, new.magnitude, new.error, new.ra,
                            new.dec, "o", str(after)))  # fmt: skip
    fitted = lightcurve.slope(points)
    assert fitted is not None
    assert fitted[0] == pytest.approx(1.2, rel=0.1)


@pytest.mark.parametrize(
    ("seed", "where", "slope"),
    [(1, Sky(339.5, 26.246), 1.58), (2, Sky(94.18, 2.834), 1.45), (3, Sky(289.8, 58.873), 0.85)],
)
def test_wherever_it_is_its_slope_comes_back(camera: Cameras, seed: int, where: Sky, slope: float) -> None:
    shoot = camera(seed=seed)
    shoot.transients.append(Transient(Sky(where.ra + 0.02, where.dec - 0.03), 14.0, TIME, slope))
    points = []
    for after in (40, 90, 160, 300):
        result = measured(shoot(at=TIME + after, pointing=where), SearchArea(where.ra + 0.02, where.dec - 0.03, 0.01))
        new = result.new[0]
        time = (result.detected.middle - 40587) * 86400 - TIME
        points.append(Point("A", "", result.detected.middle, time, "r", 20, new.magnitude, new.error, new.ra, new.dec,
                            "o", str(after)))  # fmt: skip
        assert errors(result, 50).std() < 0.05
    fitted = lightcurve.slope(points)
    assert fitted is not None
    assert fitted[0] == pytest.approx(slope, rel=0.05)


def test_a_bright_star_beside_a_faint_one_is_not_taken_for_sky(camera: Cameras) -> None:
    """It stands in the ring where the sky is measured; were it sky, the faint one would be fainter by far."""
    shoot = camera()
    faint, bright = Sky(150.23, 40.12), Sky(150.23, 40.12 + 21 / 3600)
    shoot.transients += [Transient(faint, 16.0, TIME - 60, 0), Transient(bright, 12.5, TIME - 60, 0)]
    found = measured(shoot(), SearchArea(faint.ra, faint.dec, 0.01)).new
    (new,) = [each for each in found if separation(Sky(each.ra, each.dec), faint) * 3600 < 2]
    assert new.magnitude == pytest.approx(16.0, abs=0.1)


def test_nothing_is_new_in_a_field_where_nothing_happened(camera: Cameras) -> None:
    """Although there are hot pixels and cosmic rays in plenty."""
    shoot = camera(hot_pixels=0.0003, hot_current=300.0, cosmic_rays=150.0)
    assert [measured(shoot(), SearchArea(150.2, 40.1, 0.1)).new for _ in range(3)] == [[], [], []]


def test_only_what_is_near_the_alert_is_new(camera: Cameras) -> None:
    shoot = camera()
    shoot.transients.append(Transient(Sky(150.3, 40.1), magnitude=13.0, begin=TIME - 60, slope=0))
    path = shoot()
    assert measured(path, SearchArea(150.2, 40.1, 0.05)).new == []
    assert len(measured(path, SearchArea(150.2, 40.1, 0.1)).new) == 1
    assert len(measured(path, SearchArea(150.3, 40.1, None)).new) == 1
    assert len(measured(path, SearchArea(150.3, 40.1, 1e-6)).new) == 1  # known to a milliarcsecond; we aren't
    assert measured(path, None).new == []


class Shallow(SyntheticStars):
    """A catalogue that ends at magnitude 13."""

    faintest = 13.0

    def near(self, ra: float, dec: float, radius: float) -> Stars:
        stars = super().near(ra, dec, radius)
        return stars.chosen(stars.magnitude < self.faintest)


def test_stars_beyond_the_catalogues_end_are_not_new(camera: Cameras) -> None:
    shoot = camera(stars="synthetic")
    shoot.transients.append(Transient(Sky(150.2, 40.1), magnitude=11.5, begin=TIME - 60, slope=0))
    result = measured(shoot(), SearchArea(150.2, 40.1, 0.1), Shallow())
    assert result.zero is not None
    (new,) = result.new
    assert new.magnitude == pytest.approx(11.5, abs=0.1)


def test_a_burst_on_a_star_is_new_when_the_star_cannot_explain_it(camera: Cameras) -> None:
    shoot = camera(stars="synthetic")
    near = SyntheticStars().near(150.2, 40.1, 0.1).within(150.2, 40.1, 0.05)
    star = int(np.argmin(np.abs(near.magnitude - 16.5)))
    place = Sky(float(near.ra[star]), float(near.dec[star]))
    target = SearchArea(*place, 0.005)
    quiet = measured(shoot(), target, SyntheticStars())
    shoot.transients.append(Transient(place, magnitude=14.0, begin=TIME - 60, slope=0))
    (new,) = measured(shoot(), target, SyntheticStars()).new
    assert quiet.new == []
    assert new.magnitude == pytest.approx(14.0 - 2.5 * np.log10(1 + 10 ** (-0.4 * 2.5)), abs=0.1)


def test_what_cannot_be_measured_says_so(camera: Cameras) -> None:
    shoot = camera()
    elsewhere = measured(shoot(pointing=Sky(10, 10), error=(7200, 0)))
    assert "don't fit the stars of the catalogue" in elsewhere.problem
    assert (elsewhere.matched, elsewhere.pointing, elsewhere.zero) == (None, None, None)
    dark = shoot(pointing=None)
    assert "don't fit" in measured(dark).problem
    detected = detect(dark, Masters(), 60_000)
    assert "no catalogue" in measure(detected, None, None, None).problem
    headless = dataclasses.replace(detected, header=fits.Header())
    assert "no world coordinates" in measure(headless, catalogue("auto"), None, None).problem


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8)), np.full((64, 64), np.nan), np.zeros((64, 64)), np.ones((64, 64)) * 65535]
)
def test_strange_images(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "strange.fits"
    fits.PrimaryHDU(pixels.astype(np.float32)).writeto(path)
    if min(pixels.shape) < 32:
        with pytest.raises(ImageError, match=r"strange\.fits: 8 x 8 pixels are too few"):
            detect(path, Masters(), 60_000)
    else:
        assert len(detect(path, Masters(), 60_000).found.sources) == 0


def test_gaps_in_an_image_are_no_sources(camera: Cameras, tmp_path: Path) -> None:
    with fits.open(camera()()) as units:
        pixels = units[0].data.astype(np.float32)
        pixels[100:110] = np.nan
        fits.PrimaryHDU(pixels, units[0].header).writeto(tmp_path / "gap.fits")
    result = measured(tmp_path / "gap.fits", SearchArea(150.2, 40.1, 0.1))
    assert result.problem == ""
    assert result.new == []


def test_the_pairs_are_of_the_same_stars(camera: Cameras) -> None:
    result = measured(camera()(error=(100, 100)))
    assert result.matched is not None
    x, y = to_pixels(result.matched.wcs, result.stars.chosen(result.matched.stars))
    sources = result.detected.found.sources.chosen(result.matched.sources)
    assert np.hypot(x - sources.x, y - sources.y).max() < 3
    assert len(np.unique(result.matched.stars)) == len(result.matched.stars)
