"""A driver of an INDI device, and the mount that several tests ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyros.clock import VirtualClock
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.script import IndiRig

Make = Callable[..., IndiRig]
MOUNT = {
    "EQUATORIAL_EOD_COORD": ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle"),
    "ON_COORD_SET": ("Switch", {"TRACK": True, "SLEW": False, "SYNC": False}, "Idle"),
    "TELESCOPE_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    "TELESCOPE_TRACK_STATE": ("Switch", {"TRACK_ON": False, "TRACK_OFF": True}, "Idle"),
    "TELESCOPE_PARK": ("Switch", {"PARK": False, "UNPARK": True}, "Ok"),
    "TIME_UTC": ("Text", {"UTC": "", "OFFSET": ""}, "Idle"),
    "GEOGRAPHIC_COORD": ("Number", {"LAT": 0.0, "LONG": 0.0, "ELEV": 0.0}, "Idle"),
}
COORD = "EQUATORIAL_EOD_COORD"
CANNOT = '<message device="Dev" message="[ERROR] Cannot slew while moving. Please stop moving first"/>'


@pytest.fixture
def rig(world: DeviceWorld, clock: VirtualClock) -> Iterator[Make]:
    """Connect drivers to devices of some vectors: ``rig("telescope", MOUNT)``."""
    made: list[IndiRig] = []

    def make(kind: str, vectors: dict[str, Any], **named: Any) -> IndiRig:
        made.append(IndiRig(world, clock, kind, vectors, **named))
        return made[-1]

    yield make
    for each in made:
        closed = each.device.disconnect()
        world.run()
        assert closed.called


@pytest.fixture
def mount(rig: Make) -> IndiRig:
    return rig("telescope", MOUNT)
