"""Filter wheel, focuser, switch."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload
from pyros.messages.instruments import Failure


class SelectFilter(Payload, frozen=True, kw_only=True):
    """observation_manager -> filter_wheel."""

    observation: str = ""
    filter: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class FilterSelected(Payload, frozen=True, kw_only=True):
    """filter_wheel -> observation_manager: the filter that the wheel itself reports."""

    observation: str = ""
    filter: str


class FiltersKnown(Payload, frozen=True, kw_only=True):
    """filter_wheel, or a camera with a wheel of its own -> alert_manager, scheduler: what can be named."""

    instrument: str
    filters: tuple[str, ...]


class MoveFocus(Payload, frozen=True, kw_only=True):
    """observation_manager -> focuser: to an absolute position in its steps, or, without one, to that of the filter.

    With a position, that position is the filter's from then on, and the other filters' move along.
    """

    observation: str = ""
    position: int | None = None
    filter: str = ""


class FocusMoved(Payload, frozen=True, kw_only=True):
    """focuser -> observation_manager: the measured position."""

    observation: str = ""
    position: int
    filter: str = ""


class SetSwitch(Payload, frozen=True):
    """-> switch: a channel, by its number from 0 or its name, and its level. Also the answer, with the measured one."""

    channel: Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(max_length=100)]
    level: float


SELECT_FILTER = register("Select filter", SelectFilter, guarded=True)
FILTER_SELECTED = register("Filter selected", FilterSelected, guarded=True)
FILTERS_KNOWN = register("Filters known", FiltersKnown, guarded=True)
FILTER_FAILED = register("Filter failed", Failure)
MOVE_FOCUS = register("Move focus", MoveFocus, guarded=True)
FOCUS_MOVED = register("Focus moved", FocusMoved, guarded=True)
FOCUS_FAILED = register("Focus failed", Failure)
SET_SWITCH = register("Set switch", SetSwitch, guarded=True)
SWITCH_SET = register("Switch set", SetSwitch)
SWITCH_FAILED = register("Switch failed", Failure)
