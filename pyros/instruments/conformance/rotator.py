"""What a `Rotator` must do. The gentle moves are 15 degrees, and return to where it was."""

from __future__ import annotations

from functools import partial
from typing import get_args

from pyros.angles import turn_between
from pyros.instruments.conformance._check import Check, Context, NotSupported, UnderWay, expect
from pyros.instruments.conformance._shared import disconnecting, named, stopping
from pyros.instruments.interfaces import MotorState
from pyros.instruments.rotator import Rotator

_PART, _FAR = 15.0, 90.0
_OFF = 0.5
"""By how many degrees a measured angle may differ."""


async def _answers(rotator: Rotator, context: Context) -> None:
    await named(rotator, context, rotator.state)
    state, mechanical = await rotator.state(), await rotator.mechanical()
    expect(state in get_args(MotorState), f"its state is {state!r}")
    expect(mechanical is None or 0 <= mechanical < 360, f"its mechanical angle is {mechanical}")
    expect(await rotator.reversed() in (True, False, None), f"it is reversed: {await rotator.reversed()!r}")
    expect(0 <= await rotator.angle() < 360, f"its angle is {await rotator.angle()}")


async def _at(rotator: Rotator, wanted: float, reached: float) -> None:
    expect(turn_between(reached, wanted) <= _OFF, f"told to move to {wanted:g}, it ended at {reached:g}")
    here = await rotator.angle()
    expect(turn_between(here, reached) <= _OFF, f"it ended at {reached:g}, and says that it is at {here:g}")


async def _moves(rotator: Rotator, context: Context) -> None:
    here = await rotator.angle()
    for wanted in ((here + _PART) % 360, here):
        await _at(rotator, wanted, await UnderWay(context, partial(rotator.move, wanted)).end())
        await context.until(rotator.state, "idle")
    await _at(rotator, here, await rotator.move(here))  # it is there already


async def _around(rotator: Rotator, context: Context) -> None:
    here = await rotator.angle()
    try:
        await _at(rotator, 359.0, await rotator.move(-1.0))
        await _at(rotator, 1.0, await rotator.move(361.0))
    finally:
        await rotator.move(here)


async def _newer(rotator: Rotator, context: Context) -> None:
    here = await rotator.angle()
    older = UnderWay(context, partial(rotator.move, (here + _FAR) % 360))
    try:
        await older.begun()
        wanted = (here + _PART) % 360
        await _at(rotator, wanted, await rotator.move(wanted))
        await older.aborted("the older move")
    finally:
        await rotator.move(here)


async def _stops(rotator: Rotator, context: Context) -> None:
    here = await rotator.angle()
    await stopping(rotator, context, (here + _FAR) % 360, here)


async def _syncs(rotator: Rotator, context: Context) -> None:
    here, mechanical = await rotator.angle(), await rotator.mechanical()
    wanted = (here + _PART) % 360
    await rotator.sync(wanted)
    try:
        now, motor = await rotator.angle(), await rotator.mechanical()
        expect(turn_between(now, wanted) <= _OFF, f"told that it is at {wanted:g}, it says {now:g}")
        expect(mechanical is None or motor == mechanical, f"its motor was at {mechanical}, and is at {motor}")
    finally:
        await rotator.sync(here)


async def _reverses(rotator: Rotator, context: Context) -> None:
    before = await rotator.reversed()
    if before is None:
        raise NotSupported("it cannot count the other way round")
    try:
        await rotator.reverse(not before)
        expect(await rotator.reversed() is not before, "told to count the other way round, it does not")
    finally:
        await rotator.reverse(before)


async def remember(rotator: Rotator) -> float:
    """Return the position angle, degrees."""
    return await rotator.angle()


async def tidy(rotator: Rotator, before: float | None) -> None:
    """Stop, and return to the angle at which it was."""
    await rotator.stop()
    if before is not None:
        await rotator.move(before)


CHECKS = (
    Check("tells its name, its state and its angles", _answers),
    Check("moves to an angle and back, and measures it", _moves),
    Check("a newer move takes the place of the older, which ends with CommandAborted", _newer, gentle=False),
    Check("stop ends a move with CommandAborted", _stops, gentle=False),
    Check("takes angles around the circle", _around, gentle=False),
    Check("a sync tells it where it is, and moves nothing", _syncs, gentle=False),
    Check("counts the other way round, and back", _reverses, gentle=False),
    disconnecting(lambda rotator: rotator.state()),
)
