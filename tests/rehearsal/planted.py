"""Bugs that are planted into the product in a test's process: what a rehearsal must find."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from pyros import wire
from pyros.agents import _shutter, _shutter_control
from pyros.agents.runtime import host

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


def acknowledged_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledge what an agent has only taken out of its mailbox."""
    take_turn = host.Host._take_turn

    def early(self: Any, batches: list[Any], idle: bool) -> None:
        for batch in batches:
            if batch.peer is not None and batch.origin is not None and batch.entries:
                batch.origin.send(wire.Frame(ack=batch.entries[-1].seq))
        take_turn(self, batches, idle)

    monkeypatch.setattr(host.Host, "_take_turn", early)


def roof_before_the_mount_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close a roof without waiting for the mount."""
    init = _shutter_control.ShutterControl.__init__
    monkeypatch.setattr(
        _shutter_control.ShutterControl, "__init__", lambda self, *args, **keys: init(self, *args[:6], **keys)
    )


PLANTS: dict[Plant, tuple[str, ...]] = {
    lease_never_checked: ("open without majordome", "open without monitoring", "open when unsafe"),
    acknowledged_before_the_commit: ("lost", "undecided", "message"),
    roof_before_the_mount_is_parked: ("roof onto the mount",),
}
"""Each planted bug, and the rules by which it is found."""
