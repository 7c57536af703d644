"""The Alpaca driver: instruments that speak ASCOM Alpaca over HTTP. Addresses: ``http://127.0.0.1:11111/telescope/0``.

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`,
what addresses may say in `pyros.instruments.alpaca.address`.
"""

from __future__ import annotations

from pyros.instruments.alpaca.address import parse_address
from pyros.instruments.alpaca.discovery import FoundAlpacaDevice, discover
from pyros.instruments.interfaces import Kind

__all__ = ["FoundAlpacaDevice", "check_address", "discover"]


def check_address(kind: Kind, address: str) -> None:
    """Raise ConfigError for an address that isn't like the one above."""
    parse_address(kind, address)
