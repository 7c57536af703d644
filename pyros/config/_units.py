"""Units: several telescopes in one file. An agent's short name means the one of its own unit.

A section ``[KIND UNIT]`` belongs to a unit, a section ``[KIND]`` to the whole. A unit may lie within another one:
``andes east`` within ``andes``, and both within the whole, which is ''.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pyros.config._agent import AgentConfig

CENTRAL_SCHEDULER = "central_scheduler"
"""The agent that hands requests to the schedulers of several telescopes: the whole's scheduler."""
WHOLE = ""
"""The unit that all others lie within."""
SHARED_KINDS = ("weather", "safety", "ups", "switch")
"""The kinds of instruments that several telescopes may share."""
OWN_AGENTS = ("scheduler", "majordome", "observation_manager", "monitoring", "analyzer")
"""The standard agents that each telescope has of its own where there are several."""


def around(unit: str) -> Iterator[str]:
    """Yield a unit, then those that it lies within, the whole at last."""
    words = unit.split()
    for count in range(len(words), -1, -1):
        yield " ".join(words[:count])


def lies_within(unit: str, other: str) -> bool:
    """Return whether a unit is another one or lies within it."""
    return other in around(unit)


class Agents(Mapping[str, AgentConfig]):
    """The agents' sections as one unit sees them.

    It iterates over what the unit sees: sections of its own and around it by their short names, those within it by
    their whole ones. Looked up are also the sections of all other units, by their whole names.
    """

    def __init__(self, sections: Iterable[AgentConfig], unit: str = WHOLE) -> None:
        self.sections = tuple(sections)
        """All of them."""
        self.unit = unit
        self._found: dict[str, AgentConfig] = {section.name: section for section in self.sections}
        self._shown: dict[str, AgentConfig] = {}
        chain = tuple(around(unit))
        for place in reversed(chain):  # the nearest is found at last, and stays
            here = [section for section in self.sections if section.unit == place]
            for section in sorted(here, key=lambda each: each.name != f"{each.kind} {place}".strip(), reverse=True):
                self._found[section.kind] = section
        for section in self.sections:
            short = unit != WHOLE and self._found.get(section.kind) is section
            if lies_within(section.unit, unit) or section.unit in chain:
                self._shown[section.kind if short else section.name] = section

    def __getitem__(self, name: str) -> AgentConfig:
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def get(self, name: str, default: Any = None, /) -> Any:  # each message asks; Mapping's own makes two calls more
        return self._found.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shown)

    def __len__(self) -> int:
        return len(self._shown)

    def within(self, kind: str) -> tuple[str, ...]:
        """Return the names of the agents of a kind in the units that lie within this one."""
        return tuple(
            section.name
            for section in self.sections
            if section.kind == kind and section.unit != self.unit and lies_within(section.unit, self.unit)
        )


class UnitConfig(msgspec.Struct, frozen=True):
    """A section ``[unit NAME]``: what a unit, and those within it, have of their own."""

    name: str
    """The unit."""
    site: Path | None = None
    """The site's YAML file; None: that of the unit around it."""


def check_units(sections: Iterable[AgentConfig], units: Iterable[str], instruments: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the units, each with the section: ``[camera]: ...``."""
    sections = tuple(sections)
    telescopes = sorted({section.unit for section in sections if section.kind == "telescope"})
    for unit in units:
        if not any(lies_within(section.unit, unit) for section in sections):
            yield f"[unit {unit}]: no section belongs to this unit, such as [telescope {unit}]"
    if telescopes in ([], [WHOLE]):
        return
    for unit in telescopes:
        if other := next((each for each in telescopes if each != unit and lies_within(each, unit)), None):
            yield (f"[{f'telescope {unit}'.strip()}]: there is [telescope {other}], too: where there are several, each"
                   " needs a unit of its own, and none lies within another's")  # fmt: skip
    own = {*OWN_AGENTS, *instruments} - {*SHARED_KINDS}
    for section in sections:
        shared = not any(lies_within(section.unit, unit) for unit in telescopes)
        if section.kind in own and shared and section.name != CENTRAL_SCHEDULER:
            yield (f"[{section.name}]: belongs to no telescope, and cannot be shared: name the unit of one, such as"
                   f" [{section.kind} {telescopes[0]}]")  # fmt: skip
    if len(telescopes) > 1 and not any(section.name == CENTRAL_SCHEDULER for section in sections):
        yield (f"[{CENTRAL_SCHEDULER}]: missing: it hands requests to the schedulers of"
               f" {', '.join(telescopes)}")  # fmt: skip
