"""A safety PLC: it says whether it is safe to be open, by a script or by hand, and tells when that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Refused, one_of
from pyros.simulators.devices.scripted import ScriptedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.settings import NotNegative, Settings, Strict, Text, out_of_order

_BY_HAND = "set by hand"
_MAX_REASON = 100


class SafetyChange(Strict, frozen=True, kw_only=True):
    """One step of the script: from ``at`` seconds after the start it is safe, or it is not, and why."""

    at: NotNegative
    """When it begins, seconds after the start."""
    safe: bool
    """Whether it is safe from then on."""
    reason: Text | None = None
    """Why it is not, in words; None without a reason."""


class SafetySettings(Settings, frozen=True, kw_only=True):
    """What the PLC says when it is switched on, and what it will say later."""

    kind = "safety"
    can_have = frozenset({"frozen"})

    safe: Annotated[bool, Meta(description="true or false: what it says at the start")] = True
    """Whether it is safe at the start."""
    reason: Annotated[str, Meta(max_length=_MAX_REASON, description="why it is not safe, in words")] = ""
    """Why it is not, in words."""
    script: Annotated[
        tuple[SafetyChange, ...],
        Meta(
            max_length=10_000,
            description="a list of steps such as [{at: 600, safe: false, reason: smoke}, {at: 900, safe: true}]",
        ),
    ] = ()
    """What it says later, in the order of time."""

    def contradictions(self) -> list[str]:
        return out_of_order("script", self.script)


class SimulatedSafety(ScriptedDevice[tuple[bool, str]]):
    """State: ok. ``SET safe 0 "why"`` overrules the script until ``SET script auto``."""

    def __init__(self, settings: SafetySettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        steps = [(step.at, (step.safe, step.reason or "")) for step in settings.script]
        super().__init__(settings, clock, emit, (settings.safe, settings.reason), steps)
        self.properties["safe"] = self._get_safe
        self.settable["safe"] = self._set_safe

    def after_change(self, before: tuple[bool, str]) -> None:
        """Tell every client whether it is safe, if that is new."""
        safe, reason = self.current
        if safe != before[0]:
            self.event("safe" if safe else "unsafe", reason=None if safe else reason or None)

    def _get_safe(self) -> DeviceAnswer:
        safe, reason = self.current
        return ok(int(safe), reason=None if safe else reason or None)

    def _set_safe(self, values: tuple[str, ...]) -> DeviceAnswer:
        if len(values) > 2 or (len(values) == 2 and len(values[1]) > _MAX_REASON):
            raise Refused("VALUE", f"safe takes 0 or 1, and a reason of at most {_MAX_REASON} characters")
        safe = one_of("safe", values[:1], ["0", "1"]) == "1"
        self.set_by_hand((safe, values[1] if len(values) == 2 else _BY_HAND))
        return ok()
