"""The thread that talks to one Kafka service: it polls, hands packets over, and commits what has become durable.

librdkafka (confluent-kafka) does the protocol in threads of its own and reconnects by itself; all its callbacks run in
our thread, inside ``poll``. Kafka forgets nothing that we have not committed, so whatever breaks here, the answer is
the same: begin again from the committed offsets. What is then delivered twice is a duplicate for the store.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import confluent_kafka as ck
from twisted.logger import Logger

from pyros.broker.kafka.offsets import Offsets
from pyros.broker.kafka.schemas import Schemas
from pyros.clock import Clock
from pyros.config import KafkaConfig

MAX_PENDING = 256  # packets being stored; then the topics are paused
MAX_PENDING_BYTES = 64 * 1024 * 1024
POLL = 0.1  # seconds; how late a commit or the order to stop may be noticed
ASK = 5.0  # seconds for a question to the service
RESTART = 10.0  # seconds before a new consumer after a failure that librdkafka cannot mend
COMMIT_AGAIN = 1.0  # seconds
LOOK = 2.0  # seconds between looks at how much waits for us
GRACE = 2.0  # seconds for what is being stored to become durable when we stop

log = Logger(namespace="pyros.broker")
_silent = logging.getLogger("pyros.broker.librdkafka")
_silent.addHandler(logging.NullHandler())  # what matters of it comes as an error, too
_silent.propagate = False


class KafkaPacket(NamedTuple):
    """One message of a topic, to be stored."""

    offsets: Offsets
    offset: int
    value: bytes
    """The packet; with its schema, where that came beside it."""


class Handlers(NamedTuple):
    """What the thread calls, from itself."""

    packets: Callable[[list[KafkaPacket]], None]
    heard: Callable[[], None]
    """The service has sent something."""
    trouble: Callable[[Any], None]
    """It (or librdkafka) has sent a KafkaError."""
    works: Callable[[], None]
    """It takes our commits again."""
    assigned: Callable[[list[str]], None]
    """These topics are ours now, besides the heartbeat's."""


class Consumer:
    """One thread and, one after the other, its librdkafka consumers."""

    def __init__(
        self, clock: Clock, config: KafkaConfig, settings: dict[str, Any], handlers: Handlers, schemas: Schemas
    ) -> None:
        self._clock, self._config, self._settings, self._handlers = clock, config, settings, handlers
        self._schemas = schemas
        self._stopping = threading.Event()
        self._finished: SimpleQueue[KafkaPacket] = SimpleQueue()
        self.lag: int | None = None
        """How many packets the service had for us, when last looked at, that we had not taken; None while unknown."""
        self._begin()
        self._new_group = config.start == "latest"
        self._thread: threading.Thread | None = None

    def _begin(self) -> None:
        """Nothing is assigned, nothing under way."""
        self._offsets: dict[tuple[str, int], Offsets] = {}
        self._pending_bytes = 0
        self._paused = False
        self._committing = False
        self._commit_at = 0.0
        self._look_at = 0.0
        self.lag = None

    def start(self, ended: Callable[[], None]) -> None:
        """Make the first consumer and start the thread; ``ended`` is called from it at its end.

        Raises KafkaException when librdkafka will not have the settings.
        """
        consumer = self._make()
        self._thread = threading.Thread(
            target=self._run, args=(consumer, ended), name=f"kafka {self._config.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let what is being stored become durable, commit, leave the group, end. From any thread; returns at once."""
        self._stopping.set()

    def finished(self, packet: KafkaPacket) -> None:
        """Note that a packet is durable, so that its offset is committed. From any thread."""
        self._finished.put(packet)

    # The rest runs in the thread.

    def _make(self) -> ck.Consumer:
        consumer = ck.Consumer(self._settings | {"error_cb": self._handlers.trouble, "on_commit": self._on_commit},
                               logger=_silent)  # fmt: skip
        topics = [*self._config.topics, *([self._config.heartbeat] if self._config.heartbeat else [])]
        consumer.subscribe(
            [_pattern(topic) for topic in dict.fromkeys(topics)],
            on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost,
        )  # fmt: skip
        return consumer

    def _run(self, consumer: ck.Consumer | None, ended: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                if consumer is None:
                    self._begin()
                    consumer = self._make()
                self._step(consumer)
                continue
            except ck.KafkaException as error:
                self._handlers.trouble(error.args[0])
            except OSError as error:  # of the registry of schemas
                log.warn("kafka {name}: {reason}; trying again in {pause:.0f} s",
                         name=self._config.name, reason=error, pause=RESTART)  # fmt: skip
            except Exception:
                log.failure("alerts of the Kafka service {name} could not be taken", name=self._config.name)
            _close(consumer)
            consumer = None
            self._stopping.wait(RESTART)
        if consumer is not None:
            self._leave(consumer)
        ended()

    def _step(self, consumer: ck.Consumer) -> None:
        """Take what there is, wait for it if there is nothing; then commit."""
        packets: list[KafkaPacket] = []
        size = 0
        message = consumer.poll(POLL)
        while message is not None:
            packet = self._read(message)
            if packet is not None:
                packets.append(packet)
                size += len(packet.value)
            full = self._is_full(len(packets), size)
            message = None if full else consumer.poll(0)
        if packets:
            self._pending_bytes += size
            self._handlers.packets(packets)
        self._settle(consumer)
        self._pause_or_resume(consumer)
        self._look(consumer)

    def _look(self, consumer: ck.Consumer) -> None:
        """By what librdkafka knows already: nobody is asked."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        partitions = [each for each in consumer.assignment() if each.topic != self._config.heartbeat]
        waiting = []
        for each in consumer.position(partitions) if partitions else []:
            end = consumer.get_watermark_offsets(each, cached=True)
            if each.offset >= 0 and end is not None and end[1] >= 0:
                waiting.append(max(0, end[1] - each.offset))
        self.lag = sum(waiting) if waiting else None

    def _read(self, message: ck.Message) -> KafkaPacket | None:
        """Return the packet in a message; None for what is no packet: an error, a heartbeat, a deletion mark."""
        error = message.error()
        if error is not None:
            self._handlers.trouble(error)
            if error.fatal():
                raise ck.KafkaException(error)
            return None
        self._handlers.heard()
        topic, partition, offset, value = message.topic(), message.partition(), message.offset(), message.value()
        if topic is None or partition is None or offset is None or topic == self._config.heartbeat:
            return None
        key = topic, partition
        offsets = self._offsets.get(key)
        if offsets is None:
            offsets = self._offsets[key] = Offsets(*key)
        offsets.took(offset)
        if value is None:
            offsets.finished(offset)
            return None
        return KafkaPacket(offsets, offset, self._schemas.packet(message.key(), bytes(value)))

    def _is_full(self, more: int = 0, size: int = 0) -> bool:
        pending = sum(map(len, self._offsets.values()))
        return pending >= MAX_PENDING or more >= MAX_PENDING or self._pending_bytes + size >= MAX_PENDING_BYTES

    def _pause_or_resume(self, consumer: ck.Consumer) -> None:
        """Only the alerts' topics pause: heartbeats must be heard while alerts wait for the disk."""
        full = self._is_full()
        if full == self._paused:
            return
        partitions = [each for each in consumer.assignment() if each.topic != self._config.heartbeat]
        (consumer.pause if full else consumer.resume)(partitions)
        self._paused = full

    def _settle(self, consumer: ck.Consumer) -> None:
        """Commit what has become durable."""
        while True:
            try:
                packet = self._finished.get_nowait()
            except Empty:
                break
            offsets = packet.offsets
            if self._offsets.get((offsets.topic, offsets.partition)) is offsets:  # else: it was taken from us since
                self._pending_bytes -= len(packet.value)
                offsets.finished(packet.offset)
        if not self._committing and self._clock.monotonic() >= self._commit_at:
            self._commit(consumer)

    def _commit(self, consumer: ck.Consumer) -> None:
        positions = [
            ck.TopicPartition(offsets.topic, offsets.partition, position)
            for offsets in self._offsets.values()
            if (position := offsets.to_commit()) is not None
        ]
        if positions:
            self._committing = True
            consumer.commit(offsets=positions, asynchronous=True)

    def _on_commit(self, error: Any, positions: list[ck.TopicPartition]) -> None:
        self._committing = False
        failed = [each for each in positions if error is not None or each.error is not None]
        for each in failed:
            offsets = self._offsets.get((each.topic, each.partition))
            if offsets is not None:
                offsets.not_committed(each.offset)
        if failed:
            self._handlers.trouble(error or failed[0].error)
            self._commit_at = self._clock.monotonic() + COMMIT_AGAIN
        elif self._commit_at:
            self._commit_at = 0.0
            self._handlers.works()

    def _on_assign(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """Say where to begin: where we were; a new group at the end, if it is to; a topic that is new, at its begin."""
        self._forget()
        alerts = [each for each in partitions if each.topic != self._config.heartbeat]
        beats = [each for each in partitions if each.topic == self._config.heartbeat]
        if alerts and self._new_group:
            self._new_group = False
            if all(each.offset < 0 for each in consumer.committed(alerts, timeout=ASK)):
                self._begin_at_end(consumer, alerts)
        for beat in beats:
            beat.offset = ck.OFFSET_END
        consumer.assign([*alerts, *beats])
        self._handlers.assigned(sorted({each.topic for each in alerts}))

    def _begin_at_end(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        """At once committed: otherwise what comes while we are away before our first commit would be skipped, too."""
        for each in partitions:
            watermarks = consumer.get_watermark_offsets(each, timeout=ASK)
            if watermarks is not None:
                each.offset = watermarks[1]
        consumer.commit(offsets=partitions, asynchronous=False)

    def _on_revoke(self, consumer: ck.Consumer, _partitions: list[ck.TopicPartition]) -> None:
        self._settle(consumer)
        self._forget()

    def _on_lost(self, _consumer: ck.Consumer, _partitions: list[ck.TopicPartition]) -> None:
        self._forget()

    def _forget(self) -> None:
        self._offsets.clear()
        self._pending_bytes = 0
        self._paused = False

    def _leave(self, consumer: ck.Consumer) -> None:
        """Commit the offsets of what becomes durable within `GRACE`, then leave the group.

        After an orderly leave, the next start need not wait until the service misses this consumer.
        """
        end = self._clock.monotonic() + GRACE
        try:
            consumer.pause(consumer.assignment())
            while self._busy() and self._clock.monotonic() < end:
                consumer.poll(POLL / 4)
                self._settle(consumer)
        except ck.KafkaException as error:
            self._handlers.trouble(error.args[0])
        _close(consumer)

    def _busy(self) -> bool:
        return self._committing or not self._finished.empty() or any(map(len, self._offsets.values()))


def _close(consumer: ck.Consumer | None) -> None:
    if consumer is not None:
        try:
            consumer.close()
        except Exception as error:
            log.debug("closing a Kafka consumer: {error}", error=error)


def matching(topic: str, names: Iterable[str]) -> list[str]:
    """Which of these topics a subscription is to, where ``topic`` may have a ``*``."""
    pattern = _pattern(topic)
    return [name for name in names if (re.match(pattern, name) if pattern.startswith("^") else name == topic)]


def _pattern(topic: str) -> str:
    """Return a topic with ``*`` as librdkafka wants it: what begins with ^ is a regular expression."""
    if "*" not in topic:
        return topic
    return f"^{topic.replace('.', '[.]').replace('*', '.*')}$"
