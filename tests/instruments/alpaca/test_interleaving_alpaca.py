"""The Alpaca driver and devices in memory: a second command after every exchange of the first.

Alpaca's requests have connections of their own, and a newer one may overtake an older: so all is tried with every
connection as fast as the others, and with every second one slower.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, product
from typing import Any

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import CommandAborted, DeviceFailed
from tests.instruments.alpaca.conftest import PORT, AlpacaError
from tests.instruments.alpaca.in_memory import KINDS
from tests.instruments.conftest import MIDNIGHT, DeviceWorld
from tests.instruments.interleaving import (
    HOWS,
    TARGETS,
    Backend,
    How,
    Outcome,
    Pairs,
    add_cover,
    add_rotator,
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

SLOW = (0.3, 0.0)


def connected(kind: Any, delays: tuple[float, ...]) -> tuple[DeviceWorld, Any, Any, Callable[[], None]]:
    """Make the world, a device in memory, the Alpaca driver at it, and what ends both."""
    world = DeviceWorld()
    world.delays = cycle(delays)
    simulated: Any = KINDS[kind](world)
    options = "?arcsec_per_pixel=1" if kind == "camera" else ""
    address = f"http://127.0.0.1:{PORT}/{simulated.NAME}/0{options}"
    device: Any = instruments.connect(kind, "alpaca", address, world, VirtualClock(world, MIDNIGHT))
    world.run(5)
    assert device.connected

    def close() -> None:
        world.result(device.disconnect(), 10)
        world.run(10)
        assert not world.getDelayedCalls()

    return world, simulated, device, close


def backend(kind: str, before: str, delays: tuple[float, ...]) -> Backend:
    """Make a device in memory and the Alpaca driver, ready for commands."""
    world, simulated, device, close = connected(kind, delays)
    made = Backend(world, device, {}, {}, close, simulated.away, before, settle=30.0, afterwards=6.0)
    globals()[f"_{kind}"](made, simulated)
    return made


def _telescope(made: Backend, mount: Any) -> None:
    def points_at(name: str) -> str:
        hours, dec = mount.where
        return off_target(mount, "standing", (hours * 15, dec), TARGETS[name])

    telescope_commands(made, mount, TARGETS, points_at, ("standing", "parked"))


def _dome(made: Backend, simulated: Any) -> None:
    def slit_at(degrees: float) -> str:
        return "" if simulated.azimuth == degrees else f"the slit is at {simulated.azimuth}"

    dome_commands(made, simulated, slit_at)


def _focuser(made: Backend, motor: Any) -> None:
    def is_at(*positions: int) -> str:
        return "" if motor.at in positions and not motor.moving else f"it is at {motor.at}, or moves"

    focuser_commands(made, 1500, 3200, is_at, lambda: is_at(2000, 2500, 3000, 3200))


def _filter_wheel(made: Backend, wheel: Any) -> None:
    def has(name: str) -> str:
        return "" if wheel.filter == name else f"{wheel.filter or 'no filter'} is in the beam"

    filter_wheel_commands(made, has)


def _camera(made: Backend, simulated: Any) -> None:
    camera_commands(made, lambda: state_is(simulated, "idle"), lambda: state_is(simulated, "idle"))
    made.commands |= {"cool": lambda: made.device.cool(-20.0), "warm": lambda: made.device.cool(None)}
    made.wanted["warm"] = lambda: "it cools" if simulated.cooler else ""
    made.wanted["cool"] = lambda: "" if simulated.cooler else "it doesn't cool"


def _switch(made: Backend, outlets: Any) -> None:
    made.world.result(made.device.channels(), 5.0)  # which is asked once, and long
    switch_commands(
        made, lambda channel, level: "" if outlets.levels[channel] == level else f"the levels are {outlets.levels}"
    )


_rotator, _cover = add_rotator, add_cover


@pytest.mark.parametrize(("how", "delays"), [*product(HOWS, [(0.0,)]), ("newer", SLOW), ("cancel", SLOW)])
@pytest.mark.parametrize("case", cases("alpaca"))
def test_the_newest_command_counts(case: Pairs, how: How, delays: tuple[float, ...]) -> None:
    case.check(lambda: backend(case.kind, case.before, delays), how)


@pytest.mark.parametrize("delays", [(0.0,), SLOW])
def test_a_close_ends_the_opening_before_it_though_the_dome_tells_no_state(delays: tuple[float, ...]) -> None:
    world, simulated, dome, close = connected("dome", delays)
    answers = simulated.server.answers
    closing: list[Outcome] = []

    def asked(_: Any) -> Any:
        if not closing:  # the opening has not begun
            closing.append(Outcome.of(dome.close()))
            return 1
        return AlpacaError(0x4FF, "it does not know")

    answers["GET shutterstatus"] = asked
    opening = Outcome.of(dome.open())
    world.run(20.0)
    close()
    assert simulated.state == "closed"
    assert isinstance(closing[0].ends[0], DeviceFailed)
    assert isinstance(opening.ends[0], CommandAborted)


def test_a_dome_that_tells_no_state_is_closed_and_never_opened() -> None:
    world, simulated, dome, close = connected("dome", (0.0,))
    world.result(dome.open(), 20.0)
    assert simulated.state == "open"
    simulated.server.answers["GET shutterstatus"] = lambda _: AlpacaError(0x4FF, "it does not know")
    world.fails(DeviceFailed, "it does not know", dome.close(), 20.0)
    world.run(10.0)
    assert simulated.state == "closed"
    world.fails(DeviceFailed, "it does not know", dome.open(), 20.0)
    world.run(10.0)
    assert simulated.state == "closed"
    close()
