"""When a German mount changes the side of its pier: as a planned step between two exposures, not in the middle of one.

A tube west of the pier looks to the east. It may follow a target past the meridian by what the mount's limit leaves;
then it must be brought to the other side, and the field turns upside down. So before each exposure through a tube
that is in the west:

    it ends before the limit      expose
    the target has passed         flip
    else                          wait until the target has passed, then flip
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pyros.angles import SECONDS_PER_DAY
from pyros.planning.visibility import DEGREES_PER_DAY, hour_angle
from pyros.site import Site

PASSED_DEGREES = 0.25
"""Hour angle, a minute, from which on a mount chooses the other side by itself."""


class MeridianStep(NamedTuple):
    """What comes before the next exposure."""

    flip: bool = False
    """Whether the tube is to change sides now."""
    wait: float = 0.0
    """Seconds until it can."""


def before_exposure(
    site: Site, ra: float, dec: float, when: datetime, *, side: str, seconds: float, limit_minutes: float
) -> MeridianStep:
    """Return what comes before an exposure of so many seconds (readout included) at an ICRS position (degrees).

    ``side`` is that of the pier where the tube is, ``limit_minutes`` how long past the meridian the mount may track.
    """
    if side != "west":
        return MeridianStep()
    now = hour_angle(site, ra, dec, when)
    end = now + seconds / SECONDS_PER_DAY * DEGREES_PER_DAY
    if not -90 < now < 90 or end < limit_minutes / 4:
        return MeridianStep()
    if now >= PASSED_DEGREES:
        return MeridianStep(flip=True)
    return MeridianStep(wait=(PASSED_DEGREES - now) / DEGREES_PER_DAY * SECONDS_PER_DAY + 1.0)
