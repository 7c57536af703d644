"""Whether a mount is where it says: what the drivers of telescopes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pyros.angles import separation_arcsec
from pyros.errors import DeviceFailed
from pyros.instruments.interfaces import Pointing, Position

TOLERANCE_ARCSEC = 30.0
"""A slew that ends farther from its target is sent again; a mount may say Ok and be 170 arcseconds off."""


async def checked_slew(
    slew: Callable[[int], Awaitable[None]],
    position: Callable[[], Awaitable[Position]],
    ra: float,
    dec: float,
    name: str,
    tolerance_arcsec: float,
) -> Pointing:
    """Slew, measure, and slew once more where the mount is farther off than the tolerance.

    Args:
        slew: carries out one slew to the target; called with the number of the attempt, 1 or 2.
        position: measures where the mount is.
        ra, dec: the target, ICRS degrees.
        name: the device's, for the error.
        tolerance_arcsec: the largest separation that counts as there.

    Raises DeviceFailed when the second slew ended too far off as well, and whatever ``slew`` and ``position`` raise.
    """
    error = 0.0
    for attempt in (1, 2):
        await slew(attempt)
        measured = await position()
        error = separation_arcsec(ra, dec, measured.ra, measured.dec)
        if error <= tolerance_arcsec:
            return Pointing(measured.ra, measured.dec, error)
    raise DeviceFailed(f"{name}: {error:.0f} arcsec from the target after two slews (at most {tolerance_arcsec:g})")
