"""What the checks of all kinds share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from pyros.errors import ConnectionLost, InstrumentError
from pyros.instruments.conformance._check import Check, CheckFailed, Context, UnderWay, expect
from pyros.instruments.interfaces import Instrument, Kind


async def named(device: Instrument, context: Context, ask: Callable[[], Awaitable[Any]]) -> None:
    """Check that the device answers, is connected, and has a name."""
    await ask()
    expect(device.connected, "it answered, and yet is not connected")
    expect(bool(device.name.strip()), "it has no name")


async def stopping(device: Any, context: Context, far: float, back: float) -> None:
    """Check that stop ends the move to a place far away, and return to the one where it was."""
    move = UnderWay(context, partial(device.move, far))
    try:
        await move.begun()
        await device.stop()
        await move.aborted("the move")
        await context.until(device.state, "idle")
        await device.stop()  # with nothing to stop it is nothing
    finally:
        await device.move(back)


def disconnecting(ask: Callable[[Any], Awaitable[Any]]) -> Check:
    """Make the check that a disconnected device answers a question with ConnectionLost."""

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


async def remember(kind: Kind, device: Any) -> Any:
    """Ask for what `tidy` is to restore: the filter in the beam, the focuser's position; None for other kinds."""
    with suppress(InstrumentError):  # the checks will tell
        return await _of_kind(kind, "remember", device)


async def tidy(kind: Kind, device: Any, before: Any = None) -> str:
    """Leave a device as the end of a night would: parked, closed, exposing nothing. Returns what went wrong, or ''.

    ``before`` is what `remember` has found: filter and focus are again as they were.
    """
    try:
        await _of_kind(kind, "tidy", device, before)
    except InstrumentError as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def _of_kind(kind: Kind, name: str, *arguments: Any) -> Any:
    """Await that function of the kind's module, where there is one."""
    function = getattr(import_module(f"{__package__}.{kind}"), name, None)
    return None if function is None else await function(*arguments)
