"""The INDI driver: devices behind an ``indiserver``, or anything else that speaks the INDI protocol 1.7 over TCP.

An address is ``tcp:HOST:PORT/DEVICE`` with the device's INDI name, such as ``tcp:127.0.0.1:7624/Telescope Simulator``;
without a name it is the first device whose driver is for that kind of instrument. Each instrument has a connection of
its own. A device that is not connected to its hardware is told to connect.

Options follow after a question mark, such as ``?slew_seconds=120`` (see `pyros.instruments.drivers.options` and
``indi.options``). A switch's address names there the vectors that are its channels (see ``indi.switch``).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from typing import Any

from pyros.clock import Clock
from pyros.errors import ConfigError
from pyros.instruments.drivers.options import split_address
from pyros.instruments.indi._device import IndiDevice
from pyros.instruments.indi.camera import IndiCamera
from pyros.instruments.indi.connection import parse_address
from pyros.instruments.indi.dome import IndiDome
from pyros.instruments.indi.filter_wheel import IndiFilterWheel
from pyros.instruments.indi.focuser import IndiFocuser
from pyros.instruments.indi.options import options_of
from pyros.instruments.indi.switch import IndiSwitch, parse_switch_address
from pyros.instruments.indi.telescope import IndiTelescope
from pyros.instruments.indi.weather import IndiSafetyMonitor, IndiWeatherStation
from pyros.instruments.interfaces import Kind, Place

__all__ = [
    "WANTS_SITE",
    "IndiCamera",
    "IndiDevice",
    "IndiDome",
    "IndiFilterWheel",
    "IndiFocuser",
    "IndiSafetyMonitor",
    "IndiSwitch",
    "IndiTelescope",
    "IndiWeatherStation",
    "check_address",
    "connect",
]

DEVICES: dict[Kind, type[IndiDevice]] = {
    "telescope": IndiTelescope,
    "camera": IndiCamera,
    "filter_wheel": IndiFilterWheel,
    "focuser": IndiFocuser,
    "dome": IndiDome,
    "weather": IndiWeatherStation,
    "safety": IndiSafetyMonitor,
    "switch": IndiSwitch,
}

WANTS_SITE = True
"""Its ``connect`` takes the place of the observatory."""


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for a kind this driver doesn't know, or an address that isn't like the one above."""
    if kind not in DEVICES:
        raise ConfigError([f"kind = {kind}: driver indi has none of it, only {', '.join(DEVICES)}"])
    if kind == "switch":
        parse_switch_address(address)
    else:
        where, query = split_address(address)
        parse_address(where)
        options_of(kind, address, query)


def connect(
    kind: Kind, address: str, reactor: Any, clock: Clock, *, site: Place | None = None, **hooks: Any
) -> IndiDevice:
    """The INDI driver for a kind of instrument. Raises ConfigError for an unknown kind or address.

    ``site`` is for mounts, which are told the place and the time.
    """
    check_address(kind, address)
    if kind == "telescope":
        return IndiTelescope(address, reactor, clock, site=site, **hooks)
    return DEVICES[kind](address, reactor, clock, **hooks)
