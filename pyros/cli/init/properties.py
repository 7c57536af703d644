"""What a wheel and a weather station say of themselves, before an observatory is written for them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from pyros.cli.instruments.discover import FoundDevice
from pyros.errors import InstrumentError
from pyros.instruments.plausible import absent_in

_SECONDS = 20.0
"""For a device to be connected to and to answer; stations read seldom."""
_COLOURS = {"u": "ultraviolet", "b": "blue", "g": "green", "v": "green", "r": "red", "i": "infrared"}
_WIDE = ("luminance", "l", "clear", "c", "open", "empty")
_FILTER = re.compile(r"(\bfilter: *)([A-Za-z][\w'-]*)")


class DeviceProperties(NamedTuple):
    """What devices have told; what could not be asked is in ``silent``."""

    filters: tuple[str, ...] = ()
    """The wheel's names; () where there is no wheel, or it didn't tell them."""
    missing: tuple[str, ...] = ()
    """What the weather station doesn't measure."""
    silent: tuple[str, ...] = ()
    """A sentence for each device that could not be asked."""


def ask_properties(devices: Mapping[str, FoundDevice]) -> DeviceProperties:
    """Ask the filter wheel for its filters and the weather station for a reading, at the same time."""
    from twisted.internet.defer import Deferred, maybeDeferred  # noqa: PLC0415  Twisted takes a moment

    from pyros.agents.runtime.program import background_reactor  # noqa: PLC0415
    from pyros.cli.instruments.device import given, result_of  # noqa: PLC0415
    from pyros.clock import RealClock  # noqa: PLC0415
    from pyros.instruments import connect  # noqa: PLC0415

    reactor = background_reactor()
    clock = RealClock(reactor)

    silent = []

    async def told(kind: Any, query: str, without: Sequence[str] = ()) -> Any:
        """Return what a device answers to a query; for a weather station ``without`` some quantities."""
        place = devices[kind]
        address = place.address
        if without:
            address += ("&" if "?" in address else "?") + f"without={','.join(without)}"
        device = connect(kind, place.driver, address, reactor, clock)
        try:
            return await getattr(device, query)().addTimeout(_SECONDS, reactor)
        finally:
            await maybeDeferred(device.disconnect)

    async def filters() -> tuple[str, ...]:
        names: tuple[str, ...] = await told("filter_wheel", "filters")
        return names

    async def missing() -> tuple[str, ...]:
        found: list[str] = []
        while True:
            try:
                await told("weather", "read", found)
            except InstrumentError as error:
                if not (quantity := absent_in(str(error))) or quantity in found:
                    raise
                found.append(quantity)
            else:
                return tuple(found)

    async def or_nothing(kind: str, asking: Callable[[], Coroutine[Any, Any, tuple[str, ...]]]) -> tuple[str, ...]:
        if kind not in devices:
            return ()
        try:
            return await asking()
        except Exception as error:  # of whatever kind: it is asked again when the observatory runs
            why = str(error) or f"no answer within {_SECONDS:g} s"
            silent.append(f"{devices[kind].name} could not be asked what it has: {why}")
            return ()

    async def ask() -> DeviceProperties:
        there = Deferred.fromCoroutine(or_nothing("filter_wheel", filters))
        absent = await or_nothing("weather", missing)
        return DeviceProperties(await there, absent, tuple(silent))

    properties: DeviceProperties = result_of(given(reactor, lambda: Deferred.fromCoroutine(ask())))
    return properties


def with_filters(rules: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return alert rules with filters that there are, and what was put in the place of which.

    A name that the wheel hasn't becomes the same one in other letters, the wheel's colour of that band, its widest
    filter, or its first one.
    """
    lower = {name.lower(): name for name in reversed(names)}
    changed: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        wanted = found[2]
        if wanted in names or not names:
            return found[0]
        likely = (wanted.lower(), _COLOURS.get(wanted.lower(), ""), *_WIDE)
        changed[wanted] = next((lower[each] for each in likely if each in lower), names[0])
        return found[1] + json.dumps(changed[wanted], ensure_ascii=False)

    return _FILTER.sub(replace, rules), changed
