"""The options and services that twistd starts: the observatory, an agent, the broker, the guardian, simulators."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from pyros import config as configuration
from pyros.agents.runtime import ending
from pyros.agents.runtime.host import Host
from pyros.clock import RealClock, Timer, cancel_call
from pyros.config import Config
from pyros.console_process import ConsoleProcess
from pyros.errors import ConfigError, PyrosError
from pyros.lifeline import StandardInput, has_terminal
from pyros.logs import keep_printable, write_log
from pyros.observatory import RunningObservatory, clock_for
from pyros.permissions import umask
from pyros.reactor import installed_reactor
from pyros.service_manager import ServiceManager

if TYPE_CHECKING:  # dear to import, and not for who runs one agent
    from pyros import simulators

log = Logger("pyros")
_ITERATE_SECONDS = 0.05


class NotStarted(Exception):
    """A service cannot start, for what the user can mend; raised where twistd starts it.

    Not SystemExit: twistd as a daemon would leave its parent, and the shell, waiting for ever.
    """


NotStarted.__module__ = "builtins"  # the shell is shown the first 100 characters of the error with its class


def _end_with_a_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Tell `NotStarted` by its words alone, on standard error or, of a daemon, in the log that twistd makes of it."""
    if isinstance(error, NotStarted):
        print(error, file=sys.stderr)  # noqa: T201
    else:
        sys.__excepthook__(kind, error, traceback)


class ObservatoryService(Service):
    """A running observatory under twistd, until standard input ends where that is wanted."""

    def __init__(
        self, config: Config, *, until_stdin_ends: bool = False, with_console: bool = False, **what: Any
    ) -> None:
        """Make the `RunningObservatory` of ``what``; ``with_console`` also the configured console."""
        self._reactor = installed_reactor()
        self._umask = umask(config.group)
        os.umask(self._umask)
        self.observatory = RunningObservatory(config, self._reactor, clock_for(config, self._reactor), **what)
        self._manager = ServiceManager(self.observatory.clock)
        self._alone = what.get("agents") is not None
        self._until_stdin_ends = until_stdin_ends
        self._console: ConsoleProcess | None = None
        if with_console and config.console is not None and config.console.run:
            if find_spec("django") is not None:
                self._console = ConsoleProcess(config, self._reactor, self.observatory.clock)
            else:
                log.warn("{path}: [console]: not started; it needs: pip install 'pyros-observatory[console]'",
                         path=config.path)  # fmt: skip
        self._ending_since = 0.0

    def startService(self) -> None:
        """Start, or end twistd with one line that says why not."""
        super().startService()
        os.umask(self._umask)  # a daemon has been given another one meanwhile
        if self._until_stdin_ends:
            self._reactor.callWhenRunning(StandardInput, self._reactor)
        self._hear_hang_up()
        started = self.observatory.start()
        if self.observatory.failure is not None:
            started.addErrback(lambda _: None)  # told here
            while self.observatory.left:  # no longer than each agent may take for it
                self._reactor.iterate(_ITERATE_SECONDS)
            raise NotStarted(f"pyros: {self.observatory.failure}")
        started.addErrback(self._failed)
        self._manager.watch(lambda: started.called and self.observatory.has_begun(), self.observatory.hanging)
        if self._console is not None:
            self._reactor.callWhenRunning(self._console.start)
        for host in self.observatory.hosts.values():
            host.stopped.addCallback(self._ended, host)

    def stopService(self) -> Deferred[Any]:
        """Make safe and end; a second signal ends at once, as it is."""
        super().stopService()
        self._manager.stop()
        self._ending_since = self.observatory.clock.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end_at_once)
        parts = [self.observatory.stop(), *([self._console.stop()] if self._console is not None else [])]
        return gatherResults(parts, consumeErrors=True)

    def _hear_hang_up(self) -> None:
        """Have a terminal that is closed end the observatory cleanly, unless that is to be ignored (nohup).

        A service has no terminal: there the signal means, as it does elsewhere, that files are to be read again.
        """
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            hang_up = self._hung_up if has_terminal() else self._reload
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(hang_up))

    def _reload(self) -> None:
        try:
            self.observatory.reload()
        except ConfigError as error:
            log.error("site and rules stay as they were: {problems}", problems="; ".join(error.problems))

    def _hung_up(self) -> None:
        if self.running:
            log.info("the terminal was closed, and the observatory ends")
            with suppress(ReactorNotRunning):
                self._reactor.stop()

    def _end_at_once(self, *_: object) -> None:
        """End the process at the second signal, as it is."""
        if self.observatory.clock.monotonic() - self._ending_since > ending.SAME_SIGNAL_SECONDS:
            ending.exit_at_once(self.observatory.hosts.values())

    def _failed(self, failure: Failure) -> None:
        if self.running:
            log.critical("{reason}", reason=failure.getErrorMessage())
            self._stop_as_failed()

    def _stop_as_failed(self) -> None:
        """By itself twistd's exit code is 0; whoever supervises the process shall see that it failed."""
        with suppress(ReactorNotRunning):  # somebody has stopped it a moment ago
            self._reactor.stop()
            self._reactor.addSystemEventTrigger("after", "shutdown", atexit.register, os._exit, 1)

    def _ended(self, _: None, ended: Host) -> None:
        """End the process when an agent has failed, or when the last agent of a process for agents only has ended.

        An observatory in which an agent could not begin or go on is not one.
        """
        if not self.running:
            return
        others = any(host.running for host in self.observatory.hosts.values())
        if ended.failure is not None:
            what = "cannot go on" if ended.worked else "could not start"
            log.critical("{agent} {what}: {reason}", agent=ended.agent.name, what=what, reason=ended.failure)
            self._stop_as_failed()
        elif self._alone and not others:
            log.info("the agent has ended")
            with suppress(ReactorNotRunning):  # a signal has stopped it a moment ago
                self._reactor.stop()


class GuardianService(Service):
    """The guardian under twistd.

    It ends as it is told, but not before the dome is closed while it is what keeps it closed. One that an observatory
    has started ends by itself when that is gone and the dome is closed.
    """

    def __init__(self, config: Config, *, parent: int | None = None, simulated: bool = False) -> None:
        """``parent`` is the process that started it; ``simulated``: the devices live in that one, too.

        Raises ConfigError.
        """
        self._reactor = installed_reactor()
        self._umask = umask(config.group)
        self._parent, self._simulated = parent, simulated
        from pyros.guardian import Guardian  # noqa: PLC0415

        self.guardian = Guardian(config, self._reactor, RealClock(self._reactor))
        self._manager = ServiceManager(self.guardian.clock)
        self._timer: Timer | None = None

    def startService(self) -> None:
        """Start, or end twistd with one line that says why not."""
        super().startService()
        os.umask(self._umask)
        try:
            self.guardian.start()
        except PyrosError as error:
            raise NotStarted(f"pyros: {error}") from None
        self._manager.watch(lambda: True)
        if self._parent is not None:
            self._watch_parent()

    def _watch_parent(self) -> None:
        self._timer = self.guardian.clock.call_later(self.guardian.section.poll, self._watch_parent)
        if os.getppid() != self._parent and self._is_done():
            log.info("the observatory that started the guardian is gone, and the dome is {state}: it ends",
                     state=self.guardian.state)  # fmt: skip
            with suppress(ReactorNotRunning):
                self._reactor.stop()

    def _is_done(self) -> bool:
        """Whether nothing is left to be closed: the dome is closed, or went with the process that simulated it."""
        gone = self._simulated and os.getppid() != self._parent
        return self.guardian.state == "closed" or (gone and self.guardian.state == "unknown")

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        self._manager.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.guardian.look()
        beats = self.guardian.beats
        while self.guardian.beats == beats and not self._is_done():  # else the dome's agent will close it
            await deferLater(self._reactor, self.guardian.section.poll)
        cancel_call(self._timer)
        await self.guardian.stop()


def _log_format(word: str) -> str:
    if word not in ("text", "json"):
        raise ValueError(f"{word!r} is neither text nor json")
    return word


class Options(usage.Options):
    """The options of every service: the configuration's file."""

    optParameters: list[list[Any]] = [  # noqa: RUF012  Twisted's way
        ["config", "c", None, "The configuration file (else $PYROS_AGENT_CONFIG, else ./pyros_agent_config.ini)."],
        ["log-format", None, "text", "How the log is written: text, or json, an object a line.", _log_format],
    ]

    def postOptions(self) -> None:
        """Have the log written in that format, and a file of it rotated; in twistd's own options, which come first."""
        twistds: Any = self.parent
        as_json, file = self["log-format"] == "json", twistds["logfile"]
        if as_json or file not in (None, "-"):
            path = file or ("-" if twistds["nodaemon"] else "twistd.log")
            twistds["logger"] = write_log(path, as_json=as_json)

    def load(self) -> Config:
        """Read the configuration; raises ConfigError."""
        return configuration.load(self["config"])


class ObservatoryOptions(Options):
    """twistd -n pyros"""

    longdesc = "Run the whole observatory in one process: simulators, agents and broker of the configuration."
    optFlags = [  # noqa: RUF012
        ["no-simulators", None, "Do not run the simulators that the configuration names."],
        ["no-console", None, "Do not start the console that the configuration has."],
        ["until-stdin-ends", None, "End when standard input does: when the program that keeps it open is gone."],
    ]


class AgentOptions(Options):
    """twistd -n pyros-agent"""

    longdesc = "Run one agent of the configuration."
    optParameters = [["agent", "a", None, "The agent's name: its section in the configuration."]]  # noqa: RUF012

    def postOptions(self) -> None:
        super().postOptions()
        if not self["agent"]:
            raise usage.UsageError("name the agent: --agent=scheduler")


class BrokerOptions(Options):
    """twistd -n pyros-broker"""

    longdesc = "Run the VOEvent broker of the configuration."


class GuardianOptions(Options):
    """twistd -n pyros-guardian"""

    longdesc = "Run the guardian of the configuration, which closes the dome when the dome's agent is silent."
    optParameters: list[list[Any]] = [  # noqa: RUF012
        ["unit", None, "", "Of several telescopes, the unit of the one whose dome it closes."],
        ["parent", None, None, "The process that started it: without that it ends when the dome is closed.", int],
    ]
    optFlags = [["simulated", None, "The devices are simulated by that process."]]  # noqa: RUF012


class SimulatorOptions(Options):
    """twistd -n pyros-simulator"""

    synopsis = "[options] FILE.yaml..."
    longdesc = "Run simulated instruments, each described by a YAML file."

    def parseArgs(self, *files: str) -> None:
        self["files"] = [Path(file) for file in files]
        if not files:
            raise usage.UsageError("name the YAML file of a simulator")


def telling_mistakes(function: Callable[..., Service]) -> Callable[..., Service]:
    """Have mistakes in the user's files end twistd with a line each: it shows a traceback for anything else."""

    @wraps(function)
    def make(options: Any) -> Service:
        if sys.excepthook is not _end_with_a_line:
            sys.excepthook = _end_with_a_line
        keep_printable()  # twistd adds the observers that write when it has got the service
        try:
            return function(options)
        except PyrosError as error:
            raise SystemExit("\n".join(f"pyros: {line}" for line in str(error).splitlines())) from None

    return make


@telling_mistakes
def observatory_service(options: ObservatoryOptions) -> Service:
    """For the plugin ``pyros``."""
    return ObservatoryService(
        options.load(),
        guardian="process",
        with_simulators=not options["no-simulators"],
        until_stdin_ends=bool(options["until-stdin-ends"]),
        with_console=not options["no-console"],
    )


@telling_mistakes
def agent_service(options: AgentOptions) -> Service:
    """For the plugin ``pyros-agent``."""
    return ObservatoryService(options.load(), agents=[options["agent"]], with_broker=False, with_simulators=False)


@telling_mistakes
def broker_service(options: BrokerOptions) -> Service:
    """For the plugin ``pyros-broker``."""
    config = options.load()
    if config.broker is None:
        raise ConfigError([f"{config.path}: [broker]: the section is missing"])
    return ObservatoryService(config, agents=[], with_simulators=False)


@telling_mistakes
def guardian_service(options: GuardianOptions) -> Service:
    """For the plugin ``pyros-guardian``."""
    config = options.load().seen_from(options["unit"])
    return GuardianService(config, parent=options["parent"], simulated=bool(options["simulated"]))


@telling_mistakes
def simulator_service(options: SimulatorOptions) -> Service:
    """For the plugin ``pyros-simulator``; without a configuration the clock is the computer's."""
    reactor = installed_reactor()
    clock = clock_for(options.load(), reactor) if options["config"] else RealClock(reactor)
    from pyros import simulators  # noqa: PLC0415

    return SimulatorService([simulators.Simulator(simulators.load(file), reactor, clock) for file in options["files"]])


class SimulatorService(Service):
    """Simulators under twistd."""

    def __init__(self, simulated: list[simulators.Simulator]) -> None:
        self._simulators = simulated

    def startService(self) -> None:
        super().startService()
        failed: list[Failure] = []
        for simulator in self._simulators:
            simulator.start().addErrback(failed.append)
        if failed:
            raise NotStarted(f"pyros-simulator: {failed[0].getErrorMessage()}")

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return DeferredList([simulator.stop() for simulator in self._simulators], consumeErrors=True)
