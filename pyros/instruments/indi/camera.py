"""A camera behind INDI: its first detector, its own filter wheel if it has one, its cooler."""

from __future__ import annotations

import math
import re
from collections import deque
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.drivers.device import deferred
from pyros.instruments.indi import codec
from pyros.instruments.indi._device import IndiDevice
from pyros.instruments.indi.codec import Blob
from pyros.instruments.indi.command import ANSWER_SECONDS, IndiCommand
from pyros.instruments.indi.filter_wheel import SLOT, filters, slot_of, turn
from pyros.instruments.indi.image import DecodedImage, decode
from pyros.instruments.indi.properties import Property
from pyros.instruments.interfaces import MAX_BINNING, CameraState, Cooling, Geometry, Image, Kind, Started

_EXPOSURE, _SECONDS, _IMAGE, _INFO = "CCD_EXPOSURE", "CCD_EXPOSURE_VALUE", "CCD1", "CCD_INFO"
_TEMPERATURE, _CELSIUS = "CCD_TEMPERATURE", "CCD_TEMPERATURE_VALUE"
_TYPE, _FRAME, _BINNING = "CCD_FRAME_TYPE", "CCD_FRAME", "CCD_BINNING"
_GAINS = (("CCD_GAIN", "GAIN"), ("CCD_CONTROLS", "Gain"))
"""Where cameras have their gain: the standard property, and that of many drivers (ZWO, QHY, Player One)."""
_READOUT_MODES = ("READOUT_MODE", "CCD_READ_MODE", "READOUT_QUALITY", "READOUT_SPEED", "READ_MODE")
"""Where cameras have their readout modes, for INDI has no standard for them: Alpaca's cameras behind INDI, Moravian's,
Apogee's, older ones of QHY, and newer ones, which only number them."""
_MOST_MODES = 64
_COLOUR_FORMATS = ("CCD_CAPTURE_FORMAT", "CCD_VIDEO_FORMAT", "CCD_COLOR_SPACE")
"""Vectors in which drivers offer colour images beside raw or mono ones."""
_COLOUR = re.compile(r"rgb|bgr|yuv|\bcolou?r\b", re.IGNORECASE)
_READOUT_SECONDS = 5.0
"""Seconds that reading out and sending are thought to take; INDI tells nothing of it."""
_READOUT_MARGIN_SECONDS = 60.0
_ARCSEC_PER_MILLIRADIAN = 206.264806  # micrometres over millimetres, in arcseconds
_KEYWORD = ("KEYWORD_NAME", "KEYWORD_VALUE", "KEYWORD_COMMENT")
"""How libindi 2 sets a card of the header; libindi 1 had a member for the OBJECT alone."""
_LABEL = re.compile(r"~\d+$")
"""How our own tags end."""


class IndiCamera(IndiDevice):
    """A `Camera` behind INDI.

    An image belongs to the exposure under way when its header has the exposure's tag. Where there is no tag, when it
    did not come before it could, and is not that of an exposure that was given up: a driver may send that one later.
    How long it was exposed is what its header says, whatever the camera was asked for.

    The address may say ``bin=2``; without it, and where an exposure asks for no other binning, the detector is read
    unbinned. It is always read whole.
    """

    kind: Kind = "camera"
    can_set: tuple[str, ...] = ("gain", "readout_mode", "binning")
    interface = 2
    needs = (_EXPOSURE, _IMAGE, _INFO)

    def __init__(self, *args: Any, **named: Any) -> None:
        self._target: float | None = None
        self._exposing: IndiCommand | None = None
        """The exposure under way; None once it is to be aborted."""
        self._begun = False  # and the camera was told to begin it
        self._given_up: deque[float] = deque(maxlen=8)
        """The lengths of exposures that were given up, and whose images may still come."""
        self._asked = 0.0  # the length of the exposure under way
        self._part: tuple[float | None, ...] = ()  # what the camera made of the whole detector
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
    async def configure(self, gain: float | None = None, readout_mode: str = "") -> None:
        await self._connection.until_ready()
        settings: list[tuple[str, Property, str, float | bool]] = []
        if readout_mode:
            modes = self._modes()
            if readout_mode not in modes:
                there = ", ".join(modes) or "none"
                text = f"{self.name} has no readout mode {readout_mode!r}; there are: {there}"
                raise DeviceRefused("UNSUPPORTED", text)
            settings.append(("readout mode", *modes[readout_mode]))
        if gain is not None:
            settings.append(("gain", *self._gain(), gain))
        for what, vector, member, value in settings:
            if what == "gain" or vector.members[member].value != value:
                with self._connection.command(what, what) as command:
                    await command.change(vector.name, {member: value})

    def _gain(self) -> tuple[Property, str]:
        """Return where the gain is set. Raises DeviceRefused."""
        for name, member in _GAINS:
            known = self._properties.get(name)
            if known is not None and known.writable and member in known.members:
                return known, member
        raise DeviceRefused("UNSUPPORTED", f"{self.name} has no gain that can be set")

    def _modes(self) -> dict[str, tuple[Property, str, bool | float]]:
        """Return for each readout mode, by the name that people read, what is to be set to which value."""
        for vector in filter(None, map(self._properties.get, _READOUT_MODES)):
            if not vector.writable:
                continue
            if vector.type == "Switch":
                return {member.label or name: (vector, name, True) for name, member in vector.members.items()}
            if vector.type == "Number" and len(vector.members) == 1:
                ((name, member),) = vector.members.items()
                if math.isfinite(member.most) and 0 <= member.least <= member.most < _MOST_MODES:
                    numbers = range(math.ceil(member.least), math.floor(member.most) + 1)
                    return {str(number): (vector, name, float(number)) for number in numbers}
        return {}

    @deferred
    async def readout_modes(self) -> tuple[str, ...]:
        await self._connection.until_ready()
        modes = tuple(self._modes())
        return modes if len(modes) > 1 else ()

    @deferred
    async def max_binning(self) -> int:
        await self._connection.until_ready()
        return self._max_binning()

    def _max_binning(self) -> int:
        known = self._properties.get(_BINNING)
        if known is None or not known.writable:
            return 1
        most = [
            member.most if math.isfinite(member.most) and member.least < member.most else float(MAX_BINNING)
            for name in ("HOR_BIN", "VER_BIN")
            if (member := known.members.get(name)) is not None
        ]
        return max(1, int(min([*most, MAX_BINNING]))) if most else 1

    @deferred
    async def expose(
        self, seconds: float, filter: str = "", tag: str = "", started: Started | None = None, *, dark: bool = False,
        binning: int = 1,
    ) -> Image:  # fmt: skip
        with self._connection.command(f"exposure {tag}".strip(), "exposure") as command:
            if self._exposing is not None:
                raise DeviceRefused("BUSY", command.describe("an exposure is under way"))
            self._exposing = command
            try:
                await self._aborts.run(succeed, None)  # what is being aborted is over then
                # Setting the filter would spoil an exposure from before a restart: ask first.
                if (await command.ask(_EXPOSURE)).state == "Busy":
                    raise DeviceRefused("BUSY", command.describe("an exposure is under way"))
                return await self._expose_now(command, float(seconds), filter, tag, started, dark, binning)
            finally:
                if self._exposing is command:
                    self._exposing = None
                    self._reading = self._begun = False

    async def _expose_now(
        self, command: IndiCommand, seconds: float, filter: str, tag: str, started: Started | None, dark: bool,
        binning: int,
    ) -> Image:  # fmt: skip
        await self._shape(command)
        self._refuse_binning(command, binning)
        bias = dark and seconds == 0
        seconds = self._possible(command, seconds)
        self._refuse_colour(command)
        if filter:
            slot = slot_of(command, self._properties, filter)
            if (await command.ask(SLOT)).number("FILTER_SLOT_VALUE") != slot:
                await turn(command, self._properties, slot)
        label = await self._set_up(command, tag, dark, bias=bias, binning=binning)
        scale, bins = (await self._shape(command, binning)).arcsec_per_pixel, self._bins(binning)[0]
        await command.settled(_EXPOSURE)
        mark = self._properties.serial
        self._begun, self._asked = True, seconds
        _, since = await command.change(_EXPOSURE, {_SECONDS: seconds}, lambda now: now.state in ("Busy", "Ok"))
        opened, begin = self._clock.time(), self._clock.monotonic()
        if started is not None:
            started(seconds + _READOUT_SECONDS)
        try:
            frame = await self._image_of(command, mark, since, label, seconds, begin)
        except NoAnswer:
            self._give_up()
            raise
        self._given_up.clear()
        temperature = frame.temperature
        if temperature is None:
            temperature = self._properties.number(_TEMPERATURE, _CELSIUS)
        exposed = seconds if frame.seconds is None else frame.seconds
        return Image(
            frame.pixels, opened, exposed, filter, temperature, frame.gain, scale, frame.bayer if bins == 1 else "",
            int(bins),
        )  # fmt: skip

    async def _image_of(
        self, command: IndiCommand, mark: int, since: int, label: str, seconds: float, begin: float
    ) -> DecodedImage:
        """Wait for the image of this exposure; those of others are passed over."""
        readout = self._option("readout_seconds", max(_READOUT_MARGIN_SECONDS, seconds / 2))
        wait = seconds + _READOUT_SECONDS + readout + self._option("download_seconds", 0.0)
        while True:
            left = max(0.0, begin + wait - self._clock.monotonic())
            blob, came = await self._image(command, mark, since, seconds, begin, left, f"no image within {wait:.0f} s")
            mark = self._properties.serial
            frame = await self._read(blob)
            if self._is_of_this(frame, label, seconds, came - begin):
                return frame

    def _is_of_this(self, frame: DecodedImage, label: str, seconds: float, elapsed: float) -> bool:
        """Whether the image that came so long after the shutter opened is that of the exposure under way."""
        if label and frame.object:
            if frame.object.casefold() == label.casefold():
                return True
            if _LABEL.search(frame.object):
                return False
        own = seconds if frame.seconds is None else min(seconds, frame.seconds)
        if elapsed < own * 0.95 - 1.0:
            return False
        if frame.seconds is not None and not _close(frame.seconds, seconds):
            for other in self._given_up:
                if _close(frame.seconds, other):
                    self._given_up.remove(other)
                    return False
        return True

    def _give_up(self) -> None:
        """Tell a camera from which no image came to stop: it would refuse the next exposure."""
        self._given_up.append(self._asked)
        exposure = self._properties.get(_EXPOSURE)
        if exposure is not None and exposure.state == "Busy" and "CCD_ABORT_EXPOSURE" in self._properties:
            self._connection.write(
                codec.new_vector("Switch", self._connection.device, "CCD_ABORT_EXPOSURE", {"ABORT": True})
            )

    def _shortest(self) -> float:
        """Return the shortest exposure that the camera says it can take, in seconds; 0 where it doesn't say."""
        exposure = self._properties.get(_EXPOSURE)
        member = exposure.members.get(_SECONDS) if exposure is not None else None
        return member.least if member is not None and 0 < member.least < member.most else 0.0

    def _possible(self, command: IndiCommand, seconds: float) -> float:
        """Return the seconds to ask for; 0, a bias, is the shortest that there is. Raises DeviceRefused (VALUE)."""
        if not 0 <= seconds < math.inf:
            raise DeviceRefused("VALUE", command.describe(f"{seconds} is no exposure time"))
        shortest = self._shortest()
        if 0 < seconds < shortest:
            raise DeviceRefused("VALUE", command.describe(f"{seconds:g} s: the shortest exposure is {shortest:g} s"))
        return max(seconds, shortest)

    def _refuse_binning(self, command: IndiCommand, binning: int) -> None:
        """Refuse a binning that the camera says it hasn't."""
        most = self._max_binning()
        if binning == 1 or 1 < binning <= most:
            return
        if most == 1:
            raise DeviceRefused("UNSUPPORTED", command.describe("the camera has no binning that can be set"))
        raise DeviceRefused("VALUE", command.describe(f"binning {binning} is not from 1 to {most}"))

    def _refuse_colour(self, command: IndiCommand) -> None:
        """Refuse before the shutter opens what would be an image of three planes."""
        for vector in filter(None, map(self._properties.get, _COLOUR_FORMATS)):
            if vector.type != "Switch":
                continue
            colour = {name for name, member in vector.members.items() if _COLOUR.search(f"{name} {member.label}")}
            if any(vector.is_on(name) for name in colour):
                others = [name for name in vector.members if name not in colour]
                instead = f"; it also has {', '.join(others)}" if others else ""
                text = f"the camera is set to colour images, and only one plane can be taken ({vector.name}){instead}"
                raise DeviceRefused("UNSUPPORTED", command.describe(text))

    async def _set_up(self, command: IndiCommand, tag: str, dark: bool, *, bias: bool, binning: int) -> str:
        """Prepare the camera for an exposure; return what the image's header will have as its OBJECT, if any."""
        if (types := self._properties.get(_TYPE)) is None:
            if dark:
                raise DeviceRefused("UNSUPPORTED", command.describe("the camera has no shutter to keep closed"))
        else:
            kind = "FRAME_LIGHT"
            if dark:
                kind = "FRAME_BIAS" if bias and "FRAME_BIAS" in types.members else "FRAME_DARK"
            if not types.is_on(kind):
                await command.change(_TYPE, {kind: True})
        for name, member in (("UPLOAD_MODE", "UPLOAD_CLIENT"), ("CCD_TRANSFER_FORMAT", "FORMAT_FITS")):
            vector = self._properties.get(name)
            if vector is not None and member in vector.members and not vector.is_on(member):
                await command.change(name, {member: True})
        await self._read_whole(command, binning)
        return await self._label(command, tag)

    async def _read_whole(self, command: IndiCommand, binning: int) -> None:
        """Set the binning asked for, and undo one, or a subframe, that somebody has left.

        Raises DeviceRefused where the camera keeps it.
        """
        known = self._properties.get(_BINNING)
        wanted = float(binning if binning > 1 else self._option("bin", 1))
        if (
            known is not None
            and known.writable
            and any(known.number(name) not in (None, wanted) for name in ("HOR_BIN", "VER_BIN"))
        ):
            await command.change(_BINNING, {name: wanted for name in ("HOR_BIN", "VER_BIN") if name in known.members})
        frame = self._properties.get(_FRAME)
        whole = self._whole_frame()
        if frame is None or not whole or self._part_of(frame) in (tuple(whole.values()), self._part):
            return
        try:
            frame, _ = await command.change(_FRAME, whole)
        except DeviceRefused:
            # One that only trims its edges reads as much as it can.
            if any((frame.number(size) or 0.0) < 0.9 * whole[size] for size in ("WIDTH", "HEIGHT")):
                raise
        self._part = self._part_of(frame)

    @staticmethod
    def _part_of(frame: Property) -> tuple[float | None, ...]:
        return tuple(frame.number(name) for name in ("X", "Y", "WIDTH", "HEIGHT"))

    def _whole_frame(self) -> dict[str, float]:
        """CCD_FRAME for the whole detector; empty where it cannot be set."""
        frame = self._properties.get(_FRAME)
        width, height = (self._properties.number(_INFO, name) for name in ("CCD_MAX_X", "CCD_MAX_Y"))
        if frame is None or not frame.writable or None in self._part_of(frame) or not width or not height:
            return {}
        return {"X": 0.0, "Y": 0.0, "WIDTH": width, "HEIGHT": height}

    async def _label(self, command: IndiCommand, tag: str) -> str:
        """Give the exposure's image a tag, which it will have as its OBJECT; '' for a camera that takes none."""
        header = self._properties.get("FITS_HEADER")
        self._commands += 1
        label = f"{''.join(c if ' ' < c <= '~' and c not in '<>&/' else '_' for c in tag)[:40]}~{self._commands}"
        if header is None or not header.writable:
            return ""
        if "FITS_OBJECT" in header.members:
            await command.change("FITS_HEADER", {"FITS_OBJECT": label})
        elif all(name in header.members for name in _KEYWORD):
            try:
                await command.change(
                    "FITS_HEADER", dict(zip(_KEYWORD, ("OBJECT", label, "tag of the exposure"), strict=True))
                )
            except DeviceRefused:
                return ""
        else:
            return ""
        return label

    async def _image(
        self, command: IndiCommand, mark: int, since: int, seconds: float, begin: float, wait: float, problem: str
    ) -> tuple[Blob, float]:
        """Wait for the next image after ``mark``; return it, and when it came."""
        clock = self._clock

        def ended() -> tuple[Blob, float] | Property | None:
            exposure, images = self._properties.get(_EXPOSURE), self._properties.get(_IMAGE)
            if images is not None and images.changed > mark and (blob := images.blob(_IMAGE)) is not None:
                images.forget()
                return blob, images.heard
            if exposure is None or exposure.changed <= since:
                return None
            if exposure.state == "Ok" or (exposure.state == "Busy" and exposure.number(_SECONDS) == 0):
                self._reading = True
            if exposure.state == "Idle" and clock.monotonic() - begin >= seconds:
                self._reading = True  # some say so when they are done, before the image
                return None
            return exposure if exposure.state in ("Alert", "Idle") else None

        found: tuple[Blob, float] | Property = await command.until(ended, wait, problem)
        if isinstance(found, tuple):
            return found
        if found.state == "Idle":
            raise CommandAborted(command.describe("aborted by somebody else"))
        raise command.failed(since, "the camera says Alert")

    async def _read(self, blob: Blob) -> DecodedImage:
        """In a thread of the pool: a large image takes a while."""
        try:
            frame: DecodedImage = await deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), decode, blob.data
            )
        except ValueError as error:
            form = f" (format {blob.format!r})"
            raise DeviceFailed(f"{self.name}: its image cannot be read{form}: {error}") from None
        return frame

    @deferred
    async def abort(self) -> None:
        with self._connection.command("abort") as command, self._stopping("exposure", why="aborted"):
            begun, self._exposing = self._begun, None  # from now on another may be asked for
            if begun:
                self._given_up.append(self._asked)
            self._begun = self._reading = False
            async with self._aborts:
                await self._connection.until_ready()
                if begun or (await command.ask(_EXPOSURE)).state == "Busy":
                    await command.change("CCD_ABORT_EXPOSURE", {"ABORT": True})
                await command.until(self._stopped, 10.0, "told to abort, it still exposes")

    def _stopped(self) -> Property | None:
        return self._properties.at_rest(_EXPOSURE)

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

    def _bins(self, binning: int) -> tuple[float, float]:
        """Return the pixels across and along that an exposure with that binning reads as one."""
        known = self._properties.get(_BINNING)
        own = float(binning if binning > 1 else self._option("bin", 1)) if known is not None and known.writable else 0.0
        across, along = (own or self._properties.number(_BINNING, name) or 1.0 for name in ("HOR_BIN", "VER_BIN"))
        return max(1.0, across), max(1.0, along)

    async def _shape(self, command: IndiCommand, binning: int = 1) -> Geometry:
        """From what an exposure reads of the detector, its binning, and the focal length of what stands before it."""
        focal = self._focal_length()
        if focal is None and (mount := self._connection.snooped.device):
            self._connection.write(codec.get_properties(mount, "TELESCOPE_INFO"))  # it may have come after the camera
            with suppress(NoAnswer):
                focal = await command.until(self._focal_length, ANSWER_SECONDS, f"{mount} tells no focal length")
        known = self._properties
        part = known.get(_FRAME)
        whole = self._whole_frame() if part is None or self._part_of(part) != self._part else {}
        width = whole.get("WIDTH") or known.number(_FRAME, "WIDTH") or known.number(_INFO, "CCD_MAX_X") or 0.0
        height = whole.get("HEIGHT") or known.number(_FRAME, "HEIGHT") or known.number(_INFO, "CCD_MAX_Y") or 0.0
        across, along = self._bins(binning)
        bits = known.number(_INFO, "CCD_BITSPERPIXEL") or 16.0
        pixel = known.number(_INFO, "CCD_PIXEL_SIZE_X") or known.number(_INFO, "CCD_PIXEL_SIZE") or 0.0
        if width < 1 or height < 1 or pixel <= 0:
            raise DeviceFailed(command.describe("the camera does not tell its size (CCD_INFO)"))
        if focal is None:
            where = "SCOPE_INFO of the camera, or TELESCOPE_INFO of the mount in its ACTIVE_DEVICES"
            raise DeviceRefused("STATE", command.describe(f"no focal length is set: {where}"))
        return Geometry(
            int(width // across), int(height // along), int(bits), _ARCSEC_PER_MILLIRADIAN * pixel * across / focal
        )

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


def _close(one: float, other: float) -> bool:
    """Whether two exposure times are the same: drivers write them in few digits."""
    return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-3)
