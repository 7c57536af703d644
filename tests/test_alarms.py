"""Alarms: told once until they are over, and by a command of the site's own that hangs nobody up."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.task import Clock as TwistedClock
from twisted.logger import Logger, formatEvent, globalLogPublisher

from pyros import messages
from pyros.alarms import MAX_ALARMS, QUIET_SECONDS, Alarms, run_command
from pyros.clock import VirtualClock
from pyros.messages import AlarmEnded, AlarmRaised
from tests.conftest import wait_until

WRITE = "import os, sys; open(sys.argv[1], 'a').write('{PYROS_ALARM_STATE} {PYROS_ALARM_TEXT}\\n'.format(**os.environ))"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    observer = cast("Any", found.append)
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)


class AlarmsRig:
    """Alarms of a dome on virtual time, and what was told."""

    def __init__(self, command: tuple[str, ...] = ()) -> None:
        self.reactor = TwistedClock()
        self.told: list[tuple[str, Any]] = []
        clock = VirtualClock(self.reactor, datetime(2026, 3, 20, tzinfo=UTC))
        self.alarms = Alarms("dome", command, clock, Logger("dome"), lambda name, what: self.told.append((name, what)))


def written(file: Path, count: int) -> list[str]:
    """Return the lines that the command has written, once there are so many."""
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) >= count)
    wait_until(lambda: not any(thread.name.startswith("on_alarm") for thread in threading.enumerate()))
    return file.read_text().splitlines()


def test_an_alarm_is_told_once_until_it_is_over(lines: list[dict[str, Any]]) -> None:
    rig = AlarmsRig()
    for _ in range(3):
        rig.alarms.raise_alarm("does not close", "the dome does not close: press the red button")
    rig.alarms.end_alarm("does not close")
    rig.alarms.end_alarm("does not close")
    rig.reactor.advance(QUIET_SECONDS)
    rig.alarms.raise_alarm("does not close", "again")
    assert rig.told == [
        (messages.ALARM, AlarmRaised(source="dome", key="does not close",
                                     text="the dome does not close: press the red button")),
        (messages.ALARM_OVER, AlarmEnded(source="dome", key="does not close")),
        (messages.ALARM, AlarmRaised(source="dome", key="does not close", text="again")),
    ]  # fmt: skip
    assert [line["log_level"].name for line in lines] == ["critical", "warn", "critical"]


def test_an_alarm_that_comes_and_goes_stands_till_it_rests(lines: list[dict[str, Any]]) -> None:
    """The guardian that could not reach the dome was an alarm 139 times in one night."""
    rig = AlarmsRig()
    for _ in range(139):
        rig.alarms.raise_alarm("no guardian", "the guardian cannot reach the dome")
        rig.reactor.advance(20)
        rig.alarms.end_alarm("no guardian")
        rig.reactor.advance(QUIET_SECONDS - 1)
    assert [name for name, _ in rig.told] == [messages.ALARM, messages.ALARM_OVER, messages.ALARM]
    assert rig.told[-1][1].text == "the guardian cannot reach the dome (it comes and goes)"
    assert [line["log_level"].name for line in lines] == ["critical", "warn", "critical"]
    rig.reactor.advance(1)
    assert rig.told[-1] == (messages.ALARM_OVER, AlarmEnded(source="dome", key="no guardian"))
    assert not rig.alarms.raised
    rig.reactor.advance(QUIET_SECONDS)
    rig.alarms.raise_alarm("no guardian", "the next night")
    rig.alarms.end_alarm("no guardian")
    assert not rig.alarms.raised


def test_the_command_is_told_what_is_wrong_and_when_it_is_over(tmp_path: Path) -> None:
    rig = AlarmsRig((sys.executable, "-c", WRITE, str(tmp_path / "told")))
    rig.alarms.raise_alarm("key", "wet; $(rm -rf /)")
    assert written(tmp_path / "told", 1) == ["raised wet; $(rm -rf /)"]
    rig.alarms.end_alarm("key")
    assert written(tmp_path / "told", 2)[1:] == ["over wet; $(rm -rf /)"]


def test_a_flapping_alarm_runs_the_command_when_it_rests(tmp_path: Path) -> None:
    rig = AlarmsRig((sys.executable, "-c", WRITE, str(tmp_path / "told")))
    for number in range(1, 6):
        rig.alarms.raise_alarm("key", str(number))
        written(tmp_path / "told", min(number, 2) * 2 - 1)
        rig.alarms.end_alarm("key")
        written(tmp_path / "told", min(number + 1, 3))
    rig.reactor.advance(QUIET_SECONDS)
    flaps = "2 (it comes and goes)"
    assert written(tmp_path / "told", 4) == ["raised 1", "over 1", f"raised {flaps}", f"over {flaps}"]
    assert rig.reactor.getDelayedCalls() == []


def test_alarms_that_are_closed_leave_no_timer(tmp_path: Path) -> None:
    rig = AlarmsRig((sys.executable, "-c", WRITE, str(tmp_path / "told")))
    for _ in range(2):
        rig.alarms.raise_alarm("key", "1")
        rig.alarms.end_alarm("key")
    written(tmp_path / "told", 3)
    assert rig.reactor.getDelayedCalls()
    rig.alarms.close()
    assert rig.reactor.getDelayedCalls() == []


def test_a_command_that_takes_long_is_killed_with_its_children(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    os.mkfifo(tmp_path / "alive")
    run_command(["sh", "-c", f"sleep 1000 > {shlex.quote(str(tmp_path / 'alive'))} & wait"], {}, Logger("x"), 0.3)
    with open(tmp_path / "alive", "rb") as alive:
        assert alive.read() == b""  # its child is gone, too
    wait_until(lambda: any("was killed" in line["log_format"] for line in lines))


@pytest.mark.parametrize("command", [["no-such-program"], ["sh\0"], ["/"]])
def test_a_command_that_cannot_start_is_only_logged(command: list[str], lines: list[dict[str, Any]]) -> None:
    run_command(command, {"PYROS_ALARM_TEXT": "a\0b"}, Logger("x"))
    assert len([line for line in lines if "did not start" in str(formatEvent(line))]) == 1


def test_alarms_have_a_bound() -> None:
    rig = AlarmsRig()
    for number in range(2 * MAX_ALARMS):
        rig.alarms.raise_alarm(f"key {number}", "x" * 5000)
    assert len(rig.alarms.raised) == len(rig.told) == MAX_ALARMS
    assert max(len(alarm.text) for alarm in rig.alarms.raised.values()) == 1000
