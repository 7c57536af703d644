"""Devices behind drivers: `connect` returns an instrument, whose methods `pyros.instruments.interfaces` describes."""

from __future__ import annotations

from importlib import import_module
from typing import Any, get_args

from pyros.clock import Clock
from pyros.errors import ConfigError
from pyros.instruments.interfaces import (
    Camera,
    Channel,
    Cooling,
    Dome,
    FilterWheel,
    Focuser,
    FocuserLimits,
    Geometry,
    Image,
    Kind,
    OnConnection,
    OnEvent,
    Place,
    Pointing,
    Position,
    Safety,
    SafetyMonitor,
    Switch,
    Telescope,
    WeatherStation,
)

__all__ = [
    "DRIVERS",
    "KINDS",
    "Camera",
    "Channel",
    "Cooling",
    "Dome",
    "FilterWheel",
    "Focuser",
    "FocuserLimits",
    "Geometry",
    "Image",
    "Kind",
    "Place",
    "Pointing",
    "Position",
    "Safety",
    "SafetyMonitor",
    "Switch",
    "Telescope",
    "WeatherStation",
    "check_address",
    "connect",
]

KINDS: tuple[Kind, ...] = get_args(Kind)

DRIVERS = {
    "native": "pyros.instruments.native",
    "indi": "pyros.instruments.indi",
    "alpaca": "pyros.instruments.alpaca",
    "lx200": "pyros.instruments.lx200",
}
"""The module of each driver, loaded when it is first wanted; it has a ``connect`` and a ``check_address``. One with
``WANTS_SITE = True`` is given the place of the observatory, too."""


def _driver(name: str) -> Any:
    if name not in DRIVERS:
        raise ConfigError([f"driver = {name}: must be one of {', '.join(DRIVERS)}"])
    return import_module(DRIVERS[name])


def check_address(kind: Kind, driver: str, address: str) -> None:
    """Raise ConfigError for no driver, a kind it does not drive, or not an address of its. Connects to nothing."""
    _driver(driver).check_address(kind, address)


def connect(
    kind: Kind,
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
    site: Place | None = None,
) -> Any:
    """Return the instrument at an address, and begin to connect to it: a `Telescope` for telescope, and so on.

    It returns before the connection is made; a command waits a few seconds for it. ``reactor`` offers IReactorTCP and
    IReactorTime; ``site`` is where the observatory stands, for mounts that must be told. Raises ConfigError for an
    unknown kind, driver or address. Call it in the reactor's thread.
    """
    check_address(kind, driver, address)
    module = _driver(driver)
    where = {"site": site} if getattr(module, "WANTS_SITE", False) else {}
    return module.connect(kind, address, reactor, clock, on_connection=on_connection, on_event=on_event, **where)
