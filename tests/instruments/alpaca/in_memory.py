"""Devices in memory behind an Alpaca server: each as simple as its driver allows."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.instruments.alpaca.conftest import AlpacaError, AlpacaServer
from tests.instruments.conftest import DeviceWorld

SECONDS = 1.0
"""How long a movement takes: the driver asks some five times, and after each of them it is interrupted."""
Parameters = dict[str, str]


class MemoryAlpacaDevice:
    """What all of them share: a movement, which ends by itself."""

    NAME: ClassVar[str]
    VALUES: ClassVar[dict[str, Any]] = {}

    def __init__(self, world: DeviceWorld) -> None:
        self.world = world
        self.server = AlpacaServer(world, **self.VALUES)
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


class MemoryAlpacaMount(MemoryAlpacaDevice):
    """One that refuses to slew while it is parked, slews, or doesn't track."""

    NAME = "telescope"
    VALUES: ClassVar[dict[str, Any]] = {
        "equatorialsystem": 2, "canslewasync": True, "cansettracking": True, "canpark": True, "cansync": True,
    }  # fmt: skip

    def __init__(self, world: DeviceWorld) -> None:
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
            return AlpacaError(0x40B, "parked, not tracking, or slewing")
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
            return AlpacaError(0x408, "parked")
        if self.moving:
            self.until, self.parking, self.target = 0.0, False, self.here
        return None


class MemoryAlpacaShutter(MemoryAlpacaDevice):
    """A dome with a shutter and a slit."""

    NAME = "dome"
    VALUES: ClassVar[dict[str, Any]] = {"cansetshutter": True, "cansetazimuth": True}

    def __init__(self, world: DeviceWorld) -> None:
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


class MemoryAlpacaMotor(MemoryAlpacaDevice):
    """A focuser that moves at most 500 steps at once; what else has a motor differs in what stands above `__init__`."""

    NAME = "focuser"
    MOVE: ClassVar[str] = "move"
    NUMBER: ClassVar[type[int] | type[float]] = int
    START: ClassVar[float] = 2000
    VALUES: ClassVar[dict[str, Any]] = {"absolute": True, "maxstep": 5000, "maxincrement": 500}

    def __init__(self, world: DeviceWorld) -> None:
        super().__init__(world)
        self.here = self.target = self.START
        self.server.answers |= {
            "GET position": lambda _: self.at,
            "GET ismoving": lambda _: self.moving,
            f"PUT {self.MOVE}": self.move,
            "PUT halt": self.halt,
        }

    @property
    def at(self) -> float:
        if not self.moving:
            self.here = self.target
        return self.here

    def move(self, where: Parameters) -> None:
        self.here, self.target = self.at, self.NUMBER(where["Position"])
        self.begin()

    def halt(self, _: Parameters) -> None:
        if self.moving:
            self.until, self.target = 0.0, self.here


class MemoryAlpacaWheel(MemoryAlpacaDevice):
    """A filter wheel of three."""

    NAME = "filterwheel"
    VALUES: ClassVar[dict[str, Any]] = {"names": ["g", "r", "i"]}

    def __init__(self, world: DeviceWorld) -> None:
        super().__init__(world)
        self.slot = 0
        self.server.answers |= {"GET position": lambda _: -1 if self.moving else self.slot, "PUT position": self.turn}

    @property
    def filter(self) -> str:
        return "" if self.moving else "gri"[self.slot]

    def turn(self, where: Parameters) -> None:
        self.slot = int(where["Position"])
        self.begin()


class MemoryAlpacaCamera(MemoryAlpacaDevice):
    """One that can abort, and cool."""

    NAME = "camera"
    VALUES: ClassVar[dict[str, Any]] = {
        "cameraxsize": 3, "cameraysize": 2, "sensortype": 0, "canabortexposure": True, "maxadu": 65535,
        "cansetccdtemperature": True, "binx": 1, "biny": 1, "startx": 0, "starty": 0, "numx": 3, "numy": 2,
        "hasshutter": True,
    }  # fmt: skip

    def __init__(self, world: DeviceWorld) -> None:
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
        return [[1, 2], [3, 4], [5, 6]] if self.image else AlpacaError(0x40B, "no image")

    def expose(self, wanted: Parameters) -> Any:
        if self.state == "exposing":
            return AlpacaError(0x40B, "exposing")
        self.exposing, self.image, self.until = True, False, self.world.seconds() + float(wanted["Duration"])
        return None

    def abort(self, _: Parameters) -> None:
        self.exposing, self.until = False, 0.0


class Outlets(MemoryAlpacaDevice):
    """Two outlets."""

    NAME = "switch"
    VALUES: ClassVar[dict[str, Any]] = {"maxswitch": 2, "canwrite": True, "getswitchname": "outlet"}

    def __init__(self, world: DeviceWorld) -> None:
        super().__init__(world)
        self.levels = [0.0, 0.0]
        self.server.answers |= {
            "GET getswitchvalue": lambda p: self.levels[int(p["Id"])],
            "PUT setswitchvalue": self.switch,
        }

    def switch(self, wanted: Parameters) -> None:
        self.levels[int(wanted["Id"])] = float(wanted["Value"])


class MemoryAlpacaCap(MemoryAlpacaDevice):
    """A cover that can be halted, and a lamp that warms up."""

    NAME = "covercalibrator"
    VALUES: ClassVar[dict[str, Any]] = {"maxbrightness": 255}

    def __init__(self, world: DeviceWorld) -> None:
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

    def halt(self, _: Parameters) -> None:
        self.halted = self.halted or self.moving
        self.until = 0.0

    def light(self, wanted: Parameters) -> None:
        self.level, self.warm = int(wanted["Brightness"]), self.world.seconds() + 1.0


class MemoryAlpacaTurner(MemoryAlpacaMotor):
    """A rotator that can be halted."""

    NAME, MOVE, NUMBER, START = "rotator", "moveabsolute", float, 30.0

    @property
    def place(self) -> str:
        return "moving" if self.moving else f"{self.at:g}"


KINDS: dict[str, type[MemoryAlpacaDevice]] = {
    "telescope": MemoryAlpacaMount, "dome": MemoryAlpacaShutter, "focuser": MemoryAlpacaMotor,
    "filter_wheel": MemoryAlpacaWheel, "camera": MemoryAlpacaCamera, "switch": Outlets,
    "cover": MemoryAlpacaCap, "rotator": MemoryAlpacaTurner,
}  # fmt: skip
