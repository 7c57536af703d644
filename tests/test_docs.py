"""The documents name files that exist, and the index of decisions agrees with its folder."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_PATH = re.compile(r"(?:pyros|tests|bench|docs|observatory|twisted|comet)/[\w./-]*\w")
_MODULE = re.compile(r"pyros(?!\.(?:service|target)\b)(?:\.[a-z_][a-z0-9_]*)+")
_RECORD = re.compile(
    r"# (?P<number>\d{4}): (?P<title>.+)\n\nDate: (?P<date>\d{4}-\d\d-\d\d)\. "
    r"Status: (?P<status>accepted|superseded by \d{4})\.\n\n## Context\n.*\n## Decision\n.*\n## Consequences\n",
    re.DOTALL,
)


def _exists(module: str) -> bool:
    parent, _, name = module.rpartition(".")
    try:
        return find_spec(module) is not None or hasattr(import_module(parent), name)
    except ModuleNotFoundError:  # the parent is a class or a function
        return _exists(parent)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_named_in_a_document_exists(document: Path) -> None:
    quoted = " ".join(re.findall(r"`([^`\n]+)`", document.read_text()))
    paths = [path for path in _PATH.findall(quoted) if not re.search("NAME|DRIVER", path)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in _MODULE.findall(quoted) if not _exists(name)] == []


def test_every_decision_has_the_same_form_and_a_row_in_the_index() -> None:
    rows = []
    for file in sorted(DECISIONS.glob("0*.md")):
        record = _RECORD.match(file.read_text())
        assert record is not None, f"{file.name}: see the form of the others"
        assert file.name.startswith(record["number"])
        cells = (record["title"], record["date"], record["status"])
        rows.append(f"| [{record['number']}]({file.name}) | {' | '.join(cells)} |")
    index = [line for line in (DECISIONS / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert [line[: len(row)] for line, row in zip(index, rows, strict=True)] == rows
