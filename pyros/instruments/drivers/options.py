"""Options of a device in its address, after a question mark, such as ``tcp:127.0.0.1:6010?slew_seconds=120``.

They have the same names for all drivers; each driver has defaults of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pyros.errors import ConfigError
from pyros.instruments.interfaces import Kind
from pyros.instruments.plausible import ESSENTIAL


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is read (ValueError for what it cannot be), and what it must be, in words."""

    read: Callable[[str], Any]
    what: str


def positive(text: str) -> float:
    """A finite number above 0. Raises ValueError."""
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise ValueError
    return number


def _sensors(text: str) -> tuple[str, ...]:
    sensors = tuple(filter(None, text.split(",")))
    if not sensors or not set(sensors) <= set(ESSENTIAL):
        raise ValueError
    return sensors


def _seconds(what: str) -> Option:
    return Option(positive, f"a positive number of seconds: {what}")


_BEGIN = _seconds("how long the device may stand still elsewhere before its command counts as failed")

OPTIONS: dict[Kind, dict[str, Option]] = {
    "telescope": {
        "slew_seconds": _seconds("the longest that a slew or a park may take"),
        "stop_seconds": _seconds("the longest that stopping may take"),
        "begin_seconds": _BEGIN,
        "settle_seconds": _seconds("how long it may say on its target that it slews, before it is stopped there"),
        "tolerance_arcsec": Option(positive, "a positive number of arcseconds: how far from its target a slew may end"),
    },
    "dome": {
        "shutter_seconds": _seconds("the longest that the shutter may move"),
        "turn_seconds": _seconds("the longest that the slit may turn"),
        "begin_seconds": _BEGIN,
        "tolerance_degrees": Option(positive, "a positive number of degrees: how far from its target a turn may end"),
    },
    "filter_wheel": {"turn_seconds": _seconds("the longest that a turn may take"), "begin_seconds": _BEGIN},
    "focuser": {
        "move_seconds": _seconds("the longest that a move may take"),
        "begin_seconds": _BEGIN,
        "tolerance_steps": Option(positive, "a positive number of steps: how far from its target a move may end"),
    },
    "camera": {
        "readout_seconds": _seconds("how long after the exposure the image may be ready"),
        "download_seconds": _seconds("how long fetching the image may take"),
    },
    "weather": {
        "without": Option(_sensors, f"sensors that do not count, of {', '.join(ESSENTIAL)}, separated by commas"),
        "oldest_seconds": _seconds("the age from which on a sensor's reading is none"),
    },
}
"""The options of each kind of instrument that all drivers know."""


def split_address(address: str) -> tuple[str, str]:
    """The address without its options, and what stands after the question mark."""
    where, _, query = address.partition("?")
    return where, query


def read_options(
    kind: Kind, address: str, query: str, more: Mapping[str, Option] | None = None, lacks: Collection[str] = ()
) -> dict[str, Any]:
    """The options in an address. Raises ConfigError that says what would be right.

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
