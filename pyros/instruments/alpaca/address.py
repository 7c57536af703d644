"""Addresses of Alpaca devices: ``http://HOST:PORT/telescope/0``, with options after a question mark.

    http://192.168.1.20:11111/camera/0?arcsec_per_pixel=0.62&bin=2

The word after the port is Alpaca's name of the device type; the path may also be the whole one of its API,
``/api/v1/telescope/0``. An IPv6 address stands in brackets. ``https`` needs ``pip install 'pyros-observatory[tls]'``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from pyros.errors import ConfigError
from pyros.instruments.drivers.options import BINNING, Option, read_options
from pyros.instruments.interfaces import Kind
from pyros.kinds import KINDS
from pyros.quantities import positive

TYPES: dict[Kind, str] = {kind.name: kind.alpaca_type for kind in KINDS.values() if "alpaca" in kind.drivers}
"""Alpaca's names of the kinds of instruments (Alpaca API reference, "device_type")."""


OPTIONS: dict[Kind, dict[str, Option]] = {
    "camera": {
        "arcsec_per_pixel": Option(positive, "the size of an unbinned pixel on the sky in arcseconds, such as 0.62"),
        "focal_length": Option(positive, "the telescope's focal length in millimetres, such as 2540"),
        "bin": BINNING,
    },
}
"""The options that only this driver has; those of all are in `pyros.instruments.drivers.options`."""


@dataclass(frozen=True, slots=True)
class AlpacaAddress:
    """Where a device is: ``path`` is that of its methods, ``options`` what else its address says."""

    scheme: str
    host: str
    port: int
    type: str
    number: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def server(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def path(self) -> str:
        return f"/api/v1/{self.type}/{self.number}"


def parse_address(kind: Kind, address: str) -> AlpacaAddress:
    """Read an address. Raises ConfigError that says what would be right."""
    if kind not in TYPES:
        raise ConfigError([f"kind = {kind}: must be one of {', '.join(TYPES)}"])
    wanted = f"http://HOST:PORT/{TYPES[kind]}/0"
    wrong = f"address = {address}: must be {wanted}, such as {wanted.replace('HOST:PORT', '127.0.0.1:11111')}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:  # a port that is none, a bracket that stays open
        raise ConfigError([wrong]) from None
    path = re.fullmatch(r"(?:/api/v1)?/([a-z]+)/([0-9]{1,9})/?", parts.path)
    host = parts.hostname or ""
    if (
        re.search(r"\s", address)
        or parts.scheme not in ("http", "https")
        or path is None
        or not port
        or not re.fullmatch(r"[0-9A-Za-z_.-]+|[0-9a-fA-F:.]+", host)
        or parts.username is not None
        or parts.fragment
    ):
        raise ConfigError([wrong])
    if path[1] != TYPES[kind]:
        raise ConfigError([f"address = {address}: is that of a {path[1]}; a {kind}'s is {wanted}"])
    if parts.scheme == "https" and (find_spec("OpenSSL") is None or find_spec("service_identity") is None):
        raise ConfigError([f"address = {address}: https needs pip install 'pyros-observatory[tls]'"])
    return AlpacaAddress(
        parts.scheme, host, port, path[1], int(path[2]), read_options(kind, address, parts.query, OPTIONS.get(kind))
    )
