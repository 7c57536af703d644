"""The beat of the dome's agent towards the guardian, which closes the dome when it stops (`pyros.guardian`).

A beat is sent only while the agent's own turns go on, and only when the one before was answered: what waits in a socket
is at most one. Everything here runs in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pyros import keys
from pyros.clock import Clock, Timer, cancel_call
from pyros.config import Config, GuardianConfig
from pyros.errors import ConfigError, WireError
from pyros.reactor import Reactor
from pyros.sender.endpoints import client_endpoint
from pyros.sender.handshake import observatory_key
from pyros.sender.tcp import bound_silence
from pyros.sender.tls import AgentTls, TlsSide
from pyros.tls_words import of_failure

ANSWER_SECONDS = 4.5
"""After so long without an answer the guardian counts as gone; longer where the configured ``beat`` is.

A beat and its answer may each be on their way for 2 s, and that closes no dome.
"""
START_SECONDS = 15.0
"""How long the guardian, which starts together with the agent, may take before its absence is told."""
_SOON_SECONDS = 0.5  # while the guardian starts, or the agent's turns do not go on
_REST_SECONDS = 15.0
"""Between two beats of a dome at rest."""
_AGAIN_SECONDS = 1.0  # from a lost connection to the next attempt


class BeatSender:
    """Beats while ``alive()``, and tells ``on_presence`` when the guardian comes or goes.

    ``on_presence(False, reason)`` is called when the guardian doesn't answer, or cannot reach the dome's device: then
    nobody closes the dome when this agent cannot. It is called for changes, and at the beginning: when the guardian is
    there, or isn't within `START_SECONDS`.
    """

    def __init__(
        self,
        reactor: Reactor,
        clock: Clock,
        config: Config,
        log: Logger,
        alive: Callable[[], bool],
        on_presence: Callable[[bool, str], None],
        at_rest: Callable[[], bool] = lambda: False,
        on_stirred: Callable[[], None] = lambda: None,
    ) -> None:
        """``at_rest`` says whether the dome is closed for this agent, too.

        ``on_stirred`` hears when it is for this agent, but not for the guardian.
        """
        if config.guardian is None:
            raise ConfigError([f"{config.path}: [guardian]: the section is missing"])
        self.section: GuardianConfig = config.guardian
        self.present = False
        """Whether the guardian is there, and can close the dome."""
        self.reason = "the guardian has not answered yet"
        """Why not; '' when it is there."""
        self.key = observatory_key(config)
        self.clock = clock
        self._log, self._alive, self._on_presence = log, alive, on_presence
        self._at_rest, self._on_stirred = at_rest, on_stirred
        self._reactor, self._place = reactor, self.section.place
        self._name, self._tls = config.agent("dome").name, AgentTls(config.certificates)
        self._side: TlsSide | None = None
        self._told: tuple[bool, str] | None = None
        self._begun = clock.monotonic()
        self._connection: _Beats | None = None
        self._attempt: Deferred[Any] | None = None
        self._timer: Timer | None = None
        self._stopped = False

    @property
    def pause(self) -> float:
        """Seconds between two beats: three of them fit into the silence that the guardian bears."""
        return min(5.0, self.section.beat / 3)

    @property
    def pause_closed(self) -> float:
        """The same while the dome is closed for both: one that is late or lost has no effect then."""
        return min(5.0, 0.8 * self.section.beat)

    @property
    def pause_resting(self) -> float:
        """The same where the guardian bears a longer silence of a dome at rest."""
        return max(self.pause_closed, _REST_SECONDS)

    @property
    def patience(self) -> float:
        """Seconds within which the guardian answers."""
        return max(ANSWER_SECONDS, 0.6 * self.section.beat)

    def start(self) -> None:
        """Begin to beat."""
        self._timer = None
        endpoint = client_endpoint(self._reactor, self._place.destination, ANSWER_SECONDS)
        if self._place.encrypted:
            try:
                self._side = self._tls.client(self._name, self._place.name)
            except WireError as error:
                self._retry(f"nothing can be said to the guardian at {self._place.where}: {error}")
                return
            endpoint = wrapClientTLS(self._side, endpoint)
        self._attempt = endpoint.connect(_BeatsFactory(self))
        self._attempt.addTimeout(ANSWER_SECONDS + 1, self._reactor)  # a name that is looked up has no other
        self._attempt.addCallbacks(self._connected, self._failed)

    def stop(self) -> None:
        """Beat no more: the agent ends. Nothing is told."""
        self._stopped = True
        cancel_call(self._timer)
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.transport.abortConnection()

    # What the connection calls.

    @property
    def at_rest(self) -> bool:
        """Whether the dome is closed for this agent, and nothing else is wanted."""
        return self._at_rest()

    def beat_now(self) -> None:
        """Beat at once, or after the beat that is under way, and at the usual pace: the dome is about to open."""
        if self._connection is not None:
            self._connection.beat_now()

    def pause_after(self, state: str, rests: bool) -> float:
        """Return the seconds to the next beat after the guardian has said what it sees of the dome.

        ``rests``: it has heard that the dome is at rest, and bears a longer silence.
        """
        if state == "starting":
            return min(self.pause, _SOON_SECONDS)
        if not self._at_rest():
            return self.pause
        if state != "closed":
            self._on_stirred()
            return self.pause
        return self.pause_resting if rests else self.pause_closed

    def alive(self) -> bool:
        """Whether the agent's turns go on; an agent that cannot say so is not alive."""
        try:
            return self._alive()
        except Exception:
            self._log.failure(
                "whether this agent is alive cannot be found out: no beat, and the guardian closes the dome"
            )
            return False

    def answered(self, state: str) -> None:
        """Note that the guardian took a beat; ``state`` is what it sees of the dome."""
        if state == "unknown":
            self._tell(False, "the guardian cannot reach the dome")
        elif state != "starting":
            self._tell(True, "")

    def lost(self, reason: Failure, why: str) -> None:
        """Note that the connection to the guardian is gone, and ``why``, if we know more than the reason given."""
        self._connection = None
        trouble = self._side.trouble if self._side is not None else ""
        told = trouble or of_failure(reason) or why or reason.getErrorMessage()
        self._retry(f"the guardian at {self._place.where} is gone: {told}")

    # Its life.

    def _connected(self, connection: _Beats) -> None:
        self._attempt, self._connection = None, connection

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        if failure.check(CancelledError) is None:
            self._retry(f"there is no guardian at {self._place.where}: {failure.getErrorMessage()}")

    def _retry(self, reason: str) -> None:
        if not self._stopped:
            self._timer = self.clock.call_later(_AGAIN_SECONDS, self.start)
            self._tell(False, reason)

    def _tell(self, present: bool, reason: str) -> None:
        if self._stopped or self._told == (present, reason):
            return
        if self._told is None and not present and self.clock.monotonic() - self._begun < START_SECONDS:
            return  # it is tried again soon
        self._told = self.present, self.reason = present, reason
        self._on_presence(present, reason)


class _Beats(LineOnlyReceiver):
    """One connection to the guardian."""

    transport: ITCPTransport
    delimiter = b"\n"
    MAX_LENGTH = 256

    def __init__(self, sender: BeatSender) -> None:
        self._sender = sender
        self._nonce = ""
        self._number = 0
        self._sent = 0.0
        """When the last beat was sent, monotonic seconds: the next one counts from that, however late its answer."""
        self._reason = ""
        self._timer: Timer | None = None
        self._soon = False
        """The next beat follows the answer at once."""
        self._waits = True
        """Whether the guardian has to say something: its greeting, or its answer to a beat."""

    def connectionMade(self) -> None:
        bound_silence(self.transport)
        self._wait_for_answer()

    def lineReceived(self, line: bytes) -> None:
        match line.decode("ascii", "replace").split():
            case ["GUARDIAN", "1", nonce] if not self._nonce:
                self._nonce, self._waits = nonce, False
                self._beat()
            case ["OK", state, *rest] if self._nonce:
                self._waits = False
                pause = self._sender.pause_after(state, rest == ["rest"])
                waited = self._sender.clock.monotonic() - self._sent
                self._later(0.0 if self._soon else max(0.0, pause - waited), self._beat)
                self._sender.answered(state)
            case _:
                self._abort(f"it says {line[:100].decode('ascii', 'replace')!r}")

    def lineLengthExceeded(self, line: bytes) -> None:
        self._abort("it says more than a guardian does")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cancel_call(self._timer)
        self._sender.lost(reason, self._reason)

    def beat_now(self) -> None:
        self._soon = self._waits
        if not self._waits:
            self._beat()

    def _beat(self) -> None:
        if not self._sender.alive():
            self._later(min(self._sender.pause, _SOON_SECONDS), self._beat)
            return
        self._number, self._soon = self._number + 1, False
        self._sent = self._sender.clock.monotonic()
        words = f"BEAT {self._number} {keys.sign(self._sender.key, 'beat', self._nonce, self._number)}"
        if self._sender.at_rest:
            words += f" rest {keys.sign(self._sender.key, 'rest', self._nonce, self._number)}"
        self.sendLine(words.encode())
        self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        self._waits = True
        seconds = self._sender.patience
        self._later(seconds, self._abort, f"it has said nothing for {seconds:g} s")

    def _later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        cancel_call(self._timer)
        self._timer = self._sender.clock.call_later(seconds, function, *args)

    def _abort(self, reason: str) -> None:
        self._reason = reason
        self.transport.abortConnection()


class _BeatsFactory(Factory):
    noisy = False

    def __init__(self, sender: BeatSender) -> None:
        self._sender = sender

    def buildProtocol(self, addr: Any) -> _Beats:
        return _Beats(self._sender)
