"""The guardian's process, as the observatory starts it: again when it ends, and never beside another that listens.

The guardian is in a session of its own, so that Ctrl-C on the terminal isn't for it, and writes to a file of its own,
so that no terminal that doesn't read holds it up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pyros.clock import Clock, Timer
from pyros.config import Config, GuardianConfig
from pyros.sender import reachable

_LOOK_SECONDS = 1.0
_ASK_SECONDS = 3.0
_PAUSES = (1.0, 30.0)  # the first and the longest before it is started again, each twice the one before
_LASTING = 60.0  # seconds after which a guardian that ends has been a good one
_STOP_SECONDS = 5.0
_STOP_LOOK = 0.02
_RUN = "from twisted.scripts.twistd import run; run()"


class GuardianProcess:
    """Keeps the guardian of a configuration alive. Every method is for the reactor's thread."""

    def __init__(self, config: Config, section: GuardianConfig, reactor: Any, clock: Clock, *, simulated: bool) -> None:
        """Take the guardian's section; ``simulated``: this process is what simulates the devices."""
        self.config, self.section = config, section
        self.log = Logger("guardian")
        self.file: Path = config.data / "guardian.log"
        """Where the guardian writes what it does."""
        self._reactor, self._clock, self._simulated = reactor, clock, simulated
        host = reachable(section.ip)
        endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        self._endpoint = endpoint(reactor, host, section.port, _ASK_SECONDS)
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._not_before = 0.0
        self._pause = _PAUSES[0]
        self._asking: Deferred[Any] | None = None
        self._found: dict[str, Any] | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin to see to it that a guardian is there."""
        self._timer = self._clock.call_later(_LOOK_SECONDS, self.start)
        if self._process is not None:
            if (code := self._process.poll()) is None:
                return
            self._process = None
            self._ended(code)
        if self._asking is None and self._clock.monotonic() >= self._not_before:
            self._asking = ask(self._endpoint, self._clock)
            self._asking.addCallbacks(self._there, self._not_there)

    def stop(self) -> Deferred[None]:
        """End the guardian that was started here; one that has yet to close the dome stays, and ends by itself."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        process, end = self._process, self._clock.monotonic() + _STOP_SECONDS
        if process is None or process.poll() is not None:
            return
        process.terminate()
        while process.poll() is None and self._clock.monotonic() < end:
            await deferLater(self._reactor, _STOP_LOOK)
        if process.returncode is None:
            self.log.critical("the guardian (process {pid}) stays until it has closed the dome: {file}",
                              pid=process.pid, file=self.file)  # fmt: skip

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
            self._run()

    def _run(self) -> None:
        command = [
            sys.executable, "-c", _RUN, "-n", "--pidfile=", "--logfile", str(self.file),
            "pyros-guardian", "--config", str(self.config.path), "--parent", str(os.getpid()),
            *["--simulated"] * self._simulated,
        ]  # fmt: skip
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            self._not_begun(f"the guardian cannot be started: {error}")
            return
        self._began = self._clock.monotonic()
        self.log.info("the guardian is process {pid}, and writes to {file}", pid=self._process.pid, file=self.file)

    def _ended(self, code: int) -> None:
        if self._clock.monotonic() - self._began > _LASTING:
            self._pause = _PAUSES[0]
        self._not_begun(f"the guardian has ended with code {code}; see {self.file}")

    def _not_begun(self, problem: str) -> None:
        self.log.critical("{problem}; it is started again in {seconds:g} s", problem=problem, seconds=self._pause)
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(_PAUSES[1], 2 * self._pause)


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
        if self._timer.active():
            self._timer.cancel()
        if not self._said.called:
            self._said.callback({})
