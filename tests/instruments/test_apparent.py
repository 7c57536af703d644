"""The apparent place of date, beside astropy's."""

from __future__ import annotations

import pytest
from astropy.coordinates import TETE, SkyCoord
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from pyros.angles import separation_arcsec
from pyros.instruments.drivers.coordinates import apparent_of_icrs, icrs_of_apparent

WHEN = 1_774_049_400.0  # 2026-03-20


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (83.6, 22.0), (350.0, -70.0), (201.3, 89.5), (12.5, -89.0)])
def test_it_is_astropys(ra: float, dec: float) -> None:
    wanted = SkyCoord(ra, dec, unit="deg").transform_to(TETE(obstime=Time(WHEN, format="unix")))
    found = apparent_of_icrs(ra, dec, WHEN)
    assert separation_arcsec(*found, wanted.ra.deg, wanted.dec.deg) < 0.05


@given(st.floats(0, 359.99), st.floats(-89.99, 89.99), st.floats(0, 4e9))
def test_there_and_back(ra: float, dec: float, when: float) -> None:
    back = icrs_of_apparent(*apparent_of_icrs(ra, dec, when), when)
    assert separation_arcsec(ra, dec, *back) < 1e-3
    assert 0 <= back[0] < 360
