"""A UPS: the mains fail by a script or by hand, the battery empties and is charged again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import number, one_of
from pyros.simulators.devices.scripted import ScriptedDevice
from pyros.simulators.grammar import DeviceAnswer, ok
from pyros.simulators.settings import NotNegative, Positive, Settings, Strict, out_of_order


class MainsChange(Strict, frozen=True, kw_only=True):
    """One step of the script: from ``at`` seconds after the start the mains are there, or they are not."""

    at: NotNegative
    """When it begins, seconds after the start."""
    mains: bool
    """Whether the mains are there from then on."""


class UpsSettings(Settings, frozen=True, kw_only=True):
    """How the UPS is when it is switched on, how long its battery lasts, and when the mains fail."""

    kind = "ups"
    can_have = frozenset({"frozen"})

    charge: Annotated[float, Meta(ge=0, le=100, description="percent, 0 to 100: the battery's at the start")] = 100.0
    """The battery's at the start, percent."""
    lasts: Positive = 1200.0
    """Seconds in which a full battery empties."""
    charges: Positive = 14_400.0
    """Seconds in which an empty one is charged."""
    script: Annotated[
        tuple[MainsChange, ...],
        Meta(
            max_length=10_000, description="a list of steps such as [{at: 600, mains: false}, {at: 900, mains: true}]"
        ),
    ] = ()
    """When the mains fail and come back, in the order of time."""

    def contradictions(self) -> list[str]:
        return out_of_order("script", self.script)


class SimulatedUps(ScriptedDevice[bool]):
    """State: ok. ``SET mains 0`` overrules the script until ``SET script auto``."""

    def __init__(self, settings: UpsSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit, True, [(step.at, step.mains) for step in settings.script])
        self._lasts, self._charges = settings.lasts, settings.charges
        self._charge = settings.charge
        self._since = self.device_clock.monotonic()
        self.properties["power"] = self._get_power
        self.settable |= {"mains": self._set_mains, "charge": self._set_charge}

    @property
    def on_mains(self) -> bool:
        """Whether the mains are there."""
        return self.current

    def before_change(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Bring the charge up to now."""
        now = self.device_clock.monotonic()
        rate = 100 / self._charges if self.on_mains else -100 / self._lasts
        self._charge = min(100.0, max(0.0, self._charge + rate * (now - self._since)))
        self._since = now

    def after_change(self, before: bool) -> None:
        """Tell every client when the mains fail or come back."""
        if self.on_mains != before:
            self.event("mains" if self.on_mains else "battery", charge=round(self._charge, 1))

    def _get_power(self) -> DeviceAnswer:
        self._settle()
        return ok("mains" if self.on_mains else "battery", charge=round(self._charge, 1))

    def _set_mains(self, values: tuple[str, ...]) -> DeviceAnswer:
        self.set_by_hand(one_of("mains", values, ["0", "1"]) == "1")
        return ok()

    def _set_charge(self, values: tuple[str, ...]) -> DeviceAnswer:
        self._settle()
        self._charge = number("charge", " ".join(values), 0.0, 100.0)
        return ok()
