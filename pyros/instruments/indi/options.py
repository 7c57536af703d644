"""Options of INDI devices alone in their addresses; those of all drivers are in `pyros.instruments.drivers.options`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pyros.errors import ConfigError
from pyros.instruments.drivers.options import BINNING, Option, read_options
from pyros.instruments.indi.parameters import CLOUD_UNITS, NAMES, TEMPERATURE_UNITS, WIND_UNITS
from pyros.instruments.interfaces import Kind
from pyros.quantities import number


def _names(text: str) -> tuple[str, ...]:
    if text.lower() == "none":
        return ()
    names = tuple(text.split(","))
    if not all(re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", name) for name in names):
        raise ValueError
    return names


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return read


def _choice(what: str, *words: str) -> Option:
    return Option(_one_of(*words), f"one of {', '.join(words)}: {what}")


_WEATHER = {
    quantity: Option(_names, "none, or the station's parameters for it, separated by commas, such as " + names[0])
    for quantity, names in NAMES.items()
} | {
    "wind_unit": _choice("the unit of its wind, where the label doesn't tell", *WIND_UNITS),
    "temperature_unit": _choice("the unit of its temperatures, where the label doesn't tell", *TEMPERATURE_UNITS),
    "cloud_unit": _choice("the unit of its clouds, where the label doesn't tell", *CLOUD_UNITS),
    "clear": Option(number(), "a number: what its sensor for clouds says of a clear sky, such as -25"),
    "overcast": Option(number(), "a number: what its sensor for clouds says of an overcast sky, such as -5"),
    "wet_below": Option(number(), "a number: a rain sensor that falls below it is wet"),
    "timestamps": _choice("whether the timestamps of what it sends count", "yes", "no"),
}

OPTIONS: dict[Kind, dict[str, Option]] = {
    "camera": {"bin": BINNING},
    "weather": _WEATHER,
    "safety": {"timestamps": _WEATHER["timestamps"]},
}
"""The options of each kind."""


def options_of(kind: Kind, address: str, query: str) -> Mapping[str, Any]:
    """Read the options in an address. Raises ConfigError that says what would be right."""
    options = read_options(kind, address, query, OPTIONS.get(kind))
    if ("clear" in options) != ("overcast" in options) or options.get("clear", 0) == options.get("overcast", 1):
        raise ConfigError([f"address = {address}: clear and overcast must be two different numbers"])
    return options
