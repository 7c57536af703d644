"""What of the sky can be observed in a night from a site: what chooses fields and galaxies of a sky map."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pyros.alerts.skymaps.skymap import Floats
from pyros.alerts.skymaps.tiles import Mask
from pyros.planning.night_sky import NightSky, night_of
from pyros.site import Site

_STEP = 600.0
"""Seconds between two looks at what is up."""


def visible_in_night(site: Site, when: float, altitude: float, until: float = math.inf) -> Mask | None:
    """Return which positions stand high enough, above the site's horizon, at some time of a night.

    Args:
        site: where.
        when: now, Unix seconds: the night that is, or else the next one; what of it has passed doesn't count.
        altitude: degrees that count as high enough.
        until: when it must have begun, Unix seconds.

    Returns None where no night comes within a day.
    """
    night = night_of(site, datetime.fromtimestamp(when, UTC))
    if night is None:
        return None
    begin, end = max(when, night[0].timestamp()), min(night[1].timestamp(), until)
    if end <= begin:
        return lambda ra, dec: np.zeros(len(ra), dtype=bool)
    sky = NightSky(site, begin, end, min(_STEP, end - begin))
    least = math.sin(math.radians(altitude))

    def visible(ra: Floats, dec: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
        tracks = sky.fixed_tracks(list(zip(ra.tolist(), dec.tolist(), strict=True)))
        return np.asarray((tracks.above & (tracks.sin_altitude >= least)).any(axis=1))

    return visible
