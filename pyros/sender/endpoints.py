"""How a TCP connection to another agent is made with Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint

from pyros.config import Address
from pyros.reactor import Reactor
from pyros.sender.names import Remembering


def client_endpoint(reactor: Reactor, there: Address, seconds: float) -> Any:
    """Return Twisted's endpoint for a place; a name is looked up at each attempt, for which there is no time-out."""
    if ":" in there.host:
        return TCP6ClientEndpoint(reactor, there.host, there.port, seconds)
    if there.host.replace(".", "").isdigit():
        return TCP4ClientEndpoint(reactor, there.host, there.port, seconds)
    return HostnameEndpoint(Remembering(reactor), there.host, there.port, seconds)
