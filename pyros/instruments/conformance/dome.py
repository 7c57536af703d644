"""What a `Dome` must do. Nothing that opens it is gentle: there may be rain outside, and a telescope inside."""

from __future__ import annotations

from functools import partial
from typing import get_args

from pyros.angles import turn_between
from pyros.errors import DeviceRefused
from pyros.instruments.conformance._check import Check, Context, NotSupported, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import Dome, DomeState

_DEGREES = 3.0
"""By how much a dome's measured azimuth may differ."""


async def _answers(dome: Dome, context: Context) -> None:
    await named(dome, context, dome.state)
    state = await dome.state()
    expect(state in get_args(DomeState), f"its state is {state!r}")
    azimuth = await dome.azimuth()
    expect(azimuth is None or 0 <= azimuth < 360, f"its azimuth is {azimuth}")


async def _closes(dome: Dome, context: Context) -> None:
    await UnderWay(context, dome.close).end()
    expect(await dome.state() == "closed", f"it was closed, and says {await dome.state()}")
    again = UnderWay(context, dome.close)
    await again.end()
    expect(not again.estimates, "it was closed already, and yet began to close")


async def _opens(dome: Dome, context: Context) -> None:
    await dome.close()
    await UnderWay(context, dome.open).end()
    expect(await dome.state() == "open", f"it was opened, and says {await dome.state()}")
    again = UnderWay(context, dome.open)
    await again.end()
    expect(not again.estimates, "it was open already, and yet began to open")
    await dome.close()
    expect(await dome.state() == "closed", f"it was closed, and says {await dome.state()}")


async def _reverses(dome: Dome, context: Context) -> None:
    await dome.close()
    opening = UnderWay(context, dome.open)
    await opening.begun()
    closing = UnderWay(context, dome.close)
    await opening.aborted("the opening")
    await closing.end()
    expect(await dome.state() == "closed", f"it was closed, and says {await dome.state()}")


async def _closes_at_once(dome: Dome, context: Context) -> None:
    """Whoever says close right after open must not have to say it twice."""
    await dome.close()
    opening, closing = UnderWay(context, dome.open), UnderWay(context, dome.close)
    await opening.aborted("the opening")
    await closing.end()
    expect(await dome.state() == "closed", f"it was closed, and says {await dome.state()}")


async def _stops(dome: Dome, context: Context) -> None:
    await dome.close()
    opening = UnderWay(context, dome.open)
    await opening.begun()
    await dome.stop()
    await opening.aborted("the opening")
    await context.until(dome.state, "stopped")
    await dome.close()


async def _turnable(dome: Dome) -> float:
    azimuth = await dome.azimuth()
    if azimuth is None:
        await refused(dome.rotate(90.0), "UNSUPPORTED", what="turning a roof")
        raise NotSupported("it is a roof: its slit does not turn")
    return azimuth


async def _rotates(dome: Dome, context: Context) -> None:
    azimuth = await _turnable(dome)
    for wanted in ((azimuth + 40) % 360, azimuth):
        reached = await UnderWay(context, partial(dome.rotate, wanted)).end()
        for told in (reached, await dome.azimuth()):
            expect(
                told is not None and turn_between(told, wanted) <= _DEGREES,
                f"told to turn to {wanted}, it is at {told}",
            )


async def _newer_turn(dome: Dome, context: Context) -> None:
    azimuth = await _turnable(dome)
    older = UnderWay(context, partial(dome.rotate, (azimuth + 120) % 360))
    await older.begun()
    newer = UnderWay(context, partial(dome.rotate, azimuth))
    await older.aborted("the older turn")
    reached = await newer.end()
    expect(turn_between(reached, azimuth) <= _DEGREES, f"told to turn to {azimuth}, it ended at {reached}")


async def _turn_stops(dome: Dome, context: Context) -> None:
    azimuth = await _turnable(dome)
    turn = UnderWay(context, partial(dome.rotate, (azimuth + 120) % 360))
    await turn.begun()
    try:
        await dome.stop()
        await turn.aborted("the turn")
    finally:
        await dome.rotate(azimuth)


async def _impossible(dome: Dome, context: Context) -> None:
    await _turnable(dome)
    try:
        reached = await dome.rotate(400.0)
    except DeviceRefused as refusal:
        expect(refusal.code in ("VALUE", "LIMIT"), f"an azimuth of 400 degrees was refused with {refusal}")
    else:
        expect(turn_between(reached, 40.0) <= _DEGREES, f"told to turn to 400 degrees, it ended at {reached}")


CHECKS = (
    Check("tells its name, its state and where its slit looks", _answers),
    Check("closes, and a closed one is closed at once", _closes),
    Check("opens and closes, and an open one is open at once", _opens, gentle=False),
    Check("closing reverses an opening, which ends with CommandAborted", _reverses, gentle=False),
    Check("told to close in the moment in which it was told to open, it closes", _closes_at_once, gentle=False),
    Check("stop ends an opening with CommandAborted", _stops, gentle=False),
    Check("turns its slit and back, and measures it", _rotates),
    Check("a newer turn takes the place of the older, which ends with CommandAborted", _newer_turn),
    Check("stop ends a turn with CommandAborted", _turn_stops),
    Check("an azimuth beyond 360 degrees is refused, or taken round the circle", _impossible),
    disconnecting(lambda dome: dome.state()),
)
