"""Rows that are kept: each is made once for what it shows, and has the token of the answer that it stands in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

pytest.importorskip("django", reason="needs the extra [console]")

from pyros.console import kept_rows
from pyros.console.kept_rows import KeptRows


class RowText(msgspec.Struct, frozen=True):
    """A row's value."""

    text: str


class RowTemplate:
    """Stands for a template of Django's, and counts how often it is rendered."""

    def __init__(self) -> None:
        self.times = 0

    def render(self, known: dict[str, Any]) -> str:
        self.times += 1
        return f"<tr>{known['it'].text} {known.get('may', '')} {known['csrf_token']}\n"


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> RowTemplate:
    made = RowTemplate()
    monkeypatch.setattr(kept_rows, "get_template", lambda name: made)
    return made


def test_a_row_is_made_once_for_what_it_shows(template: RowTemplate) -> None:
    rows = KeptRows()
    lines = [RowText("a"), RowText("b")]
    first = rows.html("row.html", lines, {"may": True}, "t")
    assert first == "<tr>a True t\n<tr>b True t\n"
    assert rows.html("row.html", [*lines, RowText("a")], {"may": True}, "t") == f"{first}<tr>a True t\n"
    assert template.times == 2
    assert rows.html("row.html", lines, {"may": False}, "t") == "<tr>a False t\n<tr>b False t\n"
    assert template.times == 4


def test_each_answers_own_token_stands_in_its_rows(template: RowTemplate) -> None:
    rows, line = KeptRows(), [RowText("a")]
    made = [rows.html("row.html", line, {}, token) for token in ("one", "<two>")]
    assert made == ["<tr>a  one\n", "<tr>a  &lt;two&gt;\n"]
    assert template.times == 1
    written = KeptRows().html("row.html", [RowText("token-" + "0" * 32)], {}, "one")
    assert written == f"<tr>token-{'0' * 32}  one\n"


def test_rows_are_forgotten_and_long_ones_are_not_kept(template: RowTemplate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "MAX_ROWS", 2)
    rows = KeptRows()
    for text in ("a", "b", "a", "c", "a", "b"):
        rows.html("row.html", [RowText(text)], {}, "")
    assert template.times == 4
    for _ in range(2):
        rows.html("row.html", [RowText("x" * 5000)], {}, "")
    assert template.times == 6
