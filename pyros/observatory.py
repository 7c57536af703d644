"""What makes up an observatory: its clock, its simulators, agents, broker and guardian, in one process."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.logger import Logger

from pyros import messages
from pyros.agents import Agent
from pyros.agents.options import mistakes
from pyros.agents.runtime import ending
from pyros.agents.runtime.host import Host
from pyros.clock import Clock, RealClock
from pyros.config import NOWHERE, Config
from pyros.errors import AgentError, ConfigError, JournalError, JournalInUse, PyrosError
from pyros.files import atomic_write
from pyros.garbage import LongLivedObjects
from pyros.guardian_process import GuardianProcess
from pyros.journal import SQLITE, AnyJournals
from pyros.orders import check_reloadable
from pyros.reactor import Reactor
from pyros.site import Site

if TYPE_CHECKING:  # numpy, lxml and Comet: twenty megabytes of each process that runs one agent without them
    from pyros import simulators
    from pyros.broker import Broker
    from pyros.guardian import Guardian

log = Logger("pyros")
_MIN_NIGHT_LEFT = timedelta(hours=1)


def load_agent(config: Config, name: str) -> Agent:
    """Make the agent of that section, without starting it.

    ``app`` names a module with one Agent subclass, or ``module:Class``. Raises ConfigError naming file, section and
    key, and UnknownAgent.
    """
    section = config.agent(name)
    if not section.app:
        raise ConfigError([f"{config.path}: [{name}] app: missing: name the module of this agent"])
    where = f"{config.path}: [{name}] app: {section.app}"
    module_name, _, class_name = section.app.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError([f"{where} cannot be imported: {error}"]) from None
    classes = [
        value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Agent)
        and value.__module__ == module.__name__
        and class_name in ("", key)
    ]
    if len(classes) != 1:
        names = ", ".join(klass.__name__ for klass in classes) or "none"
        raise ConfigError([f"{where} must have one Agent class (there are: {names}); write {module_name}:ClassName"])
    try:
        make: Any = classes[0]
        agent: Agent = make(name) if make.many else make()
    except TypeError as error:
        how = "with its section's name" if make.many else "without arguments"
        raise ConfigError([f"{where}: {classes[0].__name__} must be made {how}: {error}"]) from None
    if agent.name == section.kind:
        agent.rename(name)
    if agent.name != name:
        raise ConfigError(
            [f"{where}: {classes[0].__name__} calls itself {agent.name!r}; the section's name must be that"]
        )
    others = not type(agent).__module__.startswith("pyros.")  # an agent of one's own asks for what it likes
    if wrong := mistakes(section.options, agent.OPTIONS, others=others):
        raise ConfigError([f"{config.path}: [{name}] {key}: {what}" for key, what in wrong.items()])
    agent.check_needs(config.seen_from(section.unit))
    return agent


def clock_for(config: Config, reactor: Reactor | None) -> RealClock:
    """Make the observatory's clock: the computer's, or, with ``clock = night``, shifted into its site's night.

    The shift is noted in the data folder, so that all processes of the observatory share it, and those that start again
    in the same night too. Raises PlanningError or ConfigError: a bad site, or the note can't be written.
    """
    scheduler = cast("Reactor", reactor)  # without one only the time is wanted
    real = RealClock(scheduler)
    if config.clock == "real":
        return real
    from pyros.planning.visibility import is_night, next_night  # noqa: PLC0415

    site, now, note = (
        Site.load(config.required("site", "clock = night")),
        real.now(),
        config.clock_shift,
    )
    try:
        shift = timedelta(seconds=float(note.read_text()))
        usable = all(is_night(site, now + shift + ahead) for ahead in (timedelta(0), _MIN_NIGHT_LEFT))
    except (OSError, ValueError):
        usable = False
    if not usable:
        shift = next_night(site, now) - now
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(note, shared=True) as partial:
                partial.write_text(f"{shift.total_seconds()}\n")
        except OSError as error:
            problem = f"{config.path}: [observatory] data: {config.data} cannot be written: {error.strerror}"
            raise ConfigError([f"{problem}; name a folder of your own"]) from None
    return RealClock(scheduler, offset=shift.total_seconds())


class RunningObservatory:
    """Simulators, agents and broker in one process. Every method is for the reactor's thread."""

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        clock: Clock,
        *,
        agents: Iterable[str] | None = None,
        with_broker: bool = True,
        with_simulators: bool = True,
        threaded: bool = True,
        durable: bool = True,
        journals: AnyJournals = SQLITE,
        seed: str = "",
        guardian: Literal["none", "process", "inline"] = "none",
    ) -> None:
        """Make everything, without starting it.

        ``agents`` are the names of those to run, all of them by default. ``threaded=False``, ``durable=False`` and
        ``seed`` are for rehearsals: everything inline, no syncs, and journals named from the seed; ``journals``, too:
        where the agents' are kept. ``guardian``: where the configuration has one, whether it is started as a process of
        its own, or, in a rehearsal, inline.

        Raises ConfigError listing every mistake that can be found before anything runs.
        """
        self.config = config
        how: dict[str, Any] = {"threaded": threaded, "durable": durable}

        def epoch(name: str) -> str:
            return f"{seed}-{name}" if seed else ""

        problems: list[str] = []
        self.clock = clock
        self.simulators: list[simulators.Simulator] = []
        if config.simulators and with_simulators:
            from pyros import simulators  # noqa: PLC0415

            for path in config.simulators:
                try:
                    self.simulators.append(simulators.Simulator(simulators.load(path), reactor, clock))
                except PyrosError as error:
                    problems += str(error).splitlines()
        self.hosts: dict[str, Host] = {}
        for name in config.agents if agents is None else agents:
            if agents is None and not config.agents[name].app:
                log.info("[{name}] names no app: a program of its own runs that agent", name=name)
                continue
            try:
                agent = load_agent(config, name)
                self.hosts[name] = Host(agent, config, reactor, clock, **how, epoch=epoch(name), journals=journals)
            except PyrosError as error:
                problems += str(error).splitlines()
        self.failure: PyrosError | None = None
        """Why `start` failed; known at once, while what had started may still be ending."""
        self.broker: Broker | None = None
        if with_broker and config.broker is not None:
            from pyros.broker import Broker  # noqa: PLC0415

            self.broker = Broker(config, reactor, clock, **how, epoch=epoch("broker"))
        self.guardians: list[Guardian | GuardianProcess] = []
        for seen in config.guarded() if guardian != "none" else ():
            if guardian == "inline":
                from pyros.guardian import Guardian  # noqa: PLC0415

                self.guardians.append(Guardian(seen, reactor, clock, send=partial(self._tell_agent, seen)))
            elif seen.guardian is not None:
                simulated = bool(self.simulators)
                self.guardians.append(GuardianProcess(seen, seen.guardian, reactor, clock, simulated=simulated))
        if problems:
            raise ConfigError(problems)
        self._long_lived = LongLivedObjects(clock, self.has_begun) if threaded else None

    def start(self) -> Deferred[None]:
        """Start the simulators, then the guardian, the agents, the broker; if one fails, stop what had started."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            for simulator in self.simulators:
                await simulator.start()
            for guardian in self.guardians:
                guardian.start()
            for host in self.hosts.values():
                host.start()
            if self.broker is not None:
                started = self.broker.start()
                self.failure = self.broker.failure
                await started
            if self._long_lived is not None:
                self._long_lived.start()
        except PyrosError as error:
            self.failure = error
            if isinstance(error, (JournalError, ConfigError)) and not isinstance(error, JournalInUse):
                for host in self.hosts.values():  # nobody else does it, and the devices may be open
                    host.make_safe_without_journal(str(error))
            await self.stop()
            raise

    def reload(self) -> None:
        """Have the agents of this process read site and rules again; raises ConfigError, and nothing has changed."""
        check_reloadable(self.config)
        for name, host in self.hosts.items():
            if host.running:
                host.post(messages.RELOAD_SITE, b"{}")
                if name == Agent.ALERT_MANAGER and self.config.alert_rules != NOWHERE:
                    host.post(messages.RELOAD_RULES, b"{}")

    @property
    def left(self) -> str:
        """What isn't made safe yet while it ends, in words; '' for nothing."""
        return ending.left(self.hosts.values())

    def has_begun(self) -> bool:
        """Whether the work() of every agent has returned."""
        return all(host.ready.is_set() for host in self.hosts.values())

    def hanging(self, seconds: float) -> list[str]:
        """Return the agents whose threads have passed between no two turns for so many seconds.

        Asks them to pass again: what is only idle has passed when this is called the next time.
        """
        now = self.clock.monotonic()
        return [
            name for name, host in self.hosts.items() if host.running and now - host.loop.heard_of_thread() > seconds
        ]

    def stop(self) -> Deferred[Any]:
        """Make safe what the agents move, then end: broker and agents, then the guardian, at last the simulators.

        Fires when nothing is left.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._long_lived is not None:
            self._long_lived.stop()
        broker = maybeDeferred(self.broker.stop) if self.broker is not None else succeed(None)
        concerned = [host for host in self.hosts.values() if host.running or host.unsafe]
        await DeferredList([broker, ending.stop(concerned, "the observatory ends")], consumeErrors=True)
        for guardian in self.guardians:
            await guardian.stop()
        for simulator in self.simulators:
            await simulator.stop()

    def _tell_agent(self, seen: Config, agent: str, name: str, payload: Any) -> None:
        """Pass an inline guardian's word to an agent of its unit; raises AgentError when that isn't there."""
        section = seen.agents.get(agent)
        host = self.hosts.get(section.name) if section is not None else None
        if host is None or not host.running:
            raise AgentError(f"{agent} is not there")
        host.post(name, messages.encode_payload(name, payload))
