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
