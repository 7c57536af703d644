"""What of the sky can be observed in a night from a site: what chooses fields and galaxies of a sky map."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    span = _span(site, when, until)
    if span is None:
        return None
    begin, end = span
    if end <= begin:
        return lambda ra, dec: np.zeros(len(ra), dtype=bool)
    sky = NightSky(site, begin, end, (end - begin) / math.ceil((end - begin) / _STEP))
    horizon = [degrees for _, degrees in site.horizon] or [0.0]
    least = math.sin(math.radians(altitude))
    enough = max(least, math.sin(math.radians(max(horizon))))
    possible = max(least, math.sin(math.radians(min(horizon))))

    def visible(ra: Floats, dec: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
        best = sky.highest(ra, dec)
        seen = np.asarray(best >= enough)
        unsure = np.flatnonzero(~seen & (best >= possible))
        if len(unsure):  # it depends on where it stands, when it does
            tracks = sky.fixed_tracks(list(zip(ra[unsure].tolist(), dec[unsure].tolist(), strict=True)))
            seen[unsure] = (tracks.above & (tracks.sin_altitude >= least)).any(axis=1)
        return seen

    return visible


def up_in_slots(
    site: Site, when: float, altitude: float, until: float, seconds: float, places: Sequence[tuple[float, float]]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return of places (ICRS degrees), a row each, whether they are high enough all through each slot of a night.

    Slots of ``seconds`` follow one another; the others as `visible_in_night` has them.
    """
    begin, end = _span(site, when, until) or (when, when)
    if end - begin < seconds:
        return np.zeros((len(places), 0), dtype=bool)
    tracks = NightSky(site, begin, end, seconds).fixed_tracks(places)
    there = tracks.above & (tracks.sin_altitude >= math.sin(math.radians(altitude)))
    return np.asarray(there[:, :-1] & there[:, 1:])


def _span(site: Site, when: float, until: float) -> tuple[float, float] | None:
    """Return what is left of the night, Unix seconds; its end isn't after its beginning where nothing is."""
    night = night_of(site, datetime.fromtimestamp(when, UTC))
    if night is None:
        return None
    return max(when, night[0].timestamp()), min(night[1].timestamp(), until)
