"""The keys ``option_...`` of agents' sections: which there are, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Generic, NamedTuple, TypeVar

from pyros.quantities import number

_T = TypeVar("_T")
_OF_EVERY_AGENT = ("health",)
"""What others read of any agent's section (docs/health.md)."""
_NOT_CONVERTED: dict[Any, str] = {float: "is not a number", int: "is not a whole number"}
"""What to say of an option's text, where Python's own words are for programmers."""


class AgentOption(NamedTuple, Generic[_T]):
    """A key ``option_NAME`` of an agent's section, which its agent reads by ``self.option(*OPTION)``."""

    name: str
    convert: Callable[[str], _T]
    """Raises ValueError with what follows the text in a sentence, such as "is not a positive number"."""
    default: _T


OptionTable = tuple[AgentOption[Any], ...]

MERIDIAN_MINUTES: AgentOption[float | None] = AgentOption("meridian_minutes", number(-720.0, 720.0), None)
"""How long past the meridian a telescope may track: of its section, and the observation manager reads it."""


def why_not(convert: Callable[[str], Any], error: ValueError) -> str:
    """Return what is wrong with an option's text, as it follows the text in a sentence."""
    return _NOT_CONVERTED.get(convert, str(error))


def mistakes(given: Mapping[str, str], known: OptionTable, *, others: bool) -> dict[str, str]:
    """Return what is wrong with the options of a section, by their keys.

    Args:
        given: texts by names, as `AgentConfig.options` has them.
        known: what the agent reads.
        others: whether there may be further ones, which the agent's own code asks for.
    """
    found: dict[str, str] = {}
    options = {option.name: option for option in known}
    for name, text in given.items():
        option = options.get(name)
        if option is not None:
            try:
                option.convert(text)
            except ValueError as error:
                found[f"option_{name}"] = f"{text!r} {why_not(option.convert, error)}"
        elif not others and name not in _OF_EVERY_AGENT:
            meant = get_close_matches(name, options, 1)
            every = ", ".join(f"option_{each}" for each in sorted(options)) or "none"
            there = f"option_{meant[0]} is meant?" if meant else f"there are: {every}"
            found[f"option_{name}"] = f"no such option of this agent ({there})"
    return found
