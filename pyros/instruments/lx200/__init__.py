"""The LX200 driver: mounts that speak Meade's language over TCP, as many serial ones do behind a port server.

An address is ``tcp:HOST:PORT``, with options after a question mark (see `pyros.instruments.drivers.options`).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from pyros.instruments.drivers.options import read_options, split_address
from pyros.instruments.drivers.reconnecting import host_and_port
from pyros.instruments.interfaces import Kind
from pyros.instruments.lx200.telescope import OPTIONS_WITHOUT_MEANING

__all__ = ["check_address"]


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like tcp:192.168.1.20:4030."""
    where, query = split_address(address)
    host_and_port(where)
    read_options(kind, address, query, lacks=OPTIONS_WITHOUT_MEANING)
