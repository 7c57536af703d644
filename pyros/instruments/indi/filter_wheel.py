"""Filter wheels behind INDI: one of its own, or a camera's."""

from __future__ import annotations

from pyros.errors import DeviceFailed, DeviceRefused
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi._device import BEGIN_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Kind, MotorState, Started

SLOT, NAMES = "FILTER_SLOT", "FILTER_NAME"
_VALUE = "FILTER_SLOT_VALUE"
TURN_SECONDS = 120.0


def filters(properties: Properties) -> dict[str, int]:
    """Slots by the filters' names, in the wheel's order; empty without a wheel."""
    slot, names = properties.get(SLOT), properties.get(NAMES)
    if slot is None or _VALUE not in slot.members:
        return {}
    least, most = round(slot.members[_VALUE].least), round(slot.members[_VALUE].most)
    if names is None or not names.members:
        return {str(number): number for number in range(least, min(most, least + 99) + 1)}
    # Wheels may have more names than slots.
    return {str(member.value): least + index for index, member in enumerate(names.members.values())
            if member.value and least + index <= most}  # fmt: skip


def selected(properties: Properties) -> str:
    """Return the filter in the beam; '' while the wheel turns."""
    slot = properties.get(SLOT)
    number = None if slot is None or slot.state == "Busy" else slot.number(_VALUE)
    return next((name for name, each in filters(properties).items() if each == number), "")


def slot_of(command: IndiCommand, properties: Properties, filter: str) -> int:
    """Return the slot of a filter. Raises DeviceRefused (VALUE)."""
    known = filters(properties)
    if filter not in known:
        there = f"must be one of {', '.join(known)}" if known else "the device has no filter wheel"
        raise DeviceRefused("VALUE", command.describe(f"filter {filter!r}: {there}"))
    return known[filter]


async def turn(
    command: IndiCommand,
    properties: Properties,
    slot: int,
    started: Started | None = None,
    *,
    seconds: float = TURN_SECONDS,
    begin_seconds: float = BEGIN_SECONDS,
) -> None:
    """Turn the wheel, and check where it is."""

    def there(vector: Property) -> bool:
        return vector.number(_VALUE) == slot

    async def stop() -> None:
        raise DeviceRefused("UNSUPPORTED", command.describe("a wheel cannot be stopped"))

    vector, since = await command.insist(SLOT, {_VALUE: float(slot)}, stop=stop, seconds=seconds)
    begun(started, vector)
    vector = await command.arrived(SLOT, there, seconds, begin_seconds)
    if vector.state == "Alert" or not there(vector):
        at = vector.number(_VALUE)
        place = "no slot" if at is None else f"slot {at:g}"
        raise command.failed(since, f"the wheel is at {place}, not {slot}", vector)


class IndiFilterWheel(IndiDevice):
    """A `FilterWheel` behind INDI."""

    kind: Kind = "filter_wheel"
    interface = 16
    needs = (SLOT,)

    @deferred
    async def filters(self) -> tuple[str, ...]:
        await self._connection.until_ready()
        return tuple(filters(self._properties))

    @deferred
    async def filter(self) -> str:
        await self._ask(SLOT)
        return selected(self._properties)

    @deferred
    async def state(self) -> MotorState:
        return "moving" if (await self._ask(SLOT)).state == "Busy" else "idle"

    @deferred
    async def select(self, filter: str, started: Started | None = None) -> str:
        with self._connection.command(f"filter {filter}", "turn") as command:
            await self._connection.until_ready()
            slot = slot_of(command, self._properties, filter)
            self._end("turn", "a newer one took its place", command)
            await turn(
                command, self._properties, slot, started,
                seconds=self._option("turn_seconds", TURN_SECONDS), begin_seconds=self._begin_seconds,
            )  # fmt: skip
        if (there := selected(self._properties)) != filter:
            raise DeviceFailed(f"{self.name}: told to select {filter!r}, it is at {there!r}")
        return there
