"""One rehearsed night: a configuration's whole observatory, from sunset to sunrise, with a script of what goes wrong.

After the night comes a calm hour: every fault has ended and everything that was dead lives again. Then everything must
be closed and parked, every outbox empty, and about every alert something decided.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from pyros import config as configuration
from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.runtime.batches import Batch
from pyros.config import BROKER, WHOLE
from pyros.errors import PyrosError
from pyros.hold import Holds
from pyros.journal import SQLITE, AnyJournals, Effects, MemoryJournals
from pyros.messages import Observation
from pyros.rehearsal import traffic
from pyros.rehearsal.computer import Computer, TrueClock
from pyros.rehearsal.configuration import rehearsed
from pyros.rehearsal.deliveries import Deliveries
from pyros.rehearsal.draw import Cast, busiest_links, draw
from pyros.rehearsal.faults import NightFaults
from pyros.rehearsal.invariants import GUARDIAN, Invariants, Violation
from pyros.rehearsal.jobs import RehearsedJobs
from pyros.rehearsal.judged_unit import JudgedUnit
from pyros.rehearsal.judging import judge_processes, outbox_ends
from pyros.rehearsal.log import NightLog, bytes_of_commit
from pyros.rehearsal.network import Network
from pyros.rehearsal.plan import CALM_SECONDS, NightPlan, NightResult, ends_dark, nights_of
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
from pyros.rehearsal.process import tell_agent as tell_from_guardian
from pyros.rehearsal.script import Fault, parse, write
from pyros.rehearsal.stand_ins import stand_in
from pyros.rehearsal.timeline import Call, EndlessError, Timeline
from pyros.rehearsal.traffic import RehearsedAuthor, TrafficPacket
from pyros.simulators.device import Refused
from pyros.site import Site
from pyros.unique import drawn_from
from pyros.wire import Entry

SEEDS_ON_FILES = 10
"""Of so many seeds one keeps its journals in files, as an observatory does, the others as objects."""
_SEEDS_WITH_ARCHIVE = 10
"""Of so many seeds one has the broker archive packets: nothing that is judged reads that."""
_SHORT_CALM_SECONDS = 900.0
_SHORT_DENSITY = 3.0
_PERSON = "rehearsal"
_UNJUDGED = (None, "")  # an agent of no telescope's unit
_ASK_SECONDS = 15.0  # after which what was asked for and not taken is asked for again
_PERSON_LOOKS_SECONDS = 3600.0
"""How long before another night's evening a person releases what stays shut until then."""
_TICK_SECONDS, _RESTING_TICK_SECONDS = 5.0, 10.0
"""Between two looks at what must not last, and the same where nothing is open. What changes is looked at when it does:
each state of a device, each fault."""
_SETTLE_SECONDS = 180.0  # before the end, after which what was sent until then must have been taken


class RehearsedNight:
    """One night's world; see `pyros.rehearsal.process.World` and `pyros.rehearsal.invariants.JudgedNight`."""

    origin = 0.0

    def __init__(self, plan: NightPlan, folder: Path) -> None:
        """Make everything in ``folder``, which must not have a night yet. Raises ConfigError or SimulatorError."""
        gc.collect()  # what an earlier night has left ends now, and not in the midst of this one
        self.plan = plan
        self.folder = folder
        self.name = f"{plan.seed} {plan.date}"
        """What all random streams begin with."""
        loaded = configuration.load(plan.config)
        self.site = Site.load(loaded.required("site", "a rehearsal"))
        sites = {unit: Site.load(loaded.seen_from(unit).site) for unit in loaded.telescopes or (WHOLE,)}
        self.begin, self._evenings, self.seconds = nights_of(sites.values(), plan)
        self.calm_seconds = _SHORT_CALM_SECONDS if plan.hours else CALM_SECONDS
        self.timeline = Timeline()
        self.computer = Computer(self.timeline, self.begin, self.name)
        self.jobs = RehearsedJobs(self.timeline, self.computer, self.name)
        self.log = NightLog(str(folder))
        self.happened = self.log.add_soon
        self.network = Network(self.timeline, on_delivery=self.on_delivery)
        self.current: Node | None = None
        self.journals: AnyJournals = SQLITE if plan.seed % SEEDS_ON_FILES == 0 else MemoryJournals()
        """Files or objects: the night is the same on both, but an hour on files costs more."""
        self.archives = plan.seed % _SEEDS_WITH_ARCHIVE == 0
        with drawn_from(self.computer):
            rules = Path(plan.rules) if plan.rules else None
            made = rehearsed(loaded, folder, rules=rules, images=plan.images)
        self.config, self.devices, self.notes = made.config, made.devices, made.notes
        self.processes: dict[str, Process] = {}
        self.nodes = {name: DeviceNode(cast("World", self), name, each) for name, each in self.devices.items()}
        self._make_processes()
        self.script = self._drawn() if plan.script is None else parse(plan.script, "the script", self.cast().nodes)
        self.deliveries = Deliveries(self.report)
        self.violations: dict[str, Violation] = {}
        """The first of each rule."""
        self._judged: dict[str, tuple[Invariants | None, str]] = {}
        """Who judges an agent, and what its unit calls it."""
        self.invariants = [self._judges(JudgedUnit(self, unit, site)) for unit, site in sites.items()]
        """The rules of each telescope."""
        self._desk = self.config.agents[Agent.SCHEDULER].name if Agent.SCHEDULER in self.config.agents else ""
        self._states: dict[str, str] = {}
        self._links: dict[tuple[str, str], tuple[str, Invariants | None, str, str]] = {}
        """Of each direction between two nodes what `_judged_link` says."""
        self._accepted: dict[str, TrafficPacket] = {}
        outside = NodeReactor(cast("World", self), Outsider("outside"), 0.0)
        self.faults = NightFaults(
            self.name, cast("World", self), self.processes, self.nodes,
            Holds(self.config.data, TrueClock(self.computer, outside)), self._say_own, self._look,
        )  # fmt: skip
        self.author: RehearsedAuthor | None = None
        if self.config.broker is not None:
            self.author = RehearsedAuthor(outside, self.config.broker.receiver_port, self._answered)
        self._taken: set[str] = set()
        self.turns = 0
        self._tail: tuple[str, ...] = ()

    def _make_processes(self) -> None:
        world = cast("World", self)
        for name in self.config.agents:
            self.processes[name] = AgentProcess(world, name)
        if self.config.broker is not None:
            self.processes[BROKER] = BrokerProcess(world, BROKER)
        for seen in self.config.guarded():
            name = f"{GUARDIAN} {seen.unit}".strip()
            self.processes[name] = GuardianNode(world, name, seen, partial(tell_from_guardian, self.processes, seen))

    def _judges(self, unit: JudgedUnit) -> Invariants:
        """Make the rules of a telescope's unit, which hear of its own agents."""
        rules = Invariants(unit)
        for name, section in self.config.agents.items():
            if section.unit == unit.unit:
                self._judged[name] = (rules, unit.short_name(name))
        return rules

    def cast(self) -> Cast:
        """Return who takes part."""
        agents = (*self.config.agents, *((BROKER,) if self.config.broker is not None else ()))
        return Cast(
            agents,
            tuple(name for name, process in self.processes.items() if isinstance(process, GuardianNode)),
            busiest_links(self.config),
            {name: tuple(sorted(type(each.settings).can_have)) for name, each in self.devices.items()},
            {section.name: section.kind for section in self.config.agents.values()},
        )

    def _drawn(self) -> list[Fault]:
        """Draw the faults of each night, and of the day after it where another night follows."""
        faults: list[Fault] = []
        density = _SHORT_DENSITY if self.plan.hours else 1.0
        for number, (begin, end) in enumerate(pairwise([*self._evenings, self.seconds])):
            name = f"{self.name} night {number + 1}" if number else self.name
            drawn = draw(name, self.plan.faults, end - begin, self.cast(), density=density)
            faults += [
                msgspec.structs.replace(fault, time=round(begin + fault.time, 3))
                for fault in drawn
                if not number or fault.kind != "latency"  # which stays
            ]
        return sorted(faults, key=lambda fault: fault.time)

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self, until: Sequence[str] = (), latest: float = math.inf) -> NightResult:
        """Let the night and its calm hour pass.

        ``until``: only until one of these rules is broken, or ``latest`` seconds have passed.
        """
        began = time.process_time()
        broken = self.violations

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
        violations = tuple(sorted(self.violations.values()))
        counts = {
            "turns": self.turns, "kills": self.faults.kills, "faults": len(self.script),
            "calls": self.timeline.calls, "messages": self.deliveries.messages, "refused": self.deliveries.refused,
            "alerts": len(self._accepted), "slews": sum(each.slews for each in self.invariants),
            "exposures": sum(each.exposures for each in self.invariants),
            "openings": sum(each.opened for each in self.invariants), "alarms": len(self.deliveries.alarms),
            "jobs": self.jobs.begun,
        }  # fmt: skip
        return NightResult(
            self.plan.seed, self.plan.date, violations, self.log.digest(), write(self.script), self.notes,
            counts, time.process_time() - began, self.timeline.now / 3600, self._tail,
        )  # fmt: skip

    def _pass(self, done: Callable[[], bool] | None) -> None:
        """Let time pass, and judge the end unless it is done before."""
        if self.timeline.run_until(self.seconds, done):
            return
        self.faults.end_all()
        if self.timeline.run_until(self.seconds + self.calm_seconds - _SETTLE_SECONDS, done):
            return
        end = self.begin + timedelta(seconds=self.seconds)
        if self.plan.hours or any(ends_dark(rules.site, end) for rules in self.invariants):
            self.faults.hold("the rehearsal ends, and it is dark still")
        sent, outboxes = self.deliveries.sent(), outbox_ends(self.processes)
        if not self.timeline.run_until(self.seconds + self.calm_seconds, done):
            self._judge_end()
            for text in self.deliveries.missing(sent):
                self.report("lost", text)
            for rule, text in judge_processes(self.processes, outboxes, self.computer.time()):
                self.report(rule, text)
            for text in self.deliveries.failed[:1]:
                self.report("failed", f"a handler has failed: {text}")

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
        self.faults.schedule(self.script)
        self.at(_TICK_SECONDS, self._tick)
        for begin in self._evenings[1:]:
            self.at(begin - _PERSON_LOOKS_SECONDS, self._look_after)
        for number, request in enumerate(self.plan.requests):
            asked = msgspec.structs.replace(request, requested=self.begin.timestamp())
            self.at(_ASK_SECONDS, self._ask, f"{_PERSON}-{number}", asked)
        if self.author is None:
            return
        for packet in self._packets():
            self.at(packet.time, self._send, packet)

    def _look_after(self) -> None:
        """Before another night, have a person hold and release what stays shut until then, as an alarm has asked."""
        if any(rules.shut for rules in self.invariants):
            self.faults.begin(Fault(self.now, "hold", values={"for": "600"}))

    def _ask(self, id_: str, request: Observation) -> None:
        """Ask the scheduler for an observation as a person does, until it has committed that."""
        if id_ in self._taken:
            return
        self.at(self.now + _ASK_SECONDS, self._ask, id_, request)
        scheduler = self.processes.get(self._desk)
        host = scheduler.host if isinstance(scheduler, AgentProcess) else None
        if host is not None:
            json = msgspec.Raw(messages.encode_payload(messages.OBSERVATION_REQUESTED, request))
            now = host.clock.monotonic()
            entry = Entry(0, id_, messages.OBSERVATION_REQUESTED, self.computer.time(), json, now)
            host.loop.receive(Batch([entry], f"program:{_PERSON}", proved=True))

    def _packets(self) -> list[TrafficPacket]:
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
        self._look()
        rests = all(rules.at_rest for rules in self.invariants)
        self.at(self.now + (_RESTING_TICK_SECONDS if rests else _TICK_SECONDS), self._tick)

    def _look(self) -> None:
        for rules in self.invariants:
            rules.look()

    def _judge_end(self) -> None:
        """Report what must not be so after the calm hour."""
        for rules in self.invariants:
            rules.judge_end()
        for ivorn, packet in self._accepted.items():
            if packet.what not in ("duplicate", "file") and ivorn not in self.deliveries.decided:
                self.report("undecided", f"{ivorn} ({packet.what}) was accepted, and nothing was decided about it")
        if self.plan.faults == "none" and not self.script and self.deliveries.alarms:
            self.report("false alarm", f"without any fault: {self.deliveries.alarms[0]}")
        if len(self._taken) < len(self.plan.requests):
            self.report("lost", f"{len(self.plan.requests) - len(self._taken)} requests were never taken")
        if self.author is not None and self.author.waiting:
            self.report("unanswered", f"{self.author.waiting} packets were never answered")

    def _close(self) -> None:
        for process in self.processes.values():
            process.die()

    # What is heard of all that happens -----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.timeline.now

    def report(self, rule: str, text: str) -> None:
        if rule in self.violations:
            return
        self.violations[rule] = Violation(round(self.now, 3), rule, text)
        self._say_own(f"VIOLATION ({rule}): {text}")
        if not self._tail:
            self._tail = tuple(str(line) for line in list(self.log.lines)[-40:])

    def _say(self, who: str, text: str) -> None:
        self.log.say(self.now, who, text.replace(str(self.folder), ""))

    def _say_own(self, text: str) -> None:
        self._say("rehearsal", text)

    def on_delivery(self, sender: str, receiver: str, data: bytes) -> None:
        link = self._links.get((sender, receiver))
        if link is None:
            link = self._links[sender, receiver] = self._judged_link(sender, receiver)
        label, rules, speaker, name = link
        self.happened(("D", self.timeline.now, label, data))
        if rules is not None:
            rules.delivered(speaker, name, data)

    def _judged_link(self, sender: str, receiver: str) -> tuple[str, Invariants | None, str, str]:
        """Return a link's name in the log, and who hears of what it delivers, by which names."""
        rules, name = self._judged.get(receiver, _UNJUDGED)
        who, speaker = self._judged.get(sender, _UNJUDGED)
        return f"{sender}>{receiver}", rules if rules is who else None, speaker, name

    def on_error(self, node: str, error: Exception) -> None:
        self.report("error", f"{node}: {type(error).__name__}: {error}")

    def on_commit(self, node: str, epoch: str, effects: Effects) -> None:
        self.log.add(self.now, "J", node, bytes_of_commit(effects))
        self.deliveries.committed(node, epoch, effects)
        if node == self._desk:
            self._taken.update(row.id for row in effects.received if row.id.startswith(_PERSON))
        rules, name = self._judged.get(node, _UNJUDGED)
        if rules is not None:
            for out in effects.outgoing:
                self._judge_word(rules, name, out.name, out.payload)

    def _judge_word(self, rules: Invariants, speaker: str, name: str, payload: bytes) -> None:
        """Have a telescope's rules hear what its agent ``speaker`` has committed to say."""
        if name == messages.PLAN_UPDATED and speaker == Agent.SCHEDULER:
            rules.planned(messages.decode_payload(name, payload).start_now)
        elif name in (messages.WEATHER_SAFE, messages.WEATHER_UNSAFE) and speaker == Agent.MONITORING:
            rules.judged_weather(name == messages.WEATHER_SAFE)
        elif name == messages.ALARM:
            rules.alarmed(messages.decode_payload(name, payload).text)

    def on_life(self, node: str, what: str) -> None:
        self._say(node, what)
        self.log.add(self.now, "L", node, what)
        if self.computer.disk_full:
            self.faults.room_since = self.now  # what cannot be written ends an agent that begins, perhaps later
        if what.startswith("cannot start") and not self.computer.disk_full:
            self.report("cannot start", f"{node} {what}")
        elif what == "has ended by itself" and self.faults.room_since < self.processes[node].since:
            self.report("ended", f"{node} {what}")
        if self.timeline.calls:
            self._look()

    def on_job(self, function: Any) -> Any:
        """Let a full disk take no image; and draw and write none in a rehearsal without images."""
        return stand_in(function, images=self.plan.images != "none", full_disk=self.computer.disk_full)

    def on_device(self, device: DeviceNode) -> None:
        state = device.simulator.device.state
        if self._states.get(device.agent) != state:
            self._states[device.agent] = state
            self.log.add(self.now, "S", device.name, state)
            self._say(device.name, state)
            self._look()

    def on_request(self, device: DeviceNode, line: str) -> None:
        rules, name = self._judged.get(device.agent, _UNJUDGED)
        if rules is not None:
            rules.requested(name, line)

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
        network = self.network
        return network.undisturbed or not (network.stalled(one, other) or network.muted(one, other))

    def waits(self, one: str, other: str) -> bool:
        return not self.network.undisturbed and self.network.stalled(one, other)

    def faulty(self, device: str) -> bool:
        return device in self.nodes and self.nodes[device].device.faults.any

    def frozen(self, device: str) -> bool:
        return device in self.nodes and "frozen" in self.nodes[device].device.faults.names()

    def state(self, device: str) -> str:
        return self.nodes[device].device.state if device in self.nodes else ""

    def truth(self, device: str, quantity: str) -> str:
        try:
            return self.nodes[device].device.properties[quantity]().line.removeprefix("OK").strip()
        except Refused:
            return ""

    @property
    def quiet(self) -> bool:
        return not self.faults.under_way and None not in [process.reactor for process in self.processes.values()]

    @property
    def full_disk(self) -> bool:
        return self.computer.disk_full

    @property
    def held(self) -> bool:
        return self.faults.held

    # Alerts ----------------------------------------------------------------------------------------------------------

    def _send(self, packet: TrafficPacket) -> None:
        if packet.what in ("test", "utility"):
            for rules in self.invariants:
                rules.forbidden(packet.ivorn, packet.ra, packet.dec)
        if self.author is not None:
            self.author.send(packet)

    def _answered(self, packet: TrafficPacket, accepted: bool) -> None:
        if not accepted:
            return
        self._accepted[packet.ivorn] = packet
        for rules in self.invariants:
            if packet.what in ("new", "update"):
                rules.wanted(packet.ivorn, packet.ra, packet.dec)
            elif packet.what == "retraction":
                rules.retracted(packet.event)
