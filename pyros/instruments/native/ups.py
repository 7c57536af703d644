"""A UPS that speaks the native grammar."""

from __future__ import annotations

import math

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind
from pyros.instruments.native._device import NativeDevice
from pyros.instruments.ups import Power


class NativeUps(NativeDevice):
    """A `Ups` that speaks the native grammar."""

    kind: Kind = "ups"

    @deferred
    async def read(self) -> Power:
        answer = await self._get("power")
        if answer.values not in (("mains",), ("battery",)):
            raise DeviceFailed(f"{self.name}: answered {answer.values} to GET power, not mains or battery")
        text = answer.named.get("charge")
        try:
            charge = None if text is None else float(text)
        except ValueError:
            charge = math.nan
        if charge is not None and not 0 <= charge <= 100:
            raise DeviceFailed(f"{self.name}: has a charge of {text}, not 0 to 100 percent")
        return Power(answer.values == ("mains",), charge)
