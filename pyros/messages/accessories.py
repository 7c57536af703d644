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
    """The observation that it is for; '' for none."""
    filter: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """The filter's name."""


class FilterSelected(Payload, frozen=True, kw_only=True):
    """filter_wheel -> observation_manager: the filter that the wheel itself reports."""

    observation: str = ""
    """The observation that it was for; '' for none."""
    filter: str
    """The filter's name."""


class FiltersKnown(Payload, frozen=True, kw_only=True):
    """filter_wheel, or a camera with a wheel of its own -> alert_manager, scheduler: what can be named."""

    instrument: str
    """The agent's name."""
    filters: tuple[str, ...]
    """The filters' names, in the order of the wheel."""


class MoveFocus(Payload, frozen=True, kw_only=True):
    """observation_manager -> focuser: to an absolute position in its steps, or, without one, to that of the filter.

    With a position, that position is the filter's from then on, and the other filters' move along.
    """

    observation: str = ""
    """The observation that it is for; '' for none."""
    position: int | None = None
    """Steps; None for the position of ``filter``."""
    filter: str = ""
    """The filter's name; '' for none."""


class FocusMoved(Payload, frozen=True, kw_only=True):
    """focuser -> observation_manager: the measured position."""

    observation: str = ""
    """The observation that it was for; '' for none."""
    position: int
    """Steps."""
    filter: str = ""
    """The filter that it was focused for; '' for none."""


class SetSwitch(Payload, frozen=True):
    """-> switch: a channel, by its number from 0 or its name, and its level. Also the answer, with the measured one."""

    channel: Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(max_length=100)]
    """Number of the channel, from 0, or its name."""
    level: float
    """Level in the channel's own unit; 0 and 1 for off and on."""


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
