"""What the devices of all drivers share: they stand in front of a connection, which does the talking."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from pyros.clock import Clock, cancel_call
from pyros.instruments.interfaces import Kind, OnConnection, OnEvent
from pyros.reactor import Reactor

P = ParamSpec("P")
T = TypeVar("T")


def deferred(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Deferred[T]]:
    """Make a coroutine method what the interfaces want: called, it begins at once, and returns a Deferred."""

    @wraps(method)
    def begin(*arguments: P.args, **named: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(method(*arguments, **named))

    return begin


class KeptConnection(Protocol):
    """A connection that makes itself again whenever it breaks, until it is disconnected."""

    @property
    def name(self) -> str: ...

    @property
    def connected(self) -> bool: ...

    on_connection: OnConnection | None
    on_event: OnEvent | None

    def start(self) -> None: ...

    def disconnect(self) -> Deferred[None]: ...


class InstrumentDriver:
    """The part of `interfaces.Instrument` that is the same for all.

    Connects at once and stays connected until `disconnect`.
    """

    kind: Kind
    wants_site: ClassVar[bool] = False
    """Its constructor takes the place of the observatory, as ``site``."""
    _connection: KeptConnection

    def __init__(
        self,
        address: str,
        reactor: Reactor,
        clock: Clock,
        on_connection: OnConnection | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._clock = clock
        self._reactor = reactor
        self._options: dict[str, Any] = {}
        """What the address says after its question mark (see `pyros.instruments.drivers.options`)."""
        self._connection = self._connection_to(address)
        self._connection.on_connection = on_connection
        self._connection.on_event = on_event
        self._connection.start()

    def _connection_to(self, address: str) -> KeptConnection:
        """Make the connection to that address, whose options become ``_options``; for each driver to say."""
        raise NotImplementedError

    def _option(self, name: str, default: T) -> T:
        """Return the address's value of an option, or else the default."""
        value: T = self._options.get(name, default)
        return value

    async def _pause(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        timer = self._clock.call_later(seconds, over.callback, None)
        try:
            await over
        finally:
            cancel_call(timer)

    @property
    def name(self) -> str:
        return self._connection.name

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def on_connection(self) -> OnConnection | None:
        return self._connection.on_connection

    @on_connection.setter
    def on_connection(self, function: OnConnection | None) -> None:
        self._connection.on_connection = function

    @property
    def on_event(self) -> OnEvent | None:
        return self._connection.on_event

    @on_event.setter
    def on_event(self, function: OnEvent | None) -> None:
        self._connection.on_event = function

    def disconnect(self) -> Deferred[None]:
        return self._connection.disconnect()
