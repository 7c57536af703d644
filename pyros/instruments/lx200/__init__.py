"""The LX200 driver: mounts that speak Meade's language over TCP, as many serial ones do behind a port server.

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
from pyros.instruments.lx200.telescope import LACKS, Lx200Telescope

__all__ = ["WANTS_SITE", "Lx200Telescope", "check_address", "connect"]

WANTS_SITE = True
"""Its ``connect`` takes the place of the observatory."""


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for anything but a telescope, or an address that isn't like tcp:192.168.1.20:4030."""
    if kind != "telescope":
        raise ConfigError([f"kind = {kind}: must be telescope; lx200 is a language of mounts only"])
    where, query = split_address(address)
    host_and_port(where)
    read_options(kind, address, query, lacks=LACKS)


def connect(kind: Kind, address: str, reactor: Any, clock: Clock, **hooks: Any) -> Lx200Telescope:
    """The LX200 driver. Raises ConfigError for an unknown kind or address.

    ``site`` is where the mount stands: it is not sent below that horizon.
    """
    check_address(kind, address)
    return Lx200Telescope(address, reactor, clock, **hooks)
