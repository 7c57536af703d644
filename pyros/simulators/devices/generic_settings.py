"""What the file of a generic device says, and what it must not say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from pyros.simulators.settings import NotNegative, Positive, Seconds, Settings, Stall, Strict, Text

_RESERVED = ("id", "state", "faults", "properties", "tag")

Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,39}\Z", description="a name of a to z, 0 to 9 and _")]
State = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,39}\Z", description="a state: a word of a to z, 0 to 9 and _")]
Word = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,100}\Z", description="one line of at most 100 characters")]
Value = bool | float | Word
Values = Annotated[
    dict[Name, Value], Meta(max_length=100, description="properties and their new values, such as {lamp: 0}")
]


class PropertySettings(Strict, frozen=True, kw_only=True):
    """Something that the device can tell: numbers have limits and may waver and drift, words may have choices."""

    value: Annotated[Value, Meta(description="its value at the start: true or false, a number, or a word")]
    """Value at the start."""
    unit: Text | None = None
    """The value's unit, for people; None for none."""
    limits: Annotated[tuple[float, float] | None, Meta(description="the least and the greatest, such as [0, 100]")] = (
        None
    )
    """Least and greatest value of a number; None for a number without limits, a word or a truth."""
    choices: Annotated[
        tuple[Word, ...],
        Meta(max_length=100, description="the words that it may be, such as [auto, manual]"),
    ] = ()
    """Words that it may be; () for any."""
    settable: Annotated[bool, Meta(description="true or false: whether SET changes it")] = False
    """Whether SET changes it."""
    digits: Annotated[int, Meta(ge=0, le=9, description="digits after the decimal point, 0 to 9")] = 0
    """Digits after the decimal point."""
    noise: NotNegative = 0.0
    """Standard deviation, in its unit."""
    drift: Annotated[float, Meta(ge=-1e9, le=1e9, description="a change per hour, in its unit")] = 0.0
    """Change per hour, in its unit."""

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float) and not isinstance(self.value, bool)


class CommandSettings(Strict, frozen=True, kw_only=True):
    """Something that the device can do: it takes ``seconds``, or ``moves`` a property at a ``rate``, or ``stops``.

    A command that moves takes ``<property>=<where>``, or goes ``to`` a place of its own.
    """

    seconds: Seconds | None = None
    """How long it takes, seconds; None for one that moves or stops."""
    moves: Name | None = None
    """Name of the property that it moves."""
    rate: Annotated[Positive | None, Meta(description="units per second, a number above 0")] = None
    """Units of that property per second."""
    to: Annotated[float | None, Meta(description="where it always moves to, a number")] = None
    """Where it always moves to, in the property's unit; None for where the command says."""
    stops: Annotated[bool, Meta(description="true: it stops what runs")] = False
    """Whether it stops what runs."""
    only_in: Annotated[tuple[State, ...], Meta(max_length=100, description="the states in which it is allowed")] = ()
    """States in which it is allowed; () for all."""
    during: State | None = None
    """State while it runs; None for ``busy``."""
    then: State | None = None
    """State at its end; None for the state before."""
    sets: Values = {}  # noqa: RUF012  msgspec copies it
    """Properties and their values at its end."""
    event: Name | None = None
    """Name of the event at its end; None for the command's name and ``_finished``."""


class EventSettings(Strict, frozen=True, kw_only=True):
    """Something that happens ``at`` seconds after the start, and then ``every`` so many."""

    at: NotNegative
    """When it happens first, seconds after the start."""
    every: Annotated[Annotated[float, Meta(ge=1, le=1e9)] | None, Meta(description="seconds, 1 or more")] = None
    """Seconds from one time to the next; None for once."""
    sets: Values = {}  # noqa: RUF012
    """Properties and their new values."""
    state: State | None = None
    """State from then on; None for the state before."""
    event: Name | None = None
    """Name of the event; None for none."""


class GenericSettings(Settings, frozen=True, kw_only=True):
    """What it can tell, what it can do, what happens."""

    kind = "generic"
    can_have = frozenset({"stuck", "wrong_position", "frozen"})

    state: State = "idle"
    """State when it is switched on."""
    stall: Stall = 5.0
    """Seconds after its time when a motor that is stuck is given up; None for never."""
    properties: Annotated[
        dict[Name, PropertySettings],
        Meta(max_length=100, description="names and what they are, such as {lamp: {value: 0, limits: [0, 100]}}"),
    ] = {}  # noqa: RUF012
    """What it can tell, by name."""
    commands: Annotated[
        dict[Name, CommandSettings],
        Meta(max_length=100, description="names and what they do, such as {open: {seconds: 10, then: open}}"),
    ] = {}  # noqa: RUF012
    """What it can do, by name."""
    events: Annotated[
        tuple[EventSettings, ...],
        Meta(max_length=1000, description="a list such as [{at: 600, event: lamp_failed, sets: {lamp: 0}}]"),
    ] = ()
    """What happens by itself."""

    def contradictions(self) -> list[str]:
        problems = [
            f"properties: {name}: {problem}"
            for name, each in self.properties.items()
            for problem in self._property(name, each)
        ]
        problems += [
            f"commands: {name}: {problem}" for name, each in self.commands.items() for problem in self._command(each)
        ]
        for each in self.events:
            problems += [f"events: at {each.at:g}: {problem}" for problem in self._sets(each.sets)]
        return problems

    @property
    def moved(self) -> set[str]:
        """The properties that commands move."""
        return {each.moves for each in self.commands.values() if each.moves}

    def _property(self, name: str, each: PropertySettings) -> list[str]:
        problems = []
        if name in _RESERVED:
            problems.append(f"every device has {name} already; choose another name")
        if each.limits is not None and each.limits[0] >= each.limits[1]:
            problems.append(
                f"limits: the least must be below the greatest, not {each.limits[0]:g} and {each.limits[1]:g}"
            )
        elif problem := _misfit(each, each.value):
            problems.append(f"value: {problem}")
        if not each.is_number:
            problems += [
                f"{key}: only a number has that" for key in ("limits", "noise", "drift", "digits") if getattr(each, key)
            ]
        elif each.choices:
            problems.append("choices: only a word has that; give limits")
        if name in self.moved:
            problems += [
                f"{key}: a property that a command moves cannot have that"
                for key in ("settable", "noise", "drift")
                if getattr(each, key)
            ]
        return problems

    def _command(self, each: CommandSettings) -> list[str]:
        if (each.seconds is not None) + (each.moves is not None) + each.stops != 1:
            return ["it must have one of seconds, moves and 'stops: true'"]
        problems = self._sets(each.sets)
        if each.moves is None:
            problems += [
                f"{key}: only a command that moves has that" for key in ("rate", "to") if getattr(each, key) is not None
            ]
            return problems
        moved = self.properties.get(each.moves)
        if moved is None or not moved.is_number or moved.limits is None:
            return [*problems, f"moves: must be a number with limits among the properties, not {each.moves}"]
        if each.rate is None:
            problems.append("rate: is missing; it must be units per second, a number above 0")
        if each.to is not None and (problem := _misfit(moved, each.to)):
            problems.append(f"to: {problem}")
        return problems

    def _sets(self, sets: Mapping[str, Value]) -> list[str]:
        problems = []
        for name, value in sets.items():
            if name not in self.properties:
                problems.append(f"sets: there is no property {name}; there is {', '.join(self.properties) or 'none'}")
            elif name in self.moved:
                problems.append(f"sets: {name} is moved by a command; it cannot jump")
            elif problem := _misfit(self.properties[name], value):
                problems.append(f"sets: {name}: {problem}")
        return problems


def _misfit(each: PropertySettings, value: Value) -> str:
    """Why a property cannot have this value, or ''."""
    if isinstance(each.value, bool):
        return "" if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if isinstance(each.value, str):
        right = isinstance(value, str) and (not each.choices or value in each.choices)
        return (
            ""
            if right
            else f"must be {'one of ' + ', '.join(each.choices) if each.choices else 'a word'}, not {value!r}"
        )
    if isinstance(value, bool | str) or not math.isfinite(value):
        return f"must be a number, not {value!r}"
    least, most = each.limits or (-math.inf, math.inf)
    return "" if least <= value <= most else f"must be a number from {least:g} to {most:g}, not {value:g}"
