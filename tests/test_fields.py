"""Every field of a payload, a setting or a configuration has a docstring of its own, with its unit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyros

PACKAGE = Path(pyros.__file__).parent
DONE = (
    "alarms.py", "alerts/alert.py", "alerts/followup.py", "alerts/history.py", "alerts/identity.py",
    "alerts/tiling.py", "areas/*.py",
    "alerts/archive/archive.py", "alerts/archive/query.py", "alerts/rules/*.py", "analysis/*.py", "config/_values.py",
    "hold.py", "imagery/*.py", "instruments/fits.py", "instruments/interfaces.py",
    "messages/*.py", "notices/*.py", "simulators/**/*settings.py", "simulators/devices/*.py", "site.py",
    "stars/field.py",
)  # fmt: skip
"""Where no field is without one; other modules join when theirs are written."""


def undocumented(path: Path) -> Iterator[str]:
    """Yield the fields of the module's public classes that no docstring follows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef) or node.name[0] == "_":
            continue
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not documented and "ClassVar" not in ast.unparse(field.annotation) and field.target.id[0] != "_":
                yield f"{node.name}.{field.target.id}"


@pytest.mark.parametrize("module", DONE)
def test_every_field_says_what_it_is(module: str) -> None:
    paths = sorted(PACKAGE.glob(module))
    assert paths
    assert {path.name: missing for path in paths if (missing := list(undocumented(path)))} == {}
