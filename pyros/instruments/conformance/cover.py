"""What a `Cover` must do. The gentle checks close the cover and light the lamp for a moment."""

from __future__ import annotations

from functools import partial
from typing import get_args

from pyros.errors import DeviceRefused
from pyros.instruments.conformance._check import UNSUPPORTED, Check, Context, UnderWay, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.cover import Cover, CoverState


async def _answers(cover: Cover, context: Context) -> None:
    await named(cover, context, cover.state)
    state, brightness, most = await cover.state(), await cover.brightness(), await cover.max_brightness()
    expect(state in get_args(CoverState), f"its state is {state!r}")
    expect(0 <= brightness <= most, f"its brightness is {brightness} of {most}")
    expect(state != "absent" or most > 0, "it has neither a cover nor a lamp")


async def _close(cover: Cover, context: Context) -> None:
    await cover.close()
    expect(await cover.state() == "closed", f"told to close, it is {await cover.state()}")


async def _closes(cover: Cover, context: Context) -> None:
    await _close(cover, context)
    await _close(cover, context)  # a closed one closes, too


async def _opens(cover: Cover, context: Context) -> None:
    await cover.open()
    expect(await cover.state() == "open", f"told to open, it is {await cover.state()}")
    await _close(cover, context)


async def _reverses(cover: Cover, context: Context) -> None:
    await cover.close()
    opening = UnderWay(context, cover.open)
    try:
        await opening.begun()
        await cover.close()
        await opening.aborted("the opening")
        expect(await cover.state() == "closed", f"told to close, it is {await cover.state()}")
    finally:
        await cover.close()


async def _stops(cover: Cover, context: Context) -> None:
    await cover.close()
    opening = UnderWay(context, cover.open)
    try:
        await opening.begun()
        await cover.stop()
        await opening.aborted("the opening")
        await context.until(cover.state, "stopped", "open", "closed")
        await cover.stop()  # with nothing to stop it is nothing
    finally:
        await cover.close()


async def _lights(cover: Cover, context: Context) -> None:
    most = await cover.max_brightness()
    try:
        for wanted in (most, max(1, most // 2)):
            told = await UnderWay(context, partial(cover.lamp_on, wanted)).end()
            expect(told == wanted, f"told to light {wanted}, it ended with {told}")
            expect(await cover.brightness() == wanted, f"its brightness is {await cover.brightness()}, not {wanted}")
    finally:
        await cover.lamp_off()
    expect(await cover.brightness() == 0, f"its lamp is off, and its brightness {await cover.brightness()}")
    await cover.lamp_off()  # a dark one is put out, too


async def _too_bright(cover: Cover, context: Context) -> None:
    most = await cover.max_brightness()
    wrong = (most + 1, -1) if most else (1,)
    for brightness in wrong:
        codes = ("VALUE",) if most else UNSUPPORTED
        await refused(cover.lamp_on(brightness), *codes, what=f"a brightness of {brightness}, of {most},")
    expect(await cover.brightness() == 0, "a refused brightness lit the lamp")


async def tidy(cover: Cover, before: None) -> None:
    """Close the cover and put the lamp out, as far as it has them."""
    for part in (cover.close, cover.lamp_off):
        try:
            await part()
        except DeviceRefused as refusal:
            if refusal.code not in UNSUPPORTED:
                raise


CHECKS = (
    Check("tells its name, its state and its brightness", _answers),
    Check("closes, and a closed one closes too", _closes),
    Check("lights its lamp, dims it, and puts it out", _lights),
    Check("a brightness that there isn't is refused with VALUE", _too_bright),
    Check("opens and closes", _opens, gentle=False),
    Check("closing reverses an opening, which ends with CommandAborted", _reverses, gentle=False),
    Check("stop ends an opening with CommandAborted", _stops, gentle=False),
    disconnecting(lambda cover: cover.state()),
)
