"""The one way in: whatever a packet came by, it is checked, stored, and only then handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from lxml import etree
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros import alerts
from pyros.broker.packet import check_schema, identify, identify_by_content, one_line, parse
from pyros.broker.store import EventStore
from pyros.broker.transaction import Stored
from pyros.broker.vtp.carried import MAX_CARRIED
from pyros.broker.vtp.protocol import MAX_LENGTH
from pyros.errors import AlertError, JournalError
from pyros.line_limit import LineLimit

PREVIOUSLY_SEEN = "Previously seen by this broker"  # Comet's words

log = Logger(namespace="pyros.broker")


class Receipt(NamedTuple):
    """What became of a packet.

    It is stored (``new``), was stored before, is refused for what it is, or could not be stored (``failed``: it may be
    sent again). ``ivorn`` is '' where it has none that can be repeated.
    """

    outcome: Literal["new", "duplicate", "refused", "failed"]
    ivorn: str = ""
    reason: str = ""


class Intake:
    """Checks packets, stores them, and gives new ones to ``broadcast``. Runs in the reactor's thread."""

    def __init__(
        self,
        store: EventStore,
        broadcast: Callable[[bytes, etree._Element, int], None],
        carry: Callable[[bytes, str, str, int], None] = lambda *_: None,
    ) -> None:
        """``carry`` gets what VTP cannot carry: the packet, its name, its topic, and its number in the store."""
        self._store, self._broadcast, self._carry = store, broadcast, carry
        self._lines = LineLimit(store.clock.monotonic)
        self.counts = {"new": 0, "duplicate": 0, "refused": 0, "failed": 0}

    def receive(
        self, packet: bytes, source: str, *, strict: bool, topic: str = "", own: bool = False
    ) -> Deferred[Receipt]:
        """Take a packet; the Deferred fires after the commit, and never fails. ``own``: it isn't to be followed up.

        ``strict`` holds a VOEvent to the schema, and other forms to being an alert. Authors are held to it, as by
        Comet; other brokers are not, because real streams carry events that violate it, and an astronomer wants those
        too. What they send that is refused is kept for people to look at, because nobody would send it again.
        """
        ivorn, root = "", None
        try:
            if alerts.form_of(packet) != "voevent":
                ivorn = identify_by_content(packet)
                if strict:
                    alerts.parse(packet)
            else:
                root = parse(packet)
                ivorn = identify(root)
                if strict:
                    check_schema(root)
        except Exception as error:
            reason = str(error)
            if not isinstance(error, AlertError):  # a mistake of ours must not hold up what comes after this packet
                log.failure("a packet from {source} could not be understood", source=source)
                reason = f"cannot be understood: {one_line(repr(error))}"
            if strict:
                return succeed(self._receipt(Receipt("refused", ivorn, reason), source))
            stored = self._store.reject(packet, ivorn, source, topic, reason)
        else:
            stored = self._store.store(packet, ivorn, source, topic, own=own)
        told = (packet, root, ivorn, source, topic)
        return stored.addCallbacks(self._stored, self._not_stored, told, {}, (ivorn, source))

    def _stored(
        self, stored: Stored, packet: bytes, root: etree._Element | None, ivorn: str, source: str, topic: str
    ) -> Receipt:
        if not stored.new:
            return self._receipt(Receipt("duplicate", ivorn, PREVIOUSLY_SEEN), source)
        self.counts["new"] += 1
        try:
            if root is not None and len(packet) <= MAX_LENGTH:
                self._broadcast(packet, root, stored.number)
            elif len(packet) <= MAX_CARRIED:
                self._carry(packet, ivorn, topic, stored.number)
        except Exception:  # whatever subscribers are up to, the author's event is safe and is acknowledged
            log.failure("{ivorn} could not be sent to the subscribers", ivorn=ivorn)
        return Receipt("new", ivorn)

    def _not_stored(self, failure: Failure, ivorn: str, source: str) -> Receipt:
        if isinstance(failure.value, AlertError):
            return self._receipt(Receipt("refused", ivorn, one_line(failure.value)), source)
        if not isinstance(failure.value, JournalError):
            log.failure("{ivorn} could not be stored; its author is told to send it again", failure, ivorn=ivorn)
        reason = f"could not be stored, send it again: {failure.value}"
        return self._receipt(Receipt("failed", ivorn, one_line(reason)), source)

    def _receipt(self, receipt: Receipt, source: str) -> Receipt:
        """Count and log a packet that wasn't new."""
        self.counts[receipt.outcome] += 1
        self._lines.tell(
            log.info if receipt.outcome == "duplicate" else log.warn,
            "{what} from {source} rejected: {reason}",
            what=receipt.ivorn or "a packet", source=source, reason=receipt.reason,
        )  # fmt: skip
        return receipt
