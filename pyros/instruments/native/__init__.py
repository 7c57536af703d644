"""The native driver: instruments that speak the native grammar over TCP (see ``native.grammar``).

An address is ``tcp:HOST:PORT``, with options after a question mark (see `pyros.instruments.drivers.options`).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from typing import Any

from pyros.clock import Clock
from pyros.errors import ConfigError
from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.drivers.reconnecting import host_and_port
from pyros.instruments.interfaces import Kind
from pyros.instruments.native._device import LACKS, NativeDevice
from pyros.instruments.native.camera import NativeCamera
from pyros.instruments.native.dome import NativeDome
from pyros.instruments.native.filter_wheel import NativeFilterWheel
from pyros.instruments.native.focuser import NativeFocuser
from pyros.instruments.native.safety import NativeSafetyMonitor
from pyros.instruments.native.switch import NativeSwitch
from pyros.instruments.native.telescope import NativeTelescope
from pyros.instruments.native.weather import NativeWeatherStation

__all__ = [
    "NativeCamera",
    "NativeDevice",
    "NativeDome",
    "NativeFilterWheel",
    "NativeFocuser",
    "NativeSafetyMonitor",
    "NativeSwitch",
    "NativeTelescope",
    "NativeWeatherStation",
    "check_address",
    "connect",
]

DEVICES: dict[Kind, type[NativeDevice]] = {
    "telescope": NativeTelescope,
    "camera": NativeCamera,
    "filter_wheel": NativeFilterWheel,
    "focuser": NativeFocuser,
    "dome": NativeDome,
    "weather": NativeWeatherStation,
    "safety": NativeSafetyMonitor,
    "switch": NativeSwitch,
}


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for a kind this driver doesn't know, or an address that isn't like tcp:127.0.0.1:6010."""
    if kind not in DEVICES:
        raise ConfigError([f"kind = {kind}: must be one of {', '.join(DEVICES)}"])
    where, query = split_address(address)
    host_and_port(where)
    read_options(kind, address, query, lacks=LACKS)


def connect(kind: Kind, address: str, reactor: Any, clock: Clock, **hooks: Any) -> NativeDevice:
    """The native driver for a kind of instrument. Raises ConfigError for an unknown kind or address."""
    check_address(kind, address)
    return DEVICES[kind](address, reactor, clock, **hooks)
