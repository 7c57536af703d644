"""A client on an in-memory connection, as `nc` is one on a real connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from pyros.rehearsal.reactor import MemoryReactor


class MemoryClient(Protocol):
    """Sends its bytes as soon as the connection is open, and keeps what is answered."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = b""
        """All bytes that came until now."""

    @classmethod
    def connect(cls, reactor: MemoryReactor, port: int, data: bytes) -> MemoryClient:
        """Open a connection to ``port`` and send ``data`` over it, as soon as virtual time passes."""
        client = cls(data)
        TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(_MemoryClientFactory(client))
        return client

    def connectionMade(self) -> None:
        """Send the bytes."""
        assert self.transport is not None
        self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        """Keep what is answered."""
        self.answer += data


class _MemoryClientFactory(Factory):
    noisy = False

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def buildProtocol(self, addr: Any) -> MemoryClient:
        return self._client
