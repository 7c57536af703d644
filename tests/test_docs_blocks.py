"""What the documents show as code can be read as such, and their commands exist; the references name everything."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pyros.cli.app import COMMANDS, SUBJECTS, app
from pyros.messages import PAYLOADS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
_INDENTED = re.compile(r"(?m)^    \$? ?(pyros .*)$")
_CALL = re.compile(r"(?m)^\$? ?(pyros .*)$")


def _reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read_ini(text: str) -> None:
    configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=False).read_string(text)


READERS: dict[str, Callable[[str], Any]] = {
    "python": ast.parse, "ini": _read_ini, "yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads,
}  # fmt: skip


def calls(text: str) -> Iterator[str]:
    """Yield each line of a document's code that calls pyros."""
    for _, block in _FENCE.findall(text):
        yield from _CALL.findall(block)
    yield from _INDENTED.findall(_FENCE.sub("", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_of_code_can_be_read(document: Path) -> None:
    for language, block in _FENCE.findall(document.read_text()):
        if language in READERS:
            READERS[language](block)


def test_every_call_in_a_document_names_a_command_and_options_of_it() -> None:
    known = {name.removeprefix("pyros "): command for name, command in _reference().commands()}
    wrong, count = [], 0
    for document in DOCUMENTS:
        for line in calls(document.read_text()):
            words = shlex.split(line.partition(" #")[0].partition(" ; ")[0].replace("...", ""))[1:]
            name = next((name for name in (" ".join(words[:2]), words[0]) if name in known), "")
            options = {"--help"}
            for parameter in known[name].params if name else ():
                options |= {*parameter.opts, *parameter.secondary_opts}
            asked = {word.partition("=")[0] for word in words if word.startswith("--")}
            count += 1
            if not (name and asked <= options):
                wrong.append(f"{document.name}: {line}")
    assert count > 50
    assert wrong == []


def test_the_help_lists_every_command_under_its_subject() -> None:
    lines = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output.splitlines()
    found: dict[str, list[str]] = {}
    subject = ""
    for line in lines:
        words = line.strip("╭─╮│ ")
        if line.startswith("╭"):
            subject = words
        elif line.startswith("│ ") and line[2] != " ":
            found.setdefault(subject, []).append(words.split()[0])
    assert {subject: found.get(subject) for subject in SUBJECTS} == {key: list(rows) for key, rows in SUBJECTS.items()}
    assert sum(map(len, SUBJECTS.values())) == len(COMMANDS)


def test_the_reference_pages_name_every_command_and_every_message() -> None:
    pages = {name: page() for name, page in _reference().PAGES.items()}
    for command in COMMANDS:
        assert f"## `pyros {command}" in pages["commands"], command
    for message in PAYLOADS:
        assert f"## {message}\n" in pages["messages"], message
    assert "| `celsius` |" in pages["messages"]
    assert "alert_manager" in pages["configuration"]
    assert "### `send_to(" in pages["api"]


def test_the_site_has_every_document() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if path.name not in navigation] == []
