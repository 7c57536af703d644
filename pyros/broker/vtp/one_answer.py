"""A TCP port for peers that say one thing and get one answer, both at once.

What comes with a connection is read at once, and the answer leaves at once.

Twisted has the kernel watch a connection, waits until it may read, has it watched for writing, waits again, and takes
it off the list: for one that lives a few milliseconds, that is much of what it costs. Here the kernel watches a
connection only while its peer has something to say or waits for its answer, and doesn't have to tell that it may be
written as long as it takes what is written. Everything is for the reactor's thread.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

_PACKET = 16_384  # bytes read at a time; most events fit

log = Logger(namespace="pyros.broker")


class OneAnswerConnection(Server):
    """One connection. While its protocol has not begun, reading and not reading are only noted."""

    server: OneAnswerPort
    bufferSize = _PACKET
    _begun = False
    _reading = False

    def __init__(self, sock: socket.socket, protocol: Any, client: Any, server: OneAnswerPort, *rest: Any) -> None:
        super().__init__(sock, protocol, client, server, *rest)
        server.accepted.append(self)

    def startReading(self) -> None:
        self._reading = True
        if self._begun:
            super().startReading()

    def stopReading(self) -> None:
        self._reading = False
        if self._begun:
            super().stopReading()

    def begin(self) -> None:
        """Read what has come already; have the kernel watch for the rest only when the protocol wants more."""
        try:
            if self.connected:
                self.doRead()  # its end, if this was that, shows again when the kernel watches
        except Exception:  # as the reactor would
            log.failure("{peer} could not be read from; its connection is closed", peer=self.client)
            self.abortConnection()
        self._begun = True
        if self.connected and self._reading:
            self.startReading()

    def finish(self, data: bytes) -> None:
        """Send the last words and close: now when the kernel takes them all, else as `write` and `loseConnection`."""
        if not self.connected or self.disconnecting:
            return
        sent = self.writeSomeData(data)
        if sent == len(data):
            self.stopReading()
            self.connectionLost(Failure(ConnectionDone()))
        else:
            self.write(data[sent:] if isinstance(sent, int) else data)
            self.loseConnection()


class OneAnswerPort(Port):
    """As Twisted's, with such connections."""

    transport = OneAnswerConnection  # type: ignore[assignment]  # Twisted wants the very class

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.accepted: list[OneAnswerConnection] = []

    def doRead(self) -> None:
        super().doRead()
        accepted, self.accepted = self.accepted, []
        for each in accepted:
            each.begin()
