"""One rehearsed night: a configuration's whole observatory, from sunset to sunrise, with a script of what goes wrong.

After the night comes a calm hour: every fault has ended and everything that was dead lives again. Then everything must
be closed and parked, every outbox empty, and about every alert something decided.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from pyros import config as configuration
from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.jobs import JobsAgent
from pyros.agents.runtime.turns import Batch
from pyros.config import BROKER
from pyros.errors import PyrosError
from pyros.hold import Holds
from pyros.instruments.writing import write_pixels
from pyros.journal import SQLITE, AnyJournals, Effects, MemoryJournals
from pyros.kinds import KINDS
from pyros.messages import Observation
from pyros.planning.visibility import next_night, sun_altitude
from pyros.rehearsal import traffic
from pyros.rehearsal.computer import Computer, TrueClock
from pyros.rehearsal.configuration import rehearsed
from pyros.rehearsal.deliveries import Deliveries
from pyros.rehearsal.draw import Cast, Level, draw
from pyros.rehearsal.invariants import Invariants, Violation
from pyros.rehearsal.jobs import LEDGER, RehearsedJobs, judge
from pyros.rehearsal.log import NightLog
from pyros.rehearsal.network import Network
from pyros.rehearsal.process import (
    AgentProcess,
    BrokerProcess,
    DeviceNode,
    GuardianNode,
    Node,
    NodeReactor,
    Outsider,
    Process,
    World,
)  # fmt: skip
from pyros.rehearsal.process import tell_monitoring as post_alarm
from pyros.rehearsal.script import Fault, parse, write
from pyros.rehearsal.timeline import Call, EndlessError, Timeline
from pyros.rehearsal.traffic import Author, Packet
from pyros.simulators.camera.scene import draw as draw_pixels
from pyros.simulators.device import Refused
from pyros.simulators.grammar import RequestParser
from pyros.site import Site
from pyros.unique import drawn_from
from pyros.wire import Entry

SEEDS_ON_FILES = 10
"""Of so many seeds one keeps its journals in files, as an observatory does, the others as objects."""
CALM_SECONDS = 3600.0
"""The calm hour after each night."""
_SHORT_CALM_SECONDS = 900.0
_SHORT_DENSITY = 3.0
GUARDIAN = "guardian"
_PERSON = "rehearsal"
_ASK_SECONDS = 15.0  # after which what was asked for and not taken is asked for again
_TICK_SECONDS = 5.0
_SETTLE_SECONDS = 180.0  # before the end, after which what was sent until then must have been taken
_DUSK = 2.0  # the Sun's altitude in degrees at which a night begins and ends


class NightPlan(msgspec.Struct, frozen=True):
    """What is rehearsed: everything that decides how a night goes."""

    config: str
    """Path of the configuration."""
    date: str
    """The evening's date at the site, YYYY-MM-DD."""
    seed: int
    faults: Level = "heavy"
    script: str | None = None
    """The fault script's text, in the place of a drawn one."""
    alerts: float = 30.0
    """New events in ten hours."""
    alerts_folder: str = ""
    """Packets in the place of drawn ones."""
    rules: str = ""
    """Alert rules in the place of the configuration's."""
    requests: tuple[Observation, ...] = ()
    """What people ask for when the night begins."""
    requests_file: str = ""
    """Where that was read."""
    images: Literal["none", "small", "full"] = "none"
    hours: float = 0.0
    """0 for the whole night; else only so many hours about its middle, with three times the faults."""


class NightResult(msgspec.Struct, frozen=True):
    """What came of a night."""

    seed: int
    date: str
    violations: tuple[Violation, ...]
    digest: str
    """The hash of everything that happened."""
    script: str
    notes: tuple[str, ...]
    counts: dict[str, int]
    """How much there was of what, by its name for people."""
    cpu: float
    """Seconds of the processor."""
    hours: float
    """Virtual hours, the calm one included."""
    tail: tuple[str, ...] = ()
    """The last lines of the log before the first violation."""


class Night:
    """One night's world; see `pyros.rehearsal.process.World` and `pyros.rehearsal.invariants.Night`."""

    def __init__(self, plan: NightPlan, folder: Path) -> None:
        """Make everything in ``folder``, which must not have a night yet. Raises ConfigError or SimulatorError."""
        self.plan = plan
        self.folder = folder
        self.name = f"{plan.seed} {plan.date}"
        """What all random streams begin with."""
        loaded = configuration.load(plan.config)
        self.site = Site.load(loaded.required("site", "a rehearsal"))
        self.begin, self.seconds = night_of(self.site, date.fromisoformat(plan.date), plan.hours)
        self.calm_seconds = _SHORT_CALM_SECONDS if plan.hours else CALM_SECONDS
        self.timeline = Timeline()
        self.computer = Computer(self.timeline, self.begin, self.name)
        self.jobs = RehearsedJobs(self.timeline, self.computer, self.name)
        self.log = NightLog(str(folder))
        self.network = Network(self.timeline, on_delivery=self._delivered)
        self.current: Node | None = None
        self.journals: AnyJournals = SQLITE if plan.seed % SEEDS_ON_FILES == 0 else MemoryJournals()
        """Files or objects: the night is the same on both, but an hour on files costs more."""
        with drawn_from(self.computer):
            rules = Path(plan.rules) if plan.rules else None
            made = rehearsed(loaded, folder, rules=rules, images=plan.images)
        self.config, self.devices, self.notes = made.config, made.devices, made.notes
        self.processes: dict[str, Process] = {}
        self.nodes = {name: DeviceNode(cast("World", self), each) for name, each in self.devices.items()}
        for name in self.config.agents:
            self.processes[name] = AgentProcess(cast("World", self), name)
        if self.config.broker is not None:
            self.processes[BROKER] = BrokerProcess(cast("World", self), BROKER)
        if self.config.guardian is not None:
            self.processes[GUARDIAN] = GuardianNode(cast("World", self), GUARDIAN, self._alarm_of_guardian)
        self.script = (
            draw(self.name, plan.faults, self.seconds, self.cast(), density=_SHORT_DENSITY if plan.hours else 1.0)
            if plan.script is None
            else parse(plan.script, "the script", self.cast().nodes)
        )
        self.deliveries = Deliveries(self.report)
        self.invariants = Invariants(self)
        self._trouble = 0
        self._states: dict[str, str] = {}
        self._accepted: dict[str, Packet] = {}
        outside = NodeReactor(cast("World", self), Outsider("outside"), 0.0)
        self._holds = Holds(self.config.data, TrueClock(self.computer, outside))
        self.author: Author | None = None
        if self.config.broker is not None:
            self.author = Author(outside, self.config.broker.receiver_port, self._answered)
        self._powerless = False
        self._held = False
        self._taken: set[str] = set()
        self._room_since = -1.0
        """When the disk was full last."""
        self._calm = False
        self._parser = RequestParser()
        self._counts = {"turns": 0, "kills": 0, "faults": len(self.script)}
        self._tail: tuple[str, ...] = ()

    def cast(self) -> Cast:
        """Return who takes part."""
        agents = (*self.config.agents, *((BROKER,) if self.config.broker is not None else ()))
        return Cast(
            agents,
            self.config.guardian is not None,
            _links(agents),
            {name: tuple(sorted(type(each.settings).can_have)) for name, each in self.devices.items()},
        )

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self, until: Sequence[str] = (), latest: float = math.inf) -> NightResult:
        """Let the night and its calm hour pass.

        ``until``: only until one of these rules is broken, or ``latest`` seconds have passed.
        """
        began = time.process_time()
        broken = self.invariants.violations

        def over() -> bool:
            return self.now > latest or (bool(broken) and any(rule in broken for rule in until))

        done = over if until else None
        with drawn_from(self.computer), self._watching():
            self._start()
            try:
                self._pass(done)
            except EndlessError as error:
                self.report("endless", str(error))
            finally:
                self._close()
        violations = tuple(sorted(self.invariants.violations.values()))
        self._counts |= {
            "calls": self.timeline.calls, "messages": self.deliveries.messages, "refused": self.deliveries.refused,
            "alerts": len(self._accepted), "slews": self.invariants.slews, "exposures": self.invariants.exposures,
            "openings": self.invariants.opened, "alarms": len(self.deliveries.alarms), "jobs": self.jobs.begun,
        }  # fmt: skip
        return NightResult(
            self.plan.seed, self.plan.date, violations, self.log.digest(), write(self.script), self.notes,
            self._counts, time.process_time() - began, self.timeline.now / 3600, self._tail,
        )  # fmt: skip

    def _pass(self, done: Callable[[], bool] | None) -> None:
        """Let time pass, and judge the end unless it is done before."""
        if self.timeline.run_until(self.seconds, done):
            return
        self._end_of_trouble()
        if self.timeline.run_until(self.seconds + self.calm_seconds - _SETTLE_SECONDS, done):
            return
        if self.plan.hours:  # it is dark still: a person ends it
            self._holds.set("rehearsal", "the end of a short night")
            self._held = True
        sent, outboxes = self.deliveries.sent(), self._outboxes()
        if not self.timeline.run_until(self.seconds + self.calm_seconds, done):
            self._judge_end()
            self._judge_messages(sent, outboxes)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        observer = cast("Any", self._observe)
        globalLogPublisher.addObserver(observer)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(observer)

    def _start(self) -> None:
        for node in self.nodes.values():
            node.start()
        for process in self.processes.values():
            process.start()
        for fault in self.script:
            self.at(fault.time, self._begin_fault, fault)
        self.at(_TICK_SECONDS, self._tick)
        for number, request in enumerate(self.plan.requests):
            asked = msgspec.structs.replace(request, requested=self.begin.timestamp())
            self.at(_ASK_SECONDS, self._ask, f"{_PERSON}-{number}", asked)
        if self.author is None:
            return
        for packet in self._packets():
            self.at(packet.time, self._send, packet)

    def _ask(self, id_: str, request: Observation) -> None:
        """Ask the scheduler for an observation as a person does, until it has committed that."""
        if id_ in self._taken:
            return
        self.at(self.now + _ASK_SECONDS, self._ask, id_, request)
        scheduler = self.processes.get(Agent.SCHEDULER)
        host = scheduler.host if isinstance(scheduler, AgentProcess) else None
        if host is not None:
            json = msgspec.Raw(messages.encode_payload(messages.OBSERVATION_REQUESTED, request))
            now = host.clock.monotonic()
            entry = Entry(0, id_, messages.OBSERVATION_REQUESTED, self.computer.time(), json, now)
            host.receive(Batch([entry], f"program:{_PERSON}", proved=True))

    def _packets(self) -> list[Packet]:
        if self.plan.alerts_folder:
            return traffic.load_alerts(Path(self.plan.alerts_folder), self.name, self.seconds)
        return traffic.draw_alerts(self.name, self.plan.alerts, self.seconds, self.begin, self.site)

    def at(self, seconds: float, function: Any, *args: Any) -> Call:
        """Have something of the rehearsal's own happen at that time of the night."""
        return self.timeline.call_at(max(self.timeline.now, seconds), self, function, args)

    def run_call(self, call: Call) -> None:
        """Make a call of the rehearsal's own."""
        call.function(*call.args, **call.keywords)

    def _tick(self) -> None:
        self.at(self.now + _TICK_SECONDS, self._tick)
        self.invariants.look()

    # What goes wrong -------------------------------------------------------------------------------------------------

    def _begin_fault(self, fault: Fault) -> None:
        if self._calm:
            return
        self._say("rehearsal", str(fault))
        lasts = fault.number("for")
        if lasts:
            self._trouble += 1
            self.at(self.now + lasts, self._fault_over)
        getattr(self, f"_{fault.kind}")(fault, lasts)
        self.invariants.look()

    def _fault_over(self) -> None:
        self._trouble -= 1
        self.invariants.look()

    def _kill(self, fault: Fault, _: float) -> None:
        if self._powerless:
            return
        step, away = fault.values.get("step"), fault.number("away")
        for name in fault.names:
            process = self.processes[name]
            self._counts["kills"] += 1
            if step is not None and process.alive and isinstance(process, AgentProcess):
                process.doom(step, int(fault.number("nth", 1)), away)
            else:
                process.kill(away)

    def _power(self, fault: Fault, _: float) -> None:
        """Stop everything on the computer; what was on its way to the devices is lost."""
        if self._powerless:
            return
        muted = [end for process in self.processes for node in self.nodes.values()
                 for end in self.network.mute(process, node.name)]  # fmt: skip
        self._powerless = True
        self.jobs.cut()
        for process in self.processes.values():
            process.die()
            process.stay_dead()
        self.at(self.now + fault.number("away"), self._power_back, muted)

    def _power_back(self, muted: list[Any]) -> None:
        if not self._powerless:
            return
        self._powerless = False
        self._reset(muted)
        self.computer.boot()
        for process in self.processes.values():
            process.start()

    def _cut(self, fault: Fault, _: float) -> None:
        one, other = fault.names
        self.network.cut(one, other)
        self.network.cut(other, one)

    def _mute(self, fault: Fault, lasts: float) -> None:
        one, other = fault.names
        ends = [*self.network.mute(one, other), *self.network.mute(other, one)]
        self.at(self.now + lasts, self._reset, ends)

    def _reset(self, ends: list[Any]) -> None:
        for end in ends:
            end.reset()

    def _stall(self, fault: Fault, lasts: float) -> None:
        one, other = fault.names
        self.network.stall(one, other, lasts)

    def _partition(self, fault: Fault, lasts: float) -> None:
        inside = set(fault.names)
        for one in fault.names:
            for other in (*self.processes, *(node.name for node in self.nodes.values())):
                if other not in inside:
                    self.network.stall(one, other, lasts)

    def _latency(self, _: Fault, __: float) -> None:
        self.network.slow(self.name)

    def _device(self, fault: Fault, _: float) -> None:
        device, kind = fault.names
        problem = self.nodes[device].device.faults.command(kind, dict(fault.values))
        if problem:
            self._say("rehearsal", f"{fault}: {problem}")

    def _weather(self, fault: Fault, lasts: float) -> None:
        readings = {key: value for key, value in fault.values.items() if key != "for"}
        self._set("weather", readings)
        self.at(self.now + lasts, self._set, "weather", {"climate": "auto"})

    def _flicker(self, fault: Fault, lasts: float) -> None:
        ((quantity, low),) = [(key, value) for key, value in fault.values.items() if key not in ("for", "to", "every")]
        end, every = self.now + lasts, fault.number("every")

        def turn(value: str, other: str) -> None:
            if self.now >= end or self._calm:
                self._set("weather", {"climate": "auto"})
                return
            self._set("weather", {quantity: value})
            self.at(self.now + every, turn, other, value)

        turn(fault.values["to"], low)

    def _safety(self, _: Fault, lasts: float) -> None:
        self._set("safety", {"safe": '0 "smoke"'})
        self.at(self.now + lasts, self._set, "safety", {"script": "auto"})

    def _set(self, device: str, values: dict[str, str]) -> None:
        """Set what a device measures, as its grammar's SET does."""
        if device not in self.nodes:
            return
        for key, value in values.items():
            self._parser.feed(f"SET {key} {value}\n".encode())
            request = self._parser.next()
            if request is not None:
                answer = self.nodes[device].simulator.answer(cast("Any", request))
                if not answer[0].line.startswith("OK"):
                    self._say("rehearsal", f"{device}: SET {key} {value}: {answer[0].line}")
        self.invariants.look()

    def _disk(self, _: Fault, lasts: float) -> None:
        self.computer.disk_full = True
        self.at(self.now + lasts, self._disk_has_room)

    def _disk_has_room(self) -> None:
        self.computer.disk_full = False
        self._room_since = self.now

    def _clock(self, fault: Fault, lasts: float) -> None:
        if "step" in fault.values:
            self.computer.step(fault.number("step"))
        else:
            self.computer.drift(fault.number("drift"))
        self.at(self.now + lasts, self.computer.set_right)

    def _hold(self, _: Fault, lasts: float) -> None:
        self._holds.set("rehearsal", "a person holds the observatory")
        self._held = True
        self.at(self.now + lasts, self._release)

    def _release(self) -> None:
        self._holds.release()
        self._held = False

    def _end_of_trouble(self) -> None:
        """End the night: from here on nothing goes wrong any more."""
        self._calm = True
        self._say("rehearsal", "the night is over: a calm hour")
        self.network.calm()
        for node in self.nodes.values():
            node.device.faults.clear()
        self._set("weather", {"climate": "auto"})
        self._set("safety", {"script": "auto"})
        self.computer.disk_full = False
        self.computer.set_right()
        self._release()
        self._power_back([])
        for process in self.processes.values():
            process.forget_doom()
            process.start()

    # The end ---------------------------------------------------------------------------------------------------------

    def _judge_end(self) -> None:
        """Report what must not be so after the calm hour."""
        for device, state in (("dome", "closed"), ("telescope", "parked")):
            if device in self.nodes and self.state(device) != state:
                self.report("not closed and parked", f"after the calm hour the {device} is {self.state(device)}")
        if "camera" in self.nodes and self.state("camera") in ("exposing", "reading"):
            self.report("not closed and parked", f"after the calm hour the camera is {self.state('camera')}")
        for ivorn, packet in self._accepted.items():
            if packet.what not in ("duplicate", "file") and ivorn not in self.deliveries.decided:
                self.report("undecided", f"{ivorn} ({packet.what}) was accepted, and nothing was decided about it")
        if self.plan.faults == "none" and not self.script and self.deliveries.alarms:
            self.report("false alarm", f"without any fault: {self.deliveries.alarms[0]}")
        if len(self._taken) < len(self.plan.requests):
            self.report("lost", f"{len(self.plan.requests) - len(self._taken)} requests were never taken")
        if self.author is not None and self.author.waiting:
            self.report("unanswered", f"{self.author.waiting} packets were never answered")

    def _outboxes(self) -> dict[tuple[str, str], int]:
        """Return the number of each agent's last message to another."""
        return {
            (name, agent): last
            for name, process in self.processes.items()
            if isinstance(process, AgentProcess) and process.host is not None
            for agent, last in process.host.journal.destinations.items()
        }

    def _judge_messages(self, sent: dict[tuple[str, str, str], int], outboxes: dict[tuple[str, str], int]) -> None:
        """Report what was sent a while before the end, and wasn't taken, or not acknowledged."""
        for text in self.deliveries.missing(sent):
            self.report("lost", text)
        for (name, agent), last in outboxes.items():
            process = self.processes[name]
            if isinstance(process, AgentProcess) and process.host is not None:
                journal = process.host.journal
                left = last - (journal.destinations[agent] - journal.waiting.get(agent, 0))
                if left > 0:
                    self.report("outbox", f"after the calm hour {name} keeps {left} messages for {agent}")
        for name, process in self.processes.items():
            if not process.alive:
                self.report("dead", f"after the calm hour {name} is dead")
            if (
                isinstance(process, AgentProcess)
                and process.host is not None
                and isinstance(process.host.agent, JobsAgent)
            ):
                for text in judge(name, process.host.journal.rows(LEDGER), self.computer.time()):
                    self.report("jobs", text)
        for text in self.deliveries.failed[:1]:
            self.report("failed", f"a handler has failed: {text}")

    def _close(self) -> None:
        for process in self.processes.values():
            process.die()

    # What is heard of all that happens -----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.timeline.now

    def report(self, rule: str, text: str) -> None:
        if rule not in self.invariants.violations:
            self._say("rehearsal", f"VIOLATION ({rule}): {text}")
            if not self._tail:
                self._tail = tuple(str(line) for line in list(self.log.lines)[-40:])
        self.invariants.report(rule, text)

    def _say(self, who: str, text: str) -> None:
        self.log.say(self.now, who, text.replace(str(self.folder), ""))

    def _delivered(self, sender: str, receiver: str, data: bytes) -> None:
        self.log.add(self.now, "D", f"{sender}>{receiver}", data)
        self.invariants.delivered(sender, receiver, data)

    def on_call(self, node: str, call: Call) -> None:
        self.log.add(self.now, "C", node, getattr(call.function, "__qualname__", ""))

    def on_error(self, node: str, error: Exception) -> None:
        self.report("error", f"{node}: {type(error).__name__}: {error}")

    def on_step(self, node: str, step: str) -> None:
        self._counts["turns"] += step == "taken"
        self.log.add(self.now, "T", node, step)

    def on_commit(self, node: str, epoch: str, effects: Effects) -> None:
        self.log.add(self.now, "J", node, _bytes_of(effects))
        self.deliveries.committed(node, epoch, effects)
        if node == Agent.SCHEDULER:
            self._taken.update(row.id for row in effects.received if row.id.startswith(_PERSON))
            for out in effects.outgoing:
                if out.name == messages.PLAN_UPDATED:
                    self.invariants.planned(messages.decode_payload(out.name, out.payload).start_now)

    def on_life(self, node: str, what: str) -> None:
        self._say(node, what)
        self.log.add(self.now, "L", node, what)
        if self.computer.disk_full:
            self._room_since = self.now  # what cannot be written ends an agent that begins, perhaps later
        if what.startswith("cannot start") and not self.computer.disk_full:
            self.report("cannot start", f"{node} {what}")
        elif what == "has ended by itself" and self._room_since < self.processes[node].since:
            self.report("ended", f"{node} {what}")
        if self.timeline.calls:
            self.invariants.look()

    def on_job(self, function: Any) -> Any:
        """Let a full disk take no image; and draw and write none in a rehearsal without images."""
        if function is write_pixels and self.computer.disk_full:
            return _no_space
        if self.plan.images == "none":
            return {write_pixels: _write_nothing, draw_pixels: _draw_nothing}.get(function, function)
        return function

    def on_device(self, device: DeviceNode) -> None:
        state = device.device.state
        if self._states.get(device.agent) != state:
            self._states[device.agent] = state
            self.log.add(self.now, "S", device.name, state)
            self._say(device.name, state)
            self.invariants.look()

    def on_request(self, device: DeviceNode, line: str) -> None:
        self.invariants.requested(device.agent, line)

    def _observe(self, event: Any) -> None:
        who = str(event.get("log_namespace", ""))
        owner = self.current
        if who.startswith("twisted.") or (isinstance(owner, Process) and not owner.alive):
            return
        failure = event.get("log_failure")
        if failure is not None and not isinstance(failure.value, PyrosError):
            self.report("error", f"{who}: {formatEvent(event)}: {failure.getTraceback()[-600:]}")
        elif event.get("log_level") is not LogLevel.debug:
            self._say(who, formatEvent(event) or "")

    # What the invariants ask -----------------------------------------------------------------------------------------

    def true_time(self) -> float:
        return self.computer.true_time()

    def clock_offset(self) -> float:
        return self.computer.offset()

    def alive_since(self, process: str) -> float | None:
        found = self.processes.get(process)
        return found.since if found is not None and found.alive else None

    def link(self, one: str, other: str) -> bool:
        return not self.network.stalled(one, other) and not self.network.muted(one, other)

    def faulty(self, device: str) -> bool:
        return device in self.nodes and bool(self.nodes[device].device.faults.names())

    def state(self, device: str) -> str:
        return self.nodes[device].device.state if device in self.nodes else ""

    def truth(self, device: str, quantity: str) -> str:
        try:
            return self.nodes[device].device.properties[quantity]().line.removeprefix("OK").strip()
        except Refused:
            return ""

    @property
    def quiet(self) -> bool:
        return self._trouble == 0 and all(process.alive for process in self.processes.values())

    @property
    def full_disk(self) -> bool:
        return self.computer.disk_full

    @property
    def held(self) -> bool:
        return self._held

    # Alerts ----------------------------------------------------------------------------------------------------------

    def _send(self, packet: Packet) -> None:
        if packet.what in ("test", "utility"):
            self.invariants.forbidden(packet.ivorn, packet.ra, packet.dec)
        if self.author is not None:
            self.author.send(packet)

    def _answered(self, packet: Packet, accepted: bool) -> None:
        if not accepted:
            return
        self._accepted[packet.ivorn] = packet
        if packet.what in ("new", "update"):
            self.invariants.wanted(packet.ivorn, packet.ra, packet.dec)
        elif packet.what == "retraction":
            self.invariants.retracted(packet.event)

    def _alarm_of_guardian(self, name: str, payload: Any) -> None:
        post_alarm(self.processes, name, payload)


def night_of(site: Site, evening: date, hours: float = 0.0) -> tuple[datetime, float]:
    """Return when the night after an evening begins, and how many seconds it has: while the Sun is below +2°.

    With ``hours`` only so many about its middle.
    """
    noon = datetime(evening.year, evening.month, evening.day, 12, tzinfo=UTC) - timedelta(hours=site.longitude / 15)
    midnight = next_night(site, noon)
    half = timedelta(hours=12)
    if hours:
        return (midnight - timedelta(hours=hours / 2)).replace(microsecond=0), round(hours * 3600)

    def dusk(day: datetime, night: datetime) -> datetime:
        while abs(day - night) > timedelta(seconds=10):
            middle = day + (night - day) / 2
            day, night = (middle, night) if sun_altitude(site, middle) > _DUSK else (day, middle)
        return night

    begin, end = dusk(midnight - half, midnight), dusk(midnight + half, midnight)
    return begin.replace(microsecond=0), round((end - begin).total_seconds())


def _links(agents: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the pairs that talk most; others may, too."""
    instruments = [name for name in agents if name in KINDS]
    pairs = [
        *((name, Agent.MONITORING) for name in instruments),
        *((Agent.OBSERVATION_MANAGER, name) for name in ("telescope", "camera", "filter_wheel", "focuser", "dome")),
        ("majordome", "dome"), ("monitoring", "dome"), ("monitoring", "majordome"), ("scheduler", "majordome"),
        ("majordome", "observation_manager"), ("scheduler", "observation_manager"), ("alert_manager", "scheduler"),
        ("broker", "alert_manager"), ("majordome", "telescope"),
    ]  # fmt: skip
    return tuple((one, other) for one, other in pairs if one in agents and other in agents)


def _bytes_of(effects: Effects) -> bytes:
    """Return a commit as bytes, for the hash."""
    return msgspec.msgpack.encode(
        (
            [(row.id, row.name, row.error) for row in effects.received],
            [(name, epoch, last) for (name, epoch), last in effects.seen.items()],
            [(out.agent, out.seq, out.id, out.payload) for out in effects.outgoing],
            list(effects.acknowledged.items()),
            [timer[:3] for timer in effects.timers_set],
            effects.timers_gone,
            effects.state,
        )
    )


def _no_space(*_: Any) -> str:
    raise OSError(28, "No space left on device")


def _write_nothing(job: Any, _: Any) -> str:
    return str(job.path)


def _draw_nothing(drawing: Any) -> bytes:
    settings = drawing.settings
    return np.zeros((settings.height, settings.width), np.uint16).tobytes()


def run_night(plan: NightPlan, folder: Path) -> NightResult:
    """Rehearse a night in a folder. Raises ConfigError or SimulatorError."""
    return Night(plan, folder).run()
