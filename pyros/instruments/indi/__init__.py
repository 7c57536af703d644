"""The INDI driver: devices behind an ``indiserver``, or anything else that speaks the INDI protocol 1.7 over TCP.

An address is ``tcp:HOST:PORT/DEVICE`` with the device's INDI name, such as ``tcp:127.0.0.1:7624/Telescope Simulator``;
without a name it is the first device whose driver is for that kind of instrument. Each instrument has a connection of
its own. A device that is not connected to its hardware is told to connect.

Options follow after a question mark, such as ``?slew_seconds=120`` (see `pyros.instruments.drivers.options` and
``indi.options``). A switch's address names there the vectors that are its channels (see ``indi.switch``).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from pyros.instruments.drivers.options import split_address
from pyros.instruments.indi.connection import parse_address
from pyros.instruments.indi.options import options_of
from pyros.instruments.indi.switch import parse_switch_address
from pyros.instruments.interfaces import Kind

__all__ = ["check_address"]


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like the one above."""
    if kind == "switch":
        parse_switch_address(address)
    else:
        where, query = split_address(address)
        parse_address(where)
        options_of(kind, address, query)
