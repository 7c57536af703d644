"""What of the sky is up in a night: by the highest altitude, and by the horizon's profile where that doesn't decide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyros.areas.visible import visible_in_night
from pyros.planning.night_sky import NightSky, night_of
from pyros.site import Site
from tests.planning.test_night_sky import HILLS, NIGHT, PARANAL, PIC


@pytest.mark.parametrize("site", [PIC, PARANAL, HILLS])
@pytest.mark.parametrize("altitude", [5.0, 15.0, 40.0])
def test_what_is_visible_is_high_enough_on_its_track(site: Site, altitude: float) -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    visible, dark = visible_in_night(site, NIGHT.timestamp(), altitude), night_of(site, NIGHT)
    assert visible is not None
    assert dark is not None
    night = NightSky(site, max(NIGHT, dark[0]).timestamp(), dark[1].timestamp(), 30.0)
    tracks = night.fixed_tracks(list(zip(ra.tolist(), dec.tolist(), strict=True)))
    seen = (tracks.above & (tracks.sin_altitude >= math.sin(math.radians(altitude)))).any(axis=1)
    wrong = np.flatnonzero(visible(ra, dec) != seen)
    assert len(wrong) <= (5 if site.horizon else 1), "but for the moment between two looks"
    assert 0.1 < seen.mean() < 0.9
