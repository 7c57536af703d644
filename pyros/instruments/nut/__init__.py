"""The NUT driver: any UPS that Network UPS Tools know, asked through their server ``upsd``.

An address is ``tcp:HOST:PORT/UPS``, such as ``tcp:127.0.0.1:3493/eaton``: the UPS by its name in ``ups.conf``. The
protocol: https://networkupstools.org/docs/developer-guide.chunked/net-protocol.html.

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from pyros.instruments.interfaces import Kind
from pyros.instruments.nut.connection import split

__all__ = ["check_address"]


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like tcp:127.0.0.1:3493/eaton."""
    split(kind, address)
