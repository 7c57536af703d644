"""What every driver offers to an instrument's agent, in the words of the field.

Every method that talks to a device returns a Deferred. It ends with what was measured, or with one of

* `DeviceRefused`: the device said no; nothing happened. ``code`` says why in one word: LIMIT (out of reach), STATE (not
  now: parked, closed ...), VALUE (no such value), BUSY, UNSUPPORTED (this device cannot do that), or the device's own
* `DeviceFailed`: it began and failed
* `CommandAborted`: it was told to stop, or a newer command took its place
* `NoAnswer`: it stayed silent for longer than its own estimate and a margin; what it did is unknown
* `ConnectionLost`: the connection broke or could not be made; what it did is unknown

and never with anything else. After the last two, ask for the device's ``state`` before commanding it again. Cancelling
a Deferred stops the waiting, not the device.

All of this runs in the reactor's thread. Angles are ICRS degrees, times seconds since 1970-01-01 UTC of the
observatory's clock, durations seconds. ``started``, where a command takes it, is called once with the device's own
estimate of how long it will take, when it has begun.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from twisted.internet.defer import Deferred

    from pyros.messages import WeatherReading

Kind: TypeAlias = str
"""The name of a kind of instrument, one of `pyros.kinds.KINDS`."""

TelescopeState = Literal["idle", "slewing", "tracking", "parking", "parked"]
CameraState = Literal["idle", "exposing", "reading", "ready"]
DomeState = Literal["closed", "opening", "open", "closing", "stopped"]
PierSide = Literal["", "east", "west"]
"""The side of the pier on which a German mount has its tube: in the west it looks to the east. '' for a mount without a
pier in its way, and for one that doesn't tell."""
MotorState = Literal["idle", "moving"]

Started: TypeAlias = Callable[[float], None]
"""Called with the device's own estimate in seconds."""

OnConnection: TypeAlias = Callable[[bool, str], None]
"""Called with (True, the device's name and address) and (False, why it is not connected)."""

OnEvent: TypeAlias = Callable[[str], None]
"""Called with what a device said that no command was waiting for, e.g. ``limit_reached``."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a telescope points, ICRS degrees."""

    ra: float
    """Right ascension, ICRS degrees."""
    dec: float
    """Declination, ICRS degrees."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """The measured end of a slew, ICRS degrees, and its separation from what was demanded, arcseconds."""

    ra: float
    """Right ascension, ICRS degrees."""
    dec: float
    """Declination, ICRS degrees."""
    error_arcsec: float
    """Separation from what was demanded, arcseconds."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A camera's detector: pixels, bits a pixel, and the size of a pixel on the sky."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    bits: int
    """Bits of a pixel."""
    arcsec_per_pixel: float
    """Side of a pixel on the sky, arcseconds."""


@dataclass(frozen=True, slots=True)
class Cooling:
    """A detector's temperature and what it is cooled to, degrees Celsius; None where the device doesn't tell."""

    temperature: float | None
    """The detector's, degrees Celsius."""
    target: float | None = None
    """What it is cooled to, degrees Celsius."""
    power: float | None = None
    """Percent."""


@dataclass(frozen=True, slots=True)
class FocuserLimits:
    """The positions a focuser can reach, in its own steps."""

    least: int
    """Steps."""
    most: int
    """Steps."""


@dataclass(frozen=True, slots=True)
class Safety:
    """What a safety monitor says; ``reason`` in its own words, if it has any."""

    safe: bool
    """Whether it is safe."""
    reason: str = ""
    """In the monitor's own words, if it has any."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a switch: on/off devices have 0 to 1 in steps of 1."""

    name: str
    """The channel's name, as the device tells it."""
    writable: bool = True
    """Whether it can be set."""
    least: float = 0.0
    """Least level, in the channel's own unit."""
    most: float = 1.0
    """Greatest level, in the channel's own unit."""
    step: float = 1.0
    """Distance of two levels, in the channel's own unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One exposure.

    ``pixels`` has the shape (height, width), the first row at the bottom as in FITS. ``started`` is when the shutter
    opened, ``temperature`` the detector's in degrees Celsius, ``gain`` in electrons per ADU; None where the device
    doesn't tell. ``bayer`` is the pattern of a Bayer mosaic from the first row on, such as RGGB; '' without one.
    """

    pixels: NDArray[np.uint16]
    """ADU; the first row is at the bottom."""
    started: float
    """When the shutter opened, Unix seconds."""
    seconds: float
    """Exposure time, seconds."""
    filter: str
    """The filter's name; '' where the camera has none."""
    temperature: float | None
    """The detector's, degrees Celsius; None where the device doesn't tell."""
    gain: float | None
    """Electrons per ADU; None where the device doesn't tell."""
    arcsec_per_pixel: float
    """Side of a pixel on the sky, arcseconds."""
    bayer: str = ""
    """Pattern of the Bayer mosaic from the first row on; '' without one."""
    binning: int = 1
    """Pixels of the detector in each direction that were read as one."""


MAX_BINNING = 16
"""The most pixels in each direction that can be asked for as one."""


class Place(Protocol):
    """Where on Earth a device stands: degrees, east positive, and metres. Only what needs it asks for it."""

    @property
    def latitude(self) -> float: ...

    @property
    def longitude(self) -> float: ...

    @property
    def elevation(self) -> float: ...


class Instrument(Protocol):
    """What all instruments share."""

    @property
    def name(self) -> str:
        """What the device calls itself; empty until it was first connected."""
        ...

    @property
    def connected(self) -> bool: ...

    on_connection: OnConnection | None
    """Called when the device is there, and when it is not."""
    on_event: OnEvent | None
    """Called with what the device says by itself."""

    def disconnect(self) -> Deferred[None]:
        """Drop the connection for good; commands under way end with `ConnectionLost`.

        Fires when nothing is left behind.
        """
        ...


class Telescope(Instrument, Protocol):
    """A mount and what it carries."""

    def slew(
        self, ra: float, dec: float, tag: str = "", started: Started | None = None, *, side: PierSide = ""
    ) -> Deferred[Pointing]:
        """Point at an ICRS position and track it; ``tag`` names the command in the device's log.

        It has ended when the mount stands on the target and tracks; one that doesn't, and is given up, is stopped.

        ``side`` is that of the pier on which the tube shall be, where the mount can be told; others choose themselves.

        A parked telescope is unparked, a parking one stopped. A slew that is under way ends with `CommandAborted`.
        The position is measured afterwards: off by more than the driver's tolerance, the slew is sent again once, and
        then it is `DeviceFailed`. Refused (LIMIT) below the horizon of the observatory.
        """
        ...

    def stop(self) -> Deferred[None]:
        """Stop moving; a slew or a park under way ends with `CommandAborted`."""
        ...

    def park(self, started: Started | None = None) -> Deferred[None]:
        """Move to the park position and stay there."""
        ...

    def unpark(self) -> Deferred[None]: ...

    def side(self) -> Deferred[PierSide]:
        """Return the side of the pier on which the tube is."""
        ...

    def track(self, on: bool) -> Deferred[None]:
        """Follow the sky, or stand still. A slew tracks by itself."""
        ...

    def sync(self, ra: float, dec: float) -> Deferred[None]:
        """Tell the mount that it points at this ICRS position now."""
        ...

    def position(self) -> Deferred[Position]:
        """Measure where the telescope points, ICRS degrees."""
        ...

    def state(self) -> Deferred[TelescopeState]: ...


class Camera(Instrument, Protocol):
    """A camera, its shutter and its filter wheel."""

    can_set: tuple[str, ...]
    """Which of ``gain`` and ``readout_mode`` (by `configure`), and ``binning`` (of `expose`), this driver can set; a
    camera may still refuse."""

    def configure(self, gain: float | None = None, readout_mode: str = "") -> Deferred[None]:
        """Set the gain (in the camera's own unit) and the readout mode (by the camera's name) of what is exposed next.

        None and '' leave them as they are. Refused (UNSUPPORTED) where the driver or the camera cannot; nothing is set
        then.
        """
        ...

    def max_binning(self) -> Deferred[int]:
        """Return the most pixels in each direction that the camera reads as one; 1 where it cannot bin."""
        ...

    def readout_modes(self) -> Deferred[tuple[str, ...]]:
        """Return the camera's names of its readout modes; none where none can be chosen."""
        ...

    def expose(
        self, seconds: float, filter: str = "", tag: str = "", started: Started | None = None, *, dark: bool = False,
        binning: int = 1,
    ) -> Deferred[Image]:  # fmt: skip
        """Choose the filter, expose, read out and fetch the image.

        ``filter`` is for a camera with a wheel of its own; '' leaves it as it is, and is all that a camera without one
        takes (its images say ''). ``dark`` keeps the shutter closed; refused (UNSUPPORTED) where there is none. 0
        seconds are a bias: the shortest exposure that there is.
        ``binning`` is how many pixels in each direction are read as one in this exposure only; refused (VALUE or
        UNSUPPORTED) before the shutter opens where the camera cannot. 1 is what the address says, unbinned where it
        says nothing, whatever somebody left. `geometry` is that of an exposure with 1.
        ``started`` is called when the shutter opens, with the estimate for exposure and readout together. A camera
        that is exposing or reading refuses (code BUSY) before its filter is touched.
        """
        ...

    def abort(self) -> Deferred[None]:
        """Close the shutter and throw the exposure away; it ends with `CommandAborted`."""
        ...

    def filters(self) -> Deferred[tuple[str, ...]]:
        """Return the names of the filters of the camera's own wheel; none without one."""
        ...

    def cool(self, celsius: float | None) -> Deferred[None]:
        """Cool the detector to a temperature, or switch the cooler off. Fires when the device has taken it."""
        ...

    def cooling(self) -> Deferred[Cooling]: ...

    def geometry(self) -> Deferred[Geometry]: ...

    def state(self) -> Deferred[CameraState]: ...


class FilterWheel(Instrument, Protocol):
    """A filter wheel of its own, in front of a camera."""

    def filters(self) -> Deferred[tuple[str, ...]]:
        """Return the filters' names, in the wheel's order."""
        ...

    def select(self, filter: str, started: Started | None = None) -> Deferred[str]:
        """Turn a filter into the beam; fires with the one that the wheel then reports.

        Refused (VALUE) for a name it doesn't have. A turn that is under way ends with `CommandAborted`.
        """
        ...

    def filter(self) -> Deferred[str]:
        """Return the filter in the beam; '' while the wheel turns."""
        ...

    def state(self) -> Deferred[MotorState]: ...


class Focuser(Instrument, Protocol):
    """A focuser; positions are its own steps."""

    def move(self, position: int, started: Started | None = None) -> Deferred[int]:
        """Move to an absolute position; fires with the position measured. Refused (LIMIT) beyond `limits`."""
        ...

    def stop(self) -> Deferred[None]:
        """Stop; a move under way ends with `CommandAborted`."""
        ...

    def position(self) -> Deferred[int]: ...

    def limits(self) -> Deferred[FocuserLimits]: ...

    def temperature(self) -> Deferred[float | None]:
        """Degrees Celsius at the focuser; None where it has no sensor."""
        ...

    def state(self) -> Deferred[MotorState]: ...


class Dome(Instrument, Protocol):
    """A dome, or a roof: a dome whose slit has no azimuth."""

    def open(self, started: Started | None = None) -> Deferred[None]:
        """Open; fires when it is open. ``started`` isn't called when it was open already."""
        ...

    def close(self, started: Started | None = None) -> Deferred[None]:
        """Close; fires when it is closed. An opening under way is reversed and ends with `CommandAborted`."""
        ...

    def stop(self) -> Deferred[None]:
        """Stop where it is; a movement under way ends with `CommandAborted`."""
        ...

    def state(self) -> Deferred[DomeState]:
        """Return the state of the shutter."""
        ...

    def azimuth(self) -> Deferred[float | None]:
        """Where the slit looks, degrees from north through east; None for a roof."""
        ...

    def rotate(self, azimuth: float, started: Started | None = None) -> Deferred[float]:
        """Turn the slit there; fires with the azimuth measured. Refused (UNSUPPORTED) by a roof.

        A turn under way ends with `CommandAborted`. `stop` stops it too.
        """
        ...


class WeatherStation(Instrument, Protocol):
    """Sensors outside."""

    def read(self) -> Deferred[WeatherReading]:
        """Return the present readings, with their age; None for what the station doesn't measure.

        Fails (DeviceFailed) for a sensor that is out of order, too old, or says what cannot be, and for one that
        decides whether the dome may be open, isn't there, and isn't named as absent in the address (`plausible`).
        """
        ...


class SafetyMonitor(Instrument, Protocol):
    """Something that says whether it is safe to be open: a PLC, a cloud sensor's relay, another observatory's word."""

    def read(self) -> Deferred[Safety]: ...


class Switch(Instrument, Protocol):
    """Power outlets, lamps, relays: numbered channels that are on or off, or have a level."""

    def channels(self) -> Deferred[tuple[Channel, ...]]: ...

    def get(self, channel: int) -> Deferred[float]:
        """Return the level of a channel; channels are counted from 0."""
        ...

    def set(self, channel: int, level: float) -> Deferred[float]:
        """Set a channel; fires with the level measured then. Refused (VALUE) for a level or channel there isn't."""
        ...
