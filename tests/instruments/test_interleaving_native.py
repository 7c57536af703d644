"""The native driver and the simulators: a second command after every exchange of the first."""

from __future__ import annotations

from functools import cache, partial
from itertools import product
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.simulators import Simulator, load
from tests.instruments.conftest import MIDNIGHT, OBSERVATORY, World
from tests.instruments.interleaving import (
    HOWS,
    Backend,
    How,
    at_once,
    dome_commands,
    problems,
    state_is,
    telescope_commands,
)

PORTS = {"telescope": 6010, "camera": 6011, "dome": 6012, "filter_wheel": 6014, "focuser": 6015, "switch": 6017}


described = cache(load)
"""Reading a file takes longer than most of the cases."""


def backend(kind: Any, before: str = "", **changed: Any) -> Backend:
    """Make the demo's simulator of that kind and the native driver, ready for commands."""
    world = World()
    clock = VirtualClock(world, MIDNIGHT)
    simulator = Simulator(described(OBSERVATORY / "simulators" / f"{kind}.yaml").changed(**changed), world, clock)
    world.result(simulator.start())
    device: Any = instruments.connect(kind, "native", f"tcp:127.0.0.1:{PORTS[kind]}", world, clock)
    world.run()

    def close() -> None:
        world.result(device.disconnect())
        world.result(simulator.stop())
        assert not world.getDelayedCalls()

    made = Backend(world, device, {}, {}, close, before=before)
    globals()[f"_{kind}"](made, simulator.device, clock)
    return made


def _telescope(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    site = Site.load(OBSERVATORY / "site.yaml")
    targets = {name: place_overhead(site, clock.now(), altitude, azimuth)
               for name, altitude, azimuth in (("slew", 60, 120), ("slew elsewhere", 50, 250))}  # fmt: skip

    def points_at(name: str) -> str:
        here, (ra, dec) = simulated.pointing(), targets[name]
        off = max(abs(here.ra - ra), abs(here.dec - dec)) * 3600
        return state_is(simulated, "tracking") or ("" if off < 60 else f"it is {off:.0f} arcseconds off")

    telescope_commands(made, simulated, targets, points_at, ("idle", "parked"))


def _camera(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    camera = made.device

    async def abort_and_expose() -> Any:
        await camera.abort()
        return await camera.expose(7.0, "i")

    def last_was_in_i() -> str:
        return state_is(simulated, "ready") or said(simulated, "filter", "i")

    made.commands |= {
        "expose long": lambda: camera.expose(5000.0, "g"),
        "expose": lambda: camera.expose(5.0, "g"),
        "expose again": lambda: camera.expose(7.0, "i"),
        "abort": camera.abort,
        "abort and expose": lambda: Deferred.fromCoroutine(abort_and_expose()),
        "abort, expose": lambda: at_once(camera.abort, lambda: camera.expose(7.0, "i")),
    }
    made.wanted |= {
        "abort": lambda: state_is(simulated, "idle", "ready"),
        "expose again": last_was_in_i,
        "abort and expose": last_was_in_i,
        "abort, expose": last_was_in_i,
    }
    made.may_be_refused = frozenset({("expose", "expose again")})


def _dome(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    def slit_at(degrees: float) -> str:
        there = simulated.properties["azimuth"]().line
        return "" if abs(float(there.split()[1]) - degrees) < 1 else there

    dome_commands(made, simulated, slit_at)


def _filter_wheel(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    wheel = made.device
    made.commands |= {name: partial(wheel.select, name) for name in "gri"}
    made.wanted |= {name: partial(said, simulated, "filter", name) for name in "gri"}


def _focuser(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    focuser = made.device
    made.commands |= {
        "move": lambda: focuser.move(26000),
        "move back": lambda: focuser.move(24000),
        "stop": focuser.stop,
        "stop and move": lambda: at_once(focuser.stop, lambda: focuser.move(24000)),
    }
    made.wanted |= {
        "move back": lambda: said(simulated, "position", "24000"),
        "stop": lambda: said(simulated, "state", "idle"),
        "stop and move": lambda: said(simulated, "position", "24000"),
    }


def _switch(made: Backend, simulated: Any, clock: VirtualClock) -> None:
    switch = made.device
    made.commands |= {"on": lambda: switch.set(0, 1.0), "off": lambda: switch.set(0, 0.0)}
    made.wanted |= {"off": lambda: said(simulated, "level_0", "0"), "on": lambda: said(simulated, "level_0", "1")}


def said(device: Any, name: str, value: str) -> str:
    there: str = device.properties[name]().line
    return "" if there == f"OK {value}" else f"{name} is {there}"


TESTS: list[tuple[str, str, dict[str, Any], list[str], list[str]]] = [
    ("telescope", before, {}, ["slew", "park", "stop", "unpark"],
     ["slew elsewhere", "park", "stop", "stop and park", "park and slew"])
    for before in ("", "slew")
] + [
    ("camera", "", {"width": 48, "height": 32, "filter_wheel": ""}, ["expose", "abort"],
     ["expose again", "abort", "abort and expose", "abort, expose"]),
    ("camera", "", {"width": 48, "height": 32, "filter_wheel": ""}, ["expose long"],
     ["abort", "abort and expose", "abort, expose"]),
    ("filter_wheel", "", {}, ["r", "i"], ["g", "r", "i"]),
    ("focuser", "", {}, ["move", "stop"], ["move back", "stop", "stop and move"]),
    ("switch", "", {}, ["on", "off"], ["on", "off"]),
] + [
    ("dome", before, {"rotation_rate": 6.0}, ["open", "close", "stop", "rotate"],
     ["open", "close", "stop", "rotate back", "close and open", "open and close"])
    for before in ("", "open")
]  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("kind", "before", "changed", "firsts", "seconds"), TESTS)
def test_the_newest_command_counts(
    kind: str, before: str, changed: dict[str, Any], firsts: list[str], seconds: list[str], how: How
) -> None:
    found, moments = problems(lambda: backend(kind, before, **changed), product(firsts, seconds), how)
    assert found == []
    assert moments > 2 * len(firsts) * len(seconds)
