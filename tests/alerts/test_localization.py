"""Where JSON notices of different streams keep the source's position, and how large they say its error is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyros.alerts import Alert, parse


def notice(schema: str = "newmission/alert", **fields: Any) -> Alert:
    fields = {"$schema": f"https://gcn.nasa.gov/schema/main/gcn/notices/{schema}.schema.json", "id": "654321", **fields}
    return parse(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("error", "radius"),
    [
        ({"ra_dec_error": 0.5}, 0.5),
        ({"ra_uncertainty": [0.5]}, 0.5),
        ({"position_a_error": 0.5, "position_b_error": 0.1}, 0.5),
        ({"semi_major": 0.5, "semi_minor": None}, 0.5),
        ({"ra_dec_error": "NaN"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("place", [None, "localization", "equatorial"])
def test_error_radii_in_the_words_of_all_schemas(
    error: dict[str, Any], radius: float | None, place: str | None
) -> None:
    where = {"ra": 10.5, "dec": -3, **error}
    alert = notice(**({place: where} if place else where))
    assert (alert.target, alert.error_radius) == ((10.5, -3.0), radius)


def test_a_circle_that_is_the_whole_sky_is_no_position() -> None:
    assert notice(ra=10.5, dec=-3, ra_dec_error=360).target is None


def test_the_position_of_an_x_ray_monitor_comes_before_where_its_spacecraft_points() -> None:
    away_from_the_sun = {"ra": 64.0, "dec": 19.0}
    alert = notice("classic/hete/alert", **away_from_the_sun)
    assert ((alert.ra, alert.dec), alert.target, alert.pointing) == ((64.0, 19.0), None, True)
    wide = {"wxm_ra": 94.5, "wxm_dec": 9.25, "wxm_ra_dec_error": 0.5}
    alert = notice("classic/hete/alert", **away_from_the_sun, **wide)
    assert (alert.target, alert.error_radius) == ((94.5, 9.25), 0.5)
    soft = {"sxc_ra": 94.75, "sxc_dec": 9.5, "sxc_ra_dec_error": 0.01}
    alert = notice("classic/hete/alert", **away_from_the_sun, **wide, **soft)
    assert (alert.target, alert.error_radius) == ((94.75, 9.5), 0.01)


def test_the_zenith_above_a_monitor_is_no_source() -> None:
    alert = notice("classic/calet_gbm/alert", ra=115.5, dec=50.5, latitude=50.5, longitude=114.25)
    assert (alert.stream, alert.target, alert.pointing) == ("calet", None, True)
    assert not notice("classic/calet_gbm/alert").pointing


@pytest.mark.parametrize(
    ("fields", "skymap"),
    [
        ({"healpix_url": "https://sky.example/map"}, "https://sky.example/map"),
        ({"healpix_url": ["https://sky.example/map"]}, "https://sky.example/map"),
        ({"skymap_url": "https://sky.example/bayestar.multiorder.fits,1"},
         "https://sky.example/bayestar.multiorder.fits,1"),
        ({"skymap_url": "https://sky.example/superevents/"}, None),
        ({"skymap_url": "https://sky.example/a.fits", "healpix_file": "U0lN"}, "https://sky.example/a.fits"),
        ({"healpix_url": "file:///a.fits", "healpix_file": "U0lN"}, "embedded"),
        ({"healpix_url": "https://" + "x" * 2000}, None),
    ],
)  # fmt: skip
def test_sky_maps(fields: dict[str, Any], skymap: str | None) -> None:
    assert notice(**fields).skymap == skymap


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"ra": "12:34:56.7", "dec": "+41:16:09"}, (188.73625, 41.2691667)),
        ({"ra": "12h34m56.7s", "dec": "+41d16m09s"}, (188.73625, 41.2691667)),
        ({"ra": "12 34 56.7", "dec": "-00 16 09"}, (188.73625, -0.2691667)),
        ({"ra": ["12:34:56.7"], "dec": ["-0:16:09"]}, (188.73625, -0.2691667)),
        ({"ra": "188.73625d", "dec": "41.25 deg"}, (188.73625, 41.25)),
        ({"ra": 12.5, "ra_units": "hours", "dec": 41.25}, (187.5, 41.25)),
        ({"ra": 3.0, "ra_units": "rad", "dec": -0.5, "dec_units": "rad"}, (171.887339, -28.6478898)),
        ({"ra": 12.5, "ra_units": "hours", "dec": 41.25, "dec_units": "hours"}, None),
        ({"ra": 12.5, "ra_units": "gon", "dec": 41.25}, None),
        ({"ra": "25:00:00", "dec": "+41:16:09"}, None),
        ({"ra": "12:61:00", "dec": "+41:16:09"}, None),
        ({"ra": "12:34:56.7", "dec": "+91:00:00"}, None),
        ({"ra": "9" * 80, "dec": "1"}, None),
        ({"ra": "unknown", "dec": "unknown"}, None),
        ({"ra": 10.5, "dec": -3, "equinox": "J2000"}, (10.5, -3)),
        ({"ra": 10.5, "dec": -3, "equinox": 2000.0, "frame": "ICRS"}, (10.5, -3)),
        ({"ra": 10.5, "dec": -3, "equinox": 1950.0}, None),
        ({"ra": 10.5, "dec": -3, "equinox": "2026.9"}, None),
        ({"ra": 10.5, "dec": -3, "coordinate_system": "FK4"}, None),
        ({"ra": 10.5, "dec": -3, "frame": "galactic"}, None),
        ({"ra": 10.5, "dec": -3, "RADESYS": "FK4"}, None),
        ({"ra": 10.5, "dec": -3, "reference_frame": "B1950"}, None),
        ({"ra": 10.5, "dec": -3, "epoch": "J2016.0"}, (10.5, -3)),
    ],
)
def test_coordinates_in_every_way_of_writing(fields: dict[str, Any], target: tuple[float, float] | None) -> None:
    for place in (fields, {"localization": fields}):
        found = notice(**place).target
        assert found == (None if target is None else pytest.approx(target, abs=1e-6))


def test_an_error_in_its_own_unit() -> None:
    assert notice(ra=1, dec=2, ra_dec_error=30, ra_dec_error_units="arcmin").error_radius == 0.5
    assert notice(ra=1, dec=2, ra_dec_error=[36, 18], ra_dec_error_units="arcsec").error_radius == 0.01
    assert notice(ra=1, dec=2, ra_dec_error=36, ra_dec_error_units="parsec").error_radius is None
    assert notice(ra=1, dec=2, ra_dec_error=360, ra_dec_error_unit="arcsec").error_radius == 0.1
    assert notice(ra=1, dec=2, ra_dec_error="30 arcmin").error_radius == 0.5
    assert notice(ra=1, dec=2, ra_dec_error=["0.5 deg", "0.1deg"]).error_radius == 0.5
    assert notice(ra=1, dec=2, ra_dec_error="30 parsec").error_radius is None
