"""What all simulated devices share: the tables from names to methods, timers, and events."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from pyros.clock import Clock, Timer, cancel_call
from pyros.simulators.device_clock import DeviceClock
from pyros.simulators.faults import Faults
from pyros.simulators.grammar import DeviceAnswer, DeviceRequest, error, event, ok, shown
from pyros.simulators.settings import Settings

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_TAG = 100
_Method = TypeVar("_Method")


class Refused(Exception):
    """A request that cannot be done; raised by a device's methods, answered as ERR. It never leaves the device."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def number(name: str, text: str, least: float, most: float) -> float:
    """Return a decimal number from least to most, or Refused with what is allowed."""
    value = float(text) if len(text) <= 100 and _NUMBER.fullmatch(text) else math.nan
    if not least <= value <= most:
        raise Refused("VALUE", f"{name} must be a number from {least:.10g} to {most:.10g}, not {shown(text)}")
    return value


class Arguments:
    """What follows the name of an action; each is taken once, and ``end`` refuses what nobody took."""

    def __init__(self, action: str, arguments: dict[str, str]) -> None:
        self._action = action
        self._left = dict(arguments)

    def number(self, name: str, least: float, most: float) -> float:
        """Return a number that must be given."""
        if name not in self._left:
            raise Refused("VALUE", f"{self._action} takes {name}=<a number from {least:.10g} to {most:.10g}>")
        return number(name, self._left.pop(name), least, most)

    def number_or(self, name: str, default: float, least: float, most: float) -> float:
        """Return a number that may be left out."""
        return self.number(name, least, most) if name in self._left else default

    def flag(self, name: str) -> bool:
        """0 or 1; 0 when it is left out."""
        text = self._left.pop(name, "0")
        if text not in ("0", "1"):
            raise Refused("VALUE", f"{name} must be 0 or 1, not {shown(text)}")
        return text == "1"

    def word(self, name: str, allowed: list[str]) -> str:
        """One of the words that are allowed; it must be given."""
        if name not in self._left:
            raise Refused("VALUE", f"{self._action} takes {name}=<one of {', '.join(allowed)}>")
        return one_of(name, (self._left.pop(name),), allowed)

    def word_or(self, name: str, allowed: list[str]) -> str | None:
        """One of the words that are allowed; None when it is left out."""
        return self.word(name, allowed) if name in self._left else None

    def tag(self) -> str | None:
        """Return the word by which the client will know the events of this action; may be left out."""
        tag = self._left.pop("tag", None)
        if tag is not None and len(tag) > _MAX_TAG:
            raise Refused("VALUE", f"tag must have at most {_MAX_TAG} characters")
        return tag

    def end(self) -> None:
        """There must be no others."""
        if self._left:
            raise Refused("VALUE", f"{self._action} takes no {next(iter(self._left))}=")


class SimulatedDevice:
    """One simulated device, without its port.

    Subclasses fill the three tables. Everything runs in the reactor's thread. ``clock`` is the observatory's;
    ``device_clock`` is the same with durations that pass ``speed`` times faster, and stands still while a fault keeps
    the device from moving on; ``emit`` sends an event to every client.
    """

    positions: frozenset[str] = frozenset({"position"})
    """The properties that a ``wrong_position`` concerns."""

    def __init__(self, settings: Settings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        self.clock = clock
        self.device_clock = DeviceClock(clock, settings.speed)
        self.faults = Faults(settings, clock, self.device_clock, self._sensors)
        self.state = "ok"
        self._speed = settings.speed
        self._emit = emit
        self._timers: dict[str, Timer] = {}
        self.properties: dict[str, Callable[[], DeviceAnswer]] = {
            "id": lambda: DeviceAnswer(f"{_quoted_id(settings.name)} {settings.kind}"),
            "state": lambda: ok(self.state),
            "faults": lambda: ok(*self.faults.names()),
        }
        self.settable: dict[str, Callable[[tuple[str, ...]], DeviceAnswer]] = {}
        self.actions: dict[str, Callable[[Arguments], DeviceAnswer]] = {}

    @property
    def busy(self) -> bool:
        """Whether something runs whose end will come as an event."""
        return bool(self._timers)

    def stop(self) -> Deferred[None] | None:
        """Cancel all timers; the device is not used any more. What it returns fires when nothing is left of it."""
        self.faults.clear()
        for name in list(self._timers):
            self.cancel(name)
        return None

    def answer(self, request: DeviceRequest) -> DeviceAnswer:
        """Do what is asked; whatever is wrong with it becomes an ERR answer."""
        try:
            if request.verb == "FAULT":
                return self._fault(request)
            self.refuse_by_fault(request)
            match request.verb:
                case "GET":
                    return self.get(request)
                case "SET":
                    return _find("property that can be set", self.settable, request.name)(request.values)
                case _:
                    arguments = Arguments(request.name, request.arguments)
                    return _find("action", self.actions, request.name)(arguments)
        except Refused as refused:
            return error(refused.code, str(refused))

    def refuse_by_fault(self, request: DeviceRequest) -> None:
        """Raise Refused where a fault wants it."""
        if refusal := self.faults.refusal(request):
            raise Refused(refusal.code, "a fault makes it refuse")

    def get(self, request: DeviceRequest) -> DeviceAnswer:
        """Return what a property says, or what a fault makes it say; raises Refused."""
        read = _find("property", self.properties, request.name)
        answer = self.faults.frozen(request) or read()
        off = self.faults.displacement(request) if request.name in self.positions else 0.0
        return self.displaced(answer, off) if off else answer

    def displaced(self, answer: DeviceAnswer, off: float) -> DeviceAnswer:
        """Return the answer of a device that is mistaken about its position; the last number is."""
        *words, last = answer.line.split(" ")
        decimals = len(last.partition(".")[2])
        return DeviceAnswer(" ".join([*words, f"{float(last) + off:.{decimals}f}"]))

    def _sensors(self, without: frozenset[str]) -> dict[str, DeviceAnswer]:
        """Return what everything says now, as far as it can be told."""
        answers = {}
        for name in self.properties.keys() - without:
            try:
                answers[name] = self.properties[name]()
            except Refused:
                continue
        return answers

    def _fault(self, request: DeviceRequest) -> DeviceAnswer:
        problem = self.faults.command(request.name, request.arguments)
        if problem:
            raise Refused("VALUE", problem)
        return ok()

    def event(self, name: str, *values: object, **named: object) -> None:
        """Tell every client what happened."""
        self._emit(event(name, *values, **named))

    def later(self, name: str, seconds: float, function: Callable[[], None], clock: Clock | None = None) -> None:
        """Call the function after so many of the device's seconds, in place of an earlier one of that name."""
        self.cancel(name)

        def fire() -> None:
            del self._timers[name]
            function()

        self._timers[name] = (clock or self.device_clock).call_later(seconds, fire)

    def cancel(self, name: str) -> None:
        """Forget what ``later`` was to call, if anything."""
        cancel_call(self._timers.pop(name, None))

    def real(self, seconds: float) -> float:
        """Return the client's seconds in which so many of the device's pass: what BUSY announces."""
        return seconds / self._speed


def one_of(name: str, values: tuple[str, ...], allowed: list[str]) -> str:
    """Return the single word of a SET, from those allowed, or Refused."""
    if len(values) != 1 or values[0] not in allowed:
        raise Refused("VALUE", f"{name} must be one of {', '.join(allowed)}, not {shown(' '.join(values))}")
    return values[0]


def _find(what: str, table: dict[str, _Method], name: str) -> _Method:
    if name not in table:
        raise Refused("UNKNOWN", f"there is no {what} {shown(name)}; there is {', '.join(table) or 'none'}")
    return table[name]


def _quoted_id(name: str) -> str:
    """``GET id`` always quotes the name."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'OK "{escaped}"'
