"""A handler for a plain Comet: hands its events to an observatory's alert manager.

    twistd -n comet --receive --local-ivo=ivo://my.observatory/comet --pyros-alerts --pyros-alerts-config=FILE

An event is kept in a journal of its own (``comet.sqlite``) together with the message for the alert manager, so that an
alert manager that is down gets it later. Comet itself acknowledges an event before it calls any handler: what is lost
between the two is lost. ``twistd -n pyros-broker`` has no such gap.

Neither this folder nor the one above has an ``__init__.py``: that is how Comet finds plugins of other packages.
"""

from __future__ import annotations

from typing import Any

from comet.icomet import IHandler, IHasOptions
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python import usage
from zope.interface import implementer

from pyros import config
from pyros.broker.intake import Intake, Receipt
from pyros.broker.store import EventStore
from pyros.clock import RealClock
from pyros.config import StandardAgents
from pyros.errors import ConfigError, JournalError, PyrosError
from pyros.sender.handshake import observatory_key
from pyros.sender.outbound import Outbound

NAME = "comet"
RETRY = 5.0  # seconds; Comet has acknowledged the event, so nobody will send it again
MAX_RETRIES = 1_000  # events that are being tried again at once

log = Logger(namespace="pyros.comet")


@implementer(IPlugin, IHandler, IHasOptions)
class AlertHandler:
    """Stores each event for the alert manager. Comet makes it known by its ``name``, and enables it on demand."""

    name = "pyros-alerts"

    def __init__(self) -> None:
        self._config: config.Config | None = None
        self.store: EventStore | None = None
        """What was taken, while the handler runs."""
        self._outbound: Outbound | None = None
        self._intake: Intake | None = None
        self._reactor: Any = None
        self._retrying = 0

    def get_options(self) -> list[tuple[str, str, str]]:
        """Comet's: (name, default, description) of each option."""
        return [("config", "", f"PYROS configuration (default: ${config.ENVIRONMENT}, or ./{config.FILE_NAME})")]

    def set_option(self, name: str, value: str) -> None:
        """Comet's; called only when the plugin is enabled, before Comet becomes a daemon and the reactor runs."""
        from twisted.internet import reactor  # noqa: PLC0415  # a plugin must not install one when it is listed

        if name != "config":
            return
        try:
            self._config = config.load(value or None)
            self._config.agent(StandardAgents.ALERT_MANAGER)
        except PyrosError as error:
            raise usage.UsageError(str(error)) from None
        reactor.callWhenRunning(self._start, reactor)

    def _start(self, reactor: Any) -> None:
        assert self._config is not None
        self._reactor = reactor
        try:
            observatory_key(self._config)  # or the outbox could not be sent
            store = EventStore(reactor, RealClock(reactor), self._config.journal(NAME))
        except (ConfigError, JournalError) as error:
            log.error("{error}", error=error)
            reactor.stop()
            return
        self._outbound = Outbound(
            reactor, self._config, NAME, store.journal,
            store.on_answer, store.on_confirm, lambda _, text: log.critical("{text}", text=text), store.complete,
        )  # fmt: skip
        if store.journal.damage:
            log.critical("{text}", text=store.journal.damage)
        self._outbound.start()
        store.start(self._outbound.post)
        self.store = store
        self._intake = Intake(store, lambda *_: None)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    def __call__(self, event: Any) -> Deferred[Receipt | None]:
        """Comet's: take an event that passed its validators (a ``comet.utility.xml_document``)."""
        if self._intake is None:
            raise JournalError("the alert handler is not running")
        return Deferred.fromCoroutine(self._take(event.raw_bytes))

    async def _take(self, packet: bytes) -> Receipt | None:
        while self._intake is not None:
            receipt = await self._intake.receive(packet, NAME, strict=False)
            if receipt.outcome != "failed" or self._retrying >= MAX_RETRIES:
                return receipt
            self._retrying += 1
            await deferLater(self._reactor, RETRY)
            self._retrying -= 1
        return None

    def _stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        store, self.store, self._intake = self.store, None, None
        if store is not None and self._outbound is not None:
            await store.stop()
            await self._outbound.stop()
            store.close()


pyros_alerts = AlertHandler()
