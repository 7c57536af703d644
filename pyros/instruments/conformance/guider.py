"""What a `Guider` must do. All but the first check move the mount a little, and need a star in the guide camera."""

from __future__ import annotations

import math
from functools import partial
from typing import get_args

from pyros.instruments.conformance._check import Check, Context, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.guider import Guider, GuidingState, Settle

_SETTLE = Settle(arcsec=3.0, seconds=4.0, timeout=120.0)
_DITHER = 5.0
"""Arcseconds."""


async def _answers(guider: Guider, context: Context) -> None:
    await named(guider, context, guider.state)
    state, error = await guider.state(), await guider.error()
    expect(state in get_args(GuidingState), f"its state is {state!r}")
    expect(error is None or (math.isfinite(error) and error >= 0), f"its error is {error}")


async def _steady(guider: Guider, error: float) -> None:
    expect(0 <= error <= _SETTLE.arcsec, f"it is steady with an error of {error} arcseconds, over {_SETTLE.arcsec:g}")
    state = await guider.state()
    expect(state == "guiding", f"it is steady, and its state is {state!r}")
    expect(await guider.error() is not None, "it guides, and tells no error")


async def _guides(guider: Guider, context: Context) -> None:
    try:
        await _steady(guider, await UnderWay(context, partial(guider.guide, _SETTLE)).end())
        await _steady(guider, await guider.guide(_SETTLE))  # it does already
    finally:
        await guider.stop()
    state = await guider.state()
    expect(state == "idle", f"it was stopped, and its state is {state!r}")
    expect(await guider.error() is None, "it was stopped, and tells an error")


async def _dithers(guider: Guider, context: Context) -> None:
    try:
        await guider.guide(_SETTLE)
        await _steady(guider, await UnderWay(context, partial(guider.dither, _DITHER, _SETTLE)).end())
    finally:
        await guider.stop()
    await refused(guider.dither(_DITHER, _SETTLE), "STATE", what="a dither while it does not guide")


async def _pauses(guider: Guider, context: Context) -> None:
    try:
        await guider.guide(_SETTLE)
        await guider.pause()
        await context.until(guider.state, "paused")
        await _steady(guider, await guider.guide(_SETTLE))
    finally:
        await guider.stop()
    await refused(guider.pause(), "STATE", what="a pause while it does not guide")


async def _stops(guider: Guider, context: Context) -> None:
    guiding = UnderWay(context, partial(guider.guide, _SETTLE))
    try:
        await guiding.begun()
    finally:
        await guider.stop()
    await guiding.aborted("the guiding")
    await context.until(guider.state, "idle")
    await guider.stop()  # with nothing to stop it is nothing


async def _newer(guider: Guider, context: Context) -> None:
    older = UnderWay(context, partial(guider.guide, _SETTLE))
    try:
        await older.begun()
        await _steady(guider, await guider.guide(_SETTLE))
        await older.aborted("the older guiding")
    finally:
        await guider.stop()


async def tidy(guider: Guider, before: None) -> None:
    """Stop guiding."""
    await guider.stop()


CHECKS = (
    Check("tells its name, its state and its error", _answers),
    Check("guides until it is stopped, and tells how steady it is", _guides, gentle=False),
    Check("dithers while it guides, and only then", _dithers, gentle=False),
    Check("a pause keeps the star", _pauses, gentle=False),
    Check("stop ends a guiding that is not steady yet with CommandAborted", _stops, gentle=False),
    Check("a newer guiding takes the place of the older, which ends with CommandAborted", _newer, gentle=False),
    disconnecting(lambda guider: guider.state()),
)
