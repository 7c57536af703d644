"""What a `Focuser` must do. The gentle moves are a twentieth of its way, and return to where it was."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

from pyros.instruments.conformance._check import Check, Context, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named, stopping
from pyros.instruments.interfaces import Focuser, MotorState

_PART = 20
_STEPS = 2
"""By how many steps a measured position may differ."""


async def _answers(focuser: Focuser, context: Context) -> None:
    await named(focuser, context, focuser.state)
    state = await focuser.state()
    expect(state in get_args(MotorState), f"its state is {state!r}")
    limits = await focuser.limits()
    expect(limits.least < limits.most, f"its limits are {limits}")
    here = await focuser.position()
    expect(limits.least <= here <= limits.most, f"its position {here} is outside {limits}")
    temperature = await focuser.temperature()
    expect(temperature is None or math.isfinite(temperature), f"its temperature is {temperature}")


async def _beside(focuser: Focuser, here: int, part: int) -> int:
    """Choose a position some way from here, towards the middle."""
    limits = await focuser.limits()
    step = max(1, (limits.most - limits.least) // part)
    return here + step if here + step <= limits.most else here - step


async def _moves(focuser: Focuser, context: Context) -> None:
    here = await focuser.position()
    for wanted in (await _beside(focuser, here, _PART), here):
        reached = await UnderWay(context, partial(focuser.move, wanted)).end()
        expect(abs(reached - wanted) <= _STEPS, f"told to move to {wanted}, it ended at {reached}")
        now = await focuser.position()
        expect(abs(now - reached) <= _STEPS, f"it ended at {reached}, and says that it is at {now}")
        await context.until(focuser.state, "idle")
    expect(abs(await focuser.move(here) - here) <= _STEPS, "it could not move to where it was")


async def _stops(focuser: Focuser, context: Context) -> None:
    here = await focuser.position()
    await stopping(focuser, context, await _beside(focuser, here, 2), here)


async def _limits(focuser: Focuser, context: Context) -> None:
    here, limits = await focuser.position(), await focuser.limits()
    for wanted in (limits.least - 1, limits.most + 1):
        await refused(focuser.move(wanted), "LIMIT", what=f"a move to {wanted}, beyond its limits,")
    expect(abs(await focuser.position() - here) <= _STEPS, "a refused move moved it")


async def remember(focuser: Focuser) -> int:
    """Ask for the position, in steps."""
    return await focuser.position()


async def tidy(focuser: Focuser, before: int | None) -> None:
    """Stop, and return to where it was."""
    await focuser.stop()
    if before is not None:
        await focuser.move(before)


CHECKS = (
    Check("tells its name, its state, its limits and where it is", _answers),
    Check("moves to a position and back, and measures it", _moves),
    Check("stop ends a move with CommandAborted", _stops),
    Check("a move beyond its limits is refused with LIMIT", _limits, gentle=False),
    disconnecting(lambda focuser: focuser.state()),
)
