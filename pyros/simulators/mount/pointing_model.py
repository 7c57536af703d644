"""How a tube and its axes are not what their encoders say: pointing terms and tracking errors. Degrees in and out.

The pointing terms are those of TPOINT (P. T. Wallace, "TPOINT: a telescope pointing analysis system"), with its names
and signs: a reading of the encoders plus the terms is where the optics look. Each is written as a shift on the sky, the
one along the first coordinate times the cosine of the second, so that nothing grows beyond bounds at the poles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pyros.simulators.celestial import SiteCoordinates, Sky, offset
from pyros.simulators.mount.mechanics import Axes, Mount, MountFrame

EQUATORIAL_TERMS = ("IH", "ID", "CH", "NP", "MA", "ME", "TF")
"""Index errors, collimation, axes not perpendicular, polar axis to the left and too high, the tube's sag."""
ALTAZIMUTH_TERMS = ("IA", "IE", "CA", "NPAE", "AN", "AW", "TF")
"""Index errors, collimation, axes not perpendicular, azimuth axis tilted north and west, the tube's sag."""

SIDEREAL_RATE = 360 / 86164.0905  # degrees of the sky per second


def optics(mount: Mount, axes: Axes, terms: Mapping[str, float], equatorial: bool) -> MountFrame:
    """Where the optics look when the axes are so; ``terms`` in arcseconds."""
    frame = mount.pointing(axes)
    if not terms:
        return frame
    if equatorial:
        along, across = _equatorial(frame, terms, mount.site, -1 if axes.flipped else 1)
    else:
        along, across = _altazimuth(frame, terms)
    return shifted(frame, along / 3600, across / 3600)


def shifted(frame: MountFrame, along: float, across: float) -> MountFrame:
    """So many degrees on the sky to growing first and second coordinates."""
    moved = offset(Sky(*frame), along, across)
    return MountFrame(moved.ra, moved.dec)


def periodic_error(axes: Axes, amplitude: float, period: float) -> float:
    """Of the main axis's worm, which turns once in ``period`` seconds of tracking; in the amplitude's unit."""
    return amplitude * math.sin(2 * math.pi * axes.first / (SIDEREAL_RATE * period))


def _equatorial(frame: MountFrame, terms: Mapping[str, float], site: SiteCoordinates, side: int) -> tuple[float, float]:
    sin_h, cos_h = _sin_cos(frame.first)
    sin_d, cos_d = _sin_cos(frame.second)
    sin_phi, cos_phi = _sin_cos(site.latitude)
    ih, id_, ch, np, ma, me, tf = (terms.get(name, 0.0) for name in EQUATORIAL_TERMS)
    # What belongs to the declination axis and the tube changes its sign with the side of the pier.
    along = ih * cos_d + side * ch + side * np * sin_d - ma * cos_h * sin_d + me * sin_h * sin_d + tf * cos_phi * sin_h
    across = side * id_ + ma * sin_h + me * cos_h + tf * (cos_phi * cos_h * sin_d - sin_phi * cos_d)
    return along, across


def _altazimuth(frame: MountFrame, terms: Mapping[str, float]) -> tuple[float, float]:
    sin_a, cos_a = _sin_cos(frame.first)
    sin_e, cos_e = _sin_cos(frame.second)
    ia, ie, ca, npae, an, aw, tf = (terms.get(name, 0.0) for name in ALTAZIMUTH_TERMS)
    along = -ia * cos_e - ca - npae * sin_e - an * sin_a * sin_e - aw * cos_a * sin_e
    across = ie - an * cos_a + aw * sin_a - tf * cos_e
    return along, across


def _sin_cos(degrees: float) -> tuple[float, float]:
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
