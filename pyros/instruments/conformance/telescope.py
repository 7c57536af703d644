"""What a `Telescope` must do. The slews stay in the east and well up: no mount flips or comes near the horizon."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

from pyros.angles import separation_arcsec
from pyros.errors import DeviceRefused
from pyros.instruments.conformance._check import UNSUPPORTED, Check, Context, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import Position, Telescope, TelescopeState

_HIGH = (70.0, 95.0)
_LOWER = (45.0, 95.0)
_BELOW = (-40.0, 95.0)
_SYNC_ARCSEC = 360.0


async def _answers(telescope: Telescope, context: Context) -> None:
    await named(telescope, context, telescope.state)
    state = await telescope.state()
    expect(state in get_args(TelescopeState), f"its state is {state!r}")
    here = await telescope.position()
    expect(0 <= here.ra < 360 and -90 <= here.dec <= 90, f"its position is {here}")


async def _at(telescope: Telescope, context: Context, ra: float, dec: float) -> Position:
    """Where it says that it is; raises CheckFailed unless that is there."""
    here = await telescope.position()
    off = separation_arcsec(ra, dec, here.ra, here.dec)
    expect(off <= context.tolerance_arcsec, f"its position is {off:.1f} arcsec from where it should be")
    return here


async def _slews(telescope: Telescope, context: Context) -> None:
    ra, dec = context.place(*_HIGH)
    slew = UnderWay(context, partial(telescope.slew, ra, dec, "check"))
    end = await slew.end()
    expect(end.error_arcsec <= context.tolerance_arcsec, f"it ended {end.error_arcsec:.1f} arcsec from the target")
    measured = separation_arcsec(ra, dec, end.ra, end.dec)
    expect(abs(measured - end.error_arcsec) < 1, f"its end is {measured:.1f} arcsec off, its error {end.error_arcsec}")
    await _at(telescope, context, ra, dec)
    await context.until(telescope.state, "tracking")


async def _tracks(telescope: Telescope, context: Context) -> None:
    ra, dec = context.place(*_HIGH)
    end = await telescope.slew(ra, dec)
    await context.pause(context.tracking)
    here = await telescope.position()
    drift = separation_arcsec(end.ra, end.dec, here.ra, here.dec)
    expect(drift <= context.tolerance_arcsec, f"it drifted by {drift:.1f} arcsec in {context.tracking:g} s")
    expect(await telescope.state() == "tracking", "it is not tracking after a slew")


async def _newer_slew(telescope: Telescope, context: Context) -> None:
    await telescope.slew(*context.place(*_HIGH))
    older = UnderWay(context, partial(telescope.slew, *context.place(*_LOWER), "older"))
    await older.begun()
    ra, dec = context.place(*_HIGH)
    newer = UnderWay(context, partial(telescope.slew, ra, dec, "newer"))
    await older.aborted("the older slew")
    await newer.end()
    await _at(telescope, context, ra, dec)


async def _stops(telescope: Telescope, context: Context) -> None:
    await telescope.slew(*context.place(*_HIGH))
    slew = UnderWay(context, partial(telescope.slew, *context.place(*_LOWER), "stopped"))
    await slew.begun()
    await telescope.stop()
    await slew.aborted("the slew")
    await context.until(telescope.state, "idle", "tracking")
    await telescope.stop()  # with nothing to stop it is nothing


async def _parks(telescope: Telescope, context: Context) -> None:
    await UnderWay(context, telescope.park).end()
    await context.until(telescope.state, "parked")
    await telescope.park()  # a parked one is parked
    await telescope.unpark()
    await context.until(telescope.state, "idle", "tracking")
    await telescope.park()
    ra, dec = context.place(*_HIGH)
    await telescope.slew(ra, dec)  # without being unparked by hand
    await _at(telescope, context, ra, dec)


async def _park_gives_way(telescope: Telescope, context: Context) -> None:
    await telescope.slew(*context.place(*_LOWER))
    park = UnderWay(context, telescope.park)
    await park.begun()
    ra, dec = context.place(*_LOWER)
    slew = UnderWay(context, partial(telescope.slew, ra, dec, "instead"))
    await park.aborted("the park")
    await slew.end()
    await _at(telescope, context, ra, dec)


async def _stands_still(telescope: Telescope, context: Context) -> None:
    await telescope.slew(*context.place(*_HIGH))
    await telescope.track(False)
    await context.until(telescope.state, "idle")
    await telescope.track(True)
    await context.until(telescope.state, "tracking")


async def _sync_here(telescope: Telescope, context: Context) -> None:
    end = await telescope.slew(*context.place(*_HIGH))
    await telescope.sync(end.ra, end.dec)
    await _at(telescope, context, end.ra, end.dec)


async def _sync_beside(telescope: Telescope, context: Context) -> None:
    """From then on the mount points that much elsewhere: undone at the end."""
    end = await telescope.slew(*context.place(*_HIGH))
    beside = end.dec + math.copysign(_SYNC_ARCSEC / 3600, -end.dec)
    await telescope.sync(end.ra, beside)
    await _at(telescope, context, end.ra, beside)
    await telescope.sync(end.ra, end.dec)
    await _at(telescope, context, end.ra, end.dec)


async def _horizon(telescope: Telescope, context: Context) -> None:
    end = await telescope.slew(*context.place(*_HIGH))
    await refused(telescope.slew(*context.place(*_BELOW)), "LIMIT", what="a target 40 degrees below the horizon")
    await _at(telescope, context, end.ra, end.dec)


async def tidy(telescope: Telescope, before: None) -> None:
    """Park; a mount without a park position at least stands still."""
    try:
        await telescope.park()
    except DeviceRefused as refusal:
        if refusal.code not in UNSUPPORTED:
            raise
        await telescope.track(False)


CHECKS = (
    Check("tells its name, its state and where it points", _answers),
    Check("a slew ends on its target, and the position is measured", _slews),
    Check("tracking holds the target", _tracks),
    Check("a newer slew takes the place of the older, which ends with CommandAborted", _newer_slew),
    Check("stop ends a slew with CommandAborted", _stops),
    Check("parks, unparks, and slews from the park position", _parks),
    Check("a slew takes the place of a park under way", _park_gives_way),
    Check("stands still when it is told not to track, and tracks again", _stands_still),
    Check("a sync to where it points changes nothing", _sync_here),
    Check("a sync beside where it points moves its position there", _sync_beside, gentle=False),
    Check("a target below the horizon is refused with LIMIT, and it stays where it was", _horizon, gentle=False),
    disconnecting(lambda telescope: telescope.state()),
)
