"""The port for subscribers: every new event goes to those whose filters it passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comet.protocol.broadcaster import VOEventBroadcaster, VOEventBroadcasterFactory
from lxml import etree
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.broker.filters import MAX_FILTERS, compile_filter, matches
from pyros.broker.packet import one_line, parse
from pyros.broker.vtp import MAX_LENGTH, Connections, allowed, host_of, role_of, transport
from pyros.clock import Clock
from pyros.config import Network
from pyros.errors import AlertError

MAX_SUBSCRIBERS = 256
MAX_BACKLOG = 4 * 1024 * 1024  # bytes that wait for one subscriber
MAX_ALIVE = 3  # unanswered iamalives; one a minute
MAX_UNANSWERED = 1_000  # events
ANSWER_WITHIN = 180.0  # seconds
SLOW_FILTER = 0.25  # seconds for all filters of one subscriber on one event

log = Logger(namespace="pyros.broker")


@implementer(IPushProducer)
class _Backlog:
    """Counts what was written while the transport couldn't send: its own buffer is beyond reach, and without bound."""

    def __init__(self) -> None:
        self.full = False
        self.waiting = 0

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full, self.waiting = False, 0

    def stopProducing(self) -> None:
        self.full, self.waiting = False, 0


class AlertBroadcaster(VOEventBroadcaster):  # type: ignore[misc]  # Comet has no types
    """A subscriber's connection.

    Comet throws a subscriber out that is ten acknowledgements or one iamalive behind at one instant; here it may be a
    thousand events, three minutes or four megabytes behind. Whoever is further behind is cut off, not waited for.
    """

    factory: AlertBroadcasterFactory
    transport: Any

    def connectionMade(self) -> None:
        self.peer = f"subscriber {host_of(self.transport.getPeer())}"
        self.MAX_LENGTH = self.factory.max_length
        self.filters: list[etree.XPath] = []
        self.unanswered_alive = 0
        self.unanswered = 0
        self.heard = self.factory.reactor.seconds()
        self.backlog = _Backlog()
        self.transport.registerProducer(self.backlog, True)
        self.factory.broadcasters.add(self)
        if len(self.factory.broadcasters) > MAX_SUBSCRIBERS:
            self.cut_off(f"there are {MAX_SUBSCRIBERS} subscribers already")
            return
        log.info("{peer} has connected", peer=self.peer)
        self.write(transport("authenticate", self.factory.local_ivo, self.factory.clock.now()))

    def connectionLost(self, reason: Failure) -> None:
        if self in self.factory.broadcasters:
            log.info("{peer} has gone", peer=self.peer)
        self.factory.broadcasters.discard(self)
        Int32StringReceiver.connectionLost(self, reason)

    def cut_off(self, reason: str) -> None:
        """Close at once, whatever waits to be sent."""
        log.warn("{peer} is cut off: {reason}", peer=self.peer, reason=reason)
        self.factory.broadcasters.discard(self)
        self.transport.abortConnection()

    def write(self, packet: bytes) -> None:
        if self.backlog.full:
            self.backlog.waiting += len(packet) + 4
            if self.backlog.waiting > MAX_BACKLOG:
                self.cut_off(f"it reads too slowly, {MAX_BACKLOG} bytes wait for it")
                return
        self.sendString(packet)

    def sendIAmAlive(self) -> None:
        silence = self.factory.reactor.seconds() - self.heard
        if self.unanswered_alive >= MAX_ALIVE:
            self.cut_off(f"{MAX_ALIVE} iamalives in a row were not answered")
        elif self.unanswered >= MAX_UNANSWERED and silence > ANSWER_WITHIN:
            self.cut_off(f"{self.unanswered} events are not acknowledged, nothing was in the last {int(silence)} s")
        else:
            self.unanswered_alive += 1
            self.write(transport("iamalive", self.factory.local_ivo, self.factory.clock.now()))

    def lengthLimitExceeded(self, length: int) -> None:
        self.cut_off(f"a message of {length} bytes; the limit is {self.MAX_LENGTH}")

    def stringReceived(self, data: bytes) -> None:
        if self not in self.factory.broadcasters:
            return  # cut off while its last bytes were read
        try:
            root = parse(data)
        except AlertError as error:
            self.cut_off(str(error))
            return
        match role_of(root):
            case "iamalive":
                self.unanswered_alive = 0
            case "ack":
                self.unanswered = max(0, self.unanswered - 1)
                self.heard = self.factory.reactor.seconds()
            case "authenticate":
                self._install_filters(root)
            case "nak":  # VTP, section 6.4: this removes a subscriber from the distribution
                self.cut_off(f"it refused an event: {one_line(root.findtext('Meta/Result') or 'no reason given')}")
            case _:
                log.warn("{peer} sent what a subscriber doesn't send: {tag}", peer=self.peer, tag=one_line(root.tag))

    def _install_filters(self, root: etree._Element) -> None:
        """Both spellings, as in Comet; a filter that isn't taken is logged, and the others hold."""
        texts = [element.get("value") or "" for element in root.findall("Meta/Param[@name='xpath-filter']")]
        texts += [element.text or "" for element in root.findall("Meta/filter[@type='xpath']")]
        if len(texts) > MAX_FILTERS:
            self.cut_off(f"{len(texts)} filters; the limit is {MAX_FILTERS}")
            return
        self.filters = []
        for text in texts:
            try:
                self.filters.append(compile_filter(text))
                log.info("{peer} filters by {filter}", peer=self.peer, filter=one_line(text))
            except ValueError as error:
                log.warn("{peer}: {error}", peer=self.peer, error=error)

    def send_event(self, packet: bytes, root: etree._Element) -> None:
        """Send the event, as the author sent it, if it passes the filters."""
        start = self.factory.reactor.seconds()
        wanted = matches(self.filters, root)
        spent = self.factory.reactor.seconds() - start
        if spent > SLOW_FILTER:
            self.cut_off(f"its filters took {spent:.2f} s for one event; the limit is {SLOW_FILTER} s")
        elif wanted:
            if not self.unanswered:
                self.heard = self.factory.reactor.seconds()
            self.unanswered += 1
            self.write(packet)


class AlertBroadcasterFactory(VOEventBroadcasterFactory):  # type: ignore[misc]
    """Makes subscribers' connections, from allowed networks only, and sends them events and iamalives."""

    protocol = AlertBroadcaster
    noisy = False

    def __init__(
        self, reactor: Any, clock: Clock, local_ivo: str, allow: Sequence[Network], *, max_length: int = MAX_LENGTH
    ) -> None:
        super().__init__(local_ivo, test_interval=0)
        self.reactor, self.clock, self.allow, self.max_length = reactor, clock, allow, max_length
        self.alive_loop.clock = reactor
        self.broadcasters: Connections[AlertBroadcaster] = Connections(reactor)

    def stopFactory(self) -> None:
        if self.alive_loop.running:
            self.alive_loop.stop()

    def buildProtocol(self, addr: Any) -> Protocol | None:
        if not allowed(addr, self.allow):
            log.warn("subscriber {host} is in no allowed network; closed", host=host_of(addr))
            return None
        protocol: Protocol | None = super().buildProtocol(addr)
        return protocol

    def sendIAmAlive(self) -> None:
        for broadcaster in self.broadcasters:
            broadcaster.sendIAmAlive()

    def broadcast(self, packet: bytes, root: etree._Element) -> None:
        """Send an event to all who want it. ``root`` is the same, parsed."""
        for broadcaster in self.broadcasters:
            broadcaster.send_event(packet, root)
