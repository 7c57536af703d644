"""The PHD2 driver: the guiding program PHD2, through its server of events and requests.

An address is ``tcp:HOST:PORT``, such as ``tcp:127.0.0.1:4400``: 4400 for the first PHD2 on a computer, 4401 for the
second. PHD2 must have a profile with its camera and mount, and "Enable Server" in its menu Tools; its equipment is
connected when guiding begins. The protocol: https://github.com/OpenPHDGuiding/phd2/wiki/EventMonitoring, and PHD2's
``event_server.cpp`` and ``phdcontrol.cpp``.

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

from pyros.instruments.drivers.options import Option, read_options, split_address
from pyros.instruments.drivers.reconnecting import host_and_port
from pyros.instruments.interfaces import Kind
from pyros.quantities import positive

__all__ = ["OPTIONS", "check_address"]

OPTIONS = {
    "arcsec_per_pixel": Option(
        positive, "a positive number: the guide camera's pixels on the sky, where PHD2's profile does not tell"
    )
}


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like tcp:127.0.0.1:4400."""
    where, query = split_address(address)
    host_and_port(where)
    read_options(kind, address, query, OPTIONS)
