"""A reactor that isn't there: virtual time and in-memory connections in one thread.

Agents, broker and simulators are given a reactor; given this one they are the same classes and exchange the same bytes,
while hours pass in seconds and the same run gives the same log. Several reactors may share one timeline and one
network: each is then what one process, or one device, has for a reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from pyros.reactor import Reactor
from pyros.rehearsal.network import MemoryPort, Network
from pyros.rehearsal.timeline import GRAIN_SECONDS, Call, Timeline


@implementer(Reactor)
class MemoryReactor:
    """The parts of a Twisted reactor that PYROS, Comet and the drivers use."""

    running = True

    def __init__(self, timeline: Timeline | None = None, network: Network | None = None, node: str = "") -> None:
        """Take the timeline and network that it shares with others; by default it is alone.

        ``node`` is its name in the network.
        """
        self.timeline = timeline or Timeline()
        self.network = network or Network(self.timeline)
        self.node = node
        self.alive = True
        """Whether what runs on it lives: what is dead calls nothing and sends nothing any more."""
        self.origin = 0.0
        """The timeline's instant from which `seconds` count."""

    @property
    def listening(self) -> dict[int, MemoryPort]:
        """The open ports, of all reactors that share the network."""
        return self.network.listening

    def run_until(self, seconds: float, done: Callable[[], bool] | None = None) -> bool:
        """Let virtual time pass up to ``seconds`` (as `seconds` tells it), or until ``done()``; returns ``done()``."""
        return self.timeline.run_until(self.origin + seconds, done)

    # IReactorTime ------------------------------------------------------------------------------------------------

    def seconds(self) -> float:
        return self.timeline.now - self.origin

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Call:  # noqa: A002  Twisted's name
        if 0 < delay < GRAIN_SECONDS:
            delay = GRAIN_SECONDS
        return self.timeline.call_at(self.timeline.now + delay, self, callable, args, kw)

    def getDelayedCalls(self) -> list[Call]:
        return [call for call in self.timeline.waiting() if call.owner is self]

    def run_call(self, call: Call) -> None:
        """Make a call whose time has come, unless this reactor is dead."""
        if self.alive:
            call.function(*call.args, **call.keywords)

    # IReactorTCP -------------------------------------------------------------------------------------------------

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        return self.network.listen(self, port, factory, interface)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803  IReactorTCP's name
    ) -> Any:
        return self.network.connect(self, host, port, factory, timeout)

    # IReactorCore and threads: everything happens in this thread -------------------------------------------------

    def callFromThread(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002  Twisted's name
        self.callLater(0, callable, *args, **kw)

    def callInThread(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002  Twisted's name
        callable(*args, **kw)

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002  Twisted's name
        self.callLater(0, callable, *args, **kw)

    def addSystemEventTrigger(self, *_: Any, **__: Any) -> None:
        """Nothing ends this reactor."""

    def removeSystemEventTrigger(self, _: Any) -> None:
        """Nothing was added."""

    def fireSystemEvent(self, _: str) -> None:
        """Nothing listens."""

    def resolve(self, name: str, _: Any = ()) -> Deferred[str]:
        return succeed(name)

    def run(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def stop(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def crash(self) -> None:
        raise RuntimeError("a rehearsal's time passes in run_until")

    def iterate(self, delay: float = 0) -> None:
        self.run_until(self.seconds() + delay)

    def getThreadPool(self) -> Any:
        return self

    def suggestThreadPoolSize(self, _: int) -> None:
        """There are no threads."""

    def callInThreadWithCallback(self, on_result: Any, function: Any, *args: Any, **kw: Any) -> None:
        try:
            result: Any = function(*args, **kw)
        except Exception:
            on_result(False, Failure())
        else:
            on_result(True, result)
