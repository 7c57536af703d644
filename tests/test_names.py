"""Names: a class has one meaning in package, tests and measurements; tests use nothing that is private there."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "pyros"
BENCH = TESTS.parent / "bench"
OF_OTHERS = {
    "_Element", "_SLEW_DURATION_SECONDS", "_exit", "_internalReaders", "_poller", "_registerAsIOThread", "_replace",
    "_unprocessed",
}  # fmt: skip
"""Names of Python, lxml, Twisted and the Alpaca simulators, which have no public ones."""
DJANGOS = {"Meta"}
"""A class that Django looks for in each model."""
PLANTED = "rehearsal/planted.py"
"""Bugs are planted where they would be."""


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _classes(folder: Path) -> dict[str, set[str]]:
    """Return the files below a folder that have a class of a name, by that name; inner and local classes too."""
    files: dict[str, set[str]] = defaultdict(set)
    for path in folder.rglob("*.py"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ClassDef) and node.name not in DJANGOS:
                files[node.name].add(str(path.relative_to(folder.parent)))
    return files


def test_a_class_name_stands_in_one_file() -> None:
    files: dict[str, set[str]] = defaultdict(set)
    for folder, many in ((PACKAGE, 1000), (TESTS, 250), (BENCH, 50)):
        found = _classes(folder)
        assert len(found) > many
        for name, where in found.items():
            files[name] |= where
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
        if (names := sorted(set(_private_names(_tree(path)))))
    }
    assert len(found.pop(PLANTED)) > 5, "the search finds what there is"
    assert found == {}
