"""The native driver and the simulators: a second command after every exchange of the first."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.simulators import Simulator, load
from tests.instruments.conftest import MIDNIGHT, OBSERVATORY, DeviceWorld
from tests.instruments.interleaving import (
    HOWS,
    Backend,
    How,
    Pairs,
    camera_commands,
    cases,
    cover_commands,
    dome_commands,
    filter_wheel_commands,
    focuser_commands,
    rotator_commands,
    simulated_telescope_commands,
    state_is,
    switch_commands,
)

SMALL = {"width": 48, "height": 32, "filter_wheel": ""}
"""A camera whose images are soon here."""


described = cache(load)
"""Reading a file takes longer than most of the cases."""


def backend(kind: Any, before: str = "", **changed: Any) -> Backend:
    """Make the demo's simulator of that kind and the native driver, ready for commands."""
    world = DeviceWorld()
    clock = VirtualClock(world, MIDNIGHT)
    if kind == "camera":
        changed |= SMALL
    simulator = Simulator(described(OBSERVATORY / "simulators" / f"{kind}.yaml").changed(**changed), world, clock)
    world.result(simulator.start())
    port = simulator.description.listen.split(":")[1]
    device: Any = instruments.connect(kind, "native", f"tcp:127.0.0.1:{port}", world, clock)
    world.run()

    def close() -> None:
        world.result(device.disconnect())
        world.result(simulator.stop())
        assert not world.getDelayedCalls()

    made = Backend(world, device, {}, {}, close, before=before)
    globals()[f"_{kind}"](made, simulator.device, clock)
    return made


def _telescope(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    simulated_telescope_commands(made, simulated, clock, ("idle", "parked"))


def _camera(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    camera = made.device

    async def abort_and_expose() -> Any:
        await camera.abort()
        return await camera.expose(5.0, "i")

    def last_was_in_i() -> str:
        return state_is(simulated, "ready") or said(simulated, "filter", "i")

    camera_commands(made, lambda: state_is(simulated, "idle", "ready"), last_was_in_i, "g", "i")
    made.commands["abort and expose"] = lambda: Deferred.fromCoroutine(abort_and_expose())
    made.wanted["abort and expose"] = last_was_in_i


def _dome(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    def slit_at(degrees: float) -> str:
        there = simulated.properties["azimuth"]().line
        return "" if abs(float(there.split()[1]) - degrees) < 1 else there

    dome_commands(made, simulated, slit_at)


def _filter_wheel(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    filter_wheel_commands(made, partial(said, simulated, "filter"))


def _focuser(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    def is_at(position: int) -> str:
        return said(simulated, "position", str(position))

    focuser_commands(made, 24000, 26000, is_at, lambda: said(simulated, "state", "idle"))


def _rotator(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    def place() -> str:
        return "moving" if said(simulated, "state", "idle") else f"{float(told(simulated, 'angle')):g}"

    rotator_commands(made, place)


def _cover(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    cover_commands(made, partial(told, simulated, "state"), lambda: int(told(simulated, "brightness")))


def _switch(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    switch_commands(made, lambda channel, level: said(simulated, f"level_{channel}", f"{level:g}"))


def told(device: Any, name: str) -> str:
    line: str = device.properties[name]().line
    return line.removeprefix("OK ")


def said(device: Any, name: str, value: str) -> str:
    there = told(device, name)
    return "" if there == value else f"{name} is {there}"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("case", cases("native"))
def test_the_newest_command_counts(case: Pairs, how: How) -> None:
    case.check(partial(backend, case.kind, case.before, **case.changed), how)
