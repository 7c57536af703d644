"""A camera that speaks Alpaca."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from pyros.errors import ConnectionLost, DeviceFailed, DeviceRefused
from pyros.instruments.alpaca._device import AlpacaDevice
from pyros.instruments.alpaca.image import BYTES_PER_ELEMENT, COLOUR, image_of
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import MAX_BINNING, CameraState, Cooling, Geometry, Image, Kind, Started

_IDLE, _WAITING, _EXPOSING, _READING, _DOWNLOAD, _ERROR = range(6)
"""ASCOM's CameraStates."""
_STATES: dict[int, CameraState] = {_WAITING: "exposing", _EXPOSING: "exposing", _READING: "reading",
                                   _DOWNLOAD: "reading"}  # fmt: skip
_TWO_DIMENSIONS = (0, 2, 3, 4, 5)
"""ASCOM's SensorTypes whose images have two dimensions; 1 is a colour camera's."""
_READOUT_SECONDS = 2.0
_MAX_READOUT_SECONDS = 120.0
_FETCH_SECONDS = 120.0
_MAX_FETCHES = 3
_REFETCH_SECONDS = 1.0
_LATE_SECONDS = 3.0
"""How long after its end an exposure that was thrown away may still leave its image."""
_MAX_READOUT_MODES = 100
_MAX_PIXELS = 1 << 28
_ARCSEC_PER_RADIAN = math.degrees(1) * 3600
_ACCEPT = "application/imagebytes, application/json;q=0.5"

log = Logger()


class AlpacaCamera(AlpacaDevice):
    """A `Camera` that speaks Alpaca: always its whole detector, binned as its address or the exposure says.

    The size of a pixel on the sky is that of its address (``arcsec_per_pixel``, or ``focal_length``), or else it comes
    from the focal length of the telescope of that number at the same server.
    """

    kind: Kind = "camera"
    can_set: tuple[str, ...] = ("gain", "readout_mode", "binning")
    _exposing: DeviceCommand | None = None  # None once it is to be aborted
    _fetched = False  # the image that is ready was fetched already
    _readout_seconds = _READOUT_SECONDS
    _due = -math.inf  # when the last exposure ends

    def __init__(self, *args: Any, **named: Any) -> None:
        self._coolings = DeferredLock()
        self._thrown_away: set[float] = set()
        """When exposures that were aborted, or failed, would have ended, monotonic seconds."""
        super().__init__(*args, **named)

    @deferred
    async def configure(self, gain: float | None = None, readout_mode: str = "") -> None:
        """See `Camera`; where gains have names, the number is the place of one in the camera's list (ASCOM)."""
        modes: list[str] = []
        if readout_mode:
            modes = await self._readout_modes()
            if readout_mode not in modes:
                there = ", ".join(map(str, modes)) or "none"
                text = f"{self.name} has no readout mode {readout_mode!r}; there are: {there}"
                raise DeviceRefused("UNSUPPORTED", text)
        if gain is not None:
            await self._link.put("gain", Gain=round(gain))
        if readout_mode:
            await self._link.put("readoutmode", ReadoutMode=modes.index(readout_mode))

    @deferred
    async def readout_modes(self) -> tuple[str, ...]:
        await self._link.ready()
        return tuple(await self._readout_modes())

    async def _readout_modes(self) -> list[str]:
        return [str(each) for each in (await self._link.get_or("readoutmodes", list, []))[:_MAX_READOUT_MODES]]

    @deferred
    async def max_binning(self) -> int:
        await self._link.ready()
        return await self._max_binning()

    async def _max_binning(self) -> int:
        return max(1, min(MAX_BINNING, *[await self._link.fact(name, int, 1) for name in ("maxbinx", "maxbiny")]))

    @deferred
    async def expose(
        self, seconds: float, filter: str = "", tag: str = "", started: Started | None = None, *, dark: bool = False,
        binning: int = 1,
    ) -> Image:  # fmt: skip
        if self._exposing is not None:
            raise DeviceRefused("BUSY", f"{self.name}: an exposure is under way")
        with self._command("exposure") as command:
            self._exposing = command
            try:
                async with self._turn(command):  # what is being aborted is over then
                    await self._check_that_it_can(filter, float(seconds), dark, binning)
                bins = binning if binning > 1 else self._option("bin", 1)
                return await self._expose_now(command, float(seconds), started, dark, bins)
            finally:
                if self._exposing is command:
                    self._exposing = None

    async def _check_that_it_can(self, filter: str, seconds: float, dark: bool, binning: int) -> None:
        if await self._link.get("camerastate", int) in _STATES:  # an exposure that somebody else began
            raise DeviceRefused("BUSY", f"{self.name}: an exposure is under way")
        if filter:
            raise DeviceRefused("UNSUPPORTED", f"{self.name} has no filter wheel of its own: no filter {filter!r}")
        if dark and seconds > 0 and not await self._link.fact("hasshutter", bool, False):
            raise DeviceRefused("UNSUPPORTED", f"{self.name} has no shutter for a dark")
        if binning != 1 and not 1 < binning <= (most := await self._max_binning()):
            raise DeviceRefused("VALUE", f"{self.name}: binning {binning} is not from 1 to {most}")
        if await self._link.fact("sensortype", int, 0) not in _TWO_DIMENSIONS:
            raise DeviceRefused("UNSUPPORTED", f"{self.name}: {COLOUR}")

    async def _expose_now(
        self, command: DeviceCommand, seconds: float, started: Started | None, dark: bool, bins: int
    ) -> Image:
        geometry = await self._geometry(bins)
        if seconds == 0:  # a bias: as short as can be
            seconds = max(0.0, await self._link.fact("exposuremin", float, 0.0))
        await self._whole_frame(bins)
        if await self._link.get("camerastate", int) == _ERROR:  # of an exposure before; this ends it
            await self._link.put("abortexposure")
        await self._avoid_the_image_thrown_away(command, seconds)
        opened, end = self._clock.time(), self._clock.monotonic() + seconds
        try:
            async with self._turn(command):
                await self._link.put("startexposure", Duration=seconds, Light=not dark)
                opened, end = self._clock.time(), self._clock.monotonic() + seconds
                self._due, self._fetched = end, False
            if started is not None:
                started(seconds + self._readout_seconds)
            while (left := end - self._clock.monotonic()) > 0:
                await command.pause(min(left, 1.0))
                await self._check_on_the_way(end - self._clock.monotonic())
            most = self._option("readout_seconds", _MAX_READOUT_SECONDS)
            await self._until(command, self._image_ready, self._readout_seconds, most)
            ready = self._clock.monotonic()
            pixels = await self._fetched_image(command)
        except BaseException:  # whatever it is, nobody will fetch its image
            self._thrown_away.add(end)
            raise
        with suppress(ConnectionLost):  # it is here, whatever has become of the camera since
            await command.check()
        self._readout_seconds = self._clock.monotonic() - end
        return await self._described(pixels, geometry, opened, seconds, ready - end + seconds, bins)

    async def _described(
        self, pixels: NDArray[np.uint16], geometry: Geometry, opened: float, seconds: float, elapsed: float, bins: int
    ) -> Image:
        """Return the image with what the camera tells about it; an answer that stays out costs no image."""
        exposed = await self._link.get_if_told("lastexposureduration", float)
        temperature = await self._link.get_if_told("ccdtemperature", float)
        gain = await self._link.get_if_told("electronsperadu", float)
        scale = geometry.arcsec_per_pixel
        height, width = pixels.shape
        if (width, height) != (geometry.width, geometry.height):
            log.warn(
                "{name}: an image of {width} x {height} pixels, and not of the {wanted} that were set",
                name=self.name, width=width, height=height, wanted=f"{geometry.width} x {geometry.height}",
            )  # fmt: skip
            across, along = geometry.width / width, geometry.height / height
            if abs(across - along) < 0.1 * along:  # the whole detector, in larger or smaller pixels
                scale *= (across + along) / 2
        return Image(
            pixels=pixels,
            started=opened,
            seconds=exposed if exposed is not None and 0 <= exposed <= elapsed + _LATE_SECONDS else seconds,
            filter="",
            temperature=temperature if temperature is not None and -273.15 <= temperature <= 100 else None,
            gain=gain if gain is not None and gain > 0 else None,
            arcsec_per_pixel=scale,
            binning=bins,
        )

    async def _avoid_the_image_thrown_away(self, command: DeviceCommand, seconds: float) -> None:
        """Begin an exposure a little later that would end with one that was aborted, or failed.

        Some cameras leave the image of the aborted one when it would have ended; it must not be taken for the new one.
        """
        now = self._clock.monotonic()
        self._thrown_away = {each for each in self._thrown_away if now < each + _LATE_SECONDS}
        end = now + seconds
        for each in sorted(self._thrown_away):
            if each - 1.0 < end < each + _LATE_SECONDS:
                end = each + _LATE_SECONDS
        if end > now + seconds:
            await command.pause(end - now - seconds)

    async def _check_on_the_way(self, left: float) -> None:
        """Ask the camera in mid-exposure whether it failed; an answer that stays out does not end the exposure."""
        if left < 0.5:
            return
        if await self._link.get_if_told("camerastate", int) == _ERROR:
            raise DeviceFailed(f"{self.name}: exposure: the camera reports an error")
        if await self._link.get_if_told("imageready", bool):  # that of an exposure before, which is in the way
            await self._image()

    async def _image_ready(self) -> bool | None:
        state = await self._link.get("camerastate", int)
        if state == _ERROR:
            raise DeviceFailed(f"{self.name}: exposure: the camera reports an error")
        if state in (_WAITING, _EXPOSING, _READING):
            return None
        return True if await self._link.get("imageready", bool) else None

    async def _fetched_image(self, command: DeviceCommand) -> NDArray[np.uint16]:
        """Fetch the image, again if that failed: the camera still has it."""
        for _ in range(_MAX_FETCHES - 1):
            try:
                return await self._image()
            except DeviceFailed as failure:
                log.warn("{reason}; the image is asked for again", reason=str(failure))
                await command.pause(_REFETCH_SECONDS)
        return await self._image()

    async def _image(self) -> NDArray[np.uint16]:
        across, along = await self._whole_size()
        most = across * along
        what = self._link.describe("GET imagearray")
        path = f"{self._address.path}/imagearray"
        _, body = await self._link.reach(
            self._link.client.request(
                "GET", path, what, seconds=self._option("download_seconds", _FETCH_SECONDS), accept=_ACCEPT,
                limit=most * BYTES_PER_ELEMENT + (1 << 20),
            )
        )  # fmt: skip
        self._fetched = True
        return image_of(body, most, what)

    async def _whole_frame(self, bins: int) -> None:
        """Set the binning, by which the rest counts, and undo the subframe that somebody else has left."""
        width, height = await self._size(bins)
        wanted = {"BinX": bins, "BinY": bins, "StartX": 0, "StartY": 0, "NumX": width, "NumY": height}
        for name, value in wanted.items():
            if await self._link.get_or(name.lower(), int, value) != value:
                await self._link.put(name.lower(), **{name: value})

    async def _size(self, bins: int) -> tuple[int, int]:
        width, height = await self._whole_size()
        if not width >= bins <= height:
            raise DeviceRefused("VALUE", f"{self.name}: {width} x {height} pixels cannot be binned by {bins}")
        return width // bins, height // bins

    async def _whole_size(self) -> tuple[int, int]:
        """Of the unbinned detector."""
        width, height = [await self._link.fact(name, int, 0) for name in ("cameraxsize", "cameraysize")]
        if not (width >= self._option("bin", 1) <= height and width * height <= _MAX_PIXELS):
            raise DeviceFailed(f"{self.name}: says it has {width} x {height} pixels")
        return width, height

    @deferred
    async def abort(self) -> None:
        if self._exposing is not None:
            self._thrown_away.add(self._due)
            self._exposing = None  # from now on another may be asked for
        await self._stop(self._end_exposure, "aborted", "exposure")

    async def _end_exposure(self) -> None:
        if await self._link.fact("canabortexposure", bool, False):
            await self._link.put("abortexposure")
        elif await self._link.get("camerastate", int) in _STATES:
            await self._link.put("stopexposure")  # and nobody fetches its image

    @deferred
    async def filters(self) -> tuple[str, ...]:
        return ()

    @deferred
    async def cool(self, celsius: float | None) -> None:
        async with self._coolings:
            await self._cool(celsius)

    async def _cool(self, celsius: float | None) -> None:
        if not await self._link.fact("cansetccdtemperature", bool, False):
            raise DeviceRefused("UNSUPPORTED", f"{self.name} cannot be cooled to a temperature")
        if celsius is not None:
            await self._link.put("setccdtemperature", SetCCDTemperature=float(celsius))
        await self._link.put("cooleron", CoolerOn=celsius is not None)

    @deferred
    async def cooling(self) -> Cooling:
        await self._link.ready()
        temperature = await self._link.get_if_told("ccdtemperature", float)
        if not await self._link.get_if_told("cooleron", bool):
            return Cooling(temperature)
        return Cooling(
            temperature=temperature,
            target=await self._link.get_if_told("setccdtemperature", float),
            power=await self._link.get_if_told("coolerpower", float),
        )

    @deferred
    async def geometry(self) -> Geometry:
        return await self._geometry(self._option("bin", 1))

    async def _geometry(self, bins: int) -> Geometry:
        width, height = await self._size(bins)
        levels = await self._link.fact("maxadu", int, 65535)
        bits = max(1, min(16, levels.bit_length()))
        return Geometry(width, height, bits, await self._arcsec_per_pixel() * bins)

    async def _arcsec_per_pixel(self) -> float:
        """Of an unbinned pixel."""
        options = self._options
        if "arcsec_per_pixel" in options:
            known: float = options["arcsec_per_pixel"]
            return known
        pixel = await self._link.fact("pixelsizex", float, 0.0) * 1e-6  # micrometres
        focal_length = options["focal_length"] / 1000 if "focal_length" in options else await self._focal_length()
        if not (pixel > 0 and focal_length > 0):
            raise DeviceFailed(
                f"{self.name}: neither it nor a telescope at its server tells how large a pixel is on the sky; "
                "say so in its address: ?arcsec_per_pixel=0.62"
            )
        return _ARCSEC_PER_RADIAN * pixel / focal_length

    async def _focal_length(self) -> float:
        """Return the focal length of the telescope of the same number at the same server in metres, or 0."""
        return await self._link.fact("focallength", float, 0.0, of=f"/api/v1/telescope/{self._address.number}")

    @deferred
    async def state(self) -> CameraState:
        state = await self._link.get("camerastate", int)
        if state in _STATES:
            return _STATES[state]
        if state == _ERROR:
            raise DeviceFailed(f"{self.name}: the camera reports an error")
        return "ready" if await self._link.get("imageready", bool) and not self._fetched else "idle"
