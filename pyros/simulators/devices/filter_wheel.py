"""A filter wheel that turns the shorter way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, SimulatedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.motion import Motion, MotorWatch
from pyros.simulators.settings import Settings, Stall, Word

_PLAY = 0.01
"""Of the way to the next position: a filter that is no farther from the beam is in it."""


class FilterWheelSettings(Settings, frozen=True, kw_only=True):
    """The filters in the order of the wheel's positions; the first is in the beam when it is switched on."""

    kind = "filter_wheel"
    can_have = frozenset({"stuck", "wrong_position"})

    filters: Annotated[
        tuple[Word, ...],
        Meta(min_length=1, max_length=40, description="the filters' names in their order, such as [g, r, i]"),
    ]
    """The filters' names, in the order of the positions."""
    seconds_per_position: Annotated[
        float, Meta(gt=0, le=600, description="seconds from a position to the next, above 0, at most 600")
    ] = 1.0
    """Time from one position to the next, seconds."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""

    def contradictions(self) -> list[str]:
        twice = sorted({name for name in self.filters if self.filters.count(name) > 1})
        return [f"filters: {name} stands there twice; each filter has a name of its own" for name in twice]


class SimulatedFilterWheel(SimulatedDevice):
    """A filter wheel; its states are idle and moving.

    While it turns, or where it was stuck, no filter is in the beam, and ``GET filter`` tells ``""``.
    """

    positions = frozenset({"filter"})

    def __init__(self, settings: FilterWheelSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "idle"
        self._filters = list(settings.filters)
        watch = MotorWatch(settings.stall, "select_failed", self._rest)
        self._wheel = Motion(self, "turn", 0.0, 1 / settings.seconds_per_position, "select_aborted", watch)
        self.properties |= {
            "filters": lambda: ok(*self._filters),
            "filter": lambda: ok("" if self._position is None else self._filters[self._position]),
        }
        self.actions |= {"select": self._select}

    @property
    def _position(self) -> int | None:
        """Of the filter in the beam, if one is."""
        nearest = round(self._wheel.position)
        between = abs(self._wheel.position - nearest) > _PLAY
        return None if self._wheel.moving or between else nearest % len(self._filters)

    def displaced(self, answer: DeviceAnswer, off: float) -> DeviceAnswer:
        if self._position is None:
            return answer
        return ok(self._filters[(self._position + round(off)) % len(self._filters)])

    def _rest(self) -> None:
        self.state = "idle"

    def _select(self, arguments: Arguments) -> DeviceAnswer:
        name = arguments.word("filter", self._filters)
        tag = arguments.tag()
        arguments.end()
        wanted, count, here = self._filters.index(name), len(self._filters), self._wheel.position
        if wanted == self._position:
            return ok()

        def arrived() -> None:
            self._rest()
            self.event("selected", filter=name, tag=tag)

        shorter = (wanted - here + count / 2) % count - count / 2
        self.state = "moving"
        return self._wheel.begin(here + shorter, arrived, tag=tag)
