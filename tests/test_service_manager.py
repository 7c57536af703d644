"""What systemd is told, by the datagrams of sd_notify(3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.internet.task import Clock as TwistedClock

from pyros.clock import VirtualClock
from pyros.service_manager import ServiceManager
from tests.systemd import Systemd


class SystemdRig(Systemd):
    """A service's systemd, the environment that it gives, and the service's clock."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}
        self.scheduler = TwistedClock()
        self.clock = VirtualClock(self.scheduler, datetime(2026, 3, 20, tzinfo=UTC))


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SystemdRig]:
    made = SystemdRig(str(tmp_path / "notify") if request.param == "path" else f"@pyros-test-{os.getpid()}")
    yield made
    made.close()


def test_a_service_tells_when_it_is_ready_beats_and_ends(systemd: SystemdRig) -> None:
    ready: list[bool] = []
    manager = ServiceManager(systemd.clock, systemd.environment)
    assert systemd.environment == {}
    assert manager.watchdog_seconds == 8
    manager.watch(lambda: bool(ready))
    systemd.scheduler.advance(1)
    assert systemd.heard() == []
    ready.append(True)
    systemd.scheduler.advance(1)
    assert systemd.heard() == ["READY=1", "WATCHDOG=1"]
    systemd.scheduler.advance(2)
    systemd.scheduler.advance(2)
    assert systemd.heard() == ["WATCHDOG=1"] * 2
    manager.stop()
    assert systemd.heard() == ["STOPPING=1"]
    assert not systemd.scheduler.getDelayedCalls()


def test_no_beat_is_sent_while_a_thread_hangs(systemd: SystemdRig) -> None:
    hanging: dict[float, list[str]] = {4.0: []}
    manager = ServiceManager(systemd.clock, systemd.environment)
    manager.watch(lambda: True, hanging.__getitem__)
    assert systemd.heard() == ["READY=1", "WATCHDOG=1"]
    hanging[4.0] = ["scheduler"]
    systemd.scheduler.advance(2)
    assert systemd.heard() == []
    hanging[4.0] = []
    systemd.scheduler.advance(2)
    assert systemd.heard() == ["WATCHDOG=1"]
    manager.stop()


def test_a_socket_that_is_gone_hurts_nobody(systemd: SystemdRig) -> None:
    manager = ServiceManager(systemd.clock, systemd.environment | {"NOTIFY_SOCKET": "/nowhere/at/all"})
    manager.watch(lambda: True)
    manager.stop()


def test_the_watchdog_of_another_process_is_not_beaten(systemd: SystemdRig) -> None:
    manager = ServiceManager(systemd.clock, systemd.environment | {"WATCHDOG_PID": "1"})
    manager.watch(lambda: True)
    assert systemd.heard() == ["READY=1"]
    assert not systemd.scheduler.getDelayedCalls()


def test_without_a_service_manager_nothing_happens() -> None:
    scheduler = TwistedClock()
    manager = ServiceManager(VirtualClock(scheduler, datetime(2026, 3, 20, tzinfo=UTC)), {})
    manager.watch(lambda: True)
    manager.stop()
    assert not scheduler.getDelayedCalls()
