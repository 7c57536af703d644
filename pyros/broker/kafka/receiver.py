"""Alerts from Kafka: GCN's topics, igwn.gwalert, SCiMMA's ... end in the same `Intake` as those of authors.

A packet's offset is committed only after the packet is durable. Needs the extra ``kafka`` (confluent-kafka); this
module is imported only where a ``[kafka NAME]`` section asks for it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka as ck
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pyros import messages
from pyros.backoff import Backoff
from pyros.broker.intake import Intake, Receipt
from pyros.broker.kafka.consumer import Consumer, Handlers, KafkaPacket, matching
from pyros.broker.kafka.schemas import Schemas
from pyros.broker.packet import one_line
from pyros.clock import Clock, cancel_call
from pyros.config import KafkaConfig
from pyros.errors import ConfigError
from pyros.messages import AlertSource
from pyros.reactor import Reactor

STOP_WITHIN = 4.0  # seconds; a service that hangs may hold its thread longer, the observatory doesn't wait for it
REPEAT = 300.0  # seconds after which the same trouble is told again
STORE_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a packet that could not be stored is stored again; see `Backoff`."""

_CREDENTIALS = {
    ck.KafkaError._AUTHENTICATION,
    ck.KafkaError.SASL_AUTHENTICATION_FAILED,
    ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ck.KafkaError.GROUP_AUTHORIZATION_FAILED,
    ck.KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_NETWORK = {ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE}
_OF_A_TOPIC = {ck.KafkaError.TOPIC_AUTHORIZATION_FAILED, ck.KafkaError.UNKNOWN_TOPIC_OR_PART}
_HARMLESS = {ck.KafkaError._PARTITION_EOF}
_MECHANISMS = {
    "oidc": "OAUTHBEARER", "plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512",
}  # fmt: skip

log = Logger(namespace="pyros.broker")


class KafkaIntake:
    """The subscription to one Kafka service. All methods are for the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        intake: Intake,
        config: KafkaConfig,
        *,
        path: Path,
        group: str,
        alarm: Callable[[str, AlertSource], None] = lambda *_: None,
    ) -> None:
        """Prepare the subscription; ``path`` is the configuration file, for errors.

        ``group`` is the consumer group where none is configured; ``alarm`` is given messages for the agent monitoring.

        Raises ConfigError when the secret is not where the configuration says.
        """
        self._reactor, self._clock, self._intake, self._config = reactor, clock, intake, config
        self._where = f"{path}: [{config.section}]"
        self._group, self._alarm = config.group or group, alarm
        self._secret = self._read_secret()
        handlers = Handlers(
            packets=lambda packets: self._in_reactor(self._take, packets),
            heard=self._hear,
            trouble=lambda error: self._in_reactor(self._trouble, error),
            works=lambda: self._in_reactor(self._recovered),
            assigned=lambda topics: self._in_reactor(self._assigned, topics),
        )
        self._consumer = Consumer(clock, config, self._settings(), handlers, Schemas(config, path))
        self.source = f"kafka {config.name}"
        self._topics: list[str] = []
        self._missing = list(config.topics)
        self._taken = 0
        self._in_trouble = ""
        self._trouble_code: int | None = None
        self._told = self._trouble_at = 0.0
        self._heard = clock.monotonic()
        self._heard_at: float | None = None
        self._since = clock.time()
        self._silent: bool | None = None
        """None before it was heard, or missed, for the first time."""
        self._watch: Any = None
        self._retries: set[Any] = set()
        self._ended: Deferred[None] = Deferred()
        self._gone = False

    @property
    def name(self) -> str:
        """The section's name."""
        return self._config.name

    @property
    def started(self) -> bool:
        """Whether there is something to stop."""
        return self._watch is not None

    def start(self) -> None:
        """Begin to consume; the connection is made, and made again, in the background.

        Raises ConfigError when librdkafka refuses a setting, naming it.
        """
        try:
            self._consumer.start(lambda: self._in_reactor(self._end))
        except ck.KafkaException as error:
            raise ConfigError([f"{self._where}: {self._safe(error.args[0].str())}"]) from None
        log.info(
            "{source}: subscribed to {topics} as group {group}",
            source=self.source, topics=", ".join(self._config.topics), group=self._group,
        )  # fmt: skip
        self._heard = self._clock.monotonic()
        self._listen()

    def stop(self) -> Deferred[None]:
        """Commit what is durable and leave the group; fires when the thread has ended, or after four seconds."""
        for timer in [self._watch, *self._retries]:
            cancel_call(timer)
        self._watch = None
        self._consumer.stop()
        given_up = self._reactor.callLater(STOP_WITHIN, self._give_up)

        def ended(_: None) -> None:
            self._gone = True
            cancel_call(given_up)

        return self._ended.addCallback(ended)

    def status(self) -> dict[str, Any]:
        """Return what people ask for: the topics assigned to us and since when (Unix seconds).

        While it is silent, ``since`` is when the silence began. ``missing`` are the subscriptions without a topic,
        ``taken`` the packets stored, ``lag`` those that wait at the service, ``heard`` when it was last heard.
        """
        return {
            "servers": self._config.servers,
            "group": self._group,
            "subscribed": list(self._config.topics),
            "topics": self._topics,
            "since": self._since,
            "missing": self._missing,
            "taken": self._taken,
            "lag": self._consumer.lag,
            "heard": self._heard_at,
            "silent": bool(self._silent),
            "trouble": self._in_trouble,
        }

    # Called by the thread

    def _in_reactor(self, call: Any, *args: Any) -> None:
        if not self._gone:
            self._reactor.callFromThread(call, *args)

    def _hear(self) -> None:
        self._heard, self._heard_at = self._clock.monotonic(), self._clock.time()
        if self._in_trouble:
            self._in_reactor(self._recovered)

    # In the reactor's thread

    def _end(self) -> None:
        if not self._ended.called:
            self._ended.callback(None)

    def _give_up(self) -> None:
        log.warn("{source}: the client library does not end; left behind", source=self.source)
        self._end()

    def _assigned(self, topics: list[str]) -> None:
        self._topics, self._since = topics, self._clock.time()
        self._missing = [topic for topic in self._config.topics if not matching(topic, topics)]
        if self._missing:
            what = ", ".join(self._missing)
            log.warn("{source}: no topic (or none that we may read) fits {what}", source=self.source, what=what)
        log.info("{source}: receiving {topics}", source=self.source, topics=", ".join(topics) or "no topic")
        self._recovered()

    def _take(self, packets: list[KafkaPacket]) -> None:
        for packet in packets:
            self._store(packet, Backoff(*STORE_AGAIN_SECONDS))

    def _store(self, packet: KafkaPacket, backoff: Backoff) -> None:
        topic = packet.offsets.topic
        taken = self._intake.receive(packet.value, f"{self.source} {topic}", strict=False, topic=topic)
        taken.addCallback(self._stored, packet, backoff)

    def _stored(self, receipt: Receipt, packet: KafkaPacket, backoff: Backoff) -> None:
        if receipt.outcome != "failed":
            self._taken += 1
            self._consumer.finished(packet)
        elif self._watch is not None:  # else we are stopping: it is not committed, so it comes again

            def again() -> None:
                self._retries.discard(timer)
                self._store(packet, backoff)

            timer = self._reactor.callLater(backoff.next_pause(), again)
            self._retries.add(timer)

    def _trouble(self, error: Any) -> None:
        """Say once what is wrong, in words that help; librdkafka goes on trying."""
        code = error.code()
        if code in _HARMLESS or (code in _NETWORK and self._trouble_code in _CREDENTIALS):
            return  # a service that refuses us is "down" for librdkafka, too
        now = self._trouble_at = self._clock.monotonic()
        said = self._safe(error.str())
        if code in _CREDENTIALS:
            text = f"refuses us: {said}; are user and secret right, and not expired? Trying again"
        elif code in _NETWORK:
            text = f"cannot be reached: {said}; trying again"
        else:
            text = said
        if code != self._trouble_code or now - self._told >= REPEAT:
            self._told = now
            tell = log.critical if code in _CREDENTIALS else log.warn
            tell("{source} at {servers}: {text}", source=self.source, servers=self._config.servers, text=text)
        self._trouble_code, self._in_trouble = code, text

    def _recovered(self) -> None:
        """Note that the service works; trouble with one topic stays, whatever comes on others."""
        if self._trouble_code not in _OF_A_TOPIC:
            self._works()

    def _works(self) -> None:
        if self._in_trouble:
            log.info("{source}: works again", source=self.source)
        self._trouble_code, self._in_trouble = None, ""

    def _listen(self) -> None:
        """Silence where there should be heartbeats is an alarm: nobody else would notice that no alert can come."""
        limit = self._config.silence
        if self._in_trouble and self._clock.monotonic() - self._trouble_at > REPEAT:
            self._works()
        self._watch = self._reactor.callLater(max(1.0, limit / 4), self._listen)
        seconds = self._clock.monotonic() - self._heard
        silent = 0 < limit < seconds
        what = self._config.heartbeat or "any of its topics"
        if silent and not self._silent:
            text = f"nothing heard on {what} for {seconds:.0f} s: alerts may be missing"
            log.critical("{source}: {text}", source=self.source, text=text)
            self._alarm(messages.ALERTS_SILENT, AlertSource(self.source, text))
        elif not silent and self._heard_at is not None and self._silent is not False:
            log.info("{source}: is heard{again}", source=self.source, again=" again" if self._silent else "")
            self._alarm(messages.ALERTS_HEARD, AlertSource(self.source, f"heard on {what}"))
        else:
            return
        if silent or self._silent:
            self._since = self._clock.time()
        self._silent = silent

    def _safe(self, text: str) -> str:
        """Somebody else's text on one line, without our secret."""
        return one_line(text.replace(self._secret, "***") if self._secret else text)

    def _read_secret(self) -> str:
        kind, _, place = self._config.secret.partition(":")
        if kind == "env":
            secret = os.environ.get(place, "")
            missing = f"the environment has no variable {place}"
        elif kind == "file":
            missing = f"{place} is empty"
            try:
                secret = Path(place).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                secret, missing = "", f"cannot read {place}: {getattr(error, 'strerror', None) or error}"
        else:
            return ""
        if not secret:
            raise ConfigError([f"{self._where} secret: {missing}"])
        return secret

    def _settings(self) -> dict[str, Any]:
        """Return the settings of librdkafka, which its CONFIGURATION.md explains."""
        config = self._config
        settings: dict[str, Any] = {
            "bootstrap.servers": config.servers,
            "client.id": "pyros",
            "group.id": self._group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",  # where `start` doesn't apply: losing nothing
            "session.timeout.ms": 6000,  # after a crash, how long the service waits for the dead before it serves us
            "topic.metadata.refresh.interval.ms": 30_000,  # how soon a new topic is found that fits a pattern
            "reconnect.backoff.max.ms": 10_000,
            "socket.keepalive.enable": True,
            "receive.message.max.bytes": 192 * 1024 * 1024,
            "security.protocol": ("sasl_" if config.login != "none" else "") + ("ssl" if config.tls else "plaintext"),
        }
        ca = str(config.ca) if config.ca else ssl.get_default_verify_paths().cafile
        if ca and config.tls:  # the wheel's OpenSSL looks for them where its builder had them
            settings["ssl.ca.location"] = ca
        if config.login != "none":
            settings["sasl.mechanisms"] = _MECHANISMS[config.login]
        if config.login == "oidc":
            settings |= {
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.id": config.user,
                "sasl.oauthbearer.client.secret": self._secret,
                "sasl.oauthbearer.token.endpoint.url": config.token_url,
            }
            if config.scope:
                settings["sasl.oauthbearer.scope"] = config.scope
            if ca:
                settings["https.ca.location"] = ca
        elif config.login != "none":
            settings |= {"sasl.username": config.user, "sasl.password": self._secret}
        return settings | dict(config.settings)
