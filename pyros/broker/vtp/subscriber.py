"""Our subscription to another broker: its events are stored like an author's, and acknowledged after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comet.protocol.subscriber import VOEventSubscriber
from lxml import etree
from twisted.application.internet import ClientService
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.alerts import form_of
from pyros.backoff import Backoff
from pyros.broker.intake import Intake, Receipt
from pyros.broker.packet import is_voevent, one_line, parse
from pyros.broker.vtp import carried
from pyros.broker.vtp.protocol import MAX_CHATTER, MAX_LENGTH, Chatter, Connections, host_of, role_of, transport
from pyros.clock import Clock
from pyros.config import RemoteConfig
from pyros.errors import AlertError
from pyros.reactor import Reactor
from pyros.tls_words import of_failure

SILENCE = 180.0  # seconds; a broker says iamalive every 60
MAX_GARBAGE = 10  # packets that are nothing a broker says, in one connection
MAX_PENDING = 64  # events being stored; then reading stops, and TCP tells the other broker
RECONNECT_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses before another connection is made; see `Backoff`."""

log = Logger(namespace="pyros.broker")


@implementer(IPushProducer)
class _Answers:
    """Stops reading from a broker that doesn't read our answers: they would fill our memory."""

    def __init__(self, subscriber: RemoteSubscriber) -> None:
        self._subscriber = subscriber

    def pauseProducing(self) -> None:
        self._subscriber.hold("answers")

    def resumeProducing(self) -> None:
        self._subscriber.go_on("answers")

    def stopProducing(self) -> None:
        """Do nothing, for Twisted: the connection has ended."""


class RemoteSubscriber(VOEventSubscriber):  # type: ignore[misc]  # Comet has no types
    """The connection to one remote broker.

    An event that could not be stored must not be acknowledged, and VTP knows no "later" for a subscriber (a nak gets it
    removed), so the connection is dropped and made anew.
    """

    factory: RemoteFactory
    transport: Any

    def connectionMade(self) -> None:
        self.pending = self.garbage = 0
        self.lost = False
        self.held: set[str] = set()
        self.chatter = Chatter(self.factory.reactor)
        self.MAX_LENGTH = carried.MAX_FRAME
        self.setTimeout(SILENCE)
        self.transport.registerProducer(_Answers(self), True)
        log.info("subscribed to {source}", source=self.factory.source)
        self.factory.since = self.factory.clock.time()
        self.factory.connections.add(self, host_of(self.transport.getPeer()))

    def connectionLost(self, reason: Failure) -> None:
        if not self.lost and not reason.check(ConnectionDone, ConnectionLost):
            self.factory.trouble = self.factory.explain(reason)
            log.warn("{source}: {reason}", source=self.factory.source, reason=self.factory.trouble)
        self.lost = True
        self.factory.since = self.factory.clock.time()
        self.setTimeout(None)
        self.factory.connections.discard(self)
        log.info("{source} has gone", source=self.factory.source)
        Int32StringReceiver.connectionLost(self, reason)

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """For Twisted's TimeoutMixin: timers of our reactor, not of the process's."""
        return self.factory.reactor.callLater(period, call)

    def timeoutConnection(self) -> None:
        self._drop(f"it was silent for {int(SILENCE)} seconds")

    def lengthLimitExceeded(self, length: int) -> None:
        self._drop(f"it sent a packet of {length} bytes; the limit is {self.MAX_LENGTH}")

    def stringReceived(self, packet: bytes) -> None:
        if self.lost:
            return
        self.resetTimeout()
        self.factory.heard = self.factory.clock.time()
        topic = ""
        try:
            if carried.is_wrapped(packet):
                packet, topic = carried.unwrap(packet)
                if form_of(packet) != "voevent":
                    self._useful()
                    self._take(packet, topic)
                    return
            elif len(packet) > self.factory.max_length:
                self._drop(f"it sent a packet of {len(packet)} bytes; the limit is {self.factory.max_length}")
                return
            root = parse(packet)
        except AlertError as error:  # no ivorn to acknowledge it by
            self._garbage(str(error))
            return
        if is_voevent(root):
            self._useful()
            self._take(packet, topic)
        elif self.chatter.too_much():
            self._drop(f"it said more than {MAX_CHATTER} things in a minute that are no events")
        else:
            self._converse(root)

    def _useful(self) -> None:
        if not self.garbage:
            self.factory.useful, self.factory.trouble = True, ""

    def _garbage(self, reason: str) -> None:
        self.garbage += 1
        log.warn("a packet from {source} rejected: {reason}", source=self.factory.source, reason=reason)
        if self.garbage == MAX_GARBAGE:
            self._drop(f"{MAX_GARBAGE} packets of it were nothing that a broker says")

    def hold(self, why: str) -> None:
        """Read no more of it, until there is no reason left for that."""
        self.held.add(why)
        self.pauseProducing()

    def go_on(self, why: str) -> None:
        self.held.discard(why)
        if self.paused and not self.held and not self.lost:
            self.resumeProducing()

    def _converse(self, root: etree._Element) -> None:
        local, now, origin = self.factory.local_ivo, self.factory.clock.now(), root.findtext("Origin") or ""
        role = role_of(root)
        if role in ("iamalive", "authenticate"):
            self._useful()
        match role:
            case "iamalive":
                self.sendString(transport("iamalive", origin, now, response=local))
            case "authenticate":
                filters, asks = self.factory.filters, () if self.factory.filters else (carried.PARAM,)
                self.sendString(transport("authenticate", origin, now, response=local, filters=filters, asks=asks))
            case _:
                self._garbage(f"not from a broker: {one_line(root.tag)} {one_line(role)}".rstrip())

    def _take(self, packet: bytes, topic: str) -> None:
        self.pending += 1
        self.factory.received += 1
        if self.pending == MAX_PENDING or len(packet) > self.factory.max_length:
            self.hold("events")
        intake = self.factory.intake
        intake.receive(packet, self.factory.source, strict=False, topic=topic).addCallback(self._answer)

    def _answer(self, receipt: Receipt) -> None:
        if self.lost:
            return
        self.pending -= 1
        if receipt.outcome == "failed":
            self._drop("its event could not be stored")
            return
        if receipt.ivorn:  # an event that is refused for what it is would only come again
            local, now = self.factory.local_ivo, self.factory.clock.now()
            self.sendString(transport("ack", receipt.ivorn, now, response=local))
        elif receipt.outcome == "refused":  # kept all the same; the log has the reason
            self.garbage += 1
            if self.garbage == MAX_GARBAGE:
                self._drop(f"{MAX_GARBAGE} packets of it were nothing that a broker says")
                return
        self.go_on("events")

    def _drop(self, reason: str) -> None:
        log.warn("{source}: the connection is dropped: {reason}", source=self.factory.source, reason=reason)
        self.factory.trouble = reason
        self.lost = True
        self.transport.abortConnection()


class RemoteFactory(Factory):
    """Makes the connections to one remote broker, one after the other."""

    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        local_ivo: str,
        intake: Intake,
        source: str,
        filters: Sequence[str] = (),
        *,
        max_length: int = MAX_LENGTH,
        tls: Any = None,
    ) -> None:
        """``tls`` is the `ClientTls` of the connections, where they have one."""
        self.filters, self._tls = filters, tls
        self.useful = False
        """Whether the last connection brought something that a broker says, and only such things."""
        self.trouble = ""
        """Why the last connection was given up, until there is a useful one."""
        self.reactor, self.clock, self.local_ivo, self.intake = reactor, clock, local_ivo, intake
        self.source, self.max_length = source, max_length
        self.connections: Connections[RemoteSubscriber] = Connections(reactor)
        self.since = clock.time()
        self.heard: float | None = None
        self.received = 0

    def buildProtocol(self, addr: Any) -> RemoteSubscriber:
        protocol = RemoteSubscriber()
        protocol.factory = self
        return protocol

    def explain(self, reason: Failure) -> str:
        """Why a connection has ended, in words."""
        certificate = self._tls.trouble if self._tls is not None else ""
        return certificate or of_failure(reason) or one_line(reason.getErrorMessage())


class RemoteSubscription(ClientService):
    """The subscription to one broker: reconnects for ever, after 1 to 30 seconds."""

    def __init__(
        self, reactor: Reactor, clock: Clock, local_ivo: str, intake: Intake, config: RemoteConfig, creator: Any = None
    ) -> None:
        """``creator`` is the `ClientTls` for a broker with TLS."""
        host = config.host
        self._config = config
        self._backoff = Backoff(*RECONNECT_SECONDS)
        self.source = f"broker {config.where}"
        self.factory = RemoteFactory(reactor, clock, local_ivo, intake, self.source, config.filters, tls=creator)
        # By name, where there is one: whatever addresses it has, tried side by side.
        endpoint: Any = HostnameEndpoint(reactor, host, config.port)
        if isIPAddress(host) or isIPv6Address(host):
            endpoint = (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(reactor, host, config.port)
        if config.tls:
            endpoint = wrapClientTLS(creator, endpoint)
        super().__init__(endpoint, self.factory, retryPolicy=self._wait, clock=reactor)

    def status(self) -> dict[str, Any]:
        """Return what people ask for: whether it is connected, and since when (Unix seconds) it is or isn't.

        Also when the other broker was last heard (Unix seconds), how many events came from it, through which filters,
        and what was wrong with it.
        """
        factory = self.factory
        return {
            "connected": bool(factory.connections),
            "since": factory.since,
            "heard": factory.heard,
            "received": factory.received,
            "filters": list(self._config.filters),
            "tls": self._config.tls,
            "trouble": factory.trouble,
        }

    def _wait(self, _attempt: int) -> float:
        """Return the pause before the next connection, seconds.

        It counts failures by itself: a host that takes the connection and is no broker must be asked ever more rarely.
        """
        if self.factory.useful:
            self._backoff.reset()
        self.factory.useful = False
        seconds = self._backoff.next_pause()
        log.info("{source} is not there; again in {seconds:.0f} s", source=self.source, seconds=seconds)
        return seconds
