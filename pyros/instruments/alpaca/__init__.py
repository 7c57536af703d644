"""The Alpaca driver: instruments that speak ASCOM Alpaca over HTTP. Addresses: ``http://127.0.0.1:11111/telescope/0``.

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`,
what addresses may say in `pyros.instruments.alpaca.address`.
"""

from __future__ import annotations

from typing import Any

from pyros.clock import Clock
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.address import parse_address
from pyros.instruments.alpaca.camera import AlpacaCamera
from pyros.instruments.alpaca.discovery import Found, discover
from pyros.instruments.alpaca.dome import AlpacaDome
from pyros.instruments.alpaca.filter_wheel import AlpacaFilterWheel
from pyros.instruments.alpaca.focuser import AlpacaFocuser
from pyros.instruments.alpaca.safety import AlpacaSafetyMonitor
from pyros.instruments.alpaca.switch import AlpacaSwitch
from pyros.instruments.alpaca.telescope import AlpacaTelescope
from pyros.instruments.alpaca.weather import AlpacaWeatherStation
from pyros.instruments.interfaces import Kind, Place

__all__ = [
    "WANTS_SITE",
    "AlpacaCamera",
    "AlpacaDevice",
    "AlpacaDome",
    "AlpacaFilterWheel",
    "AlpacaFocuser",
    "AlpacaSafetyMonitor",
    "AlpacaSwitch",
    "AlpacaTelescope",
    "AlpacaWeatherStation",
    "Found",
    "check_address",
    "connect",
    "discover",
]

DEVICES: dict[Kind, type[AlpacaDevice]] = {
    "telescope": AlpacaTelescope,
    "camera": AlpacaCamera,
    "filter_wheel": AlpacaFilterWheel,
    "focuser": AlpacaFocuser,
    "dome": AlpacaDome,
    "weather": AlpacaWeatherStation,
    "safety": AlpacaSafetyMonitor,
    "switch": AlpacaSwitch,
}

WANTS_SITE = True
"""Its ``connect`` takes the place of the observatory."""


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for a kind this driver doesn't know, or an address that isn't like the one above."""
    parse_address(kind, address)


def connect(
    kind: Kind, address: str, reactor: Any, clock: Clock, *, site: Place | None = None, **hooks: Any
) -> AlpacaDevice:
    """The Alpaca driver for a kind of instrument. Raises ConfigError for an unknown kind or address.

    ``site`` is for mounts, which are not sent below its horizon.
    """
    check_address(kind, address)
    if kind == "telescope":
        return AlpacaTelescope(address, reactor, clock, site=site, **hooks)
    return DEVICES[kind](address, reactor, clock, **hooks)
