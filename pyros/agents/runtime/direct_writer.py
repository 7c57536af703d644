"""Answers that leave from the agent's thread, without the reactor's turn: a fifth of the time that a message takes."""

from __future__ import annotations

import socket
import threading
from typing import Any


class DirectWriter:
    """A second handle on a connection's socket, to which any thread may write while the kernel takes all of it.

    Once the kernel takes only a part, everything goes through the transport for good (the peer does not read its
    answers, and the transport knows what to do about that). So a connection's bytes never come from both at once, and
    stay in their order. The handle is a duplicate: the descriptor cannot become another connection's in the middle.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()
        self._lock = threading.Lock()
        self._open = True
        self._rest = b""

    @classmethod
    def of(cls, transport: Any) -> DirectWriter | None:
        """Make one for a plain TCP transport to which nothing was written yet; None for any other."""
        handle = getattr(transport, "getHandle", lambda: None)()
        try:
            return cls(handle) if type(handle) is socket.socket else None
        except OSError:  # too many open files
            return None

    def send(self, data: bytes) -> None:
        """Send, or keep for `rest`. Any thread."""
        with self._lock:
            if self._open:
                try:
                    data = data[self._socket.send(data) :]
                except BlockingIOError:
                    pass
                except OSError:
                    data = b""  # the connection has broken, as the reactor will find
                self._open = not data
            self._rest += data

    @property
    def is_open(self) -> bool:
        """Whether the kernel has taken everything so far. Any thread."""
        return self._open

    def rest(self) -> bytes:
        """Return what the kernel did not take, once: for the transport."""
        with self._lock:
            rest, self._rest = self._rest, b""
        return rest

    def close(self) -> None:
        """Close; what is sent from now on is lost with the connection."""
        with self._lock:
            self._socket.close()
