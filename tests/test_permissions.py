"""Who may read the data: the owner alone, or a group, too; and what others are told."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyros import keys
from pyros.errors import ConfigError, JournalError
from pyros.journal import Journal, JournalReader
from pyros.permissions import protect, umask
from tests.conftest import PATIENCE

GROUP = grp.getgrgid(os.getegid()).gr_name
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
PYROS = """
import contextlib, io, os, sys
import pyros.cli

def run():
    try:
        pyros.cli.main()
    except SystemExit as end:
        return end.code

user, *groups = map(int, sys.argv.pop(1).split())
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run()  # once as root, who may read Python's own files, wherever they are: then everything is imported
for left in os.environ.get("LEFT", "").split():
    os.unlink(left)
os.setgroups(groups)
os.setgid(user)
os.setuid(user)
sys.exit(run())
"""
MEMBER, STRANGER = 64_001, 64_002
"""Users that need no name."""


def modes(folder: Path) -> dict[str, str]:
    found = {".": f"{folder.stat().st_mode & 0o7777:04o}"}
    return found | {str(path.relative_to(folder)): f"{path.stat().st_mode & 0o7777:04o}" for path in folder.rglob("*")}


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "pyros_agent_config.ini"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make a data folder as it was made when nobody thought of its modes."""
    data = tmp_path / "var"
    for folder in (data, data / "journals"):
        folder.mkdir()
        folder.chmod(0o755)
    for file in (data / "hold.json", data / keys.FILE, data / "journals" / "dome.sqlite"):
        file.touch()
        file.chmod(0o644)
    return data


def test_a_new_folder_is_its_owners(tmp_path: Path, ini: Path) -> None:
    assert protect(tmp_path / "a" / "var", ini) == ""
    assert modes(tmp_path / "a" / "var") == {".": "0700"}


def test_an_old_folder_is_closed_once_and_said_so(old: Path, ini: Path) -> None:
    assert protect(old, ini) == f"{old} was readable by others: now it is for its owner"
    closed = {".": "0700", "journals": "0700", "hold.json": "0600", keys.FILE: "0600", "journals/dome.sqlite": "0600"}
    assert modes(old) == closed
    assert protect(old, ini) == ""


def test_a_group_may_read_all_but_the_key(old: Path, ini: Path) -> None:
    assert GROUP in protect(old, ini, GROUP)
    assert modes(old) == {
        ".": "2750", "journals": "2750", "hold.json": "0640", keys.FILE: "0600", "journals/dome.sqlite": "0640",
    }  # fmt: skip
    assert protect(old, ini, GROUP) == ""
    protect(old, ini)
    assert modes(old)["hold.json"] == "0600", "and it may be taken back"


def test_a_folder_with_other_things_keeps_its_mode(old: Path) -> None:
    protect(old, old / "pyros_agent_config.ini")
    assert modes(old)["."] == "0755"
    assert modes(old)["journals"] == "0700"


def test_a_group_that_is_not_there_is_told(old: Path, ini: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[observatory\] group: 'no-such-group' is not a group"):
        protect(old, ini, "no-such-group")


def test_what_a_process_makes_is_for_the_same_users() -> None:
    assert 0o666 & ~umask("") == 0o600
    assert 0o777 & ~umask("observers") == 0o750


def test_a_link_out_of_the_folder_is_not_followed(old: Path, ini: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    outside.chmod(0o644)
    (old / "link").symlink_to(outside)
    protect(old, ini)
    assert outside.stat().st_mode & 0o777 == 0o644


# Another user ---------------------------------------------------------------------------------------------------


@pytest.fixture
def place(observatory: Callable[..., Any]) -> Iterator[Any]:
    """Run an observatory where other users can reach it, unlike the tests' folders, with a group, and end it."""
    made = observatory("dome")
    folder = Path(tempfile.mkdtemp(prefix="pyros-permissions-"))
    folder.chmod(0o755)
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    group = grp.getgrgid(os.getegid()).gr_name
    ini = folder / "pyros_agent_config.ini"
    ini.write_text(ini.read_text().replace("[dome]", f"group = {group}\n[dome]"))
    protect(folder / "var", ini, group)
    keys.make_key(folder / "var" / keys.FILE)
    before = os.umask(umask(group))
    try:
        Journal(folder / "var" / "journals" / "dome.sqlite").close()
        yield folder
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def ask(folder: Path, user: int, *command: str, left: str = "") -> subprocess.CompletedProcess[str]:
    """Return what `pyros` tells that user; ``left`` are files that root has left, and that weren't there."""
    who = f"{user} {os.getegid()}" if user == MEMBER else f"{user}"
    return subprocess.run(
        [sys.executable, "-c", PYROS, who, *command, "--config", str(folder / "pyros_agent_config.ini")],
        check=False, text=True, capture_output=True, timeout=PATIENCE, cwd="/", env=os.environ | {"LEFT": left},
    )  # fmt: skip


@as_root
def test_a_member_of_the_group_reads_the_journals_of_agents_that_ended(place: Path) -> None:
    journal = place / "var" / "journals" / "dome.sqlite"
    told = ask(place, MEMBER, "messages", "failed", left=f"{journal}-shm {journal}-wal")
    assert (told.returncode, told.stderr) == (0, "")


@as_root
def test_a_member_of_the_group_reads_the_journal_of_an_agent_that_lives(place: Path) -> None:
    with closing(Journal(place / "var" / "journals" / "dome.sqlite")):
        told = ask(place, MEMBER, "messages", "failed")
    assert (told.returncode, told.stderr) == (0, "")


@as_root
@pytest.mark.parametrize("command", [["status"], ["messages", "failed"], ["alerts", "list"]])
def test_a_stranger_is_told_in_a_line_that_it_is_not_theirs(place: Path, command: list[str]) -> None:
    told = ask(place, STRANGER, *command)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr + told.stdout
    assert "HELD" not in told.stdout
    assert str(place / "var") in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_journal_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        JournalReader(tmp_path / "dome.sqlite")


@pytest.mark.parametrize("group", ["", GROUP])
def test_what_an_agents_process_makes_is_not_for_others(observatory: Callable[..., Any], group: str) -> None:
    """Whatever the umask of who starts it."""
    place = observatory(scheduler={"app": "pyros.agents.scheduler"})
    place.path.write_text(place.path.read_text().replace("[scheduler]", f"group = {group}\n[scheduler]"))
    shutil.copy(Path(__file__).parents[1] / "observatory" / "site.yaml", place.folder)
    code = "import os, sys; os.umask(0); os.execv(sys.argv[1], sys.argv[1:])"
    twistd = Path(sys.executable).with_name("twistd")
    place.run("-c", code, twistd, "-n", "--pidfile=", "pyros-agent", "--config", place.path, "--agent", "scheduler")
    place.up("scheduler")
    made = modes(place.folder / "var")
    assert {"journals/scheduler.sqlite", "journals/scheduler.sqlite-wal", "journals/scheduler.lock"} <= made.keys()
    assert made.pop(keys.FILE) == "0600"
    assert set(made.values()) <= ({"2750", "0640"} if group else {"0700", "0600"})
