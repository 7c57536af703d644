"""The gate's process: takes a survey's topics, drops what no rule can want, and gives the rest to the alert manager.

Several such processes share one consumer group, and the service shares its partitions out among them: brokers key
their packets by object, so that one object's detections come to one process, in order. The offset of a packet that is
dropped is committed at once, that of a candidate when the alert manager has it in its journal. It is the broker's Kafka
client with another end: see `pyros.broker.kafka`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from pyros import messages
from pyros.alerts.gate import Gate
from pyros.alerts.rules.rules import Rules
from pyros.broker.intake import Receipt
from pyros.clock import Clock, RealClock
from pyros.config import Config, KafkaConfig
from pyros.errors import AlertError, ConfigError, DeliveryError
from pyros.messages import AlertReceived
from pyros.reactor import installed_reactor
from pyros.sender import Sender

TELL_SECONDS = 60.0
"""Between two lines in the log that count."""

log = Logger(namespace="pyros.broker")


class GateIntake:
    """Takes packets as `pyros.broker.intake.Intake` does, and keeps none itself. For the reactor's thread."""

    def __init__(self, gate: Gate, clock: Clock, deliver: Callable[[AlertReceived], Deferred[Any]]) -> None:
        """``deliver`` gives a candidate to the alert manager; its Deferred fires when that has committed it."""
        self.gate, self._clock, self._deliver = gate, clock, deliver
        self._reasons: Counter[str] = Counter()

    def receive(
        self, packet: bytes, source: str, *, strict: bool = False, topic: str = "", own: bool = False
    ) -> Deferred[Receipt]:
        """Drop a packet, or pass it on; ``strict`` and ``own`` mean nothing here."""
        del strict, own
        try:
            candidate = self.gate.candidate(packet)
        except AlertError as error:
            reason = str(error)
            self._reasons[reason] += 1
            if self._reasons[reason] == 1 and len(self._reasons) < 100:
                log.warn("{source}: a packet is dropped: {reason}", source=source, reason=reason)
            return succeed(Receipt("refused", reason=reason))
        if candidate is None:
            return succeed(Receipt("new"))
        delivered = self._deliver(AlertReceived(candidate, source, self._clock.time(), topic=topic))
        return delivered.addCallbacks(lambda _: Receipt("new"), self._not_delivered)

    def _not_delivered(self, failure: Failure) -> Receipt:
        log.warn("a candidate waits: {reason}", reason=failure.getErrorMessage())
        return Receipt("failed", reason=failure.getErrorMessage())

    def tell(self) -> None:
        """Write into the log how many packets there were."""
        gate = self.gate
        log.info("{taken} packets, {passed} candidates, {refused} unreadable", taken=gate.taken, passed=gate.passed,
                 refused=gate.refused)  # fmt: skip


def make_gate(config: Config, section: KafkaConfig) -> Gate:
    """Make the gate of a section by the observatory's rules.

    Raises ConfigError naming file and key.
    """
    where = f"{config.path}: [{section.section}]"
    rules = Rules.load(config.required("alert_rules", "the gate"))
    schema = None
    if section.schema is not None:
        try:
            schema = msgspec.json.decode(section.schema.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError([f"{where} schema: {section.schema} cannot be read: {error}"]) from None
    try:
        return Gate(rules, schema)
    except AlertError as error:
        raise ConfigError([f"{where} schema: {error}"]) from None


def run(config: Config, section: KafkaConfig) -> None:
    """Run the gate until the process is told to end. Raises ConfigError before it begins."""
    from twisted.internet.task import LoopingCall  # noqa: PLC0415

    from pyros.broker.kafka.receiver import KafkaIntake  # noqa: PLC0415  an extra

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    reactor = installed_reactor()
    clock = RealClock(reactor)

    def send(payload: AlertReceived) -> None:
        Sender.send_to("alert_manager", messages.ALERT_RECEIVED, payload, config=config)

    def deliver(payload: AlertReceived) -> Deferred[Any]:
        sent: Deferred[Any] = deferToThreadPool(reactor, reactor.getThreadPool(), send, payload)
        sent.addErrback(lambda failure: failure.trap(DeliveryError) and failure)
        return sent

    intake: Any = GateIntake(make_gate(config, section), clock, deliver)
    group = f"pyros-gate-{config.name}-{section.name}"
    consumer = KafkaIntake(reactor, clock, intake, section, path=config.path, group=group)
    consumer.start()
    telling = LoopingCall(intake.tell)
    telling.clock = reactor
    telling.start(TELL_SECONDS, now=False)
    reactor.addSystemEventTrigger("before", "shutdown", consumer.stop)
    reactor.addSystemEventTrigger("after", "shutdown", intake.tell)
    reactor.run()
