"""Twisted's endpoint strings, typed, with one error for whatever is wrong with them."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import endpoints
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from pyros.reactor import Reactor

_twisted: Any = endpoints  # its functions carry no types


def server_endpoint(reactor: Reactor | None, text: str) -> IStreamServerEndpoint:
    """Where to listen, such as ``tcp:6010:interface=127.0.0.1``; raises ValueError. ``reactor`` None: to check only."""
    try:
        endpoint = _twisted.serverFromString(reactor, text)
    except (TypeError, IndexError) as problem:
        raise ValueError(str(problem)) from problem
    if not 0 <= getattr(endpoint, "_port", 0) <= 65535:
        raise ValueError("ports go from 0 to 65535")
    return cast("IStreamServerEndpoint", endpoint)


def client_endpoint(reactor: Reactor | None, text: str) -> IStreamClientEndpoint:
    """Whom to connect to, such as ``tcp:127.0.0.1:6010``; raises ValueError. ``reactor`` None: to check only."""
    try:
        endpoint = _twisted.clientFromString(reactor, text)
    except (TypeError, IndexError) as problem:
        raise ValueError(str(problem)) from problem
    if not 0 < getattr(endpoint, "_port", 1) <= 65535:
        raise ValueError("ports go from 1 to 65535")
    return cast("IStreamClientEndpoint", endpoint)
