"""What the checks of all kinds share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pyros.errors import ConnectionLost, DeviceRefused, InstrumentError
from pyros.instruments.conformance._check import UNSUPPORTED, Check, CheckFailed, Context, expect
from pyros.instruments.interfaces import Instrument, Kind, Telescope


async def named(device: Instrument, context: Context, ask: Callable[[], Awaitable[Any]]) -> None:
    """The device answers, is connected, and has a name."""
    await ask()
    expect(device.connected, "it answered, and yet is not connected")
    expect(bool(device.name.strip()), "it has no name")


def disconnecting(ask: Callable[[Any], Awaitable[Any]]) -> Check:
    """The check that a disconnected device says so to whoever asks it something."""

    async def check(device: Instrument, context: Context) -> None:
        await ask(device)
        await device.disconnect()
        expect(not device.connected, "it is disconnected, and yet connected")
        try:
            answer = await ask(device)
        except ConnectionLost:
            return
        except InstrumentError as error:
            raise CheckFailed(f"it ended with {type(error).__name__}: {error}, not with ConnectionLost") from None
        raise CheckFailed(f"it answered {answer}")

    return Check("once disconnected, whatever is asked ends with ConnectionLost", check)


async def _park(telescope: Telescope) -> None:
    """A mount without a park position at least stands still."""
    try:
        await telescope.park()
    except DeviceRefused as refusal:
        if refusal.code not in UNSUPPORTED:
            raise
        await telescope.track(False)


async def remember(kind: Kind, device: Any) -> Any:
    """What `tidy` is to restore: the filter in the beam, the focuser's position; None where there is nothing."""
    try:
        if kind == "filter_wheel":
            return await device.filter()
        if kind == "focuser":
            return await device.position()
    except InstrumentError:  # the checks will tell
        pass
    return None


async def tidy(kind: Kind, device: Any, before: Any = None) -> str:
    """Leave a device as the end of a night would: parked, closed, exposing nothing. Returns what went wrong, or ''.

    ``before`` is what `remember` has found: filter and focus are again as they were.
    """
    try:
        if kind == "telescope":
            await _park(device)
        elif kind == "dome":
            await device.close()
        elif kind == "camera":
            await device.abort()
        elif kind == "focuser":
            await device.stop()
            if before is not None:
                await device.move(before)
        elif kind == "filter_wheel" and before:
            await device.select(before)
    except InstrumentError as error:
        return f"{type(error).__name__}: {error}"
    return ""
