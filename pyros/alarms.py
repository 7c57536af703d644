"""Alarms: what a person must be told now.

Each is told once until it is over: as a critical log line, as a message to monitoring, and by a command of the site's
own (``on_alarm`` in the configuration). One that comes and goes is told as such, and is over when all was well for
`QUIET_SECONDS`: told each time, it would hide the others.

The process that raises an alarm runs the command itself: it works when monitoring is dead, and needs no journal.
"""

from __future__ import annotations

import math
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

QUIET_SECONDS = 600.0
"""An alarm that comes again within so many seconds of its end then stands until it was not raised for so long."""

MAX_ALARMS = 100
"""So many different alarms of one source are kept; further ones are logged only."""

MAX_TEXT = 1000
"""Characters of what an alarm says; the rest is cut off."""

_FLAPS = " (it comes and goes)"


class Alarm(NamedTuple):
    """An alarm that isn't over: its key, what it says, and since when (Unix seconds)."""

    key: str
    """What it is about, in words that never change."""
    text: str
    """What it says, for people."""
    since: float
    """When it was raised, Unix seconds."""


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
        self._ended: dict[str, float] = {}
        """When an alarm was over last, monotonic seconds."""
        self._flapping: set[str] = set()
        """The alarms that stand again soon after they were over."""
        self._timers: dict[str, Timer] = {}
        """The ends of those, in a while."""

    def raise_alarm(self, key: str, text: str) -> None:
        """Tell that a person is needed, unless that was told and isn't over."""
        cancel_call(self._timers.pop(key, None))
        if key in self.raised:
            return
        flaps = self._clock.monotonic() - self._ended.get(key, -math.inf) < QUIET_SECONDS
        text = f"{text[: MAX_TEXT - len(_FLAPS)]}{_FLAPS}" if flaps else text[:MAX_TEXT]
        self._log.critical("ALARM ({key}): {text}", key=key, text=text)
        if len(self.raised) >= MAX_ALARMS:
            return
        self.raised[key] = Alarm(key, text, self._clock.time())
        if flaps:
            self._flapping.add(key)
        self._tell(messages.ALARM, AlarmRaised(source=self._source, key=key, text=text))
        self._run("raised", self.raised[key])

    def end_alarm(self, key: str) -> None:
        """Tell that an alarm is over, or in a while if it comes and goes; nothing when it wasn't raised."""
        if key not in self.raised or key in self._timers:
            return
        if key in self._flapping:
            self._timers[key] = self._clock.call_later(QUIET_SECONDS, self._end, key)
        else:
            self._end(key)

    def close(self) -> None:
        """Forget what was to be told later. Commands that run go on, within their time."""
        for timer in self._timers.values():
            cancel_call(timer)
        self._timers.clear()

    def _end(self, key: str) -> None:
        self._timers.pop(key, None)
        alarm = self.raised.pop(key)
        self._flapping.discard(key)
        self._ended.pop(key, None)
        self._ended[key] = self._clock.monotonic()
        if len(self._ended) > MAX_ALARMS:
            del self._ended[next(iter(self._ended))]
        self._log.warn("the alarm is over ({key})", key=key)
        self._tell(messages.ALARM_OVER, AlarmEnded(source=self._source, key=key))
        self._run("over", alarm)

    def _run(self, state: str, alarm: Alarm) -> None:
        """Run the site's command, if there is one."""
        environment = {
            "PYROS_ALARM_SOURCE": self._source, "PYROS_ALARM_KEY": alarm.key, "PYROS_ALARM_TEXT": alarm.text,
            "PYROS_ALARM_STATE": state,
        }  # fmt: skip
        if self._command:
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
