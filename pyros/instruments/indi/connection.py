"""One persistent connection to one INDI device, through the server that runs its driver.

A device is there (*ready*) when the server is connected, the device defined, it is connected to its hardware (INDI's
CONNECTION switch; it is told to, if it isn't), and the vectors that this kind of instrument needs are defined. INDI has
no mark for the end of the definitions: they count as complete when no other has come for a moment. A driver that dies
is only a ``delProperty``; the server may start it again at any time, so the device is asked for as long as it is away.

Everything here runs in the reactor's thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from twisted.internet.defer import Deferred

from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import ConfigError, ConnectionLost, InstrumentError, WireError
from pyros.instruments.drivers.commands import CommandsUnderWay
from pyros.instruments.drivers.reconnecting import DeviceLink, Reconnecting, host_and_port
from pyros.instruments.indi import codec
from pyros.instruments.indi.codec import IndiDamage, IndiDecoder, IndiEvent, IndiPing, Vector
from pyros.instruments.indi.command import IndiCommand
from pyros.instruments.indi.properties import Properties
from pyros.instruments.interfaces import Kind
from pyros.reactor import Reactor

NUDGE_SECONDS = 2.0
"""How often a device that is not ready is asked for, or told to connect."""
SETTLE_SECONDS = 0.3
"""The definitions are complete when no other has come for so long."""
RETELL_SECONDS = 5.0
"""After so long a server is asked for all once more, of which something was damaged and left out."""
WORD_SECONDS = 3.0
"""When a device is not ready by then, its agent is told why."""

_DEVICE = re.compile(r"[^<>\"\x00-\x1f]{1,128}")


def parse_address(address: str) -> tuple[str, str]:
    """Split ``tcp:HOST:PORT/DEVICE`` into the server's address and the device's name, or ''. Raises ConfigError."""
    server, slash, device = address.partition("/")
    try:
        host_and_port(server)
        if not slash or _DEVICE.fullmatch(device):
            return server, device
    except ConfigError:
        pass
    raise ConfigError([f"address = {address}: must be tcp:HOST:PORT/DEVICE, such as tcp:127.0.0.1:7624/My Mount"])


class _IndiLink(DeviceLink):
    def __init__(self, owner: IndiConnection) -> None:
        super().__init__()
        self._owner: IndiConnection = owner
        self.decoder = IndiDecoder()
        self.received = 0

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        try:
            self.decoder.feed(data)
            while not self._reason and (event := self.decoder.next()) is not None:
                self._owner.heard(self, event)
        except WireError as error:
            self.abort(f"it sent {error}")


class IndiConnection(Reconnecting[_IndiLink]):
    """Keeps the device of that name at that server ready, for as long as it is not disconnected.

    ``interface`` is the bit of DRIVER_INTERFACE that a driver for this kind of instrument has; a device without it is
    not used. ``missing`` tells which vector the device still has to define before it can be used, '' for none;
    ``prepare`` is called each time that it has become ready, before anybody is told.
    """

    def __init__(
        self,
        kind: Kind,
        interface: int,
        address: str,
        reactor: Reactor,
        clock: Clock,
        *,
        missing: Callable[[Properties], str],
        prepare: Callable[[], None],
    ) -> None:
        server, self._wanted = parse_address(address)
        super().__init__(kind, server, reactor, clock)
        self.address = address
        self.interface = interface
        self.properties = Properties(self._wanted)
        self.snooped = Properties("")
        """The vector of another device that `snoop` asks for."""
        self._missing, self._prepare = missing, prepare
        self._settled: Deferred[None] | None = None  # fires when the device is ready
        self._timers: dict[str, Timer] = {}
        self._damage = ""  # the last that was told
        self._asked_at = 0  # when the device was last told to connect, by its properties' serial number; 0 for never
        self.commands = CommandsUnderWay[IndiCommand]()
        self.given_up = False
        """Somebody no longer waits for the answer to a command that was sent."""

    # What drivers use.

    @property
    def device(self) -> str:
        return self.properties.device

    def command(self, what: str, group: str = "") -> AbstractContextManager[IndiCommand]:
        """Make a command that is under way while the block runs."""
        return self.commands.during(IndiCommand(self, what, group))

    @contextmanager
    def stopping(self, error: Callable[[IndiCommand], InstrumentError], *groups: str) -> Iterator[None]:
        """While the block stops the device, every end of the commands of these groups counts as that error.

        When the block is over they are ended with it; when it failed, they go on.
        """
        stopped = self.commands.of(*groups)
        for command in stopped:
            command.excuse = error(command)
        try:
            yield
        except BaseException:
            for command in stopped:
                command.excuse = None
            raise
        for command in stopped:
            command.end(error(command))

    def write(self, data: bytes) -> None:
        """Send it, if the server is connected; that it was not is heard by whoever waits for the answer."""
        link = self._link or self._opening
        if link is not None:
            link.transport.write(data)

    def snoop(self, device: str, name: str) -> None:
        """Learn a vector of another device of the same server, and what becomes of it."""
        self.snooped = Properties(device)
        self.write(codec.get_properties(device, name))

    @property
    def progress(self) -> int:
        """Grows while a large image is on its way; 0 otherwise."""
        return self._link.received if self._link is not None and self._link.decoder.in_blob else 0

    def drop(self, reason: str, command: IndiCommand) -> None:
        """Give the connection up, and make another: the device does not answer on this one.

        Not while another command is under way than the one that got no answer: the driver may only be busy with that.
        """
        if self._link is not None and self.commands == [command]:
            self._link.abort(reason)

    async def until_ready(self) -> None:
        """Wait until there is a device. Raises ConnectionLost when there is none within some seconds."""
        await self.link()

    # Its life.

    def make_link(self) -> _IndiLink:
        return _IndiLink(self)

    def made(self, link: _IndiLink) -> None:
        super().made(link)
        self.properties = Properties(self._wanted)
        self._asked_at = 0
        self.given_up = False
        self._problem = f"the server knows no device {self._wanted!r}"
        if not self._wanted:
            self._problem = f"the server knows no {self.kind}"
        self._nudge()
        self._later("word", WORD_SECONDS, self._tell_problem)

    async def identify(self, link: _IndiLink) -> str:
        self._settled = Deferred()
        await self._settled
        for name in ("nudge", "word", "settle"):
            self._cancel(name)
        self._prepare()
        return self.device

    def broken(self, error: ConnectionLost) -> None:
        self._cancel_timers()
        self.commands.end_all(error)
        settled, self._settled = self._settled, None
        if settled is not None and not settled.called:
            settled.errback(error)

    def disconnect(self) -> Deferred[None]:
        """Drop the connection for good; fires when nothing is left behind. The device itself is not disconnected."""
        self._cancel_timers()
        return super().disconnect()

    def _away(self) -> None:
        """End the commands of a device that is not there any more, and ask its server for it again."""
        link, self._link = self._link, None
        assert link is not None
        self.commands.end_all(ConnectionLost(self.describe(self._problem)))
        self._tell_problem()
        self._later("nudge", NUDGE_SECONDS, self._nudge)  # somebody may have disconnected it: no haste
        super().made(link)

    def _tell_problem(self) -> None:
        self._tell(False, self.describe(self._problem))

    def _later(self, name: str, seconds: float, function: Callable[[], None]) -> None:
        """Call it later, instead of what was to be called under that name."""
        self._cancel(name)
        self._timers[name] = self.clock.call_later(seconds, function)

    def _cancel(self, name: str) -> None:
        cancel_call(self._timers.pop(name, None))

    def _cancel_timers(self) -> None:
        for name in list(self._timers):
            self._cancel(name)

    # The device behind the server.

    def heard(self, link: _IndiLink, event: IndiEvent) -> None:
        """Something was heard of the server."""
        if link not in (self._link, self._opening):
            return
        if isinstance(event, IndiPing):
            self.write(codec.ping_reply(event.uid))
            return
        if isinstance(event, IndiDamage):
            self._on_damage(event.problem)
            return
        if not self.device:
            self._choose(event)
            return
        before = self.properties.remarks[-1] if self.properties.remarks else None
        # Not what is only defined once more: other clients may ask for that all the time.
        defined = isinstance(event, Vector) and event.new and event.name not in self.properties
        if self.snooped.apply(event):
            self.commands.wake_all()
        if not self.properties.apply(event, self.clock.monotonic()):
            return
        self._look(defined)
        self.commands.wake_all()
        said = self.properties.remarks[-1] if self.properties.remarks else None
        if said is not None and said is not before and said.complains and not self.commands:
            self._say(said.words)

    def _say(self, text: str) -> None:
        if self.on_event is not None:
            self.on_event(text)

    def _on_damage(self, problem: str) -> None:
        """Tell it, and have all told again: what was left out may be how the device stands."""
        if problem != self._damage:
            self._damage = problem
            self._say(f"something was left out: {problem}")
        if "retell" not in self._timers:
            self._later("retell", RETELL_SECONDS, self._retell)

    def _retell(self) -> None:
        self._cancel("retell")
        self.write(codec.get_properties(self.device))

    def _choose(self, event: IndiEvent) -> None:
        """Without a name: the first device whose driver is for this kind of instrument."""
        if isinstance(event, Vector) and event.name == "DRIVER_INFO":
            for member in event.members:
                if member.name == "DRIVER_INTERFACE" and _bits(str(member.value)) & self.interface:
                    self.properties = Properties(event.device)
                    self._nudge()

    def _look(self, defined: bool) -> None:
        """Something was heard of the device: is it ready?"""
        info = self.properties.get("DRIVER_INFO")
        bits = _bits(info.text("DRIVER_INTERFACE")) if info is not None else self.interface
        link = self._link or self._opening
        if not bits & self.interface and link is not None:
            link.abort(f"{self.device!r} is no {self.kind}: its DRIVER_INTERFACE is {bits}")
            return
        problem = self._reason_closed()
        if problem:
            self._cancel("settle")
            self._problem = problem
            if self.connected:
                self._away()
        elif not self.connected and (defined or "settle" not in self._timers):
            self._later("settle", SETTLE_SECONDS, self._settle)

    def _reason_closed(self) -> str:
        """Why the device cannot be used now; '' when it can."""
        connection = self.properties.get("CONNECTION")
        if connection is None:
            self._asked_at = 0
            return f"the server knows no device {self.device!r}"
        if not connection.is_on("CONNECT") or connection.state in ("Busy", "Alert"):
            if not self._asked_at and "DRIVER_INFO" in self.properties:  # by then it is known to be of the right kind
                self._connect_device()
            complaint = self.properties.complaint(self._asked_at)
            return f"{self.device!r} is not connected to its hardware" + (f": {complaint}" if complaint else "")
        missing = self._missing(self.properties)
        return f"{self.device!r} has no {missing}" if missing else ""

    def _connect_device(self) -> None:
        self._asked_at = self.properties.serial
        self.write(codec.new_vector("Switch", self.device, "CONNECTION", {"CONNECT": True}))

    def _nudge(self) -> None:
        """Ask for the device's definitions, or tell it to connect; and again after a while, until it is ready."""
        connection = self.properties.get("CONNECTION")
        if connection is not None and not connection.is_on("CONNECT") and connection.state != "Busy":
            self._connect_device()
        else:
            self.write(codec.get_properties(self.device))
        self._later("nudge", NUDGE_SECONDS, self._nudge)

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled.callback(None)


def _bits(text: str) -> int:
    value = codec.number(text)
    return int(value) if 0 <= value < 2**32 else 0
