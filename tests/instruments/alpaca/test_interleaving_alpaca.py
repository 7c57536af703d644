"""The Alpaca driver and devices in memory: a second command after every exchange of the first.

Alpaca's requests have connections of their own, and a newer one may overtake an older: so all is tried with every
connection as fast as the others, and with every second one slower.
"""

from __future__ import annotations

from functools import partial
from itertools import cycle, product
from typing import Any, ClassVar

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from tests.instruments.alpaca.conftest import PORT, Server, Wrong
from tests.instruments.conftest import MIDNIGHT, World
from tests.instruments.interleaving import HOWS, Backend, How, at_once, problems

SECONDS = 3.0
"""How long a movement takes."""
SLOW = (0.3, 0.0)
TARGETS = {"slew": (30.0, 40.0), "slew elsewhere": (80.0, -10.0)}
Parameters = dict[str, str]


class Device:
    """What all of them share: a movement, which ends by itself."""

    NAME: ClassVar[str]
    VALUES: ClassVar[dict[str, Any]] = {}

    def __init__(self, world: World) -> None:
        self.world = world
        self.server = Server(world, **self.VALUES)
        self.until = 0.0

    def begin(self) -> None:
        self.until = self.world.seconds() + SECONDS

    @property
    def moving(self) -> bool:
        return self.world.seconds() < self.until

    def away(self) -> None:
        """Its server is off, and will be on again a second after that was noticed."""
        self.server.away()
        self.world.run(3.0)
        self.world.callLater(1.0, self.server.back)


class Mount(Device):
    """One that refuses to slew while it is parked, slews, or doesn't track."""

    NAME = "telescope"
    VALUES: ClassVar[dict[str, Any]] = {
        "equatorialsystem": 2, "canslewasync": True, "cansettracking": True, "canpark": True, "cansync": True,
    }  # fmt: skip

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.parking, self.at_park, self.tracking = False, True, False
        self.here = self.target = (0.0, 0.0)
        self.server.answers |= {
            "GET slewing": lambda _: self.moving,
            "GET atpark": lambda _: self.parked,
            "GET tracking": lambda _: self.tracking,
            "GET rightascension": lambda _: self.where[0],
            "GET declination": lambda _: self.where[1],
            "PUT tracking": lambda p: setattr(self, "tracking", p["Tracking"] == "True"),
            "PUT unpark": lambda _: setattr(self, "at_park", False),
            "PUT park": self.park,
            "PUT abortslew": self.abort,
            "PUT slewtocoordinatesasync": self.slew,
        }

    def _arrive(self) -> None:
        if not self.moving:
            self.here = self.target
            if self.parking:
                self.at_park, self.parking, self.tracking = True, False, False

    @property
    def where(self) -> tuple[float, float]:
        self._arrive()
        return self.here

    @property
    def parked(self) -> bool:
        self._arrive()
        return self.at_park

    @property
    def state(self) -> str:
        if self.moving:
            return "moving"
        return "parked" if self.parked else "standing"

    def slew(self, where: Parameters) -> Any:
        if self.parked or not self.tracking or self.moving:
            return Wrong(0x40B, "parked, not tracking, or slewing")
        self.target = float(where["RightAscension"]), float(where["Declination"])
        self.begin()
        return None

    def park(self, _: Parameters) -> Any:
        if not self.parked:
            self.parking = True
            self.begin()
        return None

    def abort(self, _: Parameters) -> Any:
        if self.parked:
            return Wrong(0x408, "parked")
        if self.moving:
            self.until, self.parking, self.target = 0.0, False, self.here
        return None


class Shutter(Device):
    """A dome with a shutter and a slit."""

    NAME = "dome"
    VALUES: ClassVar[dict[str, Any]] = {"cansetshutter": True, "cansetazimuth": True}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.wanted, self.stopped = "closed", False
        self.turning, self.slit, self.to = 0.0, 0.0, 0.0
        self.server.answers |= {
            "GET shutterstatus": lambda _: ("open", "closed", "opening", "closing", "stopped").index(self.state),
            "GET azimuth": lambda _: self.azimuth,
            "GET slewing": lambda _: self.moving or self.world.seconds() < self.turning,
            "PUT openshutter": lambda _: self.move("open"),
            "PUT closeshutter": lambda _: self.move("closed"),
            "PUT slewtoazimuth": self.turn,
            "PUT abortslew": self.abort,
        }

    @property
    def state(self) -> str:
        if self.moving:
            return "opening" if self.wanted == "open" else "closing"
        return "stopped" if self.stopped else self.wanted

    @property
    def azimuth(self) -> float:
        if self.world.seconds() >= self.turning:
            self.slit = self.to
        return self.slit

    def move(self, wanted: str) -> None:
        if self.state != wanted:
            self.wanted, self.stopped = wanted, False
            self.begin()

    def turn(self, where: Parameters) -> None:
        self.to, self.turning = float(where["Azimuth"]), self.world.seconds() + SECONDS

    def abort(self, _: Parameters) -> None:
        if self.moving:
            self.until, self.stopped = 0.0, True
        if self.world.seconds() < self.turning:
            self.turning, self.to = 0.0, self.slit


class Motor(Device):
    """A focuser that moves at most 500 steps at once."""

    NAME = "focuser"
    VALUES: ClassVar[dict[str, Any]] = {"absolute": True, "maxstep": 5000, "maxincrement": 500}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.here = self.target = 2000
        self.server.answers |= {
            "GET position": lambda _: self.at,
            "GET ismoving": lambda _: self.moving,
            "PUT move": self.move,
            "PUT halt": self.halt,
        }

    @property
    def at(self) -> int:
        if not self.moving:
            self.here = self.target
        return self.here

    def move(self, where: Parameters) -> None:
        self.here, self.target = self.at, int(where["Position"])
        self.begin()

    def halt(self, _: Parameters) -> None:
        if self.moving:
            self.until, self.target = 0.0, self.here


class Wheel(Device):
    """A filter wheel of three."""

    NAME = "filterwheel"
    VALUES: ClassVar[dict[str, Any]] = {"names": ["g", "r", "i"]}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.slot = 0
        self.server.answers |= {"GET position": lambda _: -1 if self.moving else self.slot, "PUT position": self.turn}

    @property
    def filter(self) -> str:
        return "" if self.moving else "gri"[self.slot]

    def turn(self, where: Parameters) -> None:
        self.slot = int(where["Position"])
        self.begin()


class Camera(Device):
    """One that can abort, and cool."""

    NAME = "camera"
    VALUES: ClassVar[dict[str, Any]] = {
        "cameraxsize": 3, "cameraysize": 2, "sensortype": 0, "canabortexposure": True, "maxadu": 65535,
        "cansetccdtemperature": True, "binx": 1, "biny": 1, "startx": 0, "starty": 0, "numx": 3, "numy": 2,
        "hasshutter": True,
    }  # fmt: skip

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.image, self.exposing = False, False
        self.cooler, self.celsius = False, 0.0
        self.server.answers |= {
            "GET camerastate": lambda _: 2 if self.state == "exposing" else 0,
            "GET imageready": lambda _: self.state == "idle" and self.image,
            "GET imagearray": self.fetch,
            "PUT startexposure": self.expose,
            "PUT abortexposure": self.abort,
            "PUT setccdtemperature": lambda p: setattr(self, "celsius", float(p["SetCCDTemperature"])),
            "PUT cooleron": lambda p: setattr(self, "cooler", p["CoolerOn"] == "True"),
        }

    @property
    def state(self) -> str:
        if self.exposing and not self.moving:
            self.exposing, self.image = False, True
        return "exposing" if self.exposing else "idle"

    def fetch(self, _: Parameters) -> Any:
        return [[1, 2], [3, 4], [5, 6]] if self.image else Wrong(0x40B, "no image")

    def expose(self, wanted: Parameters) -> Any:
        if self.state == "exposing":
            return Wrong(0x40B, "exposing")
        self.exposing, self.image, self.until = True, False, self.world.seconds() + float(wanted["Duration"])
        return None

    def abort(self, _: Parameters) -> None:
        self.exposing, self.until = False, 0.0


class Outlets(Device):
    """Two outlets."""

    NAME = "switch"
    VALUES: ClassVar[dict[str, Any]] = {"maxswitch": 2, "canwrite": True, "getswitchname": "outlet"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.levels = [0.0, 0.0]
        self.server.answers |= {
            "GET getswitchvalue": lambda p: self.levels[int(p["Id"])],
            "PUT setswitchvalue": self.switch,
        }

    def switch(self, wanted: Parameters) -> None:
        self.levels[int(wanted["Id"])] = float(wanted["Value"])


KINDS: dict[str, type[Device]] = {
    "telescope": Mount, "dome": Shutter, "focuser": Motor, "filter_wheel": Wheel, "camera": Camera, "switch": Outlets,
}  # fmt: skip


def backend(kind: Any, before: str, delays: tuple[float, ...]) -> Backend:
    """A device in memory and the Alpaca driver, ready for commands."""
    world = World()
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

    made = Backend(world, device, {}, {}, close, simulated.away, before, settle=30.0, afterwards=6.0)
    globals()[f"_{kind}"](made, simulated)
    return made


def state_is(device: Any, *states: str) -> str:
    return "" if device.state in states else f"it is {device.state}"


def _telescope(made: Backend, mount: Any) -> None:
    telescope = made.device

    def points_at(name: str) -> str:
        (hours, dec), (ra, wanted) = mount.where, TARGETS[name]
        off = max(abs(hours * 15 - ra), abs(dec - wanted)) * 3600
        return state_is(mount, "standing") or ("" if off < 60 else f"it is {off:.0f} arcseconds off")

    made.commands |= {
        "stop": telescope.stop,
        "park": telescope.park,
        "unpark": telescope.unpark,
        "stop and park": lambda: at_once(telescope.stop, telescope.park),
        "park and slew": lambda: at_once(telescope.park, partial(telescope.slew, *TARGETS["slew elsewhere"])),
    }
    for name, target in TARGETS.items():
        made.commands[name] = partial(telescope.slew, *target)
        made.wanted[name] = partial(points_at, name)
    made.wanted |= {
        "stop": lambda: state_is(mount, "standing", "parked"),
        "park": lambda: state_is(mount, "parked"),
        "stop and park": lambda: state_is(mount, "parked"),
        "park and slew": lambda: points_at("slew elsewhere"),
    }


def _dome(made: Backend, simulated: Any) -> None:
    dome = made.device
    made.commands |= {
        "open": dome.open,
        "close": dome.close,
        "stop": dome.stop,
        "rotate": lambda: dome.rotate(90.0),
        "rotate back": lambda: dome.rotate(300.0),
        "open and close": lambda: at_once(dome.open, dome.close),
        "stop and close": lambda: at_once(dome.stop, dome.close),
    }
    made.wanted |= {
        "open": lambda: state_is(simulated, "open"),
        "close": lambda: state_is(simulated, "closed"),
        "stop": lambda: state_is(simulated, "open", "closed", "stopped"),
        "rotate back": lambda: "" if simulated.azimuth == 300 else f"the slit is at {simulated.azimuth}",
        "open and close": lambda: state_is(simulated, "closed"),
        "stop and close": lambda: state_is(simulated, "closed"),
    }


def _focuser(made: Backend, motor: Any) -> None:
    focuser = made.device

    def at(*places: int) -> str:
        return "" if motor.at in places and not motor.moving else f"it is at {motor.at}, or moves"

    made.commands |= {
        "move": lambda: focuser.move(3200),
        "move back": lambda: focuser.move(1500),
        "stop": focuser.stop,
        "stop and move": lambda: at_once(focuser.stop, lambda: focuser.move(1500)),
    }
    made.wanted |= {
        "move back": lambda: at(1500), "stop": lambda: at(2000, 2500, 3000, 3200), "stop and move": lambda: at(1500),
    }  # fmt: skip


def _filter_wheel(made: Backend, wheel: Any) -> None:
    def has(name: str) -> str:
        return "" if wheel.filter == name else f"{wheel.filter or 'no filter'} is in the beam"

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
        "cool": lambda: camera.cool(-20.0),
        "warm": lambda: camera.cool(None),
    }
    made.wanted |= dict.fromkeys(("abort", "expose again", "abort, expose"), lambda: state_is(simulated, "idle"))
    made.wanted["warm"] = lambda: "it cools" if simulated.cooler else ""
    made.wanted["cool"] = lambda: "" if simulated.cooler else "it doesn't cool"
    made.may_be_refused = frozenset({("expose", "expose again")})


def _switch(made: Backend, outlets: Any) -> None:
    def levels(channel: int, level: float) -> str:
        return "" if outlets.levels[channel] == level else f"{outlets.levels}"

    set_ = made.device.set
    for name, channel, level in (("on", 0, 1.0), ("off", 0, 0.0), ("other", 1, 1.0)):
        made.commands[name] = partial(set_, channel, level)
        made.wanted[name] = partial(levels, channel, level)


CASES: list[tuple[str, str, list[str], list[str]]] = [
    ("telescope", "", ["slew", "park", "stop"], ["slew elsewhere", "park", "stop", "stop and park"]),
    ("telescope", "slew", ["slew", "park"], ["slew elsewhere", "stop and park"]),
    ("dome", "", ["open", "close", "rotate"], ["open", "close", "stop", "rotate back", "stop and close"]),
    ("dome", "open", ["open", "close"], ["close", "stop and close"]),
    ("focuser", "", ["move", "stop"], ["move back", "stop", "stop and move"]),
    ("filter_wheel", "", ["r", "i"], ["g", "r", "i"]),
    ("camera", "", ["expose", "abort"], ["expose again", "abort", "abort, expose"]),
    ("camera", "", ["expose long"], ["abort", "abort, expose"]),
    ("camera", "", ["cool", "warm"], ["cool", "warm"]),
    ("switch", "", ["on", "off"], ["on", "off", "other"]),
]


@pytest.mark.parametrize(("how", "delays"), [*product(HOWS, [(0.0,)]), ("newer", SLOW), ("cancel", SLOW)])
@pytest.mark.parametrize(("kind", "before", "firsts", "seconds"), CASES)
def test_the_newest_command_counts(
    kind: str, before: str, firsts: list[str], seconds: list[str], how: How, delays: tuple[float, ...]
) -> None:
    found, moments = problems(lambda: backend(kind, before, delays), product(firsts, seconds), how, enough=24)
    assert found == []
    assert moments > 2 * len(firsts) * len(seconds)
