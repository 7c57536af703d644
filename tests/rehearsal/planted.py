"""Bugs that are planted into the product in a test's process: what a rehearsal must find."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import pytest

from pyros import wire
from pyros.agents import _shutter, majordome, monitoring, observation_manager, shutter_control
from pyros.agents.runtime import loop
from pyros.rehearsal.plan import NightPlan
from tests.rehearsal.dense import DENSE, WHOLE

Plant = Callable[[pytest.MonkeyPatch], None]


def lease_never_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was once said to be safe be safe until the opposite is said."""

    def weather_safe(self: Any, said: float) -> None:
        self._weather_until = self._heard_until = math.inf
        self._wet_reason = ""

    def kept_open(self: Any, said: float, seconds: float) -> None:
        self._open_until = math.inf

    monkeypatch.setattr(_shutter.ShutterGuard, "weather_safe", weather_safe)
    monkeypatch.setattr(_shutter.ShutterGuard, "kept_open", kept_open)


def lease_counted_from_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count both leases from when their words arrive, however long they were on their way."""
    guard = _shutter.ShutterGuard
    weather_safe, kept_open = guard.weather_safe, guard.kept_open
    monkeypatch.setattr(guard, "weather_safe", lambda self, _: weather_safe(self, self._clock.monotonic()))
    monkeypatch.setattr(guard, "kept_open", lambda self, _, seconds: kept_open(self, self._clock.monotonic(), seconds))


class _WallClock:
    """A clock whose monotonic time is the wall clock's, which may step."""

    def __init__(self, clock: Any) -> None:
        self.steady, self.time = clock, clock.time

    def monotonic(self) -> float:
        return float(self.time())


def lease_by_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count both leases by the wall clock, and notice no step of it."""
    guard = _shutter.ShutterGuard
    init, weather_safe, kept_open = guard.__init__, guard.weather_safe, guard.kept_open
    next_by_wall = guard.next_change

    def begin(self: Any, clock: Any, *args: Any, **keys: Any) -> None:
        init(self, cast("Any", _WallClock(clock)), *args, **keys)

    def wall(self: Any, said: float) -> float:
        return float(self._clock.time() - self._clock.steady.monotonic() + said)

    def next_change(self: Any) -> float:
        return float(next_by_wall(self) - self._clock.monotonic() + self._clock.steady.monotonic())

    monkeypatch.setattr(guard, "__init__", begin)
    monkeypatch.setattr(guard, "weather_safe", lambda self, said: weather_safe(self, wall(self, said)))
    monkeypatch.setattr(guard, "kept_open", lambda self, said, seconds: kept_open(self, wall(self, said), seconds))
    monkeypatch.setattr(guard, "notice_step", lambda self: None)
    monkeypatch.setattr(guard, "next_change", next_change)


def unsafe_ignored_by_the_dome(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave it to the majordome to close when it is unsafe."""
    monkeypatch.setattr(_shutter.ShutterGuard, "weather_unsafe", lambda *_: None)


def closed_by_belief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell no dome to close that was closed when an agent last heard of it, in this life or an earlier one."""
    control = shutter_control.ShutterControl
    init, is_closed, command_close = control.__init__, control._is_closed, control._command_close
    believed: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # by the night's computer

    def begin(self: Any, *args: Any) -> None:
        init(self, *args)
        tell = self._report

        def report(what: Any) -> None:
            if what.what == "opened":
                believed[self._clock._computer] = False
            tell(what)

        self._report = report

    def closed(self: Any) -> None:
        believed[self._clock._computer] = True
        is_closed(self)

    def unless_closed(self: Any) -> None:
        (is_closed if believed.get(self._clock._computer) else command_close)(self)

    monkeypatch.setattr(control, "__init__", begin)
    monkeypatch.setattr(control, "_is_closed", closed)
    monkeypatch.setattr(control, "_command_close", unless_closed)


def reopened_at_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a dome at its agent's start that was to be open when the agent ended, whoever says that it may."""
    control = shutter_control.ShutterControl
    open_, close = control._open, control.close
    wanted: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # by the night's computer

    def opened(self: Any, reason: str, by_hand: bool) -> None:
        open_(self, reason, by_hand)
        wanted[self._clock._computer] = self.wanted_open

    def closed(self: Any, reason: str, said: float | None = None) -> None:
        if reason == "this agent was started" and wanted.get(self._clock._computer):
            self.wanted_open, self._closed = True, False
            self._device.open(lambda _: None).addErrback(lambda _: None)
            return
        wanted[self._clock._computer] = False
        close(self, reason, said)

    monkeypatch.setattr(control, "_open", opened)
    monkeypatch.setattr(control, "close", closed)


def retraction_lost_during_the_slew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on with what is aborted before its first exposure."""
    agent = observation_manager.ObservationManagerAgent
    abort = agent.abort_observation

    def once_it_exposes(self: Any, message: Any) -> None:
        if self.state.phase == "exposing":
            abort(self, message)

    monkeypatch.setattr(agent, "abort_observation", once_it_exposes)


def morning_taken_for_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when the night is over."""
    agent = majordome.MajordomeAgent
    is_over = agent._is_over

    def fails(self: Any, part: Any, night: str) -> bool:
        if is_over(self, part, night):
            raise RuntimeError("the Sun has come up in the middle of a sequence")
        return False

    monkeypatch.setattr(agent, "_is_over", fails)


def shut_after_one_shower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stay shut until a person releases it whenever it has become unsafe, however seldom."""
    count = monitoring.MonitoringAgent._count_closing

    def once(self: Any) -> None:
        count(self)
        self.state.shut = True

    monkeypatch.setattr(monitoring.MonitoringAgent, "_count_closing", once)


def acknowledged_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledge what an agent has only taken out of its mailbox."""
    take_turn = loop.TurnLoop._take_turn

    def early(self: Any, batches: list[Any], idle: bool) -> None:
        for batch in batches:
            if batch.peer is not None and batch.origin is not None and batch.entries:
                batch.origin.send(wire.Frame(ack=batch.entries[-1].seq))
        take_turn(self, batches, idle)

    monkeypatch.setattr(loop.TurnLoop, "_take_turn", early)


def roof_before_the_mount_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a roof without waiting for the mount."""
    init = shutter_control.ShutterControl.__init__
    monkeypatch.setattr(
        shutter_control.ShutterControl, "__init__", lambda self, *args, **keys: init(self, *args[:7], **keys)
    )


class Found(NamedTuple):
    """How a planted bug is found."""

    rules: tuple[str, ...]
    """Of which one is broken by it."""
    script: str
    """Faults with which it is found, five lines at most; none of them breaks a rule without the bug."""
    hours: float


_OPEN = ("open without majordome", "open without monitoring", "open when unsafe")
_LEFT_OPEN = (*_OPEN, "open when told unsafe", "open under hold", "open by day", "not closed and parked")
WITH_A_SCRIPT: dict[Plant, Found] = {
    shut_after_one_shower: Found(("starving",), "00:05:00 weather rain=1 for=60", hours=1.6),
}
"""A planted bug that a line on purpose shows."""


class Searched(NamedTuple):
    """How a planted bug is searched for."""

    rules: tuple[str, ...]
    """Of which one is broken by it."""
    nights: NightPlan = DENSE
    """The first of the nights that are drawn."""


SEARCHED: dict[Plant, Searched] = {
    lease_never_checked: Searched(_OPEN),
    lease_counted_from_arrival: Searched(_OPEN),
    lease_by_wall_clock: Searched(_OPEN),
    unsafe_ignored_by_the_dome: Searched(("open when told unsafe",)),
    closed_by_belief: Searched(_LEFT_OPEN),
    reopened_at_restart: Searched(("opened without leave",)),
    retraction_lost_during_the_slew: Searched(("observing a retracted alert",)),
    acknowledged_before_the_commit: Searched(("lost", "undecided", "message")),
    roof_before_the_mount_is_parked: Searched(("roof onto the mount",)),
    morning_taken_for_an_error: Searched(("failed", "not closed and parked", "error"), WHOLE),
}
"""The ten planted bugs for which nights are drawn until one finds them."""
