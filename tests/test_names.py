"""Names: a class has one meaning in the package, as a rig has in its tests; tests use nothing that is private there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "pyros"
OF_OTHERS = {
    "_Element", "_SLEW_DURATION_SECONDS", "_exit", "_internalReaders", "_poller", "_registerAsIOThread", "_replace",
    "_unprocessed",
}  # fmt: skip
"""Names of Python, lxml, Twisted and the Alpaca simulators, which have no public ones."""
PLANTED = "rehearsal/planted.py"
"""Bugs are planted where they would be."""


@pytest.mark.parametrize(("folder", "ending", "many"), [(PACKAGE, "", 1000), (TESTS, "Rig", 8)])
def test_no_two_files_have_a_class_of_one_name(folder: Path, ending: str, many: int) -> None:
    files: dict[str, set[str]] = defaultdict(set)
    for path in folder.rglob("*.py"):
        for name in re.findall(rf"^\s*class (\w*{ending})[(:]", path.read_text(encoding="utf-8"), re.MULTILINE):
            files[name].add(str(path.relative_to(folder)))
    assert len(files) > many
    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}


def _private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a file of tests takes from elsewhere: imported, asked of an object, or in words."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("pyros"):
                yield from (
                    f"{module}.{each.name}" for each in names if re.search(r"\._[a-z]", f"{module}.{each.name}")
                )
            case ast.Import(names=names):
                yield from (each.name for each in names if re.match(r"pyros.*\._[a-z]", each.name))
            case ast.Attribute(value=whose, attr=name) if re.match(r"_[a-zA-Z]", name) and name not in OF_OTHERS:
                if not (isinstance(whose, ast.Name) and whose.id in ("self", "cls")):
                    yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr"), args=[*_, ast.Constant(value=str(name)), _]):
                if re.search(r"(^|\.)_[a-zA-Z]", name):
                    yield name


def test_no_test_uses_what_is_private_in_the_product() -> None:
    found = {
        str(path.relative_to(TESTS)): names
        for path in TESTS.rglob("*.py")
        if (names := sorted(set(_private_names(ast.parse(path.read_bytes())))))
    }
    assert len(found.pop(PLANTED)) > 5, "the search finds what there is"
    assert found == {}
