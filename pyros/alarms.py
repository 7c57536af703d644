"""Alarms: what a person must be told now.

Each is told once until it is over: as a critical log line, as a message to monitoring, and by a command of the site's
own (``on_alarm`` in the configuration).

The process that raises an alarm runs the command itself: it works when monitoring is dead, and needs no journal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from twisted.logger import Logger

from pyros import messages
from pyros.clock import Clock, Timer, cancel_call
from pyros.messages import AlarmEnded, AlarmRaised, Payload

COMMAND_SECONDS = 30.0
"""How long the site's command may take; then it is killed, with all that it has started."""

COMMAND_EVERY_SECONDS = 600.0
"""The command runs at most once in so many seconds for each alarm; what has changed meanwhile is told then."""

MAX_ALARMS = 100
"""So many different alarms of one source are kept; further ones are logged only."""

MAX_TEXT = 1000
"""Characters of what an alarm says; the rest is cut off."""

_OVER = "over"
_RAISED = "raised"


class Alarm(NamedTuple):
    """An alarm that isn't over: its key, what it says, and since when (Unix seconds)."""

    key: str
    """What it is about, in words that never change."""
    text: str
    """What it says, for people."""
    since: float
    """When it was raised, Unix seconds."""


class _Told(NamedTuple):
    """What the site's command was last told of an alarm, and when (monotonic seconds)."""

    state: str
    text: str
    time: float


class Alarms:
    """The alarms of one source. All methods are for the reactor's thread; `raised` may be read in any."""

    def __init__(
        self,
        source: str,
        command: Sequence[str],
        clock: Clock,
        log: Logger,
        tell: Callable[[str, Payload], None] = lambda _name, _payload: None,
    ) -> None:
        """``source`` is the agent's name; ``command`` is the site's, without a shell, or empty.

        ``tell`` takes the name and payload of a message for monitoring.
        """
        self.raised: dict[str, Alarm] = {}
        self._source = source
        self._command = tuple(command)
        self._clock = clock
        self._log = log
        self._tell = tell
        self._told: dict[str, _Told] = {}
        self._timers: dict[str, Timer] = {}

    def raise_alarm(self, key: str, text: str) -> None:
        """Tell that a person is needed, unless that was told and isn't over."""
        if key in self.raised:
            return
        text = text[:MAX_TEXT]
        self._log.critical("ALARM ({key}): {text}", key=key, text=text)
        if len(self.raised) >= MAX_ALARMS:
            return
        self.raised[key] = Alarm(key, text, self._clock.time())
        self._tell(messages.ALARM, AlarmRaised(source=self._source, key=key, text=text))
        self._run_in_time(key, text)

    def end_alarm(self, key: str) -> None:
        """Tell that an alarm is over; nothing when it wasn't raised."""
        alarm = self.raised.pop(key, None)
        if alarm is None:
            return
        self._log.warn("the alarm is over ({key})", key=key)
        self._tell(messages.ALARM_OVER, AlarmEnded(source=self._source, key=key))
        self._run_in_time(key, alarm.text)

    def close(self) -> None:
        """Forget what was to be told later. Commands that run go on, within their time."""
        for timer in self._timers.values():
            cancel_call(timer)
        self._timers.clear()

    def _run_in_time(self, key: str, text: str) -> None:
        """Run the site's command now, or when it may run again for this alarm."""
        if not self._command or key in self._timers:
            return
        told, now = self._told.get(key), self._clock.monotonic()
        wait = 0.0 if told is None else told.time + COMMAND_EVERY_SECONDS - now
        if told is not None and told.state == _RAISED and key not in self.raised:
            wait = 0.0  # that an alarm is over needn't wait: the next one of that key will
        if wait > 0:
            self._timers[key] = self._clock.call_later(wait, self._run_late, key, text)
        else:
            self._run(key, text)

    def _run_late(self, key: str, text: str) -> None:
        """Tell what is so now, if that isn't what was told last."""
        self._timers.pop(key, None)
        state = _RAISED if key in self.raised else _OVER
        if (told := self._told.get(key)) is None or told.state != state:
            self._run(key, self.raised[key].text if key in self.raised else text)

    def _run(self, key: str, text: str) -> None:
        state, now = (_RAISED if key in self.raised else _OVER), self._clock.monotonic()
        began = now
        if state == _OVER and (told := self._told.get(key)) is not None:
            began = told.time  # the limit counts from when the alarm was told
        self._told[key] = _Told(state, text, began)
        if len(self._told) > 2 * MAX_ALARMS:
            old = (each for each, told in self._told.items() if now - told.time > COMMAND_EVERY_SECONDS)
            self._told.pop(next(old, next(iter(self._told))))
        environment = {
            "PYROS_ALARM_SOURCE": self._source, "PYROS_ALARM_KEY": key, "PYROS_ALARM_TEXT": text,
            "PYROS_ALARM_STATE": state,
        }  # fmt: skip
        run_command(self._command, environment, self._log)


def run_command(
    command: Sequence[str], environment: dict[str, str], log: Logger, seconds: float = COMMAND_SECONDS
) -> None:
    """Run the site's command beside this process, in a process group of its own, for so many seconds at most.

    Returns at once. What goes wrong is logged, never raised: an alarm must not depend on it. Any thread.
    """
    whole = os.environ | {key: value.replace("\0", "") for key, value in environment.items()}
    try:
        process = subprocess.Popen(
            command, env=whole, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        watch = (process, command[0], log, seconds)
        threading.Thread(target=_watch, args=watch, name=f"on_alarm {process.pid}", daemon=True).start()
    except (OSError, ValueError, RuntimeError) as error:  # not there; a NUL in it; no more threads
        log.critical("on_alarm: {command} did not start: {error}", command=command[0], error=error)


def _watch(process: subprocess.Popen[bytes], name: str, log: Logger, seconds: float) -> None:
    """In a thread of its own, until the command has ended."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.error("on_alarm: {name} was killed: it took more than {seconds:g} s", name=name, seconds=seconds)
        return
    if code:
        log.error("on_alarm: {name} ended with code {code}", name=name, code=code)
