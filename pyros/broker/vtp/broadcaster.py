"""The port for subscribers: every new event goes to those whose filters it passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from comet.protocol.broadcaster import VOEventBroadcaster, VOEventBroadcasterFactory
from lxml import etree
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from pyros.broker.packet import one_line, parse
from pyros.broker.replay import MAX_REPLAY, Replay
from pyros.broker.vtp import carried
from pyros.broker.vtp.backlog import Backlog
from pyros.broker.vtp.filtering import Evaluator, InlineFiltering, Job
from pyros.broker.vtp.filters import MAX_FILTERS, Filter, compile_filter
from pyros.broker.vtp.protocol import (
    MAX_CHATTER,
    MAX_LENGTH,
    Chatter,
    Connections,
    acknowledged,
    allowed,
    frame,
    host_of,
    role_of,
    transport,
)
from pyros.clock import Clock, cancel_call
from pyros.config import Network
from pyros.errors import AlertError
from pyros.line_limit import LineLimit
from pyros.reactor import Reactor
from pyros.tls_words import of_failure

MAX_SUBSCRIBERS = 256
MAX_PER_PEER = 16  # of one computer, ours excepted
MAX_BACKLOG = 4 * 1024 * 1024  # bytes that wait for one subscriber
MAX_CARRIERS = 16  # subscribers that also take what VTP cannot carry: more may wait for them
CARRIED_BACKLOG = MAX_BACKLOG + 2 * carried.MAX_FRAME
MAX_ALIVE = 3  # unanswered iamalives; one a minute
MAX_UNANSWERED = 1_000  # events
ANSWER_WITHIN = 180.0  # seconds
REPLAY_CHUNK = 10  # events of the past at a time
CARRIED_CHUNK = 2  # the same, where they may be large
REPLAY_WINDOW = 100  # unacknowledged events; then the past waits
SAVE_EVERY = 1.0  # seconds; what a killed broker sends again

log = Logger(namespace="pyros.broker")


class AlertBroadcaster(VOEventBroadcaster):  # type: ignore[misc]  # Comet has no types
    """A subscriber's connection.

    Comet throws a subscriber out that is ten acknowledgements or one iamalive behind at one instant; here it may be a
    thousand events, three minutes or four megabytes behind. Whoever is further behind is cut off, not waited for.
    """

    factory: AlertBroadcasterFactory
    transport: Any

    def connectionMade(self) -> None:
        host = host_of(self.transport.getPeer())
        self.peer = f"subscriber {host}"
        self.since = self.factory.clock.time()
        self.ivo = ""
        self.sent = 0
        self.live_from = self.replayed = self.factory.replay.newest if self.factory.replay else 0
        self.replay_call: Any = None
        self.MAX_LENGTH = self.factory.max_length
        self.filters: list[Filter] = []
        self.refused_filters: list[str] = []
        self.carries = False
        """Whether it also gets what VTP cannot carry."""
        self.unanswered_alive = 0
        self.chatter = Chatter(self.factory.reactor)
        self.unanswered: dict[str, int] = {}
        """Ivorns of events that are not acknowledged, with their numbers."""
        self.unjudged: dict[int, int] = {}
        """Numbers of events that its filters have not judged yet, with their bytes."""
        self.unjudged_bytes = 0
        self.heard = self.factory.reactor.seconds()
        self.backlog = Backlog(self._replay_soon)
        self.transport.registerProducer(self.backlog, True)
        self.factory.broadcasters.add(self, host)
        self.factory.save_soon()
        if len(self.factory.broadcasters) > MAX_SUBSCRIBERS:
            self.cut_off(f"there are {MAX_SUBSCRIBERS} subscribers already")
            return
        if len(self.factory.broadcasters.crowd(self)) > MAX_PER_PEER:
            self.cut_off(f"this computer has {MAX_PER_PEER} subscriptions already")
            return
        self._tell(log.info, "{peer} has connected")
        self.write(frame(transport("authenticate", self.factory.local_ivo, self.factory.clock.now())))

    def connectionLost(self, reason: Failure) -> None:
        if why := of_failure(reason):
            self._tell(log.warn, "{peer} is not let in: {why}", why=why)
        elif self in self.factory.broadcasters:
            self._tell(log.info, "{peer} has gone")
        self._leave()
        Int32StringReceiver.connectionLost(self, reason)

    def _tell(self, write: Callable[..., None], line: str, **values: Any) -> None:
        self.factory.lines.tell(write, line, peer=self.peer, **values)

    def cut_off(self, reason: str) -> None:
        """Close at once, whatever waits to be sent."""
        self._tell(log.warn, "{peer} is cut off: {reason}", reason=reason)
        self._leave()
        self.transport.abortConnection()

    def _leave(self) -> None:
        if self in self.factory.broadcasters:
            self.factory.remember(self)
            self.factory.broadcasters.discard(self)
        cancel_call(self.replay_call)

    def write(self, framed: bytes) -> None:
        """Send a packet with its length before it."""
        if self.backlog.full:
            self.backlog.waiting += len(framed)
            if self.backlog.waiting > (limit := CARRIED_BACKLOG if self.carries else MAX_BACKLOG):
                self.cut_off(f"it reads too slowly, {limit} bytes wait for it")
                return
        self.transport.write(framed)

    def status(self) -> dict[str, Any]:
        """Return what people ask for: address and identifier, start (Unix seconds), filters, what was sent.

        ``refused_filters`` are the filters that were not taken, and why.
        """
        return {
            "peer": host_of(self.transport.getPeer()),
            "ivo": self.ivo,
            "since": self.since,
            "filters": [str(each) for each in self.filters],
            "refused_filters": list(self.refused_filters),
            "sent": self.sent,
            "unacknowledged": len(self.unanswered),
        }

    @property
    def position(self) -> int:
        """The number up to which it has acknowledged everything."""
        newest = self.factory.replay.newest if self.factory.replay else 0
        first = min((*self.unanswered.values(), *self.unjudged), default=newest + 1)
        return min(first, self.replayed + 1 if self.replayed < self.live_from else first) - 1

    def sendIAmAlive(self) -> None:
        silence = self.factory.reactor.seconds() - self.heard
        if self.unanswered_alive >= MAX_ALIVE:
            self.cut_off(f"{MAX_ALIVE} iamalives in a row were not answered")
        elif len(self.unanswered) >= MAX_UNANSWERED and silence > ANSWER_WITHIN:
            self.cut_off(
                f"{len(self.unanswered)} events are not acknowledged, nothing was in the last {int(silence)} s"
            )
        else:
            self.unanswered_alive += 1
            self.write(frame(transport("iamalive", self.factory.local_ivo, self.factory.clock.now())))

    def lengthLimitExceeded(self, length: int) -> None:
        self.cut_off(f"a message of {length} bytes; the limit is {self.MAX_LENGTH}")

    def stringReceived(self, data: bytes) -> None:
        if self not in self.factory.broadcasters:
            return  # cut off while its last bytes were read
        if (ivorn := acknowledged(data)) is not None:
            self._acknowledged(ivorn)
            return
        try:
            root = parse(data)
        except AlertError as error:
            self.cut_off(str(error))
            return
        role = role_of(root)
        if role != "ack" and self.chatter.too_much():
            self.cut_off(f"it said more than {MAX_CHATTER} things in a minute that are no acknowledgements")
            return
        match role:
            case "iamalive":
                self.unanswered_alive = 0
            case "ack":
                self._acknowledged(root.findtext("Origin") or "")
            case "authenticate":
                self._install_filters(root)
                self._carry(root)
                self._recognise(root)
            case "nak":  # VTP, section 6.4: this removes a subscriber from the distribution
                self.cut_off(f"it refused an event: {one_line(root.findtext('Meta/Result') or 'no reason given')}")
            case _:
                self._tell(log.warn, "{peer} sent what a subscriber doesn't send: {tag}", tag=one_line(root.tag))

    def _install_filters(self, root: etree._Element) -> None:
        """Install the subscriber's filters, in both spellings, as in Comet.

        A filter that isn't taken is logged and shown, and the others hold. Without any it gets everything, for VTP has
        no words to tell it, and too much is better than an alert missed.
        """
        texts = [element.get("value") or "" for element in root.findall("Meta/Param[@name='xpath-filter']")]
        texts += [element.text or "" for element in root.findall("Meta/filter[@type='xpath']")]
        if len(texts) > MAX_FILTERS:
            self.cut_off(f"{len(texts)} filters; the limit is {MAX_FILTERS}")
            return
        self.filters, self.refused_filters = [], []
        for text in texts:
            try:
                if condemned := self.factory.filtering.condemned(text):
                    raise ValueError(condemned)
                self.filters.append(compile_filter(text))
                self._tell(log.info, "{peer} filters by {filter}", filter=one_line(text))
            except ValueError as error:
                self.refused_filters.append(str(error))
                self._tell(log.warn, "{peer}: {error}", error=error)

    def _carry(self, root: etree._Element) -> None:
        """Begin to send what VTP cannot carry, where it asks for that and for no filter, which only knows VOEvents."""
        wanted = carried.is_asked_for(root) and not self.filters
        if wanted and not self.carries:
            if sum(each.carries for each in self.factory.broadcasters) >= MAX_CARRIERS:
                self._tell(log.warn, "{peer} gets VOEvents alone: {count} others get all", count=MAX_CARRIERS)
                return
            if self.factory.replay is not None and not self.ivo:  # what came since it connected belongs to the past
                self.live_from = self.replayed = self.factory.replay.newest
        self.carries = wanted

    def _acknowledged(self, ivorn: str) -> None:
        """Note an acknowledgement; when it names no event that was sent, the oldest is meant: answers come in order."""
        self.heard = self.factory.reactor.seconds()
        if self.unanswered:
            self.unanswered.pop(ivorn if ivorn in self.unanswered else next(iter(self.unanswered)))
            if self.replayed < self.live_from:
                self._replay_soon()

    def _recognise(self, root: etree._Element) -> None:
        """Who it is, and what it gets of the past: what it asks for, or what it has missed since it was here."""
        replay = self.factory.replay
        if replay is None or self.ivo:
            return
        self.ivo = one_line((root.findtext("Response") or "").strip())
        position = replay.position(self.ivo)
        since = next((param.get("value") or "" for param in root.iterfind("Meta/Param[@name='replay-since']")), "")
        try:
            asked = replay.before(_time(since)) if since else None
        except ValueError:
            self._tell(log.warn, "{peer}: replay-since {text} is no time", text=one_line(since))
            asked = None
        begin = position if asked is None else asked
        if begin is not None and begin < self.live_from:
            self.replayed = max(begin, self.live_from - MAX_REPLAY)
            count = self.live_from - self.replayed
            self._tell(log.info, "{peer} ({ivo}) gets {count} events of the past", ivo=self.ivo, count=count)
            self._replay_soon()
        elif position is None:
            self.factory.remember(self)

    def _replay_soon(self) -> None:
        busy = self.replay_call is not None and self.replay_call.active()
        if self.replayed < self.live_from and not busy and self in self.factory.broadcasters:
            self.replay_call = self.factory.reactor.callLater(0, self._replay)

    def _replay(self) -> None:
        """Send a few events of the past, between those of the present; the next ones once these are acknowledged."""
        replay = self.factory.replay
        if replay is None or self.backlog.full or len(self.unanswered) + len(self.unjudged) >= REPLAY_WINDOW:
            return
        chunk = CARRIED_CHUNK if self.carries else REPLAY_CHUNK
        events = replay.between(self.replayed, self.live_from, chunk, all_forms=self.carries)
        for event in events:
            self.replayed = event.number
            if event.topic is None:
                self.send_event(event.number, event.ivorn, frame(event.packet), None)
            else:
                self.send(event.number, event.ivorn, frame(carried.wrap(event.packet, event.topic)))
        if len(events) < chunk:
            self.replayed = self.live_from
        self._replay_soon()

    def send_event(self, number: int, ivorn: str, framed: bytes, root: etree._Element | None) -> None:
        """Send the event, as the author sent it, if it passes the filters; ``root`` is the same, parsed, if it is."""
        if not self.filters and not self.unjudged:
            self.send(number, ivorn, framed)
            return
        self.unjudged[number] = len(framed)
        self.unjudged_bytes += len(framed)
        if self.unjudged_bytes > MAX_BACKLOG:
            self.cut_off(f"its filters are too slow, {MAX_BACKLOG} bytes wait for them")
            return

        def answered(passes: bool) -> None:
            self.unjudged_bytes -= self.unjudged.pop(number)
            if passes:
                self.send(number, ivorn, framed)
            if self.replayed < self.live_from:
                self._replay_soon()

        alive = self.factory.broadcasters.__contains__
        job = Job(self.peer, self.filters, number, framed, lambda: alive(self), answered, self._filter_refused)
        self.factory.filtering.ask(job, root)

    def _filter_refused(self, _: Filter, reason: str) -> None:
        self.refused_filters.append(reason)
        self._tell(log.warn, "{peer}: a filter is no longer taken, it {reason}", reason=one_line(reason))

    def send(self, number: int, ivorn: str, framed: bytes) -> None:
        """Send an event whatever its filters say."""
        if not self.unanswered:
            self.heard = self.factory.reactor.seconds()
        self.unanswered[ivorn] = number
        self.sent += 1
        self.write(framed)


class AlertBroadcasterFactory(VOEventBroadcasterFactory):  # type: ignore[misc]
    """Makes subscribers' connections, from allowed networks only, and sends them events and iamalives."""

    protocol = AlertBroadcaster
    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        local_ivo: str,
        allow: Sequence[Network],
        replay: Replay | None = None,
        *,
        filtering: Evaluator | None = None,
        max_length: int = MAX_LENGTH,
    ) -> None:
        """Without a ``replay``, who was away gets nothing; without ``filtering``, filters are evaluated at once."""
        super().__init__(local_ivo, test_interval=0)
        self.replay = replay
        self.filtering = filtering or InlineFiltering()
        self._save_call: Any = None
        self.reactor, self.clock, self.allow, self.max_length = reactor, clock, allow, max_length
        self.alive_loop.clock = reactor
        self.broadcasters: Connections[AlertBroadcaster] = Connections(reactor)
        self.lines, self._strangers = LineLimit(reactor.seconds), LineLimit(reactor.seconds)

    def save_soon(self) -> None:
        """Remember every second how far everybody has got, while anybody is there."""
        if self.replay is not None and (self._save_call is None or not self._save_call.active()):
            self._save_call = self.reactor.callLater(SAVE_EVERY, self._save)

    def _save(self) -> None:
        if self.broadcasters:
            self.save_soon()
        self.save()

    def save(self) -> None:
        """Remember how far everybody has got."""
        for broadcaster in self.broadcasters:
            self.remember(broadcaster)

    def remember(self, broadcaster: AlertBroadcaster) -> None:
        if self.replay is not None and broadcaster.ivo:
            self.replay.moved(broadcaster.ivo, broadcaster.position)

    def stopFactory(self) -> None:
        cancel_call(self._save_call)
        if self.alive_loop.running:
            self.alive_loop.stop()

    def buildProtocol(self, addr: Any) -> Protocol | None:
        return self.build(addr, self.allow)

    def build(self, addr: Any, allow: Sequence[Network]) -> Protocol | None:
        """Return a connection from one of the allowed networks; None for any other."""
        if not allowed(addr, allow):
            self._strangers.tell(log.warn, "subscriber {host} is in no allowed network; closed", host=host_of(addr))
            return None
        protocol: Protocol | None = super().buildProtocol(addr)
        return protocol

    def sendIAmAlive(self) -> None:
        for broadcaster in self.broadcasters:
            broadcaster.sendIAmAlive()

    def broadcast(self, packet: bytes, root: etree._Element, number: int) -> None:
        """Send an event to all who want it. ``root`` is the same, parsed; ``number`` what it is kept under."""
        if self.replay is not None:
            self.replay.newest = number
        if not self.broadcasters:
            return
        ivorn, framed = root.get("ivorn", ""), frame(packet)
        for broadcaster in self.broadcasters:
            broadcaster.send_event(number, ivorn, framed, root)

    def carry(self, packet: bytes, ivorn: str, topic: str, number: int) -> None:
        """Send what VTP cannot carry to the brokers that take it; ``number`` is what it is kept under."""
        if self.replay is not None:
            self.replay.newest = number
        takers = [each for each in self.broadcasters if each.carries]
        framed = frame(carried.wrap(packet, topic)) if takers else b""
        for each in takers:
            each.send(number, ivorn, framed)


def _time(text: str) -> float:
    """Unix seconds of an ISO 8601 time, UTC where it names no zone; raises ValueError."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
