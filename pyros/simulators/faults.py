"""What goes wrong with a simulated device: by its YAML file, or live by the command FAULT.

On the line, for the requests that ``request`` names (all, if it names none; never FAULT itself). On a telescope's
second port they are LX200's commands that mean the same: ``GET position`` is ``:GR#`` and ``:GD#`` there, and what a
command that has no answer cannot show is not shown:

* ``no_answer``: the request is neither carried out nor answered
* ``late_answer``: carried out, and answered ``seconds`` (10) later; what comes after it on the line waits
* ``garbage``: carried out, and answered with bytes that are no line of the grammar
* ``half_line``: carried out; half of the answer is sent, and not the rest
* ``drop``: carried out, and the connection is dropped in place of an answer
* ``refuse``: not carried out, and answered ``ERR <code>`` (STATE), or as LX200 refuses it, which has no way to refuse a
  question

In the device:

* ``stuck``: whatever moves stands still and does not arrive; when the fault ends, it goes on
* ``wrong_position``: it reports to be elsewhere, ``by`` (1) in the position's unit; a telescope by degrees of
  declination, a filter wheel by positions
* ``frozen``: sensors say for ever what they said when it began
* ``no_image``: an exposure does not end and its image is never ready, as long as the fault lasts

Each request is hit with the fault's ``probability`` (a fault in the device is there with that probability), decided by
the device's seed, so that a rehearsal goes wrong in the same way every time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyros.clock import Clock, Timer, cancel_call
from pyros.simulators.decoding import decode
from pyros.simulators.device_clock import DeviceClock
from pyros.simulators.grammar import DeviceAnswer, DeviceRequest
from pyros.simulators.settings import FaultSettings, Settings, fault_problem

_ON_THE_LINE = ("no_answer", "late_answer", "garbage", "half_line", "drop")
_STILL = ("stuck", "no_image")
_NOT_SENSORS = frozenset({"id", "state", "faults", "image", "true_position", "defocus"})
_MOST = 1000


@dataclass(eq=False)
class ScheduledFault:
    """One that has begun or will, and what its sensors said when it began."""

    settings: FaultSettings
    began: bool = False
    frozen: dict[str, DeviceAnswer] = field(default_factory=dict)
    timer: Timer | None = None

    @property
    def kind(self) -> str:
        return self.settings.kind

    def concerns(self, request: DeviceRequest) -> bool:
        """Whether ``request`` names this request."""
        named = self.settings.request
        return named in ("", request.verb, request.name, f"{request.verb} {request.name}")


class Faults:
    """The faults of one device. Everything runs in the reactor's thread.

    ``sensors`` asks the device for everything that it can tell now, by the properties' names.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        device_clock: DeviceClock,
        sensors: Callable[[frozenset[str]], dict[str, DeviceAnswer]],
    ) -> None:
        self._kind = type(settings)
        self._clock = clock
        self._device_clock = device_clock
        self._sensors = sensors
        self._random = random.Random(f"{settings.seed} faults")
        self._faults: dict[ScheduledFault, None] = {}
        for each in settings.faults:  # not before the device is complete
            fault = ScheduledFault(each)
            self._faults[fault] = None
            fault.timer = clock.call_later(each.at, self._begin, fault)

    def command(self, kind: str, arguments: Mapping[str, str]) -> str:
        """Carry out ``FAULT <kind> ...`` or ``FAULT clear``; what is wrong with it, or ''."""
        if kind == "clear":
            if arguments:
                return "FAULT clear takes nothing more"
            self.clear()
            return ""
        settings, problems = decode({"kind": kind, **arguments}, FaultSettings, strict=False)
        if settings is None:
            return problems[0]
        if len(self._faults) >= _MOST:
            return f"{_MOST} faults are there already; FAULT clear first"
        problem = fault_problem(settings, self._kind)
        if not problem:
            self.add(settings)
        return problem

    def add(self, settings: FaultSettings) -> None:
        """Let it begin at its time."""
        fault = ScheduledFault(settings)
        self._faults[fault] = None
        if settings.at > 0:
            fault.timer = self._clock.call_later(settings.at, self._begin, fault)
        else:
            self._begin(fault)

    def clear(self) -> None:
        """End all, also those that were to come."""
        for fault in list(self._faults):
            self._end(fault)

    def names(self) -> list[str]:
        """Return the kinds of those that are there now."""
        return [fault.kind for fault in self._faults if fault.began]

    @property
    def any(self) -> bool:
        """Whether something is wrong now."""
        return bool(self._faults) and bool(self.names())

    def on_the_line(self, request: DeviceRequest) -> FaultSettings | None:
        """Return what happens to the answer of this request, if anything."""
        return None if request.verb == "FAULT" else self._hit(request, *_ON_THE_LINE)

    def refusal(self, request: DeviceRequest) -> FaultSettings | None:
        """Why this request is refused, if it is."""
        return self._hit(request, "refuse")

    def displacement(self, request: DeviceRequest) -> float:
        """How far off the position is that this request asks for."""
        fault = self._hit(request, "wrong_position")
        return fault.by if fault else 0.0

    def frozen(self, request: DeviceRequest) -> DeviceAnswer | None:
        """Return what the sensor said when it froze, if it did."""
        for fault in self._faults:
            if fault.began and fault.concerns(request) and request.name in fault.frozen:
                return fault.frozen[request.name]
        return None

    def _hit(self, request: DeviceRequest, *kinds: str) -> FaultSettings | None:
        for fault in self._faults:
            if fault.began and fault.kind in kinds and fault.concerns(request):
                probability = fault.settings.probability
                if probability >= 1 or self._random.random() < probability:
                    return fault.settings
        return None

    def _begin(self, fault: ScheduledFault) -> None:
        fault.timer = None
        settings = fault.settings
        if settings.kind in (*_STILL, "frozen") and self._random.random() >= settings.probability:
            del self._faults[fault]
            return
        if settings.kind == "frozen":
            fault.frozen = self._sensors(_NOT_SENSORS - {settings.request.removeprefix("GET ")})
        fault.began = True
        if settings.lasts is not None:
            fault.timer = self._clock.call_later(settings.lasts, self._end, fault)
        if settings.kind in _STILL:
            self._device_clock.stand_still()

    def _end(self, fault: ScheduledFault) -> None:
        self._faults.pop(fault, None)
        cancel_call(fault.timer)
        if not any(each.began and each.kind in _STILL for each in self._faults):
            self._device_clock.go_on()

    def garbage(self, end: bytes) -> bytes:
        """Return a line of garbage for a language whose lines end so: never UTF-8, never a digit at its start."""
        return b"\xff" + self._random.randbytes(20).replace(end, b"?") + end
