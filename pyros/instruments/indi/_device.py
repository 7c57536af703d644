"""What the drivers of all INDI instruments share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

from pyros.errors import CommandAborted
from pyros.instruments.drivers.device import InstrumentDriver
from pyros.instruments.drivers.options import split_address
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.connection import IndiConnection
from pyros.instruments.indi.options import options_of
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Started

ESTIMATE_SECONDS = 60.0
"""What a movement is thought to take where the device doesn't tell (libindi's own default for a vector's timeout)."""
MOTION_SECONDS = 300.0
"""How long a movement may take where the address doesn't say."""
BEGIN_SECONDS = 5.0
"""How long a device may stand still elsewhere, where the address doesn't say, before its command counts as failed."""


ANY_INTERFACE = 0xFFFFFFFF
"""The interface of a kind for which there is no bit of its own in DRIVER_INTERFACE."""


class IndiDevice(InstrumentDriver):
    """What the INDI drivers share."""

    _connection: IndiConnection
    interface: int
    """Its bit of DRIVER_INTERFACE (libindi, basedevice.h)."""
    needs: ClassVar[tuple[str, ...]] = ()
    """The vectors without which the device cannot be used."""

    def _connection_to(self, address: str) -> IndiConnection:
        where, query = split_address(address)
        self._options = dict(options_of(self.kind, address, query))
        return self._connection_of(where)

    def _connection_of(self, device: str) -> IndiConnection:
        """Make the connection to a device at that address, which has no options any more."""
        return IndiConnection(
            self.kind, self.interface, device, self._reactor, self._clock, missing=self._missing, prepare=self._prepare
        )

    # For the drivers below.

    @property
    def _begin_seconds(self) -> float:
        return self._option("begin_seconds", BEGIN_SECONDS)

    @property
    def _properties(self) -> Properties:
        return self._connection.properties

    def _missing(self, properties: Properties) -> str:
        """Name a vector that must be there and isn't; '' when all are."""
        return next((name for name in self.needs if name not in properties), "")

    def _prepare(self) -> None:
        """Tell the device what it must know, each time that it has become ready."""

    def _answer_to(self, there: Callable[[Property], bool]) -> Callable[[Property], bool]:
        """Return what tells the answer to a movement from what the device tells by itself: that may be from before."""
        begin = self._clock.monotonic()
        return lambda now: now.state == "Busy" or there(now) or self._clock.monotonic() - begin > self._begin_seconds

    async def _ask(self, name: str) -> Property:
        with self._connection.command(f"the question for {name}") as command:
            return await command.ask(name)

    async def _switch(self, name: str, member: str, what: str) -> None:
        """Switch something that is done at once."""
        with self._connection.command(what) as command:
            await command.change(name, {member: True})

    async def _abort_vector(self, command: IndiCommand, place: str, abort: str, group: str) -> None:
        """Abort by one vector what another shows to move, and wait until it stands still, or a newer one moves it."""
        await command.change(abort, {"ABORT": True})

        def still() -> bool | None:
            stands = self._properties.at_rest(place) is not None
            return True if stands or not self._connection.commands.is_newest(command, group) else None

        await command.until(still, 10.0, "told to stop, it still moves")

    def _stopping(self, *groups: str, why: str = "stopped") -> AbstractContextManager[None]:
        """While the block stops the device, the commands of these groups end with CommandAborted, however they end."""
        return self._connection.stopping(lambda command: CommandAborted(command.describe(why)), *groups)

    def _end(self, group: str, why: str, before: IndiCommand | None = None) -> None:
        self._connection.commands.end(lambda command: CommandAborted(command.describe(why)), group, before=before)


def estimate(vector: Property) -> float:
    """Return the device's own estimate of the seconds that a change of that vector takes."""
    return vector.timeout or ESTIMATE_SECONDS


def begun(started: Started | None, vector: Property) -> None:
    """Say how long a movement will take, where the device has begun one."""
    if started is not None and vector.state == "Busy":
        started(estimate(vector))
