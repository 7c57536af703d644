"""A camera that speaks the native grammar."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError
from pyros.instruments.drivers.commands import DeviceCommand
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import (
    MAX_BINNING,
    CameraState,
    Cooling,
    Geometry,
    Image,
    Kind,
    Started,
)
from pyros.instruments.native._device import NativeDevice, allowed, reason
from pyros.instruments.pixels import to_uint16
from pyros.prepared import prepared

_PIXELS = {"8": "u1", "16": "<u2", "32": "<u4", "-32": "<f4", "-64": "<f8"}
"""numpy's names of the kinds of pixels by their bits, floating ones with a minus as in FITS."""


class _Exposure(DeviceCommand):
    """One exposure, and whether the device was told to begin it."""

    begun = False


class NativeCamera(NativeDevice):
    """A `Camera` that speaks the native grammar."""

    kind: Kind = "camera"
    can_set: tuple[str, ...] = ("gain", "readout_mode", "binning")
    _exposure: _Exposure | None = None
    """The one under way; None once it is to be aborted, for then the device decides whether it takes another."""

    def state(self) -> Deferred[CameraState]:
        return self._read_state(CameraState)

    @deferred
    async def configure(self, gain: float | None = None, readout_mode: str = "") -> None:
        """See `Camera`; the native grammar's gains are in electrons per ADU."""
        if readout_mode:
            modes = await self._readout_modes()
            if readout_mode not in modes:
                text = f"{self.name} has no readout mode {readout_mode!r}; there are: {', '.join(modes) or 'none'}"
                raise DeviceRefused("UNSUPPORTED", text)
        if gain is not None:
            await self._connection.ask("SET", "gain", float(gain))
        if readout_mode:
            await self._connection.ask("SET", "readout_mode", readout_mode)

    @deferred
    async def readout_modes(self) -> tuple[str, ...]:
        return await self._readout_modes()

    async def _readout_modes(self) -> tuple[str, ...]:
        try:
            return (await self._get("readout_modes")).values
        except DeviceRefused:  # it doesn't know the word
            return ()

    @deferred
    async def max_binning(self) -> int:
        try:
            (most,) = await self._numbers("max_binning", 1)
        except DeviceRefused:  # it doesn't know the word
            return 1
        return int(most) if 1 <= most <= MAX_BINNING else 1

    @deferred
    async def expose(
        self, seconds: float, filter: str = "", tag: str = "", started: Started | None = None, *, dark: bool = False,
        binning: int = 1,
    ) -> Image:  # fmt: skip
        if self._exposure is not None:
            raise DeviceRefused("BUSY", "an exposure is under way")
        self._exposure = exposure = _Exposure("exposure", self._clock)
        try:
            # Setting the filter would spoil an exposure from before a restart: ask first.
            if await self._read_state(CameraState) in ("exposing", "reading"):
                raise DeviceRefused("BUSY", "an exposure is under way")
            await exposure.check()
            if filter:
                await self._connection.ask("SET", "filter", filter)
                await exposure.check()
            exposure.begun = True
            try:
                return await self._expose_now(seconds, filter, self._tag(tag), started, dark, binning)
            finally:
                await exposure.check()  # an image that was thrown away is none, and cannot be fetched
        finally:
            if self._exposure is exposure:
                self._exposure = None

    async def _expose_now(
        self, seconds: float, filter: str, tag: str, started: Started | None, dark: bool, binning: int
    ) -> Image:
        closed: dict[str, Any] = ({"dark": 1} if dark else {}) | ({"binning": binning} if binning != 1 else {})
        names = ("exposure_started", "exposure_finished", "image_ready", "exposure_aborted", "exposure_failed")
        with self._connection.watch("exposure", *names, tag=tag) as watch:
            busy = await self._do("expose", seconds=float(seconds), tag=tag, **closed)
            if busy is None:
                raise DeviceFailed(f"{self.name}: answered OK to DO expose, not BUSY")
            opened = self._clock.time()
            most = allowed(busy.seconds)
            if "readout_seconds" in self._options:
                most = seconds + self._option("readout_seconds", 0.0)
            while (event := await watch.next_event(most, self.name)).name != "image_ready":
                if event.name == "exposure_aborted":
                    raise CommandAborted(f"{self.name}: exposure: aborted")
                if event.name == "exposure_failed":
                    raise DeviceFailed(f"{self.name}: exposure failed: {reason(event)}")
                if event.name == "exposure_started":
                    opened = self._clock.time()
                    if started is not None:
                        started(busy.seconds)
        pixels, exposed, scale = await self._image()
        temperature, gain = await self._number_if_told("temperature"), await self._number_if_told("gain")
        return Image(
            pixels=pixels,
            started=opened,
            seconds=float(seconds) if exposed is None else exposed,
            filter=filter,
            temperature=temperature if temperature is not None and -273.15 <= temperature <= 100 else None,
            gain=gain if gain is not None and gain > 0 else None,
            arcsec_per_pixel=scale * binning,
            binning=binning,
        )

    async def _number_if_told(self, name: str) -> float | None:
        """Ask for a property that nothing depends on; None where it cannot be had, for whatever reason."""
        try:
            (number,) = await self._numbers(name, 1)
        except InstrumentError:
            return None
        return number

    async def _image(self) -> tuple[NDArray[np.uint16], float | None, float]:
        """Fetch the pixels, the exposure time that came with them, if any, and the size of a pixel on the sky."""
        geometry = await self.geometry()
        answer = await self._get("image")
        said = re.fullmatch(r"(\d{1,6}) (\d{1,6}) (-?\d{1,2})", " ".join(answer.values))
        kind = _PIXELS.get(said[3]) if said is not None else None
        if answer.block is None or said is None or kind is None:
            raise DeviceFailed(f"{self.name}: answered {answer.values} to GET image, not an image")
        width, height = int(said[1]), int(said[2])
        if len(answer.block) != width * height * np.dtype(kind).itemsize:
            raise DeviceFailed(f"{self.name}: an image of {width} x {height} came in {len(answer.block)} bytes")
        pixels = to_uint16(np.frombuffer(answer.block, kind).reshape(height, width))
        try:
            exposed = float(answer.named["seconds"])
        except (KeyError, ValueError):
            exposed = math.nan
        return pixels, exposed if 0 <= exposed < math.inf else None, geometry.arcsec_per_pixel

    @deferred
    async def abort(self) -> None:
        exposure, self._exposure = self._exposure, None
        under_way = self._connection.watches("image_ready")
        error = CommandAborted(f"{self.name}: exposure: aborted")
        if exposure is not None and not exposure.begun:  # whatever the device says to it, it never does
            exposure.end(error)
        await self._do("abort")
        if exposure is not None:
            exposure.end(error)
        self._end_watches(under_way, "aborted")

    @deferred
    async def filters(self) -> tuple[str, ...]:
        return (await self._get("filters")).values

    @deferred
    async def geometry(self) -> Geometry:
        width, height, bits, scale = await self._numbers("geometry", 4)
        return Geometry(int(width), int(height), int(bits), scale)

    @deferred
    async def cool(self, celsius: float | None) -> None:
        await self._connection.ask("SET", "cooler", "off" if celsius is None else float(celsius))

    @deferred
    async def cooling(self) -> Cooling:
        named = (await self._get("cooling")).named
        try:
            return msgspec.convert(named, prepared(Cooling), strict=False)
        except msgspec.ValidationError as error:
            raise DeviceFailed(f"{self.name}: answered {named} to GET cooling: {error}") from None
