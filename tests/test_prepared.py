"""Types are made known to msgspec by one thread at a time: two at once would end the process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyros
from tests.conftest import PATIENCE

PACKAGE = Path(pyros.__file__).parent
DECODES = {
    "msgspec.convert": 1, "msgspec.json.Decoder": 0, "msgspec.msgpack.Decoder": 0,
    "msgspec.json.decode": None, "msgspec.msgpack.decode": None,
}  # fmt: skip
"""What decodes, and where its type stands, if not behind ``type=``."""
SHAPELESS = {"Any", "None", "Raw", "bytes", "dict", "float", "int", "list", "msgspec", "str", "tuple"}
"""Names in types that msgspec learns nothing about."""

MANY_THREADS = """
import sys, threading
import msgspec
from pyros.prepared import prepared

sys.setswitchinterval(1e-6)

def decode(kind, begin):
    begin.wait()
    msgspec.convert({"inner": {"a": 1.0}, "b": [1]}, prepared(kind))

for _ in range(50):
    names = {}
    exec('''
from typing import Annotated
from msgspec import Meta, Struct

class Inner(Struct):
    a: Annotated[float, Meta(ge=0)] = 0.0

class Outer(Struct):
    inner: Inner
    b: list[Annotated[int, Meta(ge=0)]] = []
''', names)
    begin = threading.Barrier(6)
    threads = [threading.Thread(target=decode, args=(names["Outer"], begin)) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
print("all")
"""


def test_many_threads_decode_to_a_new_type_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_THREADS], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr


def types(path: Path) -> Iterator[tuple[int, ast.expr]]:
    """Yield the line and the type of each call in a module that decodes to one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or (name := ast.unparse(node.func)) not in DECODES:
            continue
        place = DECODES[name]
        named = [keyword.value for keyword in node.keywords if keyword.arg == "type"]
        yield from (
            (node.lineno, kind) for kind in named or (node.args[place : place + 1] if place is not None else [])
        )


def is_prepared(kind: ast.expr) -> bool:
    if isinstance(kind, ast.Call):
        return ast.unparse(kind.func) == "prepared"
    return {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)} <= SHAPELESS


def test_every_type_that_is_decoded_to_is_prepared() -> None:
    modules = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "prepared.py"})
    found = [(path, line, kind) for path in modules for line, kind in types(path)]
    assert len(found) > 50
    unprepared = [f"{path}:{line}: {ast.unparse(kind)}" for path, line, kind in found if not is_prepared(kind)]
    assert unprepared == []


@pytest.mark.parametrize("text", ["msgspec.json.decode(x, type=A)", "msgspec.convert(x, A | None)"])
def test_a_type_that_is_not_prepared_is_found(tmp_path: Path, text: str) -> None:
    module = tmp_path / "module.py"
    module.write_text(text)
    [(_, kind)] = types(module)
    assert not is_prepared(kind)
