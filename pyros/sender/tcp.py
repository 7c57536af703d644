"""What the kernel is told about the connections between agents: how long it bears silence."""

from __future__ import annotations

import socket
from typing import Any

_IDLE_SECONDS, _BETWEEN_SECONDS, _PROBES = 10, 5, 4
"""TCP's keep-alive: the first probe after so long, the next ones so long apart, and so many without an answer."""

_OPTIONS = (("TCP_KEEPIDLE", _IDLE_SECONDS), ("TCP_KEEPINTVL", _BETWEEN_SECONDS), ("TCP_KEEPCNT", _PROBES))

UNANSWERED_SECONDS = 30
"""After so long without an acknowledgement by the other computer the kernel ends a connection. Not less: a receiver
that reads nothing for a while, as its mailbox is full, would be taken for dead, too."""


def bound_silence(transport: Any) -> None:
    """Have the kernel send at once, and end the connection half a minute after the other computer has gone.

    ``transport`` is Twisted's; one in memory has no kernel.
    """
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle = getattr(transport, "getHandle", lambda: None)()
    if isinstance(handle, socket.socket):
        bound_silence_of(handle)


def bound_silence_of(connection: socket.socket) -> None:
    """Do that for a socket; what the system doesn't know is left out."""
    for name, value in (*_OPTIONS, ("TCP_USER_TIMEOUT", UNANSWERED_SECONDS * 1000)):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
