"""The hold: one file that every process obeys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.internet.task import Clock as Scheduler

from pyros import hold
from pyros.clock import VirtualClock
from pyros.hold import Holds


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def holds(tmp_path: Path, scheduler: Scheduler) -> Holds:
    return Holds(tmp_path / "var", VirtualClock(scheduler, datetime(2026, 3, 20, 23, 30, tzinfo=UTC)))


def other(holds: Holds, scheduler: Scheduler) -> Holds:
    """Another process of the same observatory, or the same one after a restart."""
    return Holds(holds.path.parent, VirtualClock(scheduler, datetime(2026, 3, 20, 23, 30, tzinfo=UTC)))


def test_a_hold_counts_in_every_process_until_it_is_released(holds: Holds, scheduler: Scheduler) -> None:
    elsewhere = other(holds, scheduler)
    assert holds.hold is None
    assert elsewhere.hold is None
    held = holds.set("anna", "lightning")
    assert elsewhere.hold == held == other(holds, scheduler).hold
    assert str(held) == "held by anna: lightning"
    elsewhere.release()
    assert holds.hold is None


def test_the_same_hold_again_keeps_its_beginning(holds: Holds, scheduler: Scheduler) -> None:
    first = holds.set("anna", "lightning")
    scheduler.advance(60)
    assert other(holds, scheduler).set("anna", "lightning") == first
    holds.set("anna", "hail")
    assert holds.hold is not None
    assert holds.hold.why == "hail"


def test_a_hold_that_cannot_be_written_counts_all_the_same(holds: Holds, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hold, "atomic_write", full)
    with pytest.raises(OSError, match="No space"):
        holds.set("anna", "lightning")
    assert holds.hold is not None
    assert holds.hold.why == "lightning"
    holds.release()
    assert holds.hold is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"hold": {"who": 1}}', b"\xff"])
def test_a_hold_that_cannot_be_read_holds(content: bytes, holds: Holds) -> None:
    holds.path.parent.mkdir()
    holds.path.write_bytes(content)
    assert holds.hold is not None
    assert "cannot be read" in holds.hold.why


def test_a_service_is_a_hold_that_ends_by_itself(holds: Holds, scheduler: Scheduler) -> None:
    holds.serve("anna", "new filter", 600.0)
    assert holds.service is not None
    assert holds.hold is not None
    assert holds.hold.why == "service: new filter"
    scheduler.advance(599)
    assert other(holds, scheduler).service is not None
    scheduler.advance(1)
    assert holds.service is None
    assert holds.hold is None


def test_a_step_of_the_clock_neither_ends_nor_prolongs_a_service(holds: Holds, scheduler: Scheduler) -> None:
    holds.serve("anna", "new filter", 600.0)
    for seconds in (3600, -7200, 3e7):
        clock = VirtualClock(scheduler, datetime(2026, 3, 20, tzinfo=UTC))
        clock.step(seconds)
        assert Holds(holds.path.parent, clock).service is not None
    scheduler.advance(600)
    assert holds.service is None


def test_a_service_ends_with_the_computers_restart(
    holds: Holds, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds.serve("anna", "new filter", 600.0)
    monkeypatch.setattr(hold, "boot_id", lambda: "another start")
    assert other(holds, scheduler).service is None


def test_a_hold_outlives_the_service_within_it(holds: Holds, scheduler: Scheduler) -> None:
    holds.set("anna", "lightning")
    holds.serve("ben", "new filter", 600.0)
    scheduler.advance(601)
    assert holds.hold is not None
    assert holds.hold.why == "lightning"
