"""What a process hangs on: a program that keeps its standard input open, and a terminal."""

from __future__ import annotations

import os
from contextlib import suppress

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.reactor import SystemReactor

log = Logger("pyros")


def has_terminal() -> bool:
    """Whether a terminal controls this process, and hangs up when it is closed (credentials(7))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


@implementer(IReadDescriptor)
class StandardInput:
    """Stops the reactor when standard input ends.

    A program that starts this process with a pipe there, and keeps the other end, needn't end it: when that program is
    gone, however it went, its end is closed.
    """

    def __init__(self, reactor: SystemReactor) -> None:
        self._reactor = reactor
        reactor.addReader(self)

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "standard input"

    def doRead(self) -> None:
        """Read what comes, which means nothing, until nothing more comes."""
        if not os.read(0, 65536):
            self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        self._reactor.removeReader(self)
        log.info("standard input has ended, and so does the observatory")
        with suppress(ReactorNotRunning):
            self._reactor.stop()
