"""Filter wheel, focuser, switch."""

from __future__ import annotations

from typing import Annotated, Literal

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


FocusUse = Literal["set", "visit", "focus", "offset"]
"""What a position that is given to the focuser means: from now on it is the filter's, and the other filters' move along
(set); it is for one image (visit); as set, and it is a focus that was found, from which the agent learns how the focus
moves with the temperature (focus); it is the filter's alone, whose offset beside the others' is learnt (offset)."""


class MoveFocus(Payload, frozen=True, kw_only=True):
    """observation_manager -> focuser: to an absolute position in its steps, or, without one, to that of the filter.

    With a position, ``use`` says what it means for the moves to come.
    """

    observation: str = ""
    """The observation that it is for; '' for none."""
    position: int | None = None
    """Steps; None for the position of ``filter``."""
    filter: str = ""
    """The filter's name; '' for none."""
    use: FocusUse = "set"
    """What the position means."""


class FocusMoved(Payload, frozen=True, kw_only=True):
    """focuser -> observation_manager: the measured position."""

    observation: str = ""
    """The observation that it was for; '' for none."""
    position: int
    """Steps."""
    filter: str = ""
    """The filter that it was focused for; '' for none."""
    temperature: float | None = None
    """Of the focuser, degrees Celsius; None where it has no sensor."""
    limits: tuple[int, int] | None = None
    """The least and the greatest position that it can reach, steps; None where it doesn't tell."""


class FocuserTemperature(Payload, frozen=True):
    """focuser -> majordome: how warm it is, when that has changed, and every ten minutes."""

    celsius: float
    """Degrees Celsius."""


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
FOCUSER_TEMPERATURE = register("Focuser temperature", FocuserTemperature, guarded=True, fleeting=True)
SET_SWITCH = register("Set switch", SetSwitch, guarded=True)
SWITCH_SET = register("Switch set", SetSwitch)
SWITCH_FAILED = register("Switch failed", Failure)
