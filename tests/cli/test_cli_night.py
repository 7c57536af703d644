"""``pyros night``: the same frame for people and for programs, live and once."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec

from pyros import config as configuration
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import State
from pyros.cli.common import program
from pyros.clock import Deadline
from pyros.config import Config
from pyros.journal import Journal
from pyros.planning import Site, night_log
from pyros.planning.night_log import NightLine
from pyros.rehearsal.folder import write_observatory
from pyros.views import observed
from pyros.views.plan import night_name_of
from tests.cli.conftest import run
from tests.conftest import PATIENCE
from tests.views.written import commit, write


def night_of(config: Config) -> str:
    return night_name_of(Site.load(config.site), observed(config).time())


def test_the_night_is_shown_once_for_people_and_for_programs(observatory: Path, config: Config) -> None:
    night = night_of(config)
    lines = [
        NightLine(night=night, observation="m31", target="M 31", priority=5, filters="r i", start=1e9, end=1e9 + 600,
                  fate="observed", began=1e9, ended=1e9 + 600, images=7),
        NightLine(night=night, observation="ngc", target="NGC 1", reason="never above 10°"),
    ]  # fmt: skip
    commit(config, "scheduler", also=[
        night_log.prepare, partial(night_log.write, lines=lines), partial(night_log.write_fate, lines=lines)
    ])  # fmt: skip
    commit(config, "majordome", MajordomeState(state=State.CLOSED))
    shown = run("night", "--once", "--config", observatory)
    assert shown.exit_code == 0, shown.output
    for words in ("STOPPED", "the majordome does not run", "M 31", "observed, 7 images", f"night of {night}",
                  "1 requests have no place"):  # fmt: skip
        assert words in shown.stdout
    frame = msgspec.json.decode(run("night", "--once", "--json", "--config", observatory).stdout)
    assert (frame["night"]["state"], frame["plan"]["lines"][0]["target"]) == ("closed", "M 31")


def test_several_telescopes_have_a_part_each(tmp_path: Path) -> None:
    path = write_observatory(tmp_path, ("telescope", "dome"), devices={}, options={}, rules=None, guardian=False,
                             telescopes=("east", "west"))  # fmt: skip
    config = configuration.load(path)
    commit(config, "majordome east", MajordomeState(state=State.READY))
    shown = run("night", "--once", "--config", path).stdout
    parts = re.split(r"^(east|west)$", shown, flags=re.MULTILINE)
    assert [part.strip() for part in parts[1::2]] == ["east", "west"]
    assert "2 TELESCOPES  east stopped, west not run yet" in parts[0]
    assert parts[0].count("agents") == shown.count("agents") == 1
    assert "it was ready when it stopped" in parts[2]
    assert "no majordome has run here yet" in parts[4]
    assert all("night of " in part for part in (parts[2], parts[4]))
    one = run("night", "--once", "--unit", "east", "--config", path).stdout
    assert "it was ready when it stopped" in one
    assert "west" not in one
    assert run("night", "--once", "--unit", "north", "--config", path).exit_code == 1


def test_a_program_is_given_a_frame_at_every_change(observatory: Path, config: Config) -> None:
    journal = Journal(config.journal("majordome"))
    command = [sys.executable, program("pyros"), "night", "--json", "--config", str(observatory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            states = []
            for state in (State.READY, State.OPENING, State.OBSERVING):
                states.append(msgspec.json.decode(process.stdout.readline())["night"]["state"])
                write(journal, MajordomeState(state=state))
            states.append(msgspec.json.decode(process.stdout.readline())["night"]["state"])
            assert states == ["", "ready", "opening", "observing"]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
            journal.close()


def test_a_terminal_is_given_back_as_it_was(observatory: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, program("pyros"), "night", "--config", str(observatory)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        try:
            told = b""
            deadline = Deadline(PATIENCE)
            while b"NOT RUN YET" not in told and deadline.left():
                if select.select([ours], [], [], 1.0)[0]:
                    told += os.read(ours, 65536)
            process.send_signal(signal.SIGTERM)
            while deadline.left() and b"\x1b[?1049l" not in told:
                try:
                    told += os.read(ours, 65536)
                except OSError:  # its end has been closed
                    break
            assert process.wait(PATIENCE) in (130, 143)
            assert b"\x1b[?1049h" in told
            assert b"\x1b[?1049l" in told
        finally:
            process.kill()
            os.close(ours)
