"""A camera behind INDI: its first detector, its own filter wheel if it has one, its cooler."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.device import deferred
from pyros.instruments.indi import codec
from pyros.instruments.indi._device import IndiDevice
from pyros.instruments.indi.codec import Blob
from pyros.instruments.indi.command import ANSWER_SECONDS, Command
from pyros.instruments.indi.filter_wheel import SLOT, filters, slot_of, turn
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import CameraState, Cooling, Geometry, Image, Kind, Started

_EXPOSURE, _SECONDS, _IMAGE, _INFO = "CCD_EXPOSURE", "CCD_EXPOSURE_VALUE", "CCD1", "CCD_INFO"
_TEMPERATURE, _CELSIUS = "CCD_TEMPERATURE", "CCD_TEMPERATURE_VALUE"
_READOUT = 5.0
"""Seconds that reading out and sending are thought to take; INDI tells nothing of it."""
_MARGIN = 60.0
_ARCSEC = 206.264806  # micrometres over millimetres, in arcseconds


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a FITS file of a driver says, as far as it is of use."""

    pixels: NDArray[np.uint16]
    object: str
    seconds: float | None
    temperature: float | None
    gain: float | None


class IndiCamera(IndiDevice):
    """A `Camera` behind INDI.

    An image is taken for that of an exposure only when its header has the exposure's tag and length, and when it did
    not come before it could: a driver may send that of an aborted exposure later.
    """

    kind: Kind = "camera"
    interface = 2
    needs = (_EXPOSURE, _IMAGE, _INFO)

    def __init__(self, *args: Any, **named: Any) -> None:
        self._target: float | None = None
        self._exposing: Command | None = None
        """The exposure under way; None once it is to be aborted."""
        self._begun = False  # and the camera was told to begin it
        self._aborts = DeferredLock()
        self._reading = False
        self._commands = 0
        super().__init__(*args, **named)

    def _prepare(self) -> None:
        """Without enableBLOB no image is ever sent; and the focal length is the mount's to tell."""
        self._connection.write(codec.enable_blob(self._connection.device, _IMAGE))
        mount = self._properties.text("ACTIVE_DEVICES", "ACTIVE_TELESCOPE")
        if mount:
            self._connection.snoop(mount, "TELESCOPE_INFO")

    # Exposures.

    @deferred
    async def expose(
        self, seconds: float, filter: str = "", tag: str = "", started: Started | None = None, *, dark: bool = False
    ) -> Image:
        with self._connection.command(f"exposure {tag}".strip(), "exposure") as command:
            if self._exposing is not None:
                raise DeviceRefused("BUSY", command.describe("an exposure is under way"))
            self._exposing = command
            try:
                await self._aborts.run(succeed, None)  # what is being aborted is over then
                # Setting the filter would spoil an exposure from before a restart: ask first.
                if (await command.ask(_EXPOSURE)).state == "Busy":
                    raise DeviceRefused("BUSY", command.describe("an exposure is under way"))
                return await self._expose_now(command, float(seconds), filter, tag, started, dark)
            finally:
                if self._exposing is command:
                    self._exposing = None
                    self._reading = self._begun = False

    async def _expose_now(
        self, command: Command, seconds: float, filter: str, tag: str, started: Started | None, dark: bool
    ) -> Image:
        scale = (await self._shape(command)).arcsec_per_pixel
        if not 0 <= seconds < math.inf:
            raise DeviceRefused("VALUE", command.describe(f"{seconds} is no exposure time"))
        if filter:
            slot = slot_of(command, self._properties, filter)
            if (await command.ask(SLOT)).number("FILTER_SLOT_VALUE") != slot:
                await turn(command, self._properties, slot)
        label = await self._set_up(command, tag, dark)
        await command.settled(_EXPOSURE)
        mark = self._properties.serial
        self._begun = True
        _, since = await command.change(_EXPOSURE, {_SECONDS: seconds}, lambda now: now.state in ("Busy", "Ok"))
        opened, begin = self._clock.time(), self._clock.monotonic()
        if started is not None:
            started(seconds + _READOUT)
        while True:
            image = await self._image(command, mark, since, seconds, begin)
            mark = self._properties.serial
            frame = await self._read(image)
            # Drivers write the length in few digits.
            same = frame.seconds is None or math.isclose(frame.seconds, seconds, rel_tol=1e-3, abs_tol=1e-3)
            if same and (not label or frame.object in ("", label)):
                break
        temperature = frame.temperature
        if temperature is None:
            temperature = self._properties.number(_TEMPERATURE, _CELSIUS)
        return Image(frame.pixels, opened, seconds, filter, temperature, frame.gain, scale)

    async def _set_up(self, command: Command, tag: str, dark: bool) -> str:
        """What must be so before the shutter opens; returns what the image's header will have as its OBJECT, if any."""
        kind = "FRAME_DARK" if dark else "FRAME_LIGHT"
        if (types := self._properties.get("CCD_FRAME_TYPE")) is None:
            if dark:
                raise DeviceRefused("UNSUPPORTED", command.describe("the camera has no shutter to keep closed"))
        elif not types.is_on(kind):
            await command.change("CCD_FRAME_TYPE", {kind: True})
        for name, member in (("UPLOAD_MODE", "UPLOAD_CLIENT"), ("CCD_TRANSFER_FORMAT", "FORMAT_FITS")):
            vector = self._properties.get(name)
            if vector is not None and member in vector.members and not vector.is_on(member):
                await command.change(name, {member: True})
        header = self._properties.get("FITS_HEADER")
        if header is None or "FITS_OBJECT" not in header.members:
            return ""
        self._commands += 1
        label = f"{''.join(c if ' ' < c <= '~' and c not in '<>&' else '_' for c in tag)[:40]}~{self._commands}"
        await command.change("FITS_HEADER", {"FITS_OBJECT": label})
        return label

    async def _image(self, command: Command, mark: int, since: int, seconds: float, begin: float) -> Blob:
        """The next image after ``mark``, once there can be one."""
        clock = self._clock

        def ended() -> Blob | Property | None:
            exposure, images = self._properties.get(_EXPOSURE), self._properties.get(_IMAGE)
            if images is not None and images.changed > mark and (blob := images.blob(_IMAGE)) is not None:
                if clock.monotonic() - begin >= seconds * 0.95 - 1.0:
                    return blob
                images.forget()
            if exposure is None or exposure.changed <= since:
                return None
            if exposure.state == "Ok" or (exposure.state == "Busy" and exposure.number(_SECONDS) == 0):
                self._reading = True
            return exposure if exposure.state in ("Alert", "Idle") else None

        wait = seconds + _READOUT + max(_MARGIN, seconds / 2)
        found: Blob | Property = await command.until(ended, wait, f"no image within {wait:.0f} s")
        if isinstance(found, Blob):
            images = self._properties.get(_IMAGE)
            if images is not None:
                images.forget()
            return found
        if found.state == "Idle":
            raise CommandAborted(command.describe("aborted by somebody else"))
        raise command.failed(since, "the camera says Alert")

    async def _read(self, blob: Blob) -> _Frame:
        """In a thread of the pool: a large image takes a while."""
        if blob.format.lower() not in (".fits", ".fit"):
            raise DeviceFailed(f"{self.name}: sent an image as {blob.format!r}, not as .fits")
        try:
            frame: _Frame = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _decode, blob.data)
        except ValueError as error:
            raise DeviceFailed(f"{self.name}: its image cannot be read: {error}") from None
        return frame

    @deferred
    async def abort(self) -> None:
        with self._connection.command("abort") as command, self._stopping("exposure", why="aborted"):
            begun, self._exposing = self._begun, None  # from now on another may be asked for
            self._begun = self._reading = False
            await self._aborts.acquire()
            try:
                await self._connection.until_ready()
                if begun or (await command.ask(_EXPOSURE)).state == "Busy":
                    await command.change("CCD_ABORT_EXPOSURE", {"ABORT": True})
                await command.until(self._stopped, 10.0, "told to abort, it still exposes")
            finally:
                self._aborts.release()

    def _stopped(self) -> bool | None:
        exposure = self._properties.get(_EXPOSURE)
        return True if exposure is not None and exposure.state != "Busy" else None

    # The rest.

    @deferred
    async def state(self) -> CameraState:
        vector = await self._ask(_EXPOSURE)
        if vector.state == "Busy":
            return "exposing" if vector.number(_SECONDS) else "reading"
        return "reading" if self._reading else "idle"

    @deferred
    async def filters(self) -> tuple[str, ...]:
        await self._connection.until_ready()
        return tuple(filters(self._properties))

    @deferred
    async def geometry(self) -> Geometry:
        with self._connection.command("geometry") as command:
            await self._connection.until_ready()
            return await self._shape(command)

    async def _shape(self, command: Command) -> Geometry:
        """From the part of the detector that is read, its binning, and the focal length of what stands before it."""
        focal = self._focal_length()
        if focal is None and (mount := self._connection.snooped.device):
            self._connection.write(codec.get_properties(mount, "TELESCOPE_INFO"))  # it may have come after the camera
            with suppress(NoAnswer):
                focal = await command.until(self._focal_length, ANSWER_SECONDS, f"{mount} tells no focal length")
        known = self._properties
        width = known.number("CCD_FRAME", "WIDTH") or known.number(_INFO, "CCD_MAX_X") or 0.0
        height = known.number("CCD_FRAME", "HEIGHT") or known.number(_INFO, "CCD_MAX_Y") or 0.0
        binning = max(1.0, known.number("CCD_BINNING", "HOR_BIN") or 1.0)
        rows = max(1.0, known.number("CCD_BINNING", "VER_BIN") or 1.0)
        bits = known.number(_INFO, "CCD_BITSPERPIXEL") or 16.0
        pixel = known.number(_INFO, "CCD_PIXEL_SIZE_X") or known.number(_INFO, "CCD_PIXEL_SIZE") or 0.0
        if width < 1 or height < 1 or pixel <= 0:
            raise DeviceFailed(command.describe("the camera does not tell its size (CCD_INFO)"))
        if focal is None:
            where = "SCOPE_INFO of the camera, or TELESCOPE_INFO of the mount in its ACTIVE_DEVICES"
            raise DeviceRefused("STATE", command.describe(f"no focal length is set: {where}"))
        return Geometry(int(width // binning), int(height // rows), int(bits), _ARCSEC * pixel * binning / focal)

    def _focal_length(self) -> float | None:
        """Millimetres; None while neither the camera nor its mount has told one."""
        own = self._properties.number("SCOPE_INFO", "FOCAL_LENGTH")
        focal = own or self._connection.snooped.number("TELESCOPE_INFO", "TELESCOPE_FOCAL_LENGTH")
        return focal if focal and focal > 0 else None

    @deferred
    async def cool(self, celsius: float | None) -> None:
        with self._connection.command("cooling") as command:
            await self._connection.until_ready()
            if celsius is None:
                await command.change("CCD_COOLER", {"COOLER_OFF": True})
            else:
                vector = command.property(_TEMPERATURE)
                if not vector.writable:
                    raise DeviceRefused("UNSUPPORTED", command.describe("the camera cannot be cooled"))
                member = vector.members.get(_CELSIUS)
                if member is not None and member.least < member.most and not member.least <= celsius <= member.most:
                    text = f"{celsius:g} is not from {member.least:g} to {member.most:g} degrees Celsius"
                    raise DeviceRefused("VALUE", command.describe(text))
                await command.change(_TEMPERATURE, {_CELSIUS: float(celsius)})
            self._target = None if celsius is None else float(celsius)

    @deferred
    async def cooling(self) -> Cooling:
        if _TEMPERATURE not in self._properties:
            await self._connection.until_ready()
        if _TEMPERATURE not in self._properties:
            return Cooling(None)
        temperature = (await self._ask(_TEMPERATURE)).number(_CELSIUS)
        power = self._properties.number("CCD_COOLER_POWER", "CCD_COOLER_VALUE")
        return Cooling(temperature, self._target, power)


def _decode(data: bytes) -> _Frame:
    """Raises ValueError for what is no image of ours: astropy meets a broken file with errors of any kind."""
    try:
        return _frame_of(data)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _frame_of(data: bytes) -> _Frame:
    from astropy.io import fits  # noqa: PLC0415  half a second that only cameras spend

    with fits.open(io.BytesIO(data), memmap=False) as units:
        header, pixels = units[0].header, units[0].data
        if pixels is None or pixels.ndim != 2:
            raise ValueError("it is no single plane of pixels")
        if (
            pixels.dtype.kind not in "ui"
            or pixels.dtype.itemsize > 2
            or (pixels.dtype.kind == "i" and pixels.min() < 0)
        ):
            raise ValueError(f"its pixels are {pixels.dtype}, not 16-bit unsigned")
        rows = pixels[::-1] if str(header.get("ROWORDER", "")).upper() == "TOP-DOWN" else pixels
        return _Frame(
            np.ascontiguousarray(rows, dtype=np.uint16),
            str(header.get("OBJECT", "")).strip(),
            _number(header.get("EXPTIME")),
            _number(header.get("CCD-TEMP")),
            _number(header.get("EGAIN")),
        )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
