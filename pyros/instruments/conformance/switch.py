"""What a `Switch` must do. Setting a channel to what it is set to already is gentle; to anything else, it is not."""

from __future__ import annotations

from pyros.instruments.conformance._check import Check, Context, NotSupported, expect, refused
from pyros.instruments.conformance._shared import disconnecting, named
from pyros.instruments.interfaces import Switch


async def _answers(switch: Switch, context: Context) -> None:
    await named(switch, context, switch.channels)
    channels = await switch.channels()
    expect(bool(channels), "it has no channels")
    for number, channel in enumerate(channels):
        expect(channel.least < channel.most and channel.step > 0, f"channel {number} is {channel}")
        level = await switch.get(number)
        expect(channel.least <= level <= channel.most, f"channel {number} has the level {level}: {channel}")


async def _writable(switch: Switch) -> list[int]:
    found = [number for number, channel in enumerate(await switch.channels()) if channel.writable]
    if not found:
        raise NotSupported("none of its channels can be set")
    return found


async def _sets_same(switch: Switch, context: Context) -> None:
    for number in await _writable(switch):
        level = await switch.get(number)
        told = await switch.set(number, level)
        expect(told == level, f"channel {number} was set to {level}, as it was, and is {told}")


async def _sets(switch: Switch, context: Context) -> None:
    channels = await switch.channels()
    for number in await _writable(switch):
        channel, before = channels[number], await switch.get(number)
        try:
            for level in (channel.least, channel.most):
                told = await switch.set(number, level)
                now = await switch.get(number)
                expect(told == now == level, f"channel {number} was set to {level}, told {told}, and is {now}")
        finally:
            await switch.set(number, before)


async def _no_such_channel(switch: Switch, context: Context) -> None:
    count = len(await switch.channels())
    await refused(switch.get(count), "VALUE", what=f"channel {count} of {count}")
    await refused(switch.set(count, 0.0), "VALUE", what=f"setting channel {count} of {count}")
    await refused(switch.get(-1), "VALUE", what="channel -1")


async def _no_such_level(switch: Switch, context: Context) -> None:
    channels = await switch.channels()
    for number in await _writable(switch):
        before = await switch.get(number)
        level = channels[number].most + max(1.0, channels[number].step)
        await refused(switch.set(number, level), "VALUE", what=f"level {level} of channel {number}")
        expect(await switch.get(number) == before, f"a refused level changed channel {number}")


async def _read_only(switch: Switch, context: Context) -> None:
    closed = [number for number, channel in enumerate(await switch.channels()) if not channel.writable]
    if not closed:
        raise NotSupported("all of its channels can be set")
    for number in closed:
        await refused(switch.set(number, await switch.get(number)), what=f"setting channel {number}, which only tells,")


CHECKS = (
    Check("tells its name, its channels and their levels", _answers),
    Check("sets a channel to what it is set to", _sets_same),
    Check("sets a channel to its lowest and highest level, and measures it", _sets, gentle=False),
    Check("a channel there isn't is refused with VALUE", _no_such_channel),
    Check("a level there isn't is refused with VALUE", _no_such_level, gentle=False),
    Check("a channel that only tells refuses to be set", _read_only, gentle=False),
    disconnecting(lambda switch: switch.channels()),
)
