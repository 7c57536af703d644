"""Agent.start() and stop(): agents in a plain program, or in one whose reactor runs already (twistd).

A plain program gets one reactor in a background thread. The agents' own threads keep the program alive, and Ctrl-C,
SIGTERM or SIGHUP ends them: what they move is made safe, and their shutdown() runs, unless the program has handlers of
its own for these signals. A second signal while something is being made safe ends the program at once, as it is.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TextIO, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python import threadable
from twisted.python.failure import Failure

from pyros import config as configuration
from pyros.agents.runtime import ending
from pyros.agents.runtime.host import Host
from pyros.agents.runtime.hosted import Hosted
from pyros.clock import Deadline, RealClock, steady_seconds
from pyros.errors import AgentError
from pyros.logs import keep_printable
from pyros.reactor import Reactor, SystemReactor, installed_reactor

_T = TypeVar("_T")
hosts_here: dict[str, Host] = {}
"""The agents of this program that run, by their names."""
_guard = threading.Lock()
_REACTOR_SECONDS = 4.5  # for its thread to hear of the end, and to end the agents when they are safe
STOP_SECONDS = 4.5
_JOIN_SECONDS = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(agent: Hosted, config: configuration.Config | str | None, timeout: float) -> None:
    """See `Agent.start`."""
    if _under_djangos_reloader():
        raise AgentError(
            f"agent {agent.name!r} cannot be started under Django's reloader, which runs AppConfig.ready in two"
            " processes and ends neither: use `runserver --noreload`, or start the agent in a process of its own"
        )
    loaded = config if isinstance(config, configuration.Config) else configuration.load(config)
    reactor, mine = _reactor()
    if mine:
        _watch_signals(reactor)
    host = Host(agent, loaded, reactor, RealClock(reactor), daemon=not mine)
    ended = threading.Event()

    def begin() -> None:
        host.start()
        hosts_here[agent.name] = host

    def end(_: object) -> None:
        if hosts_here.get(agent.name) is host:
            del hosts_here[agent.name]
        if mine and host.worked and host.failure is not None:
            atexit.register(exit_as_failed)
        ended.set()

    host.stopped.addCallback(end)
    elsewhere = mine or not threadable.isInIOThread()
    try:
        in_reactor(reactor, begin)
        if elsewhere:
            host.ready.wait(timeout)
            if host.failure is not None:
                raise host.failure
            if not host.ready.is_set():
                agent.log.warn("work() of {name} has not returned yet; messages wait for it", name=agent.name)
    except BaseException:  # Ctrl-C as well
        if mine and elsewhere:
            in_reactor(reactor, lambda: host.stop() if host.running else None)
            while host.unsafe or (host.begun and not ended.wait(timeout) and host.unsafe):
                ended.wait(_JOIN_SECONDS)  # so that nothing of it is left when this raises
        raise


def _under_djangos_reloader() -> bool:
    """Whether this is the process that watches Django's sources, or the one that it restarts when they change."""
    watching = "django" in sys.modules and sys.argv[1:2] == ["runserver"] and "--noreload" not in sys.argv
    return watching or os.environ.get("RUN_MAIN") == "true"


def exit_as_failed() -> None:
    """End the program with code 1: it has done all that it had to, but an agent of it could not go on."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def stop(agent: Hosted, timeout: float) -> None:
    """See `Agent.stop`."""
    host = hosts_here.get(agent.name)
    if host is None or host.agent is not agent:
        return
    ended = threading.Event()

    def end() -> None:
        host.stop()
        host.stopped.addBoth(lambda _: ended.set())

    in_reactor(host.reactor, end)
    while not ended.wait(timeout) and host.unsafe:
        continue
    if not ended.is_set():
        raise AgentError(f"agent {agent.name!r} has not ended within {timeout:g} s")


def in_reactor(reactor: Reactor, function: Callable[[], _T]) -> _T:
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


def background_reactor() -> SystemReactor:
    """Return the reactor, running in a thread of its own: for a plain program that talks to devices itself."""
    return _reactor()[0]


def _reactor() -> tuple[SystemReactor, bool]:
    """Return the reactor, and whether this module runs it: it does in a plain program."""
    running = installed_reactor()  # not before an agent is started
    with _guard:
        if not running.running and "twisted.application.app" in sys.modules and _under_twistd():
            running.addSystemEventTrigger("before", "shutdown", _end_all)
            return running, False
        if not running.running:
            _log_to_stderr()
            started = threading.Event()
            running.callWhenRunning(started.set)
            threading.Thread(
                target=running.run, kwargs={"installSignalHandlers": False}, name="pyros-reactor", daemon=True
            ).start()
            started.wait()
            _mine.append(running)
        return running, bool(_mine)


_mine: list[SystemReactor] = []
_signalled: list[float] = []
"""When the signal came that ends the agents; empty while none does."""


class _Stderr:
    """The program's stderr of the moment: the reactor outlives what a caller put there for a while."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _log_to_stderr() -> None:
    """Warnings and errors of the agents, on a program's stderr, unless it has begun a log of its own."""
    keep_printable()
    if getattr(globalLogBeginner, "_temporaryObserver", None) is None:
        return
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(cast("TextIO", _Stderr())), [predicate])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _under_twistd() -> bool:
    return any(name in sys.modules for name in ("twisted.scripts.twistd", "twisted.scripts._twistd_unix"))


def _end_all() -> Deferred[None]:
    return ending.stop(hosts_here.values(), "the program ends")


def _stop_all() -> bool:
    """Make safe what the agents move, and end them; False when one does not end in time."""
    hosts = list(hosts_here.values())
    if hosts:
        begun = threading.Event()
        hosts[0].reactor.callFromThread(_end_all)
        hosts[0].reactor.callFromThread(begun.set)
        begun.wait(_REACTOR_SECONDS)
    deadline = Deadline(STOP_SECONDS)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("pyros-") and not thread.daemon]
    for thread in threads:
        while thread.is_alive() and (deadline.left() or ending.left(hosts)):
            if ending.left(hosts):
                deadline = Deadline(_REACTOR_SECONDS)  # which counts from when that is safe
            thread.join(_JOIN_SECONDS)
    return not any(thread.is_alive() for thread in threads)


class _SignalPipe:
    """Stops the agents in the reactor's thread as soon as a signal comes.

    Python runs its handlers in the main thread only, and a signal that comes just before that thread begins to wait for
    the others' end would be seen when they have ended: never.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def install(self, reactor: SystemReactor) -> None:
        """Unless the program has one of its own. In the main thread."""
        other = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if other == -1:
            reactor.callFromThread(reactor.addReader, self)
        else:
            signal.set_wakeup_fd(other)

    def fileno(self) -> int:
        return self._read

    def logPrefix(self) -> str:
        return "signals"

    def doRead(self) -> None:
        if any(number in _SIGNALS and signal.getsignal(number) is _on_signal for number in os.read(self._read, 64)):
            _end_all()

    def connectionLost(self, reason: Failure) -> None:
        """Note that the reactor has ended, and the program with it."""


def _watch_signals(reactor: SystemReactor) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not _on_signal and signal.getsignal(signal.SIGTERM) is not _on_signal:
        _SignalPipe().install(reactor)
    defaults = (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL)
    for number, default in zip(_SIGNALS, defaults, strict=True):
        if signal.getsignal(number) is default:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _: FrameType | None) -> None:
    """End the agents, then do what the signal does by default, unless the program had ended but for them."""
    if _signalled:  # it interrupts what follows here
        if number != signal.SIGHUP and steady_seconds() - _signalled[0] > ending.SAME_SIGNAL_SECONDS:
            ending.exit_at_once(hosts_here.values())
        return
    _signalled.append(steady_seconds())
    ended = _stop_all()
    _signalled.clear()
    if number != signal.SIGINT or not ended:  # a handler that hangs would keep the program alive
        signal.signal(number, signal.SIG_DFL)
        if threading.main_thread().is_alive() or not ended:
            os.kill(os.getpid(), number)
    elif threading.main_thread().is_alive():
        raise KeyboardInterrupt
