"""The INDI driver and devices behind a scripted server: a second command after every exchange of the first."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pyros.clock import VirtualClock
from tests.instruments.conftest import MIDNIGHT, DeviceWorld
from tests.instruments.indi.in_memory import KINDS
from tests.instruments.indi.script import ADDRESS, IndiRig
from tests.instruments.interleaving import (
    HOWS,
    TARGETS,
    Backend,
    How,
    Pairs,
    add_cover,
    add_rotator,
    at_once,
    camera_commands,
    cases,
    dome_commands,
    filter_wheel_commands,
    focuser_commands,
    off_target,
    state_is,
    switch_commands,
    telescope_commands,
)


def backend(kind: Any, before: str = "", **changed: Any) -> Backend:
    """Make a device behind a scripted server, and the INDI driver, ready for commands."""
    world = DeviceWorld()
    made: Any = KINDS[kind]
    address = ADDRESS + ("?POWER" if kind == "switch" else "")
    rig = IndiRig(world, VirtualClock(world, MIDNIGHT), kind, dict(made.VECTORS), address)
    simulated = made(rig)
    for name, value in changed.items():
        setattr(simulated, name, value)

    def close() -> None:
        world.result(rig.device.disconnect())
        simulated.close()
        world.run(20)
        assert not world.getDelayedCalls()

    # A connection that was lost is made again, with its definitions, within some seconds.
    ready = Backend(world, rig.device, {}, {}, close, before=before, settle=60.0)
    globals()[f"_{kind}"](ready, simulated)
    return ready


def _telescope(made: Backend, mount: Any) -> None:
    telescope = made.device

    def points_at(name: str) -> str:
        there = mount.server.vectors["EQUATORIAL_COORD"][1]
        return off_target(mount, "tracking", (there["RA"] * 15, there["DEC"]), TARGETS[name])

    def sync() -> Deferred[None]:
        done: Deferred[None] = telescope.sync(10.0, 10.0)
        return done

    telescope_commands(made, mount, TARGETS, points_at, ("tracking", "parked"))
    made.commands |= {
        "sync": sync,
        "unpark and park": lambda: at_once(telescope.unpark, telescope.park),
        "park and unpark": lambda: at_once(telescope.park, telescope.unpark),
        "sync and slew": lambda: at_once(sync, partial(telescope.slew, *TARGETS["slew elsewhere"])),
    }
    made.wanted |= {
        "unpark and park": lambda: state_is(mount, "parked"),
        "park and unpark": lambda: state_is(mount, "tracking"),
        "sync and slew": lambda: points_at("slew elsewhere"),
    }


def _dome(made: Backend, simulated: Any) -> None:
    def slit_at(degrees: float) -> str:
        return "" if simulated.azimuth == str(degrees) else f"the slit is at {simulated.azimuth}"

    dome_commands(made, simulated, slit_at)
    made.commands["close and rotate"] = lambda: at_once(lambda: made.device.rotate(200.0), made.device.close)
    made.wanted["close and rotate"] = lambda: state_is(simulated, "closed")


def _focuser(made: Backend, motor: Any) -> None:
    def is_at(*positions: float) -> str:
        return "" if motor.at in positions else f"it is at {motor.at}"

    focuser_commands(made, 50, 200, is_at, lambda: is_at(100.0, 200.0))


def _filter_wheel(made: Backend, wheel: Any) -> None:
    filter_wheel_commands(made, lambda name: "" if wheel.filter == name else f"{wheel.filter} is in the beam")


def _camera(made: Backend, simulated: Any) -> None:
    camera_commands(made, lambda: state_is(simulated, "idle"), lambda: state_is(simulated, "idle"))


def _switch(made: Backend, box: Any) -> None:
    def is_set(channel: int, level: float) -> str:
        wrong: str = box.on(("ONE", "TWO")[channel])
        return wrong if level else "" if wrong else "it is on"

    switch_commands(made, is_set)


_rotator, _cover = add_rotator, add_cover


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("case", cases("indi"))
def test_the_newest_command_counts(case: Pairs, how: How) -> None:
    case.check(partial(backend, case.kind, case.before, **case.changed), how)
