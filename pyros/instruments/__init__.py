"""Devices behind drivers: `connect` returns an instrument, whose methods `pyros.instruments.interfaces` describes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
from pyros.kinds import KINDS, driver_class
from pyros.reactor import Reactor

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

DRIVERS = tuple(dict.fromkeys(driver for kind in KINDS.values() for driver in kind.drivers))
"""Each is a folder of its name, loaded when it is first wanted; it has a ``check_address``, and a module for each kind
of instrument that it drives (`pyros.kinds.driver_class`)."""


def check_address(kind: Kind, driver: str, address: str) -> None:
    """Raise ConfigError for no driver, a kind it does not drive, or not an address of its. Connects to nothing."""
    if driver not in DRIVERS:
        raise ConfigError([f"driver = {driver}: must be one of {', '.join(DRIVERS)}"])
    if kind not in KINDS:
        raise ConfigError([f"kind = {kind}: must be one of {', '.join(KINDS)}"])
    if driver not in KINDS[kind].drivers:
        raise ConfigError([f"driver = {driver}: does not drive a {kind}; {' and '.join(KINDS[kind].drivers)} do"])
    import_module(f"{__name__}.{driver}").check_address(kind, address)


def connect(
    kind: Kind,
    driver: str,
    address: str,
    reactor: Reactor,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
    site: Place | None = None,
) -> Any:
    """Return the instrument at an address, and begin to connect to it: a `Telescope` for telescope, and so on.

    It returns before the connection is made; a command waits a few seconds for it. ``reactor`` offers IReactorTCP and
    IReactorTime; ``site`` is where the observatory stands, for mounts that must be told, or are not sent below its
    horizon. Raises ConfigError for an unknown kind, driver or address. Call it in the reactor's thread.
    """
    check_address(kind, driver, address)
    device = driver_class(driver, KINDS[kind])
    where = {"site": site} if device.wants_site else {}
    return device(address, reactor, clock, on_connection=on_connection, on_event=on_event, **where)
