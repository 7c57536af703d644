"""A safety monitor that speaks the native grammar."""

from __future__ import annotations

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind, Safety
from pyros.instruments.native._device import NativeDevice


class NativeSafetyMonitor(NativeDevice):
    """A `SafetyMonitor` that speaks the native grammar."""

    kind: Kind = "safety"

    @deferred
    async def read(self) -> Safety:
        answer = await self._get("safe")
        if answer.values not in (("0",), ("1",)):
            raise DeviceFailed(f"{self.name}: answered {answer.values} to GET safe, not 0 or 1")
        return Safety(answer.values == ("1",), answer.named.get("reason", ""))
