"""The port of a simulated device: many clients, one device, and clients that behave badly.

A client that asks faster than it reads is not read from until it has read (TCP pushes back), so what waits for it is
one answer, at most one image, and events. When those events alone pass a limit, or nothing at all is read for
minutes, it is cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.clock import Clock, Timer, cancel_call
from pyros.errors import CatalogueError, SimulatorError
from pyros.kinds import KINDS, load
from pyros.reactor import Reactor
from pyros.simulators.camera.camera import SimulatedCamera
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.description import Description
from pyros.simulators.device import SimulatedDevice
from pyros.simulators.devices.generic import GenericDevice
from pyros.simulators.devices.generic_settings import GenericSettings
from pyros.simulators.devices.guider import SimulatedGuider
from pyros.simulators.endpoints import server_endpoint
from pyros.simulators.grammar import BadRequest, DeviceAnswer, DeviceRequest, RequestParser, error
from pyros.simulators.line import ClientLine
from pyros.simulators.lx200.mount import Lx200Mount
from pyros.simulators.mount.settings import TelescopeSettings
from pyros.simulators.mount.telescope import SimulatedTelescope
from pyros.simulators.phd2.program import Phd2Program
from pyros.simulators.second_port import SecondPort

_MAX_WAITING = 1 << 20
"""Bytes of events that may wait for a client, and of requests that may wait for their turn."""
_STALLED = 120.0
"""Seconds after which a client that reads nothing at all is cut off, if something waits for it."""
FAREWELL_SECONDS = 2.0
"""Seconds in which a client must take its last answers when the simulator stops, or when it broke the grammar."""
_REQUESTS_KEPT = 10_000


class Simulator:
    """A simulated device at its port. All methods are for the reactor's thread.

    ``requests`` keeps the last lines that clients sent, each with ``clock.monotonic()`` of when it was read.
    """

    log = Logger()

    def __init__(self, description: Description, reactor: Reactor, clock: Clock) -> None:
        self.description = description
        self.clock = clock
        self.requests: deque[tuple[float, str]] = deque(maxlen=_REQUESTS_KEPT)
        self.device = _device(description, reactor, clock, self._broadcast)
        self.second: SecondPort | None = None
        """The second port of a device whose file has one: of a telescope (``lx200``) or a guider (``phd2``)."""
        if isinstance(self.device, SimulatedTelescope) and self.device.settings.lx200:
            self.second = SecondPort(Lx200Mount(self.device), clock)
        elif isinstance(self.device, SimulatedGuider) and self.device.settings.phd2:
            program = Phd2Program(self.device)
            self.second = SecondPort(program, clock)
            program.say = self.second.broadcast
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self.connections: dict[SimulatorConnection, None] = {}  # in the order they came
        self._events: list[DeviceAnswer] | None = None

    @property
    def port(self) -> int:
        """The TCP port it listens on, known after ``start``; 0 when it does not listen."""
        return getattr(self._port.getHost(), "port", 0) if self._port else 0

    def start(self) -> Deferred[None]:
        """Open the ports. Fails with SimulatorError when one cannot be opened."""

        def listening(port: IListeningPort) -> Deferred[Any] | None:
            self._port = port
            if self.second is None:
                return None
            ((key, address),) = self.description.second.items()
            return self._open(key, address, self.second).addCallback(self.second.opened)

        opening = self._open("listen", self.description.listen, _Clients(self))
        return opening.addCallback(listening)

    def _open(self, key: str, address: str, factory: Factory) -> Deferred[Any]:
        """Listen where the file's key says."""

        def listening(port: IListeningPort) -> IListeningPort:
            self.log.info(
                "{name} ({device}) listens on {address}",
                name=self.description.name,
                device=self.description.device if key == "listen" else key,
                address=port.getHost(),
            )
            return port

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, CannotListenError):
                failure.raiseException()
            reason = getattr(failure.value, "socketError", failure.value)
            raise SimulatorError(
                f"{self.description.file}: {key}: {address} cannot be opened ({reason}); "
                "stop the program that has it, or write another port"
            )

        try:
            endpoint = server_endpoint(self._reactor, address)
        except ValueError as problem:
            return fail(SimulatorError(f"{self.description.file}: {key}: {address}: {problem}"))
        return endpoint.listen(factory).addCallbacks(listening, failed)

    def stop(self) -> Deferred[None]:
        """Close the port and all connections and forget all timers; fires when nothing is left."""
        stopped = maybeDeferred(self.device.stop)
        port, self._port = self._port, None
        waiting: list[Deferred[Any]] = [stopped, *(connection.closed for connection in self.connections)]
        for connection in list(self.connections):
            connection.finish(FAREWELL_SECONDS)
        if port:
            waiting.append(maybeDeferred(port.stopListening))
        if self.second:
            waiting.append(self.second.stop())
        return DeferredList(waiting, fireOnOneErrback=True, consumeErrors=True).addCallback(lambda _: None)

    def answer(self, request: DeviceRequest) -> tuple[DeviceAnswer, list[DeviceAnswer]]:
        """Return the device's answer, and the events that doing it caused: those follow the answer."""
        self._events = []
        try:
            return self.device.answer(request), self._events
        finally:
            self._events = None

    def _broadcast(self, event: DeviceAnswer) -> None:
        if self._events is not None:
            self._events.append(event)
            return
        self.broadcast([event])

    def broadcast(self, events: list[DeviceAnswer]) -> None:
        """Tell every client; those who only wait for the end of something may then go."""
        for connection in list(self.connections):
            for event in events:
                connection.tell(event)
            connection.finish_if_done()

    def connected(self, connection: SimulatorConnection) -> None:
        self.connections[connection] = None

    def disconnected(self, connection: SimulatorConnection) -> None:
        self.connections.pop(connection, None)


@implementer(IHalfCloseableProtocol, IPushProducer)
class SimulatorConnection(Protocol):
    """One client."""

    transport: Any

    def __init__(self, simulator: Simulator) -> None:
        self.closed: Deferred[None] = Deferred()
        self._simulator = simulator
        self._parser = RequestParser()
        self._paused = False  # the client does not read as fast as it is told
        self._told = 0  # bytes of events since then
        self._ended = False  # the client has closed its sending side
        self._began = False  # it was answered BUSY, so the end of that is its business
        self.leaving = False
        self._guard: Timer | None = None
        faults = simulator.device.faults
        self._line = ClientLine(faults, simulator.clock, self._write, lambda: self._cut_off(""), self._go_on)

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._simulator.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self.leaving:
            return
        self._parser.feed(data)
        self._answer_requests()
        if len(self._parser) > _MAX_WAITING:
            self._cut_off("it sends and never reads")

    def readConnectionLost(self) -> None:
        """Serve a client that has said all (``nc -N``): it gets its answers, and the end of what it set in motion."""
        self._ended = True
        self._parser.end()
        self._answer_requests()
        self.finish_if_done()

    def writeConnectionLost(self) -> None:
        self._cut_off("")

    def connectionLost(self, reason: Any = None) -> None:
        self.leaving = True
        self._watch(None)
        self._line.close()
        self._simulator.disconnected(self)
        if not self.closed.called:
            self.closed.callback(None)

    def tell(self, event: DeviceAnswer) -> None:
        """Send an event, unless the client has let too many pile up."""
        if self.leaving:
            return
        data = event.encode()
        self._told += len(data) if self._paused else 0
        if self._told > _MAX_WAITING:
            self._cut_off("it does not read its events")
        else:
            self.transport.write(data)

    def finish_if_done(self) -> None:
        """Close when the client has closed its side and nothing more will come for it."""
        waits = self._began and self._simulator.device.busy
        if self._ended and not (self._paused or self._line.held or len(self._parser) or waits):
            self.finish(_STALLED)

    def finish(self, seconds: float) -> None:
        """Close after what is under way, or after so many seconds without it."""
        self._watch(seconds)
        if not self.leaving:
            self.leaving = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # The transport calls these when its buffer fills and when it is empty again.

    def pauseProducing(self) -> None:
        self._paused = True
        self.transport.pauseProducing()
        self._watch(_STALLED)

    def resumeProducing(self) -> None:
        self._paused, self._told = False, 0
        self._watch(None)
        self._answer_requests()
        if not (self._paused or self.leaving or self._ended):
            self.transport.resumeProducing()
        self.finish_if_done()

    def stopProducing(self) -> None:
        self.leaving = True

    def _answer_requests(self) -> None:
        simulator = self._simulator
        while not (self._paused or self.leaving or self._line.held) and (request := self._parser.next()) is not None:
            simulator.requests.append((simulator.clock.monotonic(), request.line))
            if isinstance(request, BadRequest):
                self._line.reply(error("SYNTAX", request.reason).encode(request.number), None)
                if request.fatal:
                    self.finish(FAREWELL_SECONDS)
                continue
            fault = simulator.device.faults.on_the_line(request)
            if fault is not None and fault.kind == "no_answer":
                continue
            answer, events = simulator.answer(request)
            self._began |= answer.line.startswith("BUSY")
            data = answer.encode(request.number)
            self._line.reply(data, fault, len(data) - len(answer.block))
            if events:
                simulator.broadcast(events)

    def _write(self, data: bytes) -> None:
        if not self.leaving:
            self.transport.write(data)

    def _go_on(self) -> None:
        """Go on after an answer that was late."""
        if not self.leaving:
            self._answer_requests()
            self.finish_if_done()

    def _watch(self, seconds: float | None) -> None:
        """Cut the client off after so many seconds; None: no more."""
        cancel_call(self._guard)
        self._guard = None
        if seconds is not None:
            self._guard = self._simulator.clock.call_later(seconds, self._cut_off, "it does not read")

    def _cut_off(self, why: str) -> None:
        self.leaving = True
        if why:
            self._simulator.log.warn(
                "{name}: {client} is cut off: {why}",
                name=self._simulator.description.name,
                client=self.transport.getPeer(),
                why=why,
            )
        self.transport.abortConnection()


class _Clients(Factory):
    noisy = False

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def buildProtocol(self, addr: object) -> SimulatorConnection:
        return SimulatorConnection(self._simulator)


def _device(
    description: Description, reactor: Reactor, clock: Clock, emit: Callable[[DeviceAnswer], None]
) -> SimulatedDevice:
    match description.settings:
        case TelescopeSettings() as settings:
            if description.site is None:
                raise SimulatorError(f"{description.file}: site: a telescope needs its site")
            return SimulatedTelescope(settings, description.site, clock, emit)
        case CameraSettings() as settings:
            try:
                return SimulatedCamera(settings, description.site, reactor, clock, emit)
            except CatalogueError as problem:
                raise SimulatorError(f"{description.file}: stars: {problem}") from problem
        case GenericSettings() as settings:
            return GenericDevice(settings, clock, emit)
        case other:
            device: SimulatedDevice = load(KINDS[other.kind].simulated_device)(other, clock, emit)
            return device
