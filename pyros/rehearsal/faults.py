"""What goes wrong in a rehearsed night: each fault of the script happens to the world, and ends when it has lasted.

The faults and their words stand in `pyros.rehearsal.script`; each kind has its method here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pyros.hold import Holds
from pyros.rehearsal.process import AgentProcess, DeviceNode, Process, World
from pyros.rehearsal.script import Fault
from pyros.rehearsal.timeline import Call
from pyros.simulators.grammar import RequestParser

_EVERY_TURN = ("taken", "committed", "acknowledged", "sent")
_TURN_SECONDS = 10.0
"""A process that has no turn for so long dies between two."""


class NightFaults:
    """What goes wrong in one night. Both mappings may still be filled after this is made.

    ``say`` takes a line for people; ``look`` has the invariants look at the world, which has changed.
    """

    origin = 0.0

    def __init__(
        self,
        name: str,
        world: World,
        processes: Mapping[str, Process],
        nodes: Mapping[str, DeviceNode],
        holds: Holds,
        say: Callable[[str], None],
        look: Callable[[], None],
    ) -> None:
        self._name, self._world = name, world
        self.processes, self._nodes = processes, nodes
        self._holds, self._say, self._look = holds, say, look
        self._parser = RequestParser()
        self._powerless = False
        self._calm = False
        self.held = False
        """A person holds the observatory."""
        self.kills = 0
        """How many processes were killed."""
        self.under_way = 0
        """How many faults that last have begun and not ended."""
        self.room_since = -1.0
        """When the disk was full last, seconds of the night."""

    def schedule(self, script: list[Fault]) -> None:
        """Have each fault of a script begin at its time."""
        for fault in script:
            self._at(fault.time, self.begin, fault)

    def _at(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        timeline = self._world.timeline
        timeline.call_at(max(timeline.now, seconds), self, function, args)

    def run_call(self, call: Call) -> None:
        """Make a call of the script's."""
        call.function(*call.args)

    def begin(self, fault: Fault) -> None:
        if self._calm:
            return
        self._say(str(fault))
        lasts = fault.number("for")
        if lasts:
            self.under_way += 1
            self._at(self._world.timeline.now + lasts, self._over)
        getattr(self, f"_{fault.kind}")(fault, lasts)
        self._look()

    def _over(self) -> None:
        self.under_way -= 1
        self._look()

    def _kill(self, fault: Fault, _: float) -> None:
        if self._powerless:
            return
        step, away = fault.values.get("step"), fault.number("away")
        for name in fault.names:
            process = self.processes[name]
            self.kills += 1
            if step is not None and process.alive and isinstance(process, AgentProcess):
                process.doom(step, int(fault.number("nth", 1)), away)
                if step in _EVERY_TURN and "nth" not in fault.values:
                    self._at(self._world.timeline.now + _TURN_SECONDS, process.meet_doom, step, away)
            else:
                process.kill(away)

    def _power(self, fault: Fault, _: float) -> None:
        """Stop everything on the computer; what was on its way to the devices is lost."""
        if self._powerless:
            return
        muted = [end for process in self.processes for node in self._nodes.values()
                 for end in self._world.network.mute(process, node.name)]  # fmt: skip
        self._powerless = True
        self._world.jobs.cut()
        for process in self.processes.values():
            process.die()
            process.stay_dead()
        self._at(self._world.timeline.now + fault.number("away"), self._power_back, muted)

    def _power_back(self, muted: list[Any]) -> None:
        if not self._powerless:
            return
        self._powerless = False
        self._reset(muted)
        self._world.computer.boot()
        for process in self.processes.values():
            process.start()

    def _cut(self, fault: Fault, _: float) -> None:
        one, other = fault.names
        self._world.network.cut(one, other)
        self._world.network.cut(other, one)

    def _mute(self, fault: Fault, lasts: float) -> None:
        one, other = fault.names
        ends = [*self._world.network.mute(one, other), *self._world.network.mute(other, one)]
        self._at(self._world.timeline.now + lasts, self._reset, ends)

    def _reset(self, ends: list[Any]) -> None:
        for end in ends:
            end.reset()

    def _stall(self, fault: Fault, lasts: float) -> None:
        one, other = fault.names
        self._world.network.stall(one, other, lasts)

    def _partition(self, fault: Fault, lasts: float) -> None:
        inside = set(fault.names)
        for one in fault.names:
            for other in (*self.processes, *(node.name for node in self._nodes.values())):
                if other not in inside:
                    self._world.network.stall(one, other, lasts)

    def _latency(self, _: Fault, __: float) -> None:
        self._world.network.slow(self._name)

    def _device(self, fault: Fault, _: float) -> None:
        device, kind = fault.names
        problem = self._nodes[device].device.faults.command(kind, dict(fault.values))
        if problem:
            self._say(f"{fault}: {problem}")

    def _weather(self, fault: Fault, lasts: float) -> None:
        readings = {key: value for key, value in fault.values.items() if key != "for"}
        self._set("weather", fault.names, readings)
        self._at(self._world.timeline.now + lasts, self._set, "weather", fault.names, {"climate": "auto"})

    def _flicker(self, fault: Fault, lasts: float) -> None:
        ((quantity, low),) = [(key, value) for key, value in fault.values.items() if key not in ("for", "to", "every")]
        end, every = self._world.timeline.now + lasts, fault.number("every")

        def turn(value: str, other: str) -> None:
            if self._world.timeline.now >= end or self._calm:
                self._set("weather", fault.names, {"climate": "auto"})
                return
            self._set("weather", fault.names, {quantity: value})
            self._at(self._world.timeline.now + every, turn, other, value)

        turn(fault.values["to"], low)

    def _safety(self, fault: Fault, lasts: float) -> None:
        self._set("safety", fault.names, {"safe": '0 "smoke"'})
        self._at(self._world.timeline.now + lasts, self._set, "safety", fault.names, {"script": "auto"})

    def _set(self, kind: str, names: tuple[str, ...], values: dict[str, str]) -> None:
        """Set what devices measure, as their grammar's SET does: those named, or all of the kind."""
        concerned = [node for node in self._nodes.values() if (node.agent in names if names else node.kind == kind)]
        for node in concerned:
            for key, value in values.items():
                self._parser.feed(f"SET {key} {value}\n".encode())
                request = self._parser.next()
                if request is not None:
                    answer = node.simulator.answer(cast("Any", request))
                    if not answer[0].line.startswith("OK"):
                        self._say(f"{node.agent}: SET {key} {value}: {answer[0].line}")
        if concerned:
            self._look()

    def _disk(self, _: Fault, lasts: float) -> None:
        self._world.computer.disk_full = True
        self._at(self._world.timeline.now + lasts, self._disk_has_room)

    def _disk_has_room(self) -> None:
        self._world.computer.disk_full = False
        self.room_since = self._world.timeline.now

    def _clock(self, fault: Fault, lasts: float) -> None:
        if "step" in fault.values:
            self._world.computer.step(fault.number("step"))
        else:
            self._world.computer.drift(fault.number("drift"))
        self._at(self._world.timeline.now + lasts, self._world.computer.set_right)

    def _hold(self, _: Fault, lasts: float) -> None:
        self.hold("a person holds the observatory")
        self._at(self._world.timeline.now + lasts, self._hold_over)

    def _hold_over(self) -> None:
        if not self._calm:  # then the hold is another one
            self._release()

    def hold(self, why: str) -> None:
        """Hold the observatory, as a person does."""
        self._holds.set("rehearsal", why)
        self.held = True

    def _release(self) -> None:
        self._holds.release()
        self.held = False

    def end_all(self) -> None:
        """End all that goes wrong: from here on nothing does any more."""
        self._calm = True
        self._say("the night is over: a calm hour")
        self._world.network.calm()
        for node in self._nodes.values():
            node.device.faults.clear()
        self._set("weather", (), {"climate": "auto"})
        self._set("safety", (), {"script": "auto"})
        self._world.computer.disk_full = False
        self._world.computer.set_right()
        self._release()
        self._power_back([])
        for process in self.processes.values():
            process.forget_doom()
            process.start()
