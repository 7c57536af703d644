"""A second command in the middle of a first one: after each kind of exchange of the first, for every pair of commands.

What must hold whatever the moment: each command ends, once and with an error of the drivers' own; the newer one does
what it says; and the older does nothing any more once the newer has been given, and is told as done only if it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Literal, NamedTuple

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pyros.clock import Clock
from pyros.errors import CommandAborted, ConnectionLost, DeviceRefused, InstrumentError
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.instruments.conftest import OBSERVATORY, DeviceWorld

How = Literal["newer", "cancel", "drop", "away"]
HOWS: tuple[How, ...] = ("newer", "cancel", "drop", "away")
"""What happens to the first command: only a newer one comes; whoever gave it no longer waits for it; the connection
breaks; there is no connection yet when it is given. The second command comes then, at once."""


@dataclass
class Backend:
    """A driver, the device at its other end, and what can be done with them."""

    world: DeviceWorld
    device: Any
    commands: dict[str, Callable[[], Deferred[Any]]]
    wanted: dict[str, Callable[[], str]]
    """What is wrong with the device when that command has ended, and ever after; '' if nothing is."""
    close: Callable[[], None]
    be_away: Callable[[], None] | None = None
    """Makes that there is no connection, where it isn't enough that those that there are break."""
    before: str = ""
    """A command that is given and ends before the first of the two."""
    settle: float = 60.0
    """After so many seconds everything has ended."""
    afterwards: float = 10.0
    """For so many seconds more nothing may happen."""
    may_be_refused: frozenset[tuple[str, str]] = frozenset()
    """Pairs of which the second may be refused because the first goes on."""


@dataclass
class Outcome:
    """How a command ended, and how often, and what was wrong with the device then."""

    ends: list[Any] = field(default_factory=list)
    wrong: str = ""

    @staticmethod
    def of(command: Deferred[Any], wanted: Callable[[], str] = lambda: "") -> Outcome:
        outcome = Outcome()

        def ended(result: Any) -> None:
            outcome.ends.append(result.value if isinstance(result, Failure) else result)
            outcome.wrong = wanted()

        command.addBoth(ended)
        return outcome

    def problem(self, *allowed: type[BaseException]) -> str:
        if len(self.ends) != 1:
            return f"ended {len(self.ends)} times"
        end = self.ends[0]
        if isinstance(end, BaseException) and not isinstance(end, allowed):
            return f"ended with {type(end).__name__}: {end}"
        return ""


def at_once(first: Callable[[], Deferred[Any]], second: Callable[[], Deferred[Any]]) -> Deferred[Any]:
    """Two commands, one after the other without waiting; the end of the second."""
    first().addErrback(lambda _: None)
    return second()


def state_is(device: Any, *states: str) -> str:
    return "" if device.state in states else f"it is {device.state}"


TARGETS = {"slew": (30.0, 40.0), "slew elsewhere": (80.0, -10.0)}
"""Of mounts that have no horizon, right ascension and declination, degrees."""


def off_target(mount: Any, state: str, here: tuple[float, float], target: tuple[float, float]) -> str:
    """Tell what is wrong with a mount that should be in a state on a target."""
    off = max(abs(one - other) for one, other in zip(here, target, strict=True)) * 3600
    return state_is(mount, state) or ("" if off < 60 else f"it is {off:.0f} arcseconds off")


def telescope_commands(
    made: Backend, mount: Any, targets: dict[str, Any], points_at: Callable[[str], str], stopped: tuple[str, ...]
) -> None:
    """Add what every mount can do.

    ``points_at`` tells what is wrong when it should stand on a target, ``stopped`` the states in which a stop may leave
    it.
    """
    telescope = made.device
    made.commands |= {
        "stop": telescope.stop,
        "park": telescope.park,
        "unpark": telescope.unpark,
        "stop and park": lambda: at_once(telescope.stop, telescope.park),
        "park and slew": lambda: at_once(telescope.park, partial(telescope.slew, *targets["slew elsewhere"])),
    }
    for name, target in targets.items():
        made.commands[name] = partial(telescope.slew, *target)
        made.wanted[name] = partial(points_at, name)
    made.wanted |= {
        "stop": lambda: state_is(mount, *stopped),
        "park": lambda: state_is(mount, "parked"),
        "stop and park": lambda: state_is(mount, "parked"),
        "park and slew": lambda: points_at("slew elsewhere"),
    }


def simulated_telescope_commands(
    made: Backend, simulated: Any, clock: Clock, stopped: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Add what PYROS' own simulated mount can do; return the slews' targets, which are up over the demo's site."""
    site = Site.load(OBSERVATORY / "site.yaml")
    targets = {name: place_overhead(site, clock.now(), altitude, azimuth)
               for name, altitude, azimuth in (("slew", 60, 120), ("slew elsewhere", 50, 250))}  # fmt: skip

    def points_at(name: str) -> str:
        here = simulated.pointing()
        return off_target(simulated, "tracking", (here.ra, here.dec), targets[name])

    telescope_commands(made, simulated, targets, points_at, stopped)
    return targets


def dome_commands(made: Backend, simulated: Any, slit_at: Callable[[float], str]) -> None:
    """Add what every dome can do; ``slit_at`` tells what is wrong when its slit should be there, in degrees."""
    dome = made.device
    made.commands |= {
        "open": dome.open,
        "close": dome.close,
        "stop": dome.stop,
        "rotate": lambda: dome.rotate(90.0),
        "rotate back": lambda: dome.rotate(300.0),
        "open and close": lambda: at_once(dome.open, dome.close),
        "close and open": lambda: at_once(dome.close, dome.open),
        "stop and close": lambda: at_once(dome.stop, dome.close),
    }
    made.wanted |= {
        "open": lambda: state_is(simulated, "open"),
        "close": lambda: state_is(simulated, "closed"),
        "stop": lambda: state_is(simulated, "open", "closed", "stopped"),
        "rotate back": lambda: slit_at(300.0),
        "open and close": lambda: state_is(simulated, "closed"),
        "close and open": lambda: state_is(simulated, "open"),
        "stop and close": lambda: state_is(simulated, "closed"),
    }


def focuser_commands(
    made: Backend, near: int, far: int, is_at: Callable[[int], str], stopped: Callable[[], str]
) -> None:
    """Add what every focuser can do; ``is_at`` tells what is wrong when it should be at a position."""
    focuser = made.device
    made.commands |= {
        "move": lambda: focuser.move(far),
        "move back": lambda: focuser.move(near),
        "stop": focuser.stop,
        "stop and move": lambda: at_once(focuser.stop, lambda: focuser.move(near)),
    }
    made.wanted |= {"move back": lambda: is_at(near), "stop": stopped, "stop and move": lambda: is_at(near)}


def rotator_commands(made: Backend, place: Callable[[], str]) -> None:
    """Add what every rotator can do; ``place`` tells where it is, in degrees, or that it is moving."""

    def is_at(degrees: int) -> str:
        return "" if place() == str(degrees) else f"it is {place()}"

    focuser_commands(made, 10, 120, is_at, lambda: "it moves" if place() == "moving" else "")


def filter_wheel_commands(made: Backend, has: Callable[[str], str]) -> None:
    """Add the filters g, r and i; ``has`` tells what is wrong when a filter should be in the beam."""
    made.commands |= {name: partial(made.device.select, name) for name in "gri"}
    made.wanted |= {name: partial(has, name) for name in "gri"}


def camera_commands(made: Backend, aborted: Callable[[], str], exposed: Callable[[], str], *filters: str) -> None:
    """Add what every camera can do; ``exposed`` tells what is wrong after an exposure through the second filter."""
    camera, first, second = made.device, filters[:1], filters[1:]
    made.commands |= {
        "expose": lambda: camera.expose(3.0, *first),
        "expose long": lambda: camera.expose(500.0, *first),
        "expose again": lambda: camera.expose(5.0, *second),
        "abort": camera.abort,
        "abort, expose": lambda: at_once(camera.abort, lambda: camera.expose(5.0, *second)),
    }
    made.wanted |= {"abort": aborted, "expose again": exposed, "abort, expose": exposed}
    made.may_be_refused = frozenset({("expose", "expose again")})


def switch_commands(made: Backend, is_set: Callable[[int, float], str]) -> None:
    """Add two channels of a switch; ``is_set`` tells what is wrong when a channel should have a level."""
    for name, channel, level in (("on", 0, 1.0), ("off", 0, 0.0), ("other", 1, 1.0)):
        made.commands[name] = partial(made.device.set, channel, level)
        made.wanted[name] = partial(is_set, channel, level)


def cover_commands(made: Backend, place: Callable[[], str], lamp: Callable[[], int]) -> None:
    """Add what every cover with a lamp can do; ``place`` tells where it is, ``lamp`` how bright its lamp."""
    cover = made.device

    def is_at(*places: str) -> Callable[[], str]:
        return lambda: "" if place() in places else f"it is {place()}"

    def shines(brightness: int) -> Callable[[], str]:
        return lambda: "" if lamp() == brightness else f"its brightness is {lamp()}"

    made.commands |= {
        "open": cover.open, "close": cover.close, "stop": cover.stop,
        "stop and close": lambda: at_once(cover.stop, cover.close),
        "open and close": lambda: at_once(cover.open, cover.close),
        "light": lambda: cover.lamp_on(200), "dim": lambda: cover.lamp_on(20), "dark": cover.lamp_off,
    }  # fmt: skip
    made.wanted |= {
        "open": is_at("open"), "close": is_at("closed"), "stop": is_at("open", "closed", "stopped"),
        "stop and close": is_at("closed"), "open and close": is_at("closed"),
        "light": shines(200), "dim": shines(20), "dark": shines(0),
    }  # fmt: skip


def add_rotator(made: Backend, turner: Any) -> None:
    """Add what a rotator in memory can do."""
    rotator_commands(made, lambda: turner.place)


def add_cover(made: Backend, cap: Any) -> None:
    """Add what a cover in memory can do."""
    cover_commands(made, lambda: cap.place, lambda: cap.lamp)


class Pairs(NamedTuple):
    """Pairs of commands that are tried, each first one with each second one, and the drivers that are."""

    drivers: str
    kind: str
    firsts: list[str]
    seconds: list[str]
    before: str = ""
    changed: dict[str, Any] = {}  # noqa: RUF012
    """What is changed about the device."""

    def check(self, make: Callable[[], Backend], how: How) -> None:
        """Assert that the newest command counts, whatever the moment."""
        found, moments = problems(make, product(self.firsts, self.seconds), how)
        assert found == [], found
        assert moments > 2 * len(self.firsts) * len(self.seconds)


CASES = [
    *(Pairs("native", "telescope", ["slew", "park", "stop", "unpark"],
           ["slew elsewhere", "park", "stop", "stop and park", "park and slew"], before)
      for before in ("", "slew")),
    *(Pairs("indi", "telescope", ["slew", "park", "stop", "unpark", "sync"],
           ["slew elsewhere", "park", "stop", "stop and park", "unpark and park", "park and unpark", "sync and slew"],
           before)
      for before in ("", "slew")),
    Pairs("alpaca", "telescope", ["slew", "park", "stop"], ["slew elsewhere", "park", "stop", "stop and park"]),
    Pairs("alpaca", "telescope", ["slew", "park"], ["slew elsewhere", "stop and park"], "slew"),
    *(Pairs("native", "dome", ["open", "close", "stop", "rotate"],
           ["open", "close", "stop", "rotate back", "close and open", "open and close"], before, {"rotation_rate": 6.0})
      for before in ("", "open")),
    *(Pairs("indi", "dome", ["open", "close", "stop", "rotate"],
           ["open", "close", "stop", "rotate back", "close and open", "open and close", "close and rotate"],
           before, {"slow": slow})
      for before in ("", "open") for slow in (True, False)),
    Pairs("alpaca", "dome", ["open", "close", "rotate"], ["open", "close", "stop", "rotate back", "stop and close"]),
    Pairs("alpaca", "dome", ["open", "close"], ["close", "stop and close"], "open"),
    Pairs("native indi alpaca", "focuser", ["move", "stop"], ["move back", "stop", "stop and move"]),
    Pairs("native indi alpaca", "filter_wheel", ["r", "i"], ["g", "r", "i"]),
    Pairs("native indi alpaca", "camera", ["expose", "abort"], ["expose again", "abort", "abort, expose"]),
    Pairs("native indi alpaca", "camera", ["expose long"], ["abort", "abort, expose"]),
    Pairs("native", "camera", ["expose", "abort", "expose long"], ["abort and expose"]),
    Pairs("alpaca", "camera", ["cool", "warm"], ["cool", "warm"]),
    Pairs("native indi alpaca", "cover", ["open", "stop"], ["open", "close", "stop", "stop and close"]),
    Pairs("native indi alpaca", "cover", ["open", "close"], ["open", "close", "open and close"], "open"),
    Pairs("native indi alpaca", "cover", ["light", "dark"], ["light", "dim", "dark"]),
    Pairs("native indi alpaca", "rotator", ["move", "stop"], ["move back", "stop", "stop and move"]),
    Pairs("native", "switch", ["on", "off"], ["on", "off"]),
    Pairs("indi alpaca", "switch", ["on", "off", "other"], ["on", "off", "other"]),
]  # fmt: skip


def cases(driver: str) -> list[Any]:
    """Return the cases of a driver, for ``pytest.mark.parametrize``."""
    return [
        pytest.param(case, id="-".join([case.kind, case.before, *map(str, case.changed.values()), case.firsts[0]]))
        for case in CASES
        if driver in case.drivers.split()
    ]


def begin(backend: Backend, first: str, how: How) -> tuple[Deferred[Any], Outcome]:
    """Give the first command to a device that is ready for it."""
    if backend.before:
        backend.world.result(backend.commands[backend.before](), backend.settle)
    if how == "away":
        (backend.be_away or backend.world.drop)()
    older = backend.commands[first]()
    return older, Outcome.of(older)


_NUMBER = re.compile(rb"\w*\d[\w.+-]*")


def moments_of(make: Callable[[], Backend], first: str, how: How) -> list[int]:
    """Return after how many arrivals to interfere with a command, 0 for at once.

    A device that moves is asked the same again and again. So of arrivals that differ by their numbers only, the first
    and the last are worth a try.
    """
    backend = make()
    kinds: dict[bytes, list[int]] = {}
    count = 0

    def arrived(data: bytes) -> None:
        nonlocal count
        count += 1
        kinds.setdefault(_NUMBER.sub(b"0", data), []).append(count)

    try:
        _, outcome = begin(backend, first, how)
        backend.world.arrived = arrived
        for _ in range(round(backend.settle)):
            if outcome.ends:
                break
            backend.world.run(1.0)
    finally:
        backend.world.arrived = lambda _: None
        backend.close()
    return sorted({0}.union(*({numbers[0], numbers[-1]} for numbers in kinds.values())))


def interrupt(make: Callable[[], Backend], first: str, second: str, how: How, moment: int) -> tuple[bool, str]:
    """Give the second command after so many arrivals since the first was given, 0 for at once.

    Returns whether the first was still under way then, and what went wrong.
    """
    backend = make()
    world, outcomes, there = backend.world, [], []
    try:
        older, outcome = begin(backend, first, how)
        outcomes.append(outcome)
        left, done = [moment], backend.wanted.get(first, lambda: "")
        reached: list[bool] = []

        def look(_: bytes = b"") -> None:
            if not reached and not done():
                reached.append(True)

        def interfere() -> None:
            look()
            world.arrived = look
            there.append(not outcomes[0].ends)
            if how == "cancel":
                older.cancel()
            elif how == "drop":
                world.drop()
            outcomes.append(Outcome.of(backend.commands[second](), backend.wanted[second]))

        def arrived(_: bytes) -> None:
            look()
            left[0] -= 1
            if left[0] == 0:
                interfere()

        world.arrived = arrived
        if moment == 0:
            interfere()
        for _ in range(2 * round(backend.settle)):
            world.run(1.0)
            if len(outcomes) == 2 and all(each.ends for each in outcomes):
                break
        world.run(backend.afterwards)
        if not there:
            return False, ""
        if outcomes[0].ends and not isinstance(outcomes[0].ends[0], BaseException) and not reached:
            return there[0], "the older is told as done, and never was"
        return there[0], _problem(backend, outcomes, first, second, how)
    finally:
        world.arrived = lambda _: None
        backend.close()


def _problem(backend: Backend, outcomes: list[Outcome], first: str, second: str, how: How) -> str:
    allowed: tuple[type[InstrumentError] | type[CancelledError], ...] = (CommandAborted, DeviceRefused)
    if how == "cancel":
        allowed += (CancelledError,)
    elif how == "drop":
        allowed += (ConnectionLost,)
    if problem := outcomes[0].problem(*allowed):
        return f"the older {problem}"
    refused = (first, second) in backend.may_be_refused
    if problem := outcomes[1].problem(*(DeviceRefused,) if refused else ()):
        return f"the newer {problem}"
    if refused and isinstance(outcomes[1].ends[0], DeviceRefused):
        return ""
    if outcomes[1].wrong:
        return f"at its end {outcomes[1].wrong}"
    if problem := backend.wanted[second]():
        return f"afterwards {problem}"
    return ""


def problems(make: Callable[[], Backend], pairs: Iterable[tuple[str, str]], how: How) -> tuple[list[str], int]:
    """Try these pairs at the moments that differ; return what went wrong, and the number of moments."""
    found, tried = [], 0
    moments: dict[str, list[int]] = {}
    for first, second in pairs:
        if first not in moments:
            moments[first] = moments_of(make, first, how)
        for moment in moments[first]:
            under_way, problem = interrupt(make, first, second, how, moment)
            tried += 1
            if problem:
                found.append(f"{first}, {second} after {moment}: {problem}")
            if not under_way:
                break
    return found, tried
