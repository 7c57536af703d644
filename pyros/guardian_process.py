"""The guardian's process, as the observatory starts it: again when it ends, and never beside another that listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer, cancel_call
from pyros.config import Address, Config, GuardianConfig
from pyros.kept_process import KeptProcess
from pyros.reactor import Reactor
from pyros.sender import reachable
from pyros.sender.endpoints import client_endpoint

_LOOK_SECONDS = 1.0
_ASK_SECONDS = 3.0
_STOP_SECONDS = 5.0


class GuardianProcess:
    """Keeps the guardian of a configuration alive. Every method is for the reactor's thread."""

    def __init__(
        self, config: Config, section: GuardianConfig, reactor: Reactor, clock: Clock, *, simulated: bool
    ) -> None:
        """Take the guardian's section; ``simulated``: this process is what simulates the devices."""
        self.config, self.section = config, section
        name = f"guardian {config.unit}".strip()
        self.log = Logger(name)
        self.file: Path = config.data / f"{name}.log"
        """Where the guardian writes what it does."""
        self._reactor, self._clock = reactor, clock
        unit = ["--unit", config.unit] if config.unit else []
        plugin = ["pyros-guardian", "--config", str(config.path), *unit, *["--simulated"] * simulated]
        self._process = KeptProcess(name, plugin, self.file, clock)
        self._endpoint = client_endpoint(reactor, Address(reachable(section.ip), section.port), _ASK_SECONDS)
        self._asking: Deferred[Any] | None = None
        self._found: dict[str, Any] | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to see to it that a guardian is there."""
        self._timer = self._clock.call_later(_LOOK_SECONDS, self.start)
        if not self._process.is_running() and self._asking is None and self._process.is_due():
            self._asking = ask(self._endpoint, self._clock)
            self._asking.addCallbacks(self._there, self._not_there)

    def stop(self) -> Deferred[None]:
        """End the guardian that was started here; one that has yet to close the dome stays, and ends by itself."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        cancel_call(self._timer)
        if self._asking is not None:
            self._asking.cancel()
        if not await self._process.end(self._reactor, _STOP_SECONDS):
            self.log.critical("the guardian (process {pid}) stays until it has closed the dome: {file}",
                              pid=self._process.pid, file=self.file)  # fmt: skip

    def _there(self, said: dict[str, Any]) -> None:
        self._asking = None
        if said.get("data") != (self._found or {}).get("data"):
            if said.get("data") == str(self.config.data):
                self.log.info("the guardian runs already: process {pid}", pid=said.get("pid"))
            else:
                self.log.critical("{where} is taken by something else than this observatory's guardian",
                                  where=self.section.where)  # fmt: skip
        self._found = said

    def _not_there(self, failure: Failure) -> None:
        self._asking = self._found = None
        if failure.check(CancelledError) is None:
            self._process.run()


def ask(endpoint: Any, clock: Clock) -> Deferred[dict[str, Any]]:
    """Ask a guardian how it is.

    Fails when nobody listens; what doesn't speak as a guardian within `_ASK_SECONDS` has said nothing.
    """
    said: Deferred[dict[str, Any]] = Deferred()
    connecting = endpoint.connect(Factory.forProtocol(lambda: _Asking(said, clock)))
    connecting.addErrback(lambda failure: None if said.called else said.errback(failure))
    return said


class _Asking(LineOnlyReceiver):
    """Asks once."""

    transport: ITCPTransport
    delimiter = b"\n"

    def __init__(self, said: Deferred[dict[str, Any]], clock: Clock) -> None:
        self._said = said
        self._timer = clock.call_later(_ASK_SECONDS, self._abort)

    def _abort(self) -> None:
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        self.sendLine(b"STATUS")

    def lineReceived(self, line: bytes) -> None:
        if not line.startswith(b"GUARDIAN ") and not self._said.called:
            try:
                self._said.callback(msgspec.json.decode(line, type=dict[str, Any]))
            except msgspec.DecodeError:
                self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cancel_call(self._timer)
        if not self._said.called:
            self._said.callback({})
