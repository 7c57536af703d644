"""Devices in memory behind a scripted INDI server: each as simple as its driver allows."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from astropy.io import fits

from tests.instruments.indi.script import IndiRig, Members, vector

SECONDS = 3.0
"""How long a movement takes."""


class MemoryIndiDevice:
    """What all of them share: movements, and what is told of them."""

    def __init__(self, rig: IndiRig) -> None:
        self.rig, self.server, self.world = rig, rig.server, rig.world
        self.timers: dict[str, Any] = {}

    def later(self, name: str, function: Callable[[], str], seconds: float = SECONDS) -> None:
        """Do something when a movement is over, in the place of the one under way, and tell it."""
        self.cancel(name)

        def end() -> None:
            del self.timers[name]
            told = function()
            if self.server.line.transport.open:
                self.server.line.transport.write(told.encode())

        self.timers[name] = self.world.callLater(seconds, end)

    def cancel(self, name: str) -> bool:
        timer = self.timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def is_on(self, name: str, member: str) -> bool:
        return self.server.vectors[name][1][member] is True

    def close(self) -> None:
        for name in list(self.timers):
            self.cancel(name)


class MemoryIndiMount(MemoryIndiDevice):
    """One with a park position, which refuses to move when it is parked."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "EQUATORIAL_COORD": ("Number", {"RA": 1.0, "DEC": 2.0}, "Idle"),
        "ON_COORD_SET": ("Switch", {"TRACK": True, "SLEW": False, "SYNC": False}, "Idle"),
        "TELESCOPE_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
        "TELESCOPE_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok"),
    }

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers |= {
            "EQUATORIAL_COORD": self.go, "TELESCOPE_ABORT_MOTION": self.abort, "TELESCOPE_PARK": self.park,
        }  # fmt: skip

    @property
    def state(self) -> str:
        if self.timers:
            return "parking" if "park" in self.timers else "slewing"
        return "parked" if self.is_on("TELESCOPE_PARK", "PARK") else "tracking"

    def go(self, told: Members) -> str:
        there = {"RA": float(told["RA"]), "DEC": float(told["DEC"])}
        if self.is_on("ON_COORD_SET", "SYNC"):
            return self.server.set("EQUATORIAL_COORD", "Ok", **there)
        if self.is_on("TELESCOPE_PARK", "PARK"):
            return '<message device="Dev" message="[ERROR] Please unpark the mount first"/>'
        self.later("slew", lambda: self.server.set("EQUATORIAL_COORD", "Ok", **there))
        return self.server.set("EQUATORIAL_COORD", "Busy")

    def abort(self, _: Members) -> str:
        told = self.server.set("EQUATORIAL_COORD", "Idle") if self.cancel("slew") else ""
        if self.cancel("park"):
            told += self.server.set("TELESCOPE_PARK", "Alert", PARK=False, UNPARK=True)
        return self.server.set("TELESCOPE_ABORT_MOTION", ABORT=False) + told

    def park(self, told: Members) -> str:
        self.cancel("park")
        if told.get("UNPARK") == "On":
            return self.server.set("TELESCOPE_PARK", "Ok", PARK=False, UNPARK=True)
        stopped = self.server.set("EQUATORIAL_COORD", "Idle") if self.cancel("slew") else ""
        self.later("park", lambda: self.server.set("TELESCOPE_PARK", "Ok"))
        return stopped + self.server.set("TELESCOPE_PARK", "Busy", PARK=True, UNPARK=False)


class MemoryIndiShutter(MemoryIndiDevice):
    """A dome with a shutter and a slit, and one stop for both."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": False, "SHUTTER_CLOSE": True}, "Ok"),
        "ABS_DOME_POSITION": ("Number", {"DOME_ABSOLUTE_POSITION": 0.0}, "Ok"),
        "DOME_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
        "DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok"),
    }
    slow = True

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers |= {
            "DOME_SHUTTER": self.move, "ABS_DOME_POSITION": self.turn, "DOME_ABORT_MOTION": self.abort,
        }  # fmt: skip

    @property
    def state(self) -> str:
        if "move" in self.timers:
            return "moving"
        if self.server.vectors["DOME_SHUTTER"][2] == "Alert":
            return "stopped"
        return "open" if self.is_on("DOME_SHUTTER", "SHUTTER_OPEN") else "closed"

    @property
    def azimuth(self) -> Any:
        return None if "turn" in self.timers else self.server.vectors["ABS_DOME_POSITION"][1]["DOME_ABSOLUTE_POSITION"]

    def move(self, told: Members) -> str:
        members = {name: told.get(name) == "On" for name in ("SHUTTER_OPEN", "SHUTTER_CLOSE")}
        if not self.slow:
            return self.server.set("DOME_SHUTTER", "Ok", **members)
        self.later("move", lambda: self.server.set("DOME_SHUTTER", "Ok"))
        return self.server.set("DOME_SHUTTER", "Busy", **members)

    def turn(self, told: Members) -> str:
        if self.is_on("DOME_PARK", "PARK"):
            return '<message device="Dev" message="[ERROR] Please unpark the dome first"/>'
        self.later("turn", lambda: self.server.set("ABS_DOME_POSITION", "Ok", **told))
        return self.server.set("ABS_DOME_POSITION", "Busy")

    def abort(self, _: Members) -> str:
        told = self.server.set("DOME_SHUTTER", "Alert") if self.cancel("move") else ""
        if self.cancel("turn"):
            told += self.server.set("ABS_DOME_POSITION", "Idle")
        return self.server.set("DOME_ABORT_MOTION", ABORT=False) + told


class MemoryIndiMotor(MemoryIndiDevice):
    """A focuser."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "ABS_FOCUS_POSITION": ("Number", {"FOCUS_ABSOLUTE_POSITION": (100.0, 0, 1000)}, "Ok"),
        "FOCUS_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    }

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers |= {"ABS_FOCUS_POSITION": self.move, "FOCUS_ABORT_MOTION": self.abort}

    @property
    def at(self) -> float | None:
        there = self.server.vectors["ABS_FOCUS_POSITION"][1]["FOCUS_ABSOLUTE_POSITION"]
        return None if self.timers else float(there[0] if isinstance(there, tuple) else there)

    def move(self, told: Members) -> str:
        there = {name: (float(value), 0, 1000) for name, value in told.items()}
        self.later("move", lambda: self.server.set("ABS_FOCUS_POSITION", "Ok", **there))
        return self.server.set("ABS_FOCUS_POSITION", "Busy")

    def abort(self, _: Members) -> str:
        told = self.server.set("ABS_FOCUS_POSITION", "Idle") if self.cancel("move") else ""
        return self.server.set("FOCUS_ABORT_MOTION", ABORT=False) + told


class MemoryIndiWheel(MemoryIndiDevice):
    """A filter wheel of three."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1.0, 1, 3)}, "Ok"),
        "FILTER_NAME": ("Text", {"FILTER_1": "g", "FILTER_2": "r", "FILTER_3": "i"}, "Ok"),
    }

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers["FILTER_SLOT"] = self.turn

    @property
    def filter(self) -> str | None:
        slot = self.server.vectors["FILTER_SLOT"][1]["FILTER_SLOT_VALUE"]
        return None if self.timers else "gri"[int(slot[0]) - 1]

    def turn(self, told: Members) -> str:
        there = {name: (float(value), 1, 3) for name, value in told.items()}
        self.later("turn", lambda: self.server.set("FILTER_SLOT", "Ok", **there))
        return self.server.set("FILTER_SLOT", "Busy")


class MemoryIndiCamera(MemoryIndiDevice):
    """One that can abort."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "CCD_EXPOSURE": ("Number", {"CCD_EXPOSURE_VALUE": (0.0, 0.01, 3600)}, "Idle"),
        "CCD1": ("BLOB", {"CCD1": ""}, "Idle"),
        "CCD_INFO": ("Number", {"CCD_MAX_X": 3, "CCD_MAX_Y": 2, "CCD_PIXEL_SIZE": 5.0, "CCD_BITSPERPIXEL": 16}, "Idle"),
        "SCOPE_INFO": ("Number", {"FOCAL_LENGTH": 1000.0}, "Idle"),
        "FITS_HEADER": ("Text", {"FITS_OBJECT": ""}, "Idle"),
        "CCD_ABORT_EXPOSURE": ("Switch", {"ABORT": False}, "Idle"),
        "UPLOAD_MODE": ("Switch", {"UPLOAD_CLIENT": False, "UPLOAD_LOCAL": True}, "Idle"),
    }

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers |= {"CCD_EXPOSURE": self.expose, "CCD_ABORT_EXPOSURE": self.abort}

    @property
    def state(self) -> str:
        return "exposing" if self.timers else "idle"

    def expose(self, told: Members) -> str:
        seconds = float(told["CCD_EXPOSURE_VALUE"])
        self.later("expose", partial(self.image, seconds), seconds)
        return self.server.set("CCD_EXPOSURE", "Busy", CCD_EXPOSURE_VALUE=seconds)

    def image(self, seconds: float) -> str:
        unit = fits.PrimaryHDU(np.ones((2, 3), np.uint16))
        unit.header["OBJECT"] = self.server.vectors["FITS_HEADER"][1]["FITS_OBJECT"]
        unit.header["EXPTIME"] = seconds
        file = io.BytesIO()
        unit.writeto(file)
        text = base64.encodebytes(file.getvalue()).decode()
        told = self.server.set("CCD_EXPOSURE", "Ok", CCD_EXPOSURE_VALUE=0.0)
        return told + vector("set", "BLOB", "CCD1", {"CCD1": text}, more='format=".fits"')

    def abort(self, _: Members) -> str:
        told = self.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0.0) if self.cancel("expose") else ""
        return self.server.set("CCD_ABORT_EXPOSURE", ABORT=False) + told


class Box(MemoryIndiDevice):
    """A power box with two outlets in one vector."""

    VECTORS: ClassVar[dict[str, Any]] = {"POWER": ("Switch", {"ONE": False, "TWO": False, "THREE": False}, "Ok")}

    def __init__(self, rig: IndiRig) -> None:
        super().__init__(rig)
        self.server.answers["POWER"] = lambda told: self.server.set(
            "POWER", **{name: value == "On" for name, value in told.items()}
        )

    def on(self, name: str) -> str:
        return "" if self.is_on("POWER", name) else f"{name} is off"


class MemoryIndiCap(MemoryIndiDevice):
    """A dust cap that can be stopped, and a lamp that can be dimmed while it is on."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "CAP_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok"),
        "CAP_ABORT": ("Switch", {"ABORT": False}, "Idle"),
        "FLAT_LIGHT_CONTROL": ("Switch", {"FLAT_LIGHT_ON": False, "FLAT_LIGHT_OFF": True}, "Idle"),
        "FLAT_LIGHT_INTENSITY": ("Number", {"FLAT_LIGHT_INTENSITY_VALUE": (0.0, 0, 255)}, "Idle"),
    }

    def __init__(self, rig: IndiRig) -> None:
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


class MemoryIndiTurner(MemoryIndiDevice):
    """A rotator that can be stopped."""

    VECTORS: ClassVar[dict[str, Any]] = {
        "ABS_ROTATOR_ANGLE": ("Number", {"ANGLE": (30.0, 0, 360)}, "Ok"),
        "ROTATOR_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
    }

    def __init__(self, rig: IndiRig) -> None:
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


KINDS: dict[str, type[MemoryIndiDevice]] = {
    "telescope": MemoryIndiMount, "dome": MemoryIndiShutter, "focuser": MemoryIndiMotor,
    "filter_wheel": MemoryIndiWheel, "camera": MemoryIndiCamera, "switch": Box,
    "cover": MemoryIndiCap, "rotator": MemoryIndiTurner,
}  # fmt: skip
