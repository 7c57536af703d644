"""Cover and rotator behind all three drivers: a second command after every exchange of the first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.simulators import Simulator, load
from tests.instruments.alpaca import in_memory as alpaca
from tests.instruments.alpaca.conftest import PORT
from tests.instruments.conftest import MIDNIGHT, OBSERVATORY, World
from tests.instruments.indi_in_memory import Device as IndiDevice
from tests.instruments.indi_script import Members, Rig
from tests.instruments.interleaving import HOWS, Backend, How, at_once, problems


class IndiCap(IndiDevice):
    """A dust cap that can be stopped, and a lamp that can be dimmed while it is on."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "CAP_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok"),
        "CAP_ABORT": ("Switch", {"ABORT": False}, "Idle"),
        "FLAT_LIGHT_CONTROL": ("Switch", {"FLAT_LIGHT_ON": False, "FLAT_LIGHT_OFF": True}, "Idle"),
        "FLAT_LIGHT_INTENSITY": ("Number", {"FLAT_LIGHT_INTENSITY_VALUE": (0.0, 0, 255)}, "Idle"),
    }

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.server.answers |= {"CAP_PARK": self.move, "CAP_ABORT": self.abort, "FLAT_LIGHT_INTENSITY": self.dim}

    @property
    def place(self) -> str:
        if self.timers:
            return "moving"
        if self.server.vectors["CAP_PARK"][2] == "Alert":
            return "stopped"
        return "open" if self.is_on("CAP_PARK", "UNPARK") else "closed"

    @property
    def lamp(self) -> int:
        if not self.is_on("FLAT_LIGHT_CONTROL", "FLAT_LIGHT_ON"):
            return 0
        return int(self.server.vectors["FLAT_LIGHT_INTENSITY"][1]["FLAT_LIGHT_INTENSITY_VALUE"][0])

    def move(self, told: Members) -> str:
        self.later("move", lambda: self.server.set("CAP_PARK", "Ok"))
        return self.server.set("CAP_PARK", "Busy", **{name: told.get(name) == "On" for name in ("PARK", "UNPARK")})

    def abort(self, _: Members) -> str:
        told = self.server.set("CAP_PARK", "Alert") if self.cancel("move") else ""
        return self.server.set("CAP_ABORT", ABORT=False) + told

    def dim(self, told: Members) -> str:
        if not self.is_on("FLAT_LIGHT_CONTROL", "FLAT_LIGHT_ON"):
            return '<message device="Dev" message="[ERROR] The light is off"/>'
        level = float(told["FLAT_LIGHT_INTENSITY_VALUE"])
        return self.server.set("FLAT_LIGHT_INTENSITY", "Ok", FLAT_LIGHT_INTENSITY_VALUE=(level, 0, 255))


class IndiTurner(IndiDevice):
    """A rotator that can be stopped."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "ABS_ROTATOR_ANGLE": ("Number", {"ANGLE": (30.0, 0, 360)}, "Ok"),
        "ROTATOR_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    }

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.server.answers |= {"ABS_ROTATOR_ANGLE": self.move, "ROTATOR_ABORT_MOTION": self.abort}

    @property
    def place(self) -> str:
        return "moving" if self.timers else f"{self.server.vectors['ABS_ROTATOR_ANGLE'][1]['ANGLE'][0]:g}"

    def move(self, told: Members) -> str:
        there = (float(told["ANGLE"]), 0, 360)
        self.later("move", lambda: self.server.set("ABS_ROTATOR_ANGLE", "Ok", ANGLE=there))
        return self.server.set("ABS_ROTATOR_ANGLE", "Busy")

    def abort(self, _: Members) -> str:
        told = self.server.set("ABS_ROTATOR_ANGLE", "Idle") if self.cancel("move") else ""
        return self.server.set("ROTATOR_ABORT_MOTION", ABORT=False) + told


class AlpacaCap(alpaca.Device):
    """A cover that can be halted, and a lamp that warms up."""

    NAME = "covercalibrator"
    VALUES: ClassVar[dict[str, Any]] = {"maxbrightness": 255}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.wanted, self.halted, self.level, self.warm = "closed", False, 0, 0.0
        self.server.answers |= {
            "GET coverstate": lambda _: {"closed": 1, "moving": 2, "open": 3, "stopped": 4}[self.place],
            "GET calibratorstate": lambda _: 1 if not self.level else 2 if world.seconds() < self.warm else 3,
            "GET brightness": lambda _: self.level,
            "PUT opencover": lambda _: self.move("open"),
            "PUT closecover": lambda _: self.move("closed"),
            "PUT haltcover": self.halt,
            "PUT calibratoron": self.light,
            "PUT calibratoroff": lambda _: setattr(self, "level", 0),
        }

    @property
    def place(self) -> str:
        return "moving" if self.moving else "stopped" if self.halted else self.wanted

    @property
    def lamp(self) -> int:
        return self.level

    def move(self, wanted: str) -> None:
        self.wanted, self.halted = wanted, False
        self.begin()

    def halt(self, _: alpaca.Parameters) -> None:
        self.halted = self.halted or self.moving
        self.until = 0.0

    def light(self, wanted: alpaca.Parameters) -> None:
        self.level, self.warm = int(wanted["Brightness"]), self.world.seconds() + 1.0


class AlpacaTurner(alpaca.Motor):
    """A rotator that can be halted."""

    NAME, MOVE, NUMBER, START = "rotator", "moveabsolute", float, 30.0

    @property
    def place(self) -> str:
        return "moving" if self.moving else f"{self.at:g}"


Places = tuple[Callable[[], str], Callable[[], int]]
"""Where the device is, and how bright its lamp."""


def native(kind: str) -> tuple[Backend, Places]:
    world = World()
    clock = VirtualClock(world, MIDNIGHT)
    simulator = Simulator(load(OBSERVATORY / "simulators" / f"{kind}.yaml"), world, clock)
    world.result(simulator.start())
    port, simulated = simulator.description.listen.split(":")[1], simulator.device
    device: Any = instruments.connect(kind, "native", f"tcp:127.0.0.1:{port}", world, clock)
    world.run()

    def said(name: str) -> str:
        return simulated.properties[name]().line.removeprefix("OK ")

    def place() -> str:
        state = said("state")
        return state if kind == "cover" or state == "moving" else f"{float(said('angle')):g}"

    def close() -> None:
        world.result(device.disconnect())
        world.result(simulator.stop())
        assert not world.getDelayedCalls()

    return Backend(world, device, {}, {}, close), (place, lambda: int(said("brightness")))


def indi(kind: str) -> tuple[Backend, Places]:
    world = World()
    made: Any = IndiCap if kind == "cover" else IndiTurner
    rig = Rig(world, VirtualClock(world, MIDNIGHT), kind, dict(made.VECTORS))
    simulated = made(rig)

    def close() -> None:
        world.result(rig.device.disconnect())
        simulated.close()
        world.run(20)
        assert not world.getDelayedCalls()

    return Backend(world, rig.device, {}, {}, close), (lambda: simulated.place, lambda: simulated.lamp)


def over_alpaca(kind: str) -> tuple[Backend, Places]:
    world = World()
    simulated: Any = AlpacaCap(world) if kind == "cover" else AlpacaTurner(world)
    address = f"http://127.0.0.1:{PORT}/{simulated.NAME}/0"
    device: Any = instruments.connect(kind, "alpaca", address, world, VirtualClock(world, MIDNIGHT))
    world.run(5)

    def close() -> None:
        world.result(device.disconnect(), 10)
        world.run(10)
        assert not world.getDelayedCalls()

    made = Backend(world, device, {}, {}, close, simulated.away, settle=30.0, afterwards=6.0)
    return made, (lambda: simulated.place, lambda: simulated.lamp)


DRIVERS = {"native": native, "indi": indi, "alpaca": over_alpaca}
CASES = [
    ("cover", "", ["open", "stop"], ["open", "close", "stop", "stop and close"]),
    ("cover", "open", ["open", "close"], ["open", "close", "open and close"]),
    ("cover", "", ["light", "dark"], ["light", "dim", "dark"]),
    ("rotator", "", ["move", "stop"], ["move back", "stop", "stop and move"]),
]


def backend(driver: str, kind: str, before: str) -> Backend:
    """Make a device and a driver, ready for commands."""
    made, (place, lamp) = DRIVERS[driver](kind)
    made.before, device = before, made.device

    def is_at(*places: str) -> Callable[[], str]:
        return lambda: "" if place() in places else f"it is {place()}"

    def shines(brightness: int) -> Callable[[], str]:
        return lambda: "" if lamp() == brightness else f"its brightness is {lamp()}"

    if kind == "cover":
        made.commands |= {
            "open": device.open, "close": device.close, "stop": device.stop,
            "stop and close": lambda: at_once(device.stop, device.close),
            "open and close": lambda: at_once(device.open, device.close),
            "light": lambda: device.lamp_on(200), "dim": lambda: device.lamp_on(20), "dark": device.lamp_off,
        }  # fmt: skip
        made.wanted |= {
            "open": is_at("open"), "close": is_at("closed"), "stop": is_at("open", "closed", "stopped"),
            "stop and close": is_at("closed"), "open and close": is_at("closed"),
            "light": shines(200), "dim": shines(20), "dark": shines(0),
        }  # fmt: skip
    else:
        made.commands |= {
            "move": lambda: device.move(120.0), "move back": lambda: device.move(10.0), "stop": device.stop,
            "stop and move": lambda: at_once(device.stop, lambda: device.move(10.0)),
        }  # fmt: skip
        made.wanted |= {
            "move back": is_at("10"), "stop and move": is_at("10"),
            "stop": lambda: "it moves" if place() == "moving" else "",
        }  # fmt: skip
    return made


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("kind", "before", "firsts", "seconds"), CASES)
@pytest.mark.parametrize("driver", DRIVERS)
def test_the_newest_command_counts(
    driver: str, kind: str, before: str, firsts: list[str], seconds: list[str], how: How
) -> None:
    found, moments = problems(lambda: backend(driver, kind, before), product(firsts, seconds), how)
    assert found == []
    assert moments > len(firsts) * len(seconds)
