"""One section of the file while it is read."""

from __future__ import annotations

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

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.file}: [{self.name}] {key}: {text}")

    def take(self, key: str, convert: Callable[[str], _T], default: _T | None = None) -> _T:
        """Return the converted value; a missing or bad one becomes a problem (and ``default``, or the empty value)."""
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

    def rest(self, known: str) -> None:
        for key in self.values:
            self.problem(key, f"unknown key (known here: {known})")
