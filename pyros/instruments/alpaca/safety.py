"""A safety monitor that speaks Alpaca."""

from __future__ import annotations

from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, Safety


class AlpacaSafetyMonitor(AlpacaDevice):
    """A `SafetyMonitor` that speaks Alpaca, which has no word for the reason."""

    kind: Kind = "safety"

    @deferred
    async def read(self) -> Safety:
        safe = await self._link.get("issafe", bool)
        return Safety(safe, "" if safe else f"{self.name} says so")
