"""Names: a class has one meaning in the package, so that its name finds it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "pyros"


def test_no_two_files_have_a_class_of_one_name() -> None:
    files: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for name in re.findall(r"^\s*class (\w+)[(:]", path.read_text(encoding="utf-8"), re.MULTILINE):
            files[name].add(str(path.relative_to(PACKAGE)))
    assert len(files) > 1000
    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}
