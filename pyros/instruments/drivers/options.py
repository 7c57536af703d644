"""Options of a device in its address, after a question mark, such as ``tcp:127.0.0.1:6010?slew_seconds=120``.

They have the same names for all drivers; each driver has defaults of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pyros.errors import ConfigError
from pyros.instruments.interfaces import Kind
from pyros.instruments.plausible import ESSENTIAL
from pyros.kinds import KINDS
from pyros.quantities import positive, whole


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is read (ValueError for what it cannot be), and what it must be, in words."""

    read: Callable[[str], Any]
    what: str


BINNING = Option(whole(1, 16), "1 to 16 pixels a side")


def _sensors(text: str) -> tuple[str, ...]:
    sensors = tuple(filter(None, text.split(",")))
    if not sensors or not set(sensors) <= set(ESSENTIAL):
        raise ValueError
    return sensors


_UNITS = {"seconds": "seconds", "arcsec": "arcseconds", "degrees": "degrees", "steps": "steps"}

OPTIONS: dict[Kind, dict[str, Option]] = {
    kind.name: {
        name: Option(positive, f"a positive number of {_UNITS[name.rpartition('_')[2]]}: {what}")
        for name, what in kind.options.items()
    }
    for kind in KINDS.values()
}
OPTIONS["weather"]["without"] = Option(
    _sensors, f"sensors that do not count, of {', '.join(ESSENTIAL)}, separated by commas"
)
"""The options of each kind of instrument that all drivers know."""


def split_address(address: str) -> tuple[str, str]:
    """Split an address into what stands before the question mark, and its options, what stands after it."""
    where, _, query = address.partition("?")
    return where, query


def read_options(
    kind: Kind, address: str, query: str, more: Mapping[str, Option] | None = None, lacks: Collection[str] = ()
) -> dict[str, Any]:
    """Read the options in an address. Raises ConfigError that says what would be right.

    ``more`` are those that only this driver has, ``lacks`` those of `OPTIONS` that mean nothing to it.
    """
    known = {**(more or {}), **{name: option for name, option in OPTIONS.get(kind, {}).items() if name not in lacks}}
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            there = f"has {', '.join(known)}" if known else "has none"
            raise ConfigError([f"address = {address}: no option {name!r}; a {kind} {there}"])
        option = known[name]
        try:
            options[name] = option.read(text)
        except ValueError:
            raise ConfigError([f"address = {address}: {name} must be {option.what}"]) from None
    return options
