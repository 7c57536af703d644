"""The socket on which systemd hears of a service, by sd_notify(3)."""

from __future__ import annotations

import socket


class Systemd:
    """What listens at NOTIFY_SOCKET: a path, or @ and a name that is in no folder."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address.replace("@", "\0"))

    def heard(self) -> list[str]:
        """Return what was told since the last call, and keep it in ``told``."""
        known = len(self.told)
        while True:
            try:
                self.told.append(self._socket.recv(1000).decode())
            except BlockingIOError:
                return self.told[known:]

    def close(self) -> None:
        self._socket.close()
