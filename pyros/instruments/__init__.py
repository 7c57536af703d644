"""Devices behind drivers: `connect` returns an instrument, whose methods `pyros.instruments.interfaces` describes."""

from __future__ import annotations

from typing import Any, Literal, cast, overload

from pyros.clock import Clock
from pyros.errors import ConfigError
from pyros.instruments import native
from pyros.instruments.interfaces import (
    Camera,
    Dome,
    Geometry,
    Image,
    Kind,
    OnConnection,
    OnEvent,
    Pointing,
    Position,
    Telescope,
    WeatherStation,
)

__all__ = [
    "DRIVERS",
    "Camera",
    "Dome",
    "Geometry",
    "Image",
    "Pointing",
    "Position",
    "Telescope",
    "WeatherStation",
    "connect",
]

DRIVERS = {"native": native.connect}


@overload
def connect(
    kind: Literal["telescope"],
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
) -> Telescope: ...
@overload
def connect(
    kind: Literal["camera"],
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
) -> Camera: ...
@overload
def connect(
    kind: Literal["dome"],
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
) -> Dome: ...
@overload
def connect(
    kind: Literal["weather"],
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
) -> WeatherStation: ...
def connect(
    kind: Kind,
    driver: str,
    address: str,
    reactor: Any,
    clock: Clock,
    *,
    on_connection: OnConnection | None = None,
    on_event: OnEvent | None = None,
) -> Telescope | Camera | Dome | WeatherStation:
    """Return the instrument at an address, and begin to connect to it.

    It returns before the connection is made; a command waits a few seconds for it. ``reactor`` offers IReactorTCP and
    IReactorTime. Raises ConfigError for an unknown kind, driver or address. Call it in the reactor's thread.
    """
    if driver not in DRIVERS:
        raise ConfigError([f"driver = {driver}: must be one of {', '.join(DRIVERS)}"])
    device = DRIVERS[driver](kind, address, reactor, clock, on_connection=on_connection, on_event=on_event)
    return cast("Telescope | Camera | Dome | WeatherStation", device)
