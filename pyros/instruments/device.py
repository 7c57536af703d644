"""What the devices of all drivers share: they stand in front of a connection, which does the talking."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from pyros.instruments.interfaces import Kind, OnConnection, OnEvent


class KeptConnection(Protocol):
    """A connection that makes itself again whenever it breaks, until it is disconnected."""

    @property
    def name(self) -> str: ...

    @property
    def connected(self) -> bool: ...

    on_connection: OnConnection | None
    on_event: OnEvent | None

    def disconnect(self) -> Deferred[None]: ...


class Device:
    """The part of `interfaces.Instrument` that is the same for all."""

    kind: Kind
    _connection: KeptConnection

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
