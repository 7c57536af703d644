"""Safety monitors behind INDI: weather stations that are asked for their verdict."""

from __future__ import annotations

from pyros.errors import DeviceFailed
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi.properties import Properties
from pyros.instruments.indi.weather import READINGS, IndiStation
from pyros.instruments.interfaces import Kind, Safety

_VERDICT, _OVERRIDE, _SAFETY = "WEATHER_STATUS", "WEATHER_OVERRIDE", "SAFETY_STATUS"


class IndiSafetyMonitor(IndiStation):
    """A `SafetyMonitor` behind INDI: the verdict of a weather device on its own readings (WEATHER_STATUS).

    Ok is safe, and so is Busy, its warning; Alert is not, and Idle is no verdict, which isn't either. While somebody
    has overridden it there (WEATHER_OVERRIDE), it says Ok whatever the weather, and counts as unsafe.
    """

    kind: Kind = "safety"

    def _missing(self, properties: Properties) -> str:
        return "" if _VERDICT in properties or _SAFETY in properties else _VERDICT

    @deferred
    async def read(self) -> Safety:
        with self._connection.command("verdict") as command:
            await self._connection.until_ready()
            if READINGS in self._properties:
                try:
                    await self._fresh(command)
                except DeviceFailed:
                    if command.property(READINGS).state != "Alert":
                        raise
                    return Safety(False, "the station says that its readings are of no use")
            # Drivers do not answer when they are asked for lights.
            verdict = command.property(_VERDICT if _VERDICT in self._properties else _SAFETY)
        if self._properties.is_on(_OVERRIDE, "OVERRIDE"):
            return Safety(False, f"its verdict is overridden by hand ({_OVERRIDE})")
        if verdict.state == "Idle":
            return Safety(False, "it gives no verdict")
        worst = [_words(name, member.label, str(member.value)) for name, member in verdict.members.items()
                 if member.value in ("Busy", "Alert")]  # fmt: skip
        return Safety(verdict.state != "Alert", ", ".join(worst))


def _words(name: str, label: str, state: str) -> str:
    return f"{label or name}: {'danger' if state == 'Alert' else 'warning'}"
