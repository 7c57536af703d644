"""docs/architecture.md describes the walk of an alert as it is: its files are those that run."""

from __future__ import annotations

import re
from collections import defaultdict
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.rehearsal.walk import walk

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES = 45
LEAST_SHARE = 0.89
"""Of the lines that run, those in files of the walk: nine of ten, and less where earlier tests have filled caches."""
MOST_UNNAMED = 0.01
"""Of the lines that run, those in files that the page doesn't name: a helper may come without a row."""
_HOP = re.compile(r"pyros/(agents/(runtime/|agent\.py)|journal/|sender/)")


def _ground() -> re.Pattern[str]:
    """Return what the names of files on the ground begin with: of the layers of imports those below the journal."""
    linter = ConfigParser()
    linter.read(ROOT / ".importlinter")
    below = linter["importlinter:contract:layers"]["layers"].partition("\njournal\n")[2]
    return re.compile("pyros/(" + "|".join(re.findall(r"\w+", below)) + r")(/|\.py)")


def test_the_walk_of_an_alert_is_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## The walk")[2]
    rows = [line.split("|")[2:4] for line in text.splitlines() if line.startswith("|") and "`pyros/" in line]
    read, asked = ([name for row in rows for name in re.findall(r"`(pyros/[^`]+)`", row[column])] for column in (0, 1))
    lines: dict[str, set[int]] = defaultdict(set)
    rooms: dict[str, set[str]] = defaultdict(set)
    handled: list[tuple[str, str]] = []
    ground = _ground()
    for step in walk(tmp_path / "observatory", monkeypatch):
        handled += step.messages
        for name, numbers in step.lines.items():
            if numbers and not ground.match(name) and not name.startswith("pyros/rehearsal/"):
                lines[name] |= numbers
                if not _HOP.match(name):
                    rooms[name].add(handled[-1][0] if handled else "broker")
    assert [name for _, name in handled] == [
        "Alert received", "Observation requested", "Plan updated", "Observe", "Slew", "Command done", "Slew finished",
        "Expose",
    ]  # fmt: skip
    named = [*read, *asked]
    assert len(named) == len(set(named))
    assert set(named) <= lines.keys(), "correct the table in docs/architecture.md"
    assert len(read) <= MOST_FILES
    total = sum(map(len, lines.values()))
    assert sum(len(lines[name]) for name in read) >= LEAST_SHARE * total
    unnamed = {name: len(lines[name]) for name in lines.keys() - set(named)}
    assert sum(unnamed.values()) <= MOST_UNNAMED * total, unnamed
    again = {name for name, where in rooms.items() if len(where) > 1} & set(named)
    assert set(re.findall(r"`(pyros/[^`]+)`", text.partition("Visited again are")[2])) == again
    assert f"The walk is {len(read)} files, and {len(asked)} are beside it" in text
