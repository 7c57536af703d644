"""The kinds of instruments: one row each, from which every other list of kinds is derived.

A row only names what the rooms above have, so that each of them may read it: no room is imported before `load` or
`driver_class` is asked for something in it. Adding a kind is writing its files and its row; see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

_BEGIN = "how long the device may stand still elsewhere before its command counts as failed"


@dataclass(frozen=True, slots=True)
class InstrumentKind:
    """A kind of instrument, which has one agent of the same name.

    The modules are called as the kind is: ``pyros.agents.NAME``, ``pyros.instruments.DRIVER.NAME`` with the class
    ``DriverInterface`` (`NativeFocuser`), and ``pyros.instruments.conformance.NAME`` with its ``CHECKS``.
    """

    name: str
    interface: str
    """Module, below `pyros.instruments`, and class of what its drivers offer."""
    simulator: str
    """Module of the simulated device, below `pyros.simulators`."""
    optional: bool = True
    """An observatory may do without it."""
    drivers: tuple[str, ...] = ("native", "indi", "alpaca")
    alpaca_type: str = ""
    """Alpaca's name of it (Alpaca API reference, "device_type")."""
    trial: str = ""
    """What the gentle conformance checks do to a device; '' for a kind that they only read."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What all drivers' addresses may say: names that end with their unit, for positive numbers, and what they are."""

    @property
    def agent(self) -> str:
        """Module of its agent."""
        return f"pyros.agents.{self.name}"

    @property
    def simulated_device(self) -> str:
        """Module and class of the simulated device."""
        return f"pyros.simulators.{self.simulator}.Simulated{self._camel_case}"

    @property
    def simulator_settings(self) -> str:
        """Module and class of the simulated device's settings, which the device's module has or imports."""
        return f"pyros.simulators.{self.simulator}.{self._camel_case}Settings"

    @property
    def _camel_case(self) -> str:
        return self.name.title().replace("_", "")

    @property
    def class_name(self) -> str:
        """Class of its interface, without the module."""
        return self.interface.rpartition(".")[2]


KINDS: dict[str, InstrumentKind] = {
    kind.name: kind
    for kind in (
        InstrumentKind(
            "telescope",
            interface="interfaces.Telescope",
            simulator="mount.telescope",
            optional=False,
            drivers=("native", "indi", "alpaca", "lx200"),
            alpaca_type="telescope",
            trial="slews the telescope to places high in the east, and parks it",
            options={
                "slew_seconds": "the longest that a slew or a park may take",
                "stop_seconds": "the longest that stopping may take",
                "begin_seconds": _BEGIN,
                "settle_seconds": "how long it may say on its target that it slews, before it is stopped there",
                "tolerance_arcsec": "how far from its target a slew may end",
            },
        ),
        InstrumentKind(
            "camera",
            interface="interfaces.Camera",
            simulator="camera.camera",
            optional=False,
            alpaca_type="camera",
            trial="takes exposures, dark ones too, and sets the cooler to what it is set to",
            options={
                "readout_seconds": "how long after the exposure the image may be ready",
                "download_seconds": "how long fetching the image may take",
            },
        ),
        InstrumentKind(
            "dome",
            interface="interfaces.Dome",
            simulator="devices.dome",
            optional=False,
            alpaca_type="dome",
            trial="closes the dome, and turns its slit",
            options={
                "shutter_seconds": "the longest that the shutter may move",
                "turn_seconds": "the longest that the slit may turn",
                "begin_seconds": _BEGIN,
                "tolerance_degrees": "how far from its target a turn may end",
            },
        ),
        InstrumentKind(
            "weather",
            interface="interfaces.WeatherStation",
            simulator="devices.weather",
            optional=False,
            alpaca_type="observingconditions",
            options={"oldest_seconds": "the age from which on a sensor's reading is none"},
        ),
        InstrumentKind(
            "filter_wheel",
            interface="interfaces.FilterWheel",
            simulator="devices.filter_wheel",
            alpaca_type="filterwheel",
            trial="turns the filter wheel, and back",
            options={"turn_seconds": "the longest that a turn may take", "begin_seconds": _BEGIN},
        ),
        InstrumentKind(
            "focuser",
            interface="interfaces.Focuser",
            simulator="devices.focuser",
            alpaca_type="focuser",
            trial="moves the focuser by a part of its way, and back",
            options={
                "move_seconds": "the longest that a move may take",
                "begin_seconds": _BEGIN,
                "tolerance_steps": "how far from its target a move may end",
            },
        ),
        InstrumentKind(
            "safety",
            interface="interfaces.SafetyMonitor",
            simulator="devices.safety",
            alpaca_type="safetymonitor",
        ),
        InstrumentKind("ups", interface="ups.Ups", simulator="devices.ups", drivers=("native", "nut")),
        InstrumentKind("switch", interface="interfaces.Switch", simulator="devices.switch", alpaca_type="switch"),
        InstrumentKind(
            "cover",
            interface="cover.Cover",
            simulator="devices.cover",
            alpaca_type="covercalibrator",
            trial="closes the cover, and lights its lamp",
            options={
                "cover_seconds": "the longest that the cover may move",
                "lamp_seconds": "the longest until the light of the lamp is steady",
                "begin_seconds": _BEGIN,
            },
        ),
        InstrumentKind(
            "rotator",
            interface="rotator.Rotator",
            simulator="devices.rotator",
            alpaca_type="rotator",
            trial="turns the rotator by 15 degrees, and back",
            options={
                "move_seconds": "the longest that a move may take",
                "begin_seconds": _BEGIN,
                "tolerance_degrees": "how far from its target a move may end",
            },
        ),
        InstrumentKind(
            "guider",
            interface="guider.Guider",
            simulator="devices.guider",
            drivers=("native", "phd2"),
            options={"guide_seconds": "the longest until it guides steadily, a calibration included"},
        ),
    )
}
"""Each kind by its name, those first without which an observatory cannot observe."""


def load(path: str) -> Any:
    """Import ``package.module.Name`` and return what has that name there."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def driver_class(driver: str, kind: InstrumentKind) -> Any:
    """Return the class that drives this kind of instrument; the driver must be one of the kind's."""
    return load(f"pyros.instruments.{driver}.{kind.name}.{driver.capitalize()}{kind.class_name}")
