"""One section of the file while it is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyros.config._words import Untold

_T = TypeVar("_T")


class Section:
    """One section while it is read: takes keys away, collects problems."""

    def __init__(self, file: Path, name: str, values: dict[str, str], problems: list[str]) -> None:
        self.file, self.name, self.values, self.problems = file, name, values, problems
        self.given = frozenset(values)
        self._known: set[str] = set()
        """The keys that were asked for."""

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.file}: [{self.name}] {key}: {text}")

    def take(self, key: str, convert: Callable[[str], _T], default: _T | None = None) -> _T:
        """Return the converted value; a missing or bad one becomes a problem (and ``default``, or the empty value)."""
        self._known.add(key)
        text = self.values.pop(key, None)
        if text is None:
            if default is None:
                self.problem(key, "missing")
                return default  # type: ignore[return-value]
            return default
        try:
            return convert(text)
        except Untold as error:
            self.problem(key, str(error))
        except ValueError as error:
            self.problem(key, f"{text!r} {error}")
        return default  # type: ignore[return-value]

    def optional(self, key: str, convert: Callable[[str], _T]) -> _T | None:
        """Return the converted value; None for a missing one, and for a bad one, which becomes a problem."""
        self._known.add(key)
        return self.take(key, convert) if key in self.values else None

    def need_each_other(self, one: str, other: str) -> None:
        """Make a problem of a key that is given without the other."""
        for given, missing in ((one, other), (other, one)):
            if given in self.given and missing not in self.given:
                self.problem(missing, f"missing; {given} needs it")

    def called(self, kind: str) -> str:
        """Return the name in a section's ``[KIND NAME]``; a bad one becomes a problem."""
        name = self.name.partition(" ")[2].strip()
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
            told = f"is written [{kind} NAME]; a name is a letter, then letters, digits, _ and -"
            self.problem("section", told)
        return name

    def rest(self, *others: str) -> None:
        """Make a problem of each key that nobody has asked for; ``others`` are known as well."""
        known = ", ".join((*sorted(self._known), *others))
        for key in self.values:
            self.problem(key, f"unknown key (known here: {known})")
