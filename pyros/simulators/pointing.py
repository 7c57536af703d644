"""Where a telescope points, asked over TCP as any client asks it: one connection, one question."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.clock import Clock
from pyros.simulators.celestial import Sky
from pyros.simulators.endpoints import client_endpoint

_PATIENCE = 5.0  # seconds
_LONGEST_ANSWER = 4096

_log = Logger()


def ask_position(reactor: Any, clock: Clock, address: str) -> Deferred[Sky | None]:
    """Fires with the telescope's position, or with None when it cannot be had (the log says why).

    ``address`` is a client endpoint such as ``tcp:127.0.0.1:6010``. Called in the reactor's thread; may be cancelled,
    and fails then only.
    """
    question = _Question()

    def too_late() -> None:
        question.late = True
        position.cancel()

    def over(result: Sky | Failure) -> Sky | None:
        if timer.active():
            timer.cancel()
        question.close()
        if not isinstance(result, Failure):
            return result
        if isinstance(result.value, CancelledError | ConnectingCancelledError) and not question.late:
            raise CancelledError
        why = f"no answer within {_PATIENCE:g} s" if question.late else result.getErrorMessage()
        _log.warn(
            "No position from the telescope at {address}: {why}. The image will be dark.", address=address, why=why
        )
        return None

    timer = clock.call_later(_PATIENCE, too_late)
    connecting = client_endpoint(reactor, address).connect(Factory.forProtocol(lambda: question))
    position: Deferred[Any] = connecting.addCallback(lambda _: question.answered)
    return position.addBoth(over)


class _Question(Protocol):
    """Sends ``GET position`` and reads one line; everything else the telescope says is passed over."""

    def __init__(self) -> None:
        self.answered: Deferred[Sky] = Deferred(lambda _: self.close())
        self.late = False
        self._buffer = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET position\n")

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while not self.answered.called:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                break
            self._buffer = rest
            if not line.startswith(b"EVT "):
                self._read(line)
        if len(self._buffer) > _LONGEST_ANSWER:
            self._fail("its answer is too long")

    def connectionLost(self, reason: Any = None) -> None:
        self._fail("it closed the connection")

    def close(self) -> None:
        """Leave; nothing more is expected."""
        if self.transport is not None and self.connected:
            self.transport.loseConnection()

    def _read(self, line: bytes) -> None:
        try:
            ok, ra, dec = line.decode().split()
            position = Sky(float(ra), float(dec))
            if ok != "OK" or not (0 <= position.ra < 360 and -90 <= position.dec <= 90):
                raise ValueError
        except ValueError:
            self._fail(f"it answered {line[:80]!r}")
        else:
            self.answered.callback(position)

    def _fail(self, why: str) -> None:
        if not self.answered.called:
            self.answered.errback(ConnectionError(why))
