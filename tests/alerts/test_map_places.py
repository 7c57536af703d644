"""Where a sky map puts an event in few points: never less than the map itself, and hardly more."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pyros.alerts import coincidences
from pyros.alerts.coincidences import SECONDS_PER_YEAR, Occurrence
from pyros.alerts.map_places import SKY, MapPlace
from pyros.alerts.skymaps import SkyMap, place_of, read_skymap
from pyros.alerts.skymaps.place import MAX_POINTS
from pyros.angles import separations
from tests.maps import drawn_map


def coarse_and_fine() -> SkyMap:
    """Make a map of cells of two levels about one of the poles."""
    base = read_skymap(drawn_map(123.0, 80.0, width=6.0))
    coarse = np.arange(8, dtype=np.int64)
    rest = base.cell >= 8 << 10
    level = np.concatenate((np.zeros(8, dtype=np.int64), base.level[rest]))
    chances = np.array([base.probability[base.cell >> 10 == each].sum() for each in coarse])
    return SkyMap(level, np.concatenate((coarse, base.cell[rest])), np.concatenate((chances, base.probability[rest])))


@pytest.mark.parametrize(
    "skymap", [*(read_skymap(drawn_map(350.0, -5.0, each)) for each in (1.0, 5.0, 60.0)), coarse_and_fine()]
)
def test_a_place_has_all_of_the_region_and_little_more(skymap: SkyMap) -> None:
    place = place_of(skymap)
    assert len(place.points) <= MAX_POINTS
    inside = skymap.region(0.99)
    ra, dec = (axis[inside] for axis in skymap.centres)
    assert place.area == pytest.approx(skymap.areas[inside].sum())
    largest = float(np.sqrt(skymap.areas[inside].max()))
    chance = random.Random(5)
    for _ in range(300):
        lon, lat, radius = chance.uniform(0, 360), chance.uniform(-90, 90), chance.choice((0.02, 2.0, 15.0))
        nearest = float(separations(ra, dec, lon, lat).min())
        share = place.share_at(lon, lat, radius)
        if nearest <= radius:
            assert share is not None, "within the region"
        if share is not None:
            assert nearest <= radius + 2 * place.radius + largest


def test_the_share_is_that_of_the_smallest_region_with_the_position() -> None:
    place = place_of(read_skymap(drawn_map(80.0, 10.0, width=8.0)))
    shares = [place.share_at(80.0, 10.0 + degrees, 0.02) for degrees in (0.0, 8.0, 16.0, 40.0)]
    assert shares[3] is None
    near, middle, far = (each or 0.0 for each in shares[:3])
    assert near < 0.05
    assert near < middle < 1 - np.exp(-0.5)
    assert middle < far < 1 - np.exp(-2)
    assert place.densest == pytest.approx((80.0, 10.0), abs=2 * place.radius)


MAP = MapPlace(((30.0, 10.0, 0.1), (33.0, 10.0, 0.6), (36.0, 10.0, 0.98)), 2.0, 60.0)


def test_a_wave_agrees_with_what_its_map_has_at_the_place() -> None:
    wave = Occurrence("lvc", 0.0, place=MAP)
    inside, outside = Occurrence("swift", 5.0, 34.0, 10.0, 0.05), Occurrence("swift", 5.0, 60.0, 10.0, 0.05)
    found = coincidences.coincide(wave, inside, "swift:1")
    assert found is not None
    assert found.share == 0.6
    by_hand = 92 / SECONDS_PER_YEAR * 660 * (60**0.5 + np.sqrt(np.pi) * 0.05 * np.sqrt(2)) ** 2 / SKY
    assert found.chance == pytest.approx(by_hand, rel=1e-3)
    assert str(found) == "swift:1 5 s after, in the region of 60% of the sky map, by chance 2.9e-06"
    assert coincidences.coincide(wave, outside, "swift:2") is None
    assert coincidences.coincide(outside, wave, "lvc:1") is None
    assert coincidences.coincide(Occurrence("lvc", 0.0), outside, "swift:2") is not None, "without a map by time alone"


def test_two_maps_agree_where_their_regions_touch() -> None:
    near, far = MapPlace(((39.5, 10.0, 0.3),), 2.0, 10.0), MapPlace(((39.5, 40.0, 0.3),), 2.0, 10.0)
    wave = Occurrence("lvc", 0.0, place=MAP)
    found = coincidences.coincide(wave, Occurrence("svom", 5.0, place=near), "svom:1")
    assert found is not None
    assert found.share == 0.98
    assert coincidences.coincide(wave, Occurrence("svom", 5.0, place=far), "svom:1") is None


def test_a_position_without_a_radius_is_a_point_in_a_map() -> None:
    assert (
        coincidences.coincide(Occurrence("lvc", 0.0, place=MAP), Occurrence("maxi", 5.0, 30.0, 10.0), "maxi:1")
        is not None
    )
    assert (
        coincidences.coincide(Occurrence("lvc", 0.0, place=MAP), Occurrence("maxi", 5.0, 30.0, 30.0), "maxi:1") is None
    )
