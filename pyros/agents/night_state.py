"""What the majordome remembers of the night, in its journal."""

from __future__ import annotations

import msgspec

from pyros.agents.night_table import State
from pyros.agents.sharpness import Sharpness
from pyros.messages import CalibrationOrder, Observation, Plan

_MAX_DONE = 200
RETRY_SECONDS = 60.0
"""What has failed by the instruments is tried again after so long, at the earliest."""


class MajordomeState(msgspec.Struct):
    """What the majordome remembers of the night."""

    state: State = State.CLOSED
    """Where the night stands."""
    change: int = 0
    """How often that has changed."""
    night: str = ""
    """The date of the night that was begun last; '' before the first."""
    over: bool = True
    """Whether that night is over."""
    prepared: bool = True
    """Whether the detector was cooled, and biases were ordered, for that night."""
    biases_left: bool = False
    """Whether biases were ordered for that night, and not taken yet."""
    attempts: int = 0
    """How often in a row the dome did not open."""
    shut: list[str] = []
    """Of dome and mount those that have said, since they were told to close and park, that they are."""
    limit_timer: int | None = None
    """When the state has lasted as long as it may."""
    calibration: str = ""
    """The id of the calibration that was ordered last, and hasn't ended."""
    orders: list[CalibrationOrder] = []
    """Those that follow it in this state."""
    calibrations: int = 0
    """How many were ordered in all."""
    cooling: bool = False
    """Whether the night's beginning waits for a cold detector."""
    dark_times: list[float] = []
    """Exposure times of this night, seconds: darks are taken of each in the morning."""
    binned_times: dict[int, list[float]] = {}
    """The same of binned exposures, by the binning."""
    flats: list[str] = []
    """The twilights of this night in which flats were begun, and none are missing that may be taken yet."""
    flats_twilight: str = ""
    """The twilight of this night in which flats were begun last; '' for none."""
    flats_left: list[CalibrationOrder] = []
    """Of that twilight what isn't taken yet, an order for each binning."""
    flats_failed: int = 0
    """How often in that twilight flats were not taken for another reason than that the majordome stopped them."""
    flat: CalibrationOrder | None = None
    """The flats that were ordered last, and haven't ended."""
    focused: float = 0.0
    """When the focus was looked for last, Unix seconds."""
    focus_missed: int = 0
    """How often in a row, in this night, the focus was not found, or not through each of the filters."""
    focus_temperature: float | None = None
    """The focuser's then, degrees Celsius; None where that wasn't known."""
    before_focus: tuple[float, float | None, Sharpness] | None = None
    """`focused`, `focus_temperature` and `sharpness` before the focusing that runs: they count again if it stops."""
    focused_filters: list[str] = []
    """Filters through which the focus was found, in any night: their offsets are known."""
    sharpness: Sharpness = msgspec.field(default_factory=Sharpness)
    """Of the images since then."""
    plan: Plan | None = None
    """The last one."""
    running: Observation | None = None
    """What the observation manager was told to observe last, and hasn't ended."""
    observed: list[str] = []
    """The ids of every *Observe* whose end was not heard yet, in their order: the observation manager ends each of them
    exactly once, and the end of an earlier one says nothing about the one that runs."""
    done: dict[str, float] = {}
    """By the ids of observations that are done, when they had been requested: Unix seconds."""
    end_timer: int | None = None
    """When the session ends for want of something to observe."""

    def is_done(self, request: Observation) -> bool:
        """Whether this request is done; one with the same id that was made at another time need not be."""
        return self.done.get(request.id) == request.requested

    def note_done(self, observation: str, requested: float) -> None:
        """Note that an observation is done; an old plan may name it still, but only another request is observed."""
        self.done.pop(observation, None)
        self.done[observation] = requested
        while len(self.done) > _MAX_DONE:
            del self.done[next(iter(self.done))]
