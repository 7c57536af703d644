"""The processes of a rehearsed observatory: each lives on a reactor of its own, can be killed, and begins again.

A process that is killed between two calls simply stops. One that is to die at a step of a turn (`STEPS`) is stopped in
the middle of it: what it had committed or sent until then stays, and nothing else of the turn is ever seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.jobs import JobsAgent
from pyros.agents.runtime.host import Host
from pyros.broker import Broker
from pyros.clock import cancel_call
from pyros.config import Config
from pyros.errors import AgentError, PyrosError
from pyros.guardian import Guardian
from pyros.journal import AnyJournals, Effects
from pyros.observatory import load_agent
from pyros.rehearsal.computer import Computer, ProcessClock, TrueClock
from pyros.rehearsal.jobs import RehearsedJobs
from pyros.rehearsal.network import Network
from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.script import DEVICE
from pyros.rehearsal.timeline import Call, Timeline
from pyros.simulators import Description, Simulator
from pyros.simulators.device import SimulatedDevice

AGAIN_SECONDS = 10.0
"""What ends by itself is started again so much later, as a service manager does."""
JOB_SECONDS = 0.3
"""What another thread or process does, such as writing an image, is known so much later."""


class Killed(BaseException):
    """The process dies here; it is caught where the process's call began."""


class World(Protocol):
    """What the processes of one night share, and who hears what they do."""

    timeline: Timeline
    network: Network
    computer: Computer
    config: Config
    current: Node | None
    journals: AnyJournals
    """Where the agents' journals are kept."""
    archives: bool
    """Whether the broker archives what it takes."""
    jobs: RehearsedJobs
    """What the queues' jobs do."""

    happened: Callable[[tuple[str, float, str, str]], object]
    """Hears of what is about to happen, as the night's log wants it: kind, time, who and what."""
    turns: int
    """How many turns have begun."""

    def on_error(self, node: str, error: Exception) -> None:
        """Hear that a call of a process or device has raised what a reactor would log."""
        ...

    def on_commit(self, node: str, epoch: str, effects: Effects) -> None:
        """Hear that a process has committed a turn."""
        ...

    def on_life(self, node: str, what: str) -> None:
        """Hear that a process has begun or ended."""
        ...

    def on_job(self, function: Any) -> Any:
        """Return what is done in the place of a worker's job."""
        ...

    def on_device(self, device: DeviceNode) -> None:
        """Hear that a device has done something."""
        ...

    def on_request(self, device: DeviceNode, line: str) -> None:
        """Hear that a device was asked something."""
        ...


class Node(Protocol):
    """Who has a reactor."""

    name: str

    called: Callable[[], None] | None
    """Hears that one of its calls has been made."""

    def die(self) -> None:
        """End at once, in the middle of a call."""
        ...

    def job(self, function: Any) -> Any:
        """Return what is done for a job of another thread or process."""
        ...


class Outsider:
    """Who takes part and is neither process nor device: who sends alerts, a person."""

    def __init__(self, name: str) -> None:
        self.name = name

        self.called: Callable[[], None] | None = None

    def die(self) -> None:
        """Live on: nothing kills it."""

    def job(self, function: Any) -> Any:
        return function


class NodeReactor(MemoryReactor):
    """The reactor of one process or device."""

    def __init__(self, world: World, node: Node, origin: float) -> None:
        super().__init__(world.timeline, world.network, node.name)
        self.origin = origin
        self._world, self._owner = world, node

    def run_call(self, call: Call) -> None:
        if not self.alive:
            return
        world, owner, function = self._world, self._owner, call.function
        world.happened(("C", call.time, self.node, getattr(function, "__qualname__", "")))
        world.current = owner
        try:
            if call.keywords:
                function(*call.args, **call.keywords)
            else:
                function(*call.args)
        except Killed:
            owner.die()
        except Exception as error:
            world.on_error(self.node, error)
        finally:
            world.current = None
        if (called := owner.called) is not None:
            called()

    def callInThreadWithCallback(self, on_result: Any, function: Any, *args: Any, **kw: Any) -> None:
        later = partial(self.callLater, JOB_SECONDS, on_result)
        super().callInThreadWithCallback(later, self._owner.job(function), *args, **kw)


class Process:
    """An agent, the broker or the guardian: alive on a reactor, or dead."""

    origin = 0.0

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.reactor: NodeReactor | None = None
        """Its present life's; None while it is dead."""
        self.lives = 0
        self.since = 0.0
        """When (timeline) it was started or killed last."""
        self.called: Callable[[], None] | None = None
        self._doom: tuple[str, int, float] | None = None
        self._restart: Call | None = None

    @property
    def alive(self) -> bool:
        return self.reactor is not None

    def run_call(self, call: Call) -> None:
        """Make a call that outlives the process: its start."""
        call.function(*call.args, **call.keywords)

    def job(self, function: Any) -> Any:
        """Return what is done for a job of another thread or process."""
        return self.world.on_job(function)

    def start(self) -> None:
        """Begin a life, on the journal that the last one has left."""
        self._cancel_restart()
        if self.alive:
            return
        self.lives += 1
        self.since = self.world.timeline.now
        self.reactor = NodeReactor(self.world, self, self.world.computer.origin)
        self.world.on_life(self.name, "starts")
        self.world.current = self
        try:
            self.begin(self.reactor, ProcessClock(self.world.computer, self.reactor))
        except PyrosError as error:
            self.world.on_life(self.name, f"cannot start: {error}")
            self.die()
            self.start_in(AGAIN_SECONDS)
        finally:
            self.world.current = None

    def begin(self, reactor: NodeReactor, clock: ProcessClock) -> None:
        """Make what runs in the process, and start it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the files of what ran in a process that is dead."""
        raise NotImplementedError

    def start_in(self, seconds: float) -> None:
        """Have it started in so many seconds."""
        self._cancel_restart()
        timeline = self.world.timeline
        self._restart = timeline.call_at(timeline.now + seconds, self, self.start)

    def stay_dead(self) -> None:
        """Begin no new life until it is started."""
        self._cancel_restart()

    def _cancel_restart(self) -> None:
        cancel_call(self._restart)
        self._restart = None

    def doom(self, step: str, nth: int, away: float) -> None:
        """Let it die at the ``nth`` time that it reaches a step from now on, and begin again ``away`` seconds later."""
        self._doom = (step, nth, away)

    def meet_doom(self, step: str, away: float) -> None:
        """Die now if it is to die at that step, and has not come there."""
        if self._doom == (step, 1, away):
            self.kill(away)

    def forget_doom(self) -> None:
        """Let it live on."""
        self._doom = None

    def step(self, step: str) -> None:
        """Pass a step of a turn, or die there."""
        world = self.world
        world.happened(("T", world.timeline.now, self.name, step))
        if step == "taken":
            world.turns += 1
        if self._doom is not None and self._doom[0] == step:
            _, nth, away = self._doom
            self._doom = (step, nth - 1, away)
            if nth <= 1:
                self._doom = None
                self.start_in(away)
                raise Killed

    def kill(self, away: float) -> None:
        """End it as SIGKILL does, between two calls; it begins again so many seconds later, dead or not before."""
        self.die()
        self.start_in(away)

    def die(self) -> None:
        """End this life: nothing that it would still have done happens."""
        reactor, self.reactor = self.reactor, None
        self._doom = None
        if reactor is None:
            return
        reactor.alive = False
        self.since = self.world.timeline.now
        self.world.network.vanish(self.name)
        self.world.on_life(self.name, "is dead")
        self.close()

    def ended(self) -> None:
        """Hear that what ran has ended by itself: it is started again."""
        if self.alive:
            self.world.on_life(self.name, "has ended by itself")
            self.die()
            self.start_in(AGAIN_SECONDS)


class AgentProcess(Process):
    """A process with one agent."""

    host: Host | None = None

    def begin(self, reactor: NodeReactor, clock: ProcessClock) -> None:
        world = self.world
        self.host = None
        agent: Agent = load_agent(world.config, self.name)
        if isinstance(agent, JobsAgent):
            agent.runner = world.jobs.runner(self.name, clock, agent.attempt_ended)
        host = Host(
            agent, world.config, reactor, clock, threaded=False, durable=False, journals=world.journals,
            on_step=self.step,
        )  # fmt: skip
        self.host = host
        host.start()
        _watch(host.journal, world, self.name)
        host.stopped.addCallback(lambda _: self._stopped(host))

    def _stopped(self, host: Host) -> None:
        if self.host is host:
            self.world.timeline.call_at(self.world.timeline.now, self, self.ended)

    def close(self) -> None:
        host, self.host = self.host, None
        if host is not None and hasattr(host, "journal"):
            if host.begun:
                host.kill()
            host.journal.close()


class BrokerProcess(Process):
    """The broker's process."""

    broker: Broker | None = None

    def begin(self, reactor: NodeReactor, clock: ProcessClock) -> None:
        world = self.world
        self.broker = Broker(world.config, reactor, clock, threaded=False, durable=False, archives=world.archives)
        self.broker.start().addErrback(lambda failure: failure.raiseException())
        _watch(self.broker.journal, self.world, self.name)

    def close(self) -> None:
        broker, self.broker = self.broker, None
        if broker is not None:
            broker.kill()


class GuardianNode(Process):
    """A guardian's process, which sees the observatory as its unit does; ``tell`` passes its words to agents."""

    guardian: Guardian | None = None

    def __init__(self, world: World, name: str, seen: Config, tell: Callable[[str, str, Any], None]) -> None:
        super().__init__(world, name)
        self._seen, self._tell = seen, tell

    def begin(self, reactor: NodeReactor, clock: ProcessClock) -> None:
        self.guardian = Guardian(self._seen, reactor, clock, send=self._tell)
        self.guardian.start()

    def close(self) -> None:
        guardian, self.guardian = self.guardian, None
        if guardian is not None:
            guardian.stop().addErrback(lambda _: None)


class DeviceNode:
    """A simulated device: it doesn't die with the computer, and its clock is right."""

    def __init__(self, world: World, agent: str, description: Description) -> None:
        self.agent = agent
        """The name of its agent."""
        self.kind = description.device
        self.name = f"{agent}{DEVICE}"
        self.world = world
        self.reactor = NodeReactor(world, self, 0.0)
        self.simulator = Simulator(description, self.reactor, TrueClock(world.computer, self.reactor))
        self.simulator.requests = _Requests(self)
        self.called: Callable[[], None] | None = partial(world.on_device, self)
        """Looks what it does, after each of its calls."""

    @property
    def device(self) -> SimulatedDevice:
        """The device itself: what is true."""
        return self.simulator.device

    def die(self) -> None:
        """Devices have no turns in which to die."""

    def job(self, function: Any) -> Any:
        """Return what is done for a job of another process."""
        return self.world.on_job(function)

    def start(self) -> Deferred[None]:
        """Open its port."""
        return self.simulator.start()


class _Requests(deque[tuple[float, str]]):
    """Takes what a device is asked, and keeps none of it."""

    def __init__(self, node: DeviceNode) -> None:
        super().__init__()
        self._node = node

    def append(self, request: tuple[float, str]) -> None:
        self._node.world.on_request(self._node, request[1])


def tell_agent(processes: dict[str, Process], seen: Config, agent: str, name: str, payload: Any) -> None:
    """Pass the word of a unit's guardian to an agent of the unit; raises AgentError when that isn't there."""
    section = seen.agents.get(agent)
    process = processes.get(section.name) if section is not None else None
    host = process.host if isinstance(process, AgentProcess) else None
    if host is None or not host.running:
        raise AgentError(f"{agent} is not there")
    host.post(name, messages.encode_payload(name, payload))


def _watch(journal: Any, world: World, name: str) -> None:
    """Have the world hear of each commit, and let none succeed while the disk is full."""
    commit = journal.commit

    def watched(effects: Effects) -> None:
        world.computer.check_disk(journal.path)
        commit(effects)
        world.on_commit(name, journal.epoch, effects)

    journal.commit = watched
