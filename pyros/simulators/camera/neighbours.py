"""What a camera asks the devices around it over TCP, as any client asks: one connection, one question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.clock import Clock, cancel_call
from pyros.reactor import Reactor
from pyros.simulators.celestial import Sky
from pyros.simulators.endpoints import client_endpoint

_PATIENCE = 5.0  # seconds
_LONGEST_ANSWER = 4096
_T = TypeVar("_T")

_log = Logger()


def ask_position(reactor: Reactor, clock: Clock, address: str) -> Deferred[Sky | None]:
    """Where the telescope truly points; a mount that knows it tells ``true_position``, others their ``position``."""
    return _ask(reactor, clock, address, ("true_position", "position"), _sky, "telescope", "The image will be dark.")


def ask_filter(reactor: Reactor, clock: Clock, address: str) -> Deferred[str | None]:
    """Return the name of the filter in the beam."""
    return _ask(reactor, clock, address, ("filter",), _word, "filter wheel", "No filter is in the beam, then.")


def ask_defocus(reactor: Reactor, clock: Clock, address: str) -> Deferred[float | None]:
    """How far from focus it is: the blur, arcseconds FWHM."""
    return _ask(reactor, clock, address, ("defocus",), _blur, "focuser", "The image will be in focus.")


def ask_dome(reactor: Reactor, clock: Clock, address: str) -> Deferred[str | None]:
    """Return the dome's state: closed, open, or between."""
    return _ask(reactor, clock, address, ("state",), _word, "dome", "It counts as open.")


def ask_cloud(reactor: Reactor, clock: Clock, address: str) -> Deferred[float | None]:
    """Return the fraction of the sky that clouds cover."""
    return _ask(reactor, clock, address, ("readings",), _cloud, "weather station", "The sky is clear, then.")


def ask_cover(reactor: Reactor, clock: Clock, address: str) -> Deferred[str | None]:
    """Return the cover's state: closed, open, or between."""
    return _ask(reactor, clock, address, ("state",), _word, "cover", "It counts as open.")


def ask_lamp(reactor: Reactor, clock: Clock, address: str) -> Deferred[float | None]:
    """Return the brightness of the cover's lamp, in its own steps."""
    return _ask(reactor, clock, address, ("brightness",), _number, "cover", "Its lamp is dark, then.")


def ask_brightest(reactor: Reactor, clock: Clock, address: str) -> Deferred[float | None]:
    """Return the full brightness of the cover's lamp, in its own steps."""
    return _ask(reactor, clock, address, ("max_brightness",), _number, "cover", "Its lamp is dark, then.")


def _number(values: list[str]) -> float:
    (text,) = values
    return float(text)


def _sky(values: list[str]) -> Sky:
    ra, dec = values
    position = Sky(float(ra), float(dec))
    if not (0 <= position.ra < 360 and -90 <= position.dec <= 90):
        raise ValueError
    return position


def _word(values: list[str]) -> str:
    (word,) = values
    return word


def _blur(values: list[str]) -> float:
    (text,) = values
    blur = float(text)
    if not 0 <= blur <= 3600:
        raise ValueError
    return blur


def _cloud(values: list[str]) -> float:
    named = dict(value.split("=", 1) for value in values)
    cloud = float(named.get("cloud", "0"))
    if not 0 <= cloud <= 1:
        raise ValueError
    return cloud


def _ask(
    reactor: Reactor, clock: Clock, address: str, properties: tuple[str, ...], read: Callable[[list[str]], _T],
    whom: str, otherwise: str,
) -> Deferred[_T | None]:  # fmt: skip
    """Ask a device for the first of these properties that it knows.

    The Deferred fires with what is read, or with None when it cannot be had (the log says why).

    ``address`` is a client endpoint such as ``tcp:127.0.0.1:6010``. Called in the reactor's thread; may be cancelled,
    and fails then only.
    """
    question = _Question(properties, read)

    def too_late() -> None:
        question.late = True
        answer.cancel()

    def over(result: _T | Failure) -> _T | None:
        cancel_call(timer)
        question.close()
        if not isinstance(result, Failure):
            return result
        if isinstance(result.value, CancelledError | ConnectingCancelledError) and not question.late:
            raise CancelledError
        why = f"no answer within {_PATIENCE:g} s" if question.late else result.getErrorMessage()
        _log.warn(
            "No {property} from the {whom} at {address}: {why}. {otherwise}",
            property=properties[-1], whom=whom, address=address, why=why, otherwise=otherwise,
        )  # fmt: skip
        return None

    timer = clock.call_later(_PATIENCE, too_late)
    connecting = client_endpoint(reactor, address).connect(Factory.forProtocol(lambda: question))
    answer: Deferred[Any] = connecting.addCallback(lambda _: question.answered)
    return answer.addBoth(over)


class _Question(Protocol, Generic[_T]):
    """Sends ``GET`` and reads one line; everything else the device says is passed over."""

    def __init__(self, properties: tuple[str, ...], read: Callable[[list[str]], _T]) -> None:
        self.answered: Deferred[_T] = Deferred(lambda _: self.close())
        self.late = False
        self._properties = list(properties)
        self._reader = read
        self._buffer = b""

    def connectionMade(self) -> None:
        self._ask_next()

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

    def _ask_next(self) -> None:
        assert self.transport is not None
        self.transport.write(f"GET {self._properties.pop(0)}\n".encode())

    def _read(self, line: bytes) -> None:
        if line.startswith(b"ERR UNKNOWN") and self._properties:
            self._ask_next()
            return
        try:
            ok, *values = line.decode().split()
            if ok != "OK":
                raise ValueError
            answer = self._reader(values)
        except ValueError:
            self._fail(f"it answered {line[:80]!r}")
        else:
            self.answered.callback(answer)

    def _fail(self, why: str) -> None:
        if not self.answered.called:
            self.answered.errback(ConnectionError(why))
