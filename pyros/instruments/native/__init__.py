"""The native driver: instruments that speak the native grammar over TCP (see ``native.grammar``).

An address is ``tcp:HOST:PORT``, with options after a question mark (see `pyros.instruments.drivers.options`).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.drivers.reconnecting import host_and_port
from pyros.instruments.interfaces import Kind
from pyros.instruments.native._device import OPTIONS_WITHOUT_MEANING

__all__ = ["check_address"]


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like tcp:127.0.0.1:6010."""
    where, query = split_address(address)
    host_and_port(where)
    read_options(kind, address, query, lacks=OPTIONS_WITHOUT_MEANING)
