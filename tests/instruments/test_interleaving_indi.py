"""The INDI driver and devices behind a scripted server: a second command after every exchange of the first."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pyros.clock import VirtualClock
from tests.instruments.conftest import MIDNIGHT, World
from tests.instruments.indi_in_memory import KINDS
from tests.instruments.indi_script import ADDRESS, Rig
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

TARGETS = {"slew": (30.0, 40.0), "slew elsewhere": (80.0, -10.0)}


def backend(kind: Any, before: str = "", **changed: Any) -> Backend:
    """Make a device behind a scripted server, and the INDI driver, ready for commands."""
    world = World()
    made: Any = KINDS[kind]
    address = ADDRESS + ("?POWER" if kind == "switch" else "")
    rig = Rig(world, VirtualClock(world, MIDNIGHT), kind, dict(made.VECTORS), address)
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
        there, (ra, dec) = mount.server.vectors["EQUATORIAL_COORD"][1], TARGETS[name]
        off = max(abs(there["RA"] * 15 - ra), abs(there["DEC"] - dec)) * 3600
        return state_is(mount, "tracking") or ("" if off < 60 else f"it is {off:.0f} arcseconds off")

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
    focuser = made.device

    def at(*places: float) -> str:
        return "" if motor.at in places else f"it is at {motor.at}"

    made.commands |= {
        "move": lambda: focuser.move(200),
        "move back": lambda: focuser.move(50),
        "stop": focuser.stop,
        "stop and move": lambda: at_once(focuser.stop, lambda: focuser.move(50)),
    }
    made.wanted |= {"move back": lambda: at(50.0), "stop": lambda: at(100.0, 200.0), "stop and move": lambda: at(50.0)}


def _filter_wheel(made: Backend, wheel: Any) -> None:
    def has(name: str) -> str:
        return "" if wheel.filter == name else f"{wheel.filter} is in the beam"

    made.commands |= {name: partial(made.device.select, name) for name in "gri"}
    made.wanted |= {name: partial(has, name) for name in "gri"}


def _camera(made: Backend, simulated: Any) -> None:
    camera = made.device
    made.commands |= {
        "expose": lambda: camera.expose(3.0),
        "expose long": lambda: camera.expose(500.0),
        "expose again": lambda: camera.expose(5.0),
        "abort": camera.abort,
        "abort, expose": lambda: at_once(camera.abort, lambda: camera.expose(5.0)),
    }
    made.wanted |= dict.fromkeys(("abort", "expose again", "abort, expose"), lambda: state_is(simulated, "idle"))
    made.may_be_refused = frozenset({("expose", "expose again")})


def _switch(made: Backend, box: Any) -> None:
    switch = made.device
    made.commands |= {
        "one": lambda: switch.set(0, 1.0),
        "one off": lambda: switch.set(0, 0.0),
        "two": lambda: switch.set(1, 1.0),
    }
    made.wanted |= {
        "one": lambda: box.on("ONE"),
        "two": lambda: box.on("TWO"),
        "one off": lambda: "" if box.on("ONE") else "ONE is on",
    }


TESTS: list[tuple[str, str, dict[str, Any], list[str], list[str]]] = [
    ("telescope", before, {}, ["slew", "park", "stop", "unpark", "sync"],
     ["slew elsewhere", "park", "stop", "stop and park", "unpark and park", "park and unpark", "sync and slew"])
    for before in ("", "slew")
] + [
    ("dome", before, {"slow": slow}, ["open", "close", "stop", "rotate"],
     ["open", "close", "stop", "rotate back", "close and open", "open and close", "close and rotate"])
    for before in ("", "open") for slow in (True, False)
] + [
    ("focuser", "", {}, ["move", "stop"], ["move back", "stop", "stop and move"]),
    ("filter_wheel", "", {}, ["r", "i"], ["g", "r", "i"]),
    ("camera", "", {}, ["expose", "abort"], ["expose again", "abort", "abort, expose"]),
    ("camera", "", {}, ["expose long"], ["abort", "abort, expose"]),
    ("switch", "", {}, ["one", "two"], ["one", "two", "one off"]),
]  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("kind", "before", "changed", "firsts", "seconds"), TESTS)
def test_the_newest_command_counts(
    kind: str, before: str, changed: dict[str, Any], firsts: list[str], seconds: list[str], how: How
) -> None:
    found, moments = problems(lambda: backend(kind, before, **changed), product(firsts, seconds), how)
    assert found == []
    assert moments > 2 * len(firsts) * len(seconds)
