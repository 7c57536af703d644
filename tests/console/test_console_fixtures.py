"""Fixtures: dump, empty database, load, dump: equal to the byte; and what isn't in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyros import config as configuration
from pyros.cli.common import program
from tests.cli.conftest import ROOT, copy_demo
from tests.conftest import PATIENCE

pytest.importorskip("django", reason="needs the extra [console]")

SCRIPT = """
import sys
from pyros.config import load
from pyros.console.offline import open_database
open_database(load(sys.argv[1]))
from datetime import datetime, UTC
from pyros.console.people.models import Note, Request, Token, User
from pyros.console.roles import Role
user = User.objects.make("edwin", Role.OBSERVER, password="Cepheids-in-M31")
when = datetime(2026, 11, 29, 1, 2, 3, 456789, UTC)
Note.objects.create(event="GRB 261128A", by=user, made=when, text="bright é", tags=["afterglow"])
Request.objects.create(name="m31", by=user, made=datetime(2026, 11, 29, tzinfo=UTC))
print(Token.objects.make(user, "script", Role.VIEWER, None)[1])
"""


def console(*arguments: str | Path, code: int = 0) -> str:
    """Run ``pyros console`` in a process of its own: Django is set up once a process."""
    done = subprocess.run(
        [sys.executable, program("pyros"), "console", *map(str, arguments)],
        capture_output=True, timeout=PATIENCE, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if not code else done.stderr


def test_dump_empty_load_dump_is_equal_to_the_byte(tmp_path: Path) -> None:
    file = copy_demo(tmp_path)
    token = subprocess.run([sys.executable, "-c", SCRIPT, file], capture_output=True, check=True, text=True).stdout
    one, two, hashes = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "hashes.json"
    console("dumpdata", "-o", one, "--config", file)
    console("dumpdata", "-o", hashes, "--with-passwords", "--config", file)
    text = one.read_text()
    assert "edwin" in text
    assert "GRB 261128A" in text
    assert [secret for secret in ("pbkdf2", token.strip(), "digest") if secret in text] == []
    assert "pbkdf2" in hashes.read_text()
    assert (one.stat().st_mode | hashes.stat().st_mode) & 0o077 == 0
    section = configuration.load(file).console
    assert section is not None
    for each in section.folder.glob("console.sqlite*"):
        each.unlink()
    console("loaddata", hashes, "--config", file)
    console("loaddata", one, "--config", file)  # the hashes stay
    assert console("dumpdata", "--with-passwords", "--config", file) == hashes.read_text()
    console("dumpdata", "-o", two, "--config", file)
    assert two.read_bytes() == one.read_bytes()


def test_the_demos_fixture_is_what_is_dumped_of_it(tmp_path: Path) -> None:
    assert console("dumpdata", "--config", copy_demo(tmp_path)) == (ROOT / "observatory" / "console.json").read_text()


def test_check_tells_of_devices_that_are_none(tmp_path: Path) -> None:
    file = copy_demo(tmp_path)
    other = tmp_path / "other.json"
    other.write_text((ROOT / "observatory" / "console.json").read_text().replace('"telescope"', '"periscope"'))
    console("loaddata", other, "--config", file)
    done = subprocess.run(
        [sys.executable, program("pyros"), "check", "--config", file], capture_output=True, text=True, check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert "device 'periscope' is described, but has no section in" in done.stderr
    assert "'camera'" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{", "is no fixture of the console"),
        ('[{"model": "sessions.session", "pk": "x", "fields": {}}]', "has a Session, which is not loaded"),
        ('[{"model": "people.user", "fields": {"name": "No Name", "role": 9}}]', "a name is a letter"),
        ('[{"model": "people.note", "fields": {"event": "x", "by": ["nobody"]}}]', "is no fixture of the console"),
    ],
)
def test_a_wrong_fixture_is_told_and_changes_nothing(tmp_path: Path, text: str, said: str) -> None:
    file = copy_demo(tmp_path)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text)
    assert f"{wrong}: " in (told := console("loaddata", wrong, "--config", file, code=1))
    assert said in told
    assert "Traceback" not in told
