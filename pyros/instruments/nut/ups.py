"""A UPS that Network UPS Tools know.

``ups.status`` is words: OL on the mains, OB on battery, LB a battery that is low, FSD about to be switched off, OFF ...
"""

from __future__ import annotations

import math

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import InstrumentDriver, deferred
from pyros.instruments.interfaces import Kind
from pyros.instruments.nut.connection import NutConnection
from pyros.instruments.ups import Power

_LOW_CHARGE = 0.0
"""Percent that a battery counts as that its UPS says is low."""


class NutUps(InstrumentDriver):
    """A `Ups` behind ``upsd``."""

    kind: Kind = "ups"
    _connection: NutConnection

    def _connection_to(self, address: str) -> NutConnection:
        return NutConnection(self.kind, address, self._reactor, self._clock)

    @deferred
    async def read(self) -> Power:
        status = (await self._connection.variable("ups.status") or "").split()
        if not {"OL", "OB", "FSD", "OFF", "BYPASS"} & set(status):
            raise DeviceFailed(f"{self.name}: has the status {' '.join(status)[:100]!r}: neither OL nor OB is in it")
        on_mains = "OL" in status and not {"OB", "FSD", "OFF"} & set(status)
        if "LB" in status:
            return Power(on_mains, _LOW_CHARGE)
        text = await self._connection.variable("battery.charge")
        if text is None:
            return Power(on_mains)
        try:
            charge = float(text)
        except ValueError:
            charge = math.nan
        if not 0 <= charge <= 100:
            raise DeviceFailed(f"{self.name}: has a battery.charge of {text[:40]!r}, not 0 to 100 percent")
        return Power(on_mains, charge)
