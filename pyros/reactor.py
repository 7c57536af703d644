"""What PYROS asks of a Twisted reactor, as one type."""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorProcess,
    IReactorSocket,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
    IReactorUDP,
)


class Reactor(IReactorCore, IReactorTime, IReactorTCP, IReactorThreads):
    """What all parts are given: the installed reactor, or a rehearsal's (`pyros.rehearsal.reactor.MemoryReactor`)."""


class SystemReactor(Reactor, IReactorFDSet, IReactorProcess, IReactorSocket, IReactorUDP):
    """The installed reactor, with what a rehearsal lacks: processes, descriptors and datagrams."""


def installed_reactor() -> SystemReactor:
    """Return the reactor of this process; the first call installs Twisted's default one."""
    from twisted.internet import reactor  # noqa: PLC0415  installs it

    return cast("SystemReactor", reactor)
