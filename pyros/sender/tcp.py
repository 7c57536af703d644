"""What the kernel is told about the connections between agents: how long it bears silence."""

from __future__ import annotations

import socket
from typing import Any

_IDLE_SECONDS, _BETWEEN_SECONDS, _PROBES = 10, 5, 4
"""TCP's keep-alive: the first probe after so long, the next ones so long apart, and so many without an answer."""

_OPTIONS = (("TCP_KEEPIDLE", _IDLE_SECONDS), ("TCP_KEEPINTVL", _BETWEEN_SECONDS), ("TCP_KEEPCNT", _PROBES))

UNANSWERED_SECONDS = 30
"""After so long without an acknowledgement by the other computer the kernel ends a connection to an older PYROS, which
says no signs of life. It takes one that doesn't read for dead, too: a full mailbox, or a tunnel over a narrow line."""


def bound_silence(transport: Any) -> None:
    """Have the kernel send at once, and end an idle connection half a minute after the other computer has gone.

    ``transport`` is Twisted's; one in memory has no kernel.
    """
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle = _handle(transport)
    if handle is not None:
        bound_silence_of(handle)


def bound_silence_of(connection: socket.socket) -> None:
    """Do that for a socket; what the system doesn't know is left out."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        _set_option(connection, name, value)


def bound_unanswered(transport: Any, seconds: int = UNANSWERED_SECONDS) -> None:
    """Have the kernel end a connection on which something isn't acknowledged, or taken, for so many seconds."""
    handle = _handle(transport)
    if handle is not None:
        _set_option(handle, "TCP_USER_TIMEOUT", seconds * 1000)


def _handle(transport: Any) -> socket.socket | None:
    handle = getattr(getattr(transport, "transport", transport), "getHandle", lambda: None)()  # below TLS
    return handle if isinstance(handle, socket.socket) else None


def _set_option(connection: socket.socket, name: str, value: int) -> None:
    option = getattr(socket, name, None)
    if option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
