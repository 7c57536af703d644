"""A device that needs no Python: its YAML file says what it can tell, what it can do, and what happens to it.

Properties have a value at the start, which decides their type: true or false, a number, a word. Commands set
properties, wait, or move a property at a rate; one runs at a time, and a newer one takes its place. Events happen by
themselves. ``observatory/simulators/cover.yaml`` has an example of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from pyros.clock import Clock
from pyros.simulators.device import Arguments, Refused, SimulatedDevice, number, one_of
from pyros.simulators.devices.generic_settings import (
    CommandSettings,
    EventSettings,
    GenericSettings,
    PropertySettings,
    Value,
)
from pyros.simulators.grammar import DeviceAnswer, busy, ok
from pyros.simulators.motion import STUCK, Motion, MotorWatch
from pyros.simulators.smooth_noise import SmoothNoise


class GenericDevice(SimulatedDevice):
    """States: those of its file, and ``busy`` while a command runs that names no other."""

    def __init__(self, settings: GenericSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = settings.state
        self._settings = settings
        self._start = self.device_clock.monotonic()
        self._values = {name: each.value for name, each in settings.properties.items()}
        self._noise = {name: SmoothNoise(settings.seed, name, each.noise) for name, each in settings.properties.items()}
        self._motions: dict[str, Motion] = {}
        self._running: tuple[str, str | None, str] | None = None  # the command, its tag, the state before it
        self.positions = frozenset(settings.moved)
        watch = MotorWatch(settings.stall, None, self._gave_up)
        for name in settings.moved:
            self._motions[name] = Motion(self, "command", float(settings.properties[name].value), 1.0, watch=watch)
        units = {name: each.unit or "" for name, each in settings.properties.items()}
        self.properties |= {"properties": lambda: ok(**units)}
        for name, each in settings.properties.items():
            self.properties[name] = partial(self._get_value, name, each)
            if each.settable:
                self.settable[name] = partial(self._set_value, name, each)
        self.actions |= {name: partial(self._do, name, each) for name, each in settings.commands.items()}
        for index, scripted in enumerate(settings.events):
            self.later(f"event {index}", scripted.at, partial(self._happen, index, scripted))

    @property
    def busy(self) -> bool:
        return self._running is not None

    def _get_value(self, name: str, each: PropertySettings) -> DeviceAnswer:
        if isinstance(each.value, bool):
            return ok(int(self._values[name]))
        if isinstance(each.value, str):
            return ok(self._values[name])
        if name in self._motions:
            value = self._motions[name].position
        else:
            elapsed = self.device_clock.monotonic() - self._start
            value = float(self._values[name]) + each.drift * elapsed / 3600 + self._noise[name].at(elapsed)
        least, most = each.limits or (-math.inf, math.inf)
        return ok(f"{min(max(value, least), most):.{each.digits}f}")

    def _set_value(self, name: str, each: PropertySettings, values: tuple[str, ...]) -> DeviceAnswer:
        if isinstance(each.value, bool):
            self._values[name] = one_of(name, values, ["0", "1"]) == "1"
        elif each.choices:
            self._values[name] = one_of(name, values, list(each.choices))
        elif len(values) != 1:
            raise Refused("VALUE", f"{name} takes one value")
        elif isinstance(each.value, str):
            self._values[name] = values[0][:200]
        else:
            self._values[name] = number(name, values[0], *(each.limits or (-1e300, 1e300)))
        return ok()

    def _do(self, name: str, each: CommandSettings, arguments: Arguments) -> DeviceAnswer:
        end = each.to
        if each.moves and end is None:
            least, most = self._settings.properties[each.moves].limits or (0.0, 0.0)
            end = arguments.number(each.moves, least, most)
        tag = arguments.tag()
        arguments.end()
        if each.only_in and self.state not in each.only_in:
            raise Refused("STATE", f"{name} is allowed when it is {' or '.join(each.only_in)}; it is {self.state}")
        before = self._stop()
        if each.stops:
            self._apply(each.sets, each.then)
            return ok()
        self._running = name, tag, before
        self.state = each.during or "busy"
        over = partial(self._over, name, each, tag, before)
        if each.moves and end is not None and each.rate is not None:
            return self._motions[each.moves].begin(end, over, each.rate)
        self.later("command", each.seconds or 0.0, over)
        return busy(self.real(each.seconds or 0.0))

    def _over(self, name: str, each: CommandSettings, tag: str | None, before: str) -> None:
        self._running = None
        self._apply(each.sets, each.then or before)
        told = (
            {each.moves: self._get_value(each.moves, self._settings.properties[each.moves]).line[3:]}
            if each.moves
            else {}
        )
        self.event(each.event or f"{name}_finished", **told, tag=tag)

    def _gave_up(self) -> None:
        """Put the device back into the state before an action whose motor is stuck."""
        if self._running is not None:
            (name, tag, self.state), self._running = self._running, None
            self.event(f"{name}_failed", reason=STUCK, tag=tag)

    def _stop(self) -> str:
        """End what runs; the state in which the device was before that, or is."""
        if self._running is None:
            return self.state
        (name, tag, before), self._running = self._running, None
        for motion in self._motions.values():
            motion.stop()
        self.cancel("command")
        self.state = before
        self.event(f"{name}_aborted", tag=tag)
        return before

    def _happen(self, index: int, scripted: EventSettings) -> None:
        if scripted.every is not None:
            self.later(f"event {index}", scripted.every, partial(self._happen, index, scripted))
        self._apply(scripted.sets, scripted.state)
        if scripted.event:
            self.event(scripted.event)

    def _apply(self, sets: Mapping[str, Value], state: str | None) -> None:
        self._values |= sets
        self.state = state or self.state
