"""Agent.start() and stop(): agents in a plain program, or in one whose reactor runs already (twistd).

A plain program gets one reactor in a background thread. The agents' own threads keep the program alive, and Ctrl-C or
SIGTERM ends them with their shutdown() run, unless the program has handlers of its own for these signals.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python import threadable
from twisted.python.failure import Failure

from pyros import config as configuration
from pyros.agents._host import Host
from pyros.clock import RealClock
from pyros.errors import AgentError

if TYPE_CHECKING:
    from pyros.agents.base import Agent

_T = TypeVar("_T")
_hosts: dict[str, Host] = {}
_guard = threading.Lock()
_STOP_TIMEOUT = 4.5


def start(agent: Agent, config: configuration.Config | str | None, timeout: float) -> None:
    """See `Agent.start`."""
    loaded = config if isinstance(config, configuration.Config) else configuration.load(config)
    reactor, mine = _reactor()
    host = Host(agent, loaded, reactor, RealClock(reactor), daemon=not mine)
    in_reactor(reactor, host.start)
    with _guard:
        _hosts[agent.name] = host
    host.stopped.addCallback(lambda _: _hosts.pop(agent.name, None))
    if mine:
        _watch_signals()
    if mine or not threadable.isInIOThread():
        host.ready.wait(timeout)
        if host.failure is not None:
            raise host.failure
        if not host.ready.is_set():
            agent.log.warn("work() of {name} has not returned yet; messages wait for it", name=agent.name)


def stop(agent: Agent, timeout: float) -> None:
    """See `Agent.stop`."""
    host = _hosts.get(agent.name)
    if host is None or host.agent is not agent:
        return
    ended = threading.Event()

    def end() -> None:
        host.stop()
        host.stopped.addBoth(lambda _: ended.set())

    in_reactor(host.reactor, end)
    if not ended.wait(timeout):
        raise AgentError(f"agent {agent.name!r} has not ended within {timeout:g} s")


def in_reactor(reactor: Any, function: Callable[[], _T]) -> _T:
    """Run a function in the reactor's thread and return what it returns or raise what it raises."""
    if not reactor.running or threadable.isInIOThread():
        return function()
    done = threading.Event()
    result: list[Any] = [None]

    def run() -> None:
        try:
            result[0] = function()
        except BaseException:
            result[0] = Failure()
        done.set()

    reactor.callFromThread(run)
    done.wait()
    if isinstance(result[0], Failure):
        result[0].raiseException()
    value: _T = result[0]
    return value


def _reactor() -> tuple[Any, bool]:
    """The reactor, and whether this module runs it: it does in a plain program."""
    from twisted.internet import reactor  # noqa: PLC0415  importing it installs it: not before somebody starts an agent

    running: Any = reactor
    with _guard:
        if not running.running and "twisted.application.app" in sys.modules and _under_twistd():
            running.addSystemEventTrigger("before", "shutdown", _stop_all_deferred)
            return running, False
        if not running.running:
            started = threading.Event()
            running.callWhenRunning(started.set)
            threading.Thread(
                target=running.run, kwargs={"installSignalHandlers": False}, name="pyros-reactor", daemon=True
            ).start()
            started.wait()
            _mine.append(running)
        return running, bool(_mine)


_mine: list[Any] = []


def _under_twistd() -> bool:
    return any(name in sys.modules for name in ("twisted.scripts.twistd", "twisted.scripts._twistd_unix"))


def _stop_all_deferred() -> Deferred[Any]:
    from twisted.internet.defer import DeferredList  # noqa: PLC0415

    return DeferredList([host.stop() for host in list(_hosts.values())], consumeErrors=True)


def _stop_all() -> None:
    for host in list(_hosts.values()):
        host.reactor.callFromThread(host.stop)
    for thread in threading.enumerate():
        if thread.name.startswith("pyros-") and not thread.daemon:
            thread.join(_STOP_TIMEOUT)


def _watch_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _: FrameType | None) -> None:
    """End the agents, then do what the signal does by default, unless the program had ended but for them."""
    _stop_all()
    if number == signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if threading.main_thread().is_alive():
            os.kill(os.getpid(), signal.SIGTERM)
    elif threading.main_thread().is_alive():
        raise KeyboardInterrupt
