"""Names of targets: the observatory's own file first. Plain Python, for any thread.

The file is CSV with a heading: ``name``, ``ra``, ``dec`` (`coordinates` says how they are written) and, if there is
one, ``aliases``, separated by semicolons. Names are compared without blanks and case: ``m31`` is ``M 31``.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import msgspec

from pyros import coordinates
from pyros.errors import ConfigError
from pyros.files import read_text

LARGEST_FILE = 10_000_000
"""Bytes; a hundred thousand names."""
_COLUMNS = ("name", "ra", "dec", "aliases")


class NamedPosition(msgspec.Struct, frozen=True):
    """A target that has a name."""

    name: str
    """As the file or the catalogue writes it."""
    ra: float
    """ICRS, degrees."""
    dec: float
    """ICRS, degrees."""
    source: str
    """Where the position is from: the file, or ``SIMBAD``."""


def key(name: str) -> str:
    """Return what two names have in common that are the same for people."""
    return "".join(name.split()).casefold()


class TargetNames:
    """The names of one file; an empty one knows none."""

    def __init__(self, path: Path | None = None, positions: Mapping[str, NamedPosition] | None = None) -> None:
        self.path = path
        self._positions = dict(positions or {})

    @classmethod
    def load(cls, path: Path) -> TargetNames:
        """Read the file; raises ConfigError with every mistake, each with file, line and column."""
        problems: list[str] = []
        positions: dict[str, NamedPosition] = {}
        for line, row in read_csv(path, _COLUMNS[:3], _COLUMNS, problems):
            where = f"{path}: line {line}"
            names = [row["name"], *(each.strip() for each in row.get("aliases", "").split(";"))]
            if not row["name"]:
                problems.append(f"{where}: name: must be there")
                continue
            place: list[float] = []
            for column, read in (("ra", coordinates.right_ascension), ("dec", coordinates.declination)):
                try:
                    place.append(read(row[column]))
                except ValueError as error:
                    problems.append(f"{where}: {column}: {error}")
            if len(place) < 2:
                continue
            ra, dec = place
            for name in filter(None, names):
                if key(name) in positions:
                    problems.append(f"{where}: name: {name!r} is there twice")
                positions[key(name)] = NamedPosition(row["name"], ra, dec, str(path))
        if problems:
            raise ConfigError(problems)
        return cls(path, positions)

    def get(self, name: str) -> NamedPosition | None:
        """Return where a name is, None when the file doesn't have it."""
        return self._positions.get(key(name))

    def like(self, name: str) -> str:
        """Return the name in the file that is nearest to one that isn't there; '' for none."""
        near = get_close_matches(key(name), self._positions, 1, 0.75)
        return self._positions[near[0]].name if near else ""


def read_csv(
    path: Path, needed: tuple[str, ...], known: tuple[str, ...], problems: list[str]
) -> list[tuple[int, dict[str, str]]]:
    """Return each row of a CSV file with its line; what is wrong with the file or its heading goes to ``problems``.

    Empty lines and lines that begin with # are left out. Columns are named without regard to case.
    """
    try:
        text = read_text(path, LARGEST_FILE, "utf-8-sig")
    except ValueError as error:
        problems.append(f"{path}: {error}")
        return []
    reader = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    heading: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if not heading:
                heading = [cell.strip().lower() for cell in cells]
                problems += _heading_problems(path, reader.line_num, heading, needed, known)
                if problems:
                    return []
            elif len(cells) > len(heading):
                problems.append(f"{path}: line {reader.line_num}: has {len(cells)} columns, the heading {len(heading)}")
            else:
                rows.append((reader.line_num, dict(zip(heading, map(str.strip, cells), strict=False))))
                rows[-1][1].update(dict.fromkeys(heading[len(cells) :], ""))
    except csv.Error as error:
        problems.append(f"{path}: line {reader.line_num}: is not CSV: {error}")
        return []
    if not heading:
        problems.append(f"{path}: is empty; its first line names the columns: {', '.join(known)}")
    return rows


def _heading_problems(
    path: Path, line: int, heading: list[str], needed: tuple[str, ...], known: tuple[str, ...]
) -> list[str]:
    problems = [f"{path}: line {line}: column {each}: missing" for each in needed if each not in heading]
    for number, column in enumerate(heading):
        if column not in known:
            problems.append(f"{path}: line {line}: column {column!r}: unknown; known are {', '.join(known)}")
        elif column in heading[:number]:
            problems.append(f"{path}: line {line}: column {column}: is there twice")
    return problems
