"""What the YAML files of all simulated devices say, and the words for saying it: types with their units and limits.

A type's description is what a mistake in a file is answered with: "<key>: must be <description>, not <value>". The
settings of a kind of device stand in its own file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,100}\Z", description="one line of 1 to 100 characters")]
Word = Annotated[str, Meta(pattern=r'\A[^\s"=]{1,40}\Z', description='a word without whitespace, " and =')]
Seconds = Annotated[float, Meta(ge=0, le=86400, description="seconds, 0 to 86400")]
Degrees = Annotated[float, Meta(ge=0, lt=360, description="degrees, 0 to 360 (360 itself excluded)")]
Altitude = Annotated[float, Meta(ge=-90, le=90, description="degrees, -90 to 90")]
Positive = Annotated[float, Meta(gt=0, le=1e9, description="a number above 0")]
NotNegative = Annotated[float, Meta(ge=0, le=1e9, description="a number, 0 or more")]
Stall = Annotated[
    Seconds | None,
    Meta(description="seconds after its time when a motor is given up, 0 to 86400, or null: never"),
]
Pixels = Annotated[int, Meta(ge=16, le=8192, description="pixels, 16 to 8192")]
Adu = Annotated[int, Meta(ge=0, le=65535, description="ADU, 0 to 65535")]

Temperature = Annotated[float, Meta(ge=-90, le=60, description="degrees Celsius, -90 to 60")]
Humidity = Annotated[float, Meta(ge=0, le=100, description="percent, 0 to 100")]
Wind = Annotated[float, Meta(ge=0, le=100, description="metres per second, 0 to 100")]
Rain = Annotated[int, Meta(ge=0, le=1, description="0 or 1")]
Pressure = Annotated[float, Meta(ge=300, le=1100, description="hectopascal at the station, 300 to 1100")]
Brightness = Annotated[float, Meta(ge=0, le=25, description="magnitudes per square arcsecond, 0 to 25")]
Cloud = Annotated[float, Meta(ge=0, le=1, description="fraction of the sky, 0 to 1")]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a file: a key that it does not have is a mistake."""


class ScriptStep(Protocol):
    """One step of a script: from ``at`` seconds after the start something is so."""

    @property
    def at(self) -> float: ...


def out_of_order(key: str, steps: Iterable[ScriptStep]) -> list[str]:
    """Return what is wrong with the order of a script's steps, as a list of none or one mistake."""
    times = [step.at for step in steps]
    return [] if times == sorted(times) else [f"{key}: the steps must stand in the order of their times 'at'"]


LineFault = Literal["no_answer", "late_answer", "garbage", "half_line", "drop", "refuse"]
DeviceFault = Literal["stuck", "wrong_position", "frozen", "no_image"]
FaultKind = Literal[LineFault, DeviceFault]


class FaultSettings(Strict, frozen=True, kw_only=True):
    """Something that goes wrong from ``at`` seconds after the start, ``for`` so many seconds or until ``FAULT clear``.

    These are seconds of the observatory, whatever the device's ``speed``. The kinds are described in ``faults``.
    """

    kind: FaultKind
    """What goes wrong."""
    at: Seconds = 0.0
    """When it begins, seconds after the start."""
    lasts: Seconds | None = msgspec.field(name="for", default=None)
    """How long it lasts, seconds; None until ``FAULT clear``."""
    probability: Annotated[float, Meta(ge=0, le=1, description="0 to 1")] = 1.0
    """How often it strikes where it could, 0 to 1."""
    request: Annotated[
        str,
        Meta(
            pattern=r"\A((GET|SET|DO)( [a-z][a-z0-9_]*)?|[a-z][a-z0-9_]*)?\Z",
            description="the requests concerned, such as GET, DO slew or position",
        ),
    ] = ""
    """Requests concerned: a verb, a name, or both; '' for all."""
    seconds: Seconds = 10.0
    """How late a late answer is, seconds."""
    by: Annotated[float, Meta(ge=-1e6, le=1e6, description="in the unit of the position")] = 1.0
    """How far a wrong position is off, in the position's unit."""
    code: Annotated[str, Meta(pattern=r"\A[A-Z][A-Z_]{0,30}\Z", description="the code of an ERR answer")] = "STATE"
    """Code of the ERR answer of a refusal."""


class Settings(Strict, frozen=True, kw_only=True):
    """What every device's file says."""

    kind: ClassVar[str]
    can_have: ClassVar[frozenset[DeviceFault]] = frozenset()
    """The faults of the device itself; those of its line are everybody's."""

    device: str
    """The kind of device."""
    name: Text
    """The device's name, which it tells."""
    listen: Annotated[str, Meta(description="a server endpoint such as tcp:6010:interface=127.0.0.1")]
    """Server endpoint that it listens on, in Twisted's words."""
    speed: Annotated[
        float, Meta(gt=0, le=10_000, description="how many times faster durations pass, above 0, at most 10000")
    ] = 1.0
    """How many times faster its durations pass."""
    seed: Annotated[int, Meta(ge=0, description="a whole number, 0 or more; it decides all randomness")] = 0
    """Seed of all randomness."""
    faults: Annotated[
        tuple[FaultSettings, ...],
        Meta(max_length=1000, description="a list such as [{kind: no_answer, at: 600, for: 30, request: DO slew}]"),
    ] = ()
    """What goes wrong, and when."""

    def contradictions(self) -> list[str]:
        """Return what is wrong although every key by itself is right, each as "<key>: <what would be right>"."""
        return []


def fault_problem(fault: FaultSettings, settings: type[Settings]) -> str:
    """Return what is wrong with a fault of such a device, or ''."""
    allowed = (*get_args(LineFault), *sorted(settings.can_have))
    if fault.kind not in allowed:
        return f"a {settings.kind} cannot have {fault.kind}, only {', '.join(allowed)}"
    if fault.request and fault.kind in ("stuck", "no_image"):
        return f"{fault.kind} concerns the whole device; leave 'request' out"
    return ""
