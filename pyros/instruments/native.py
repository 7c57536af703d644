"""The native driver: instruments that speak the native grammar over TCP (see ``native.grammar``).

Everything here runs in the reactor's thread; what the methods mean and raise stands in `pyros.instruments.interfaces`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred

from pyros.clock import Clock
from pyros.errors import CommandAborted, ConfigError, DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.connection import Connection, Watch
from pyros.instruments.grammar import Busy, Event, Ok, Value
from pyros.instruments.interfaces import (
    CameraState,
    DomeState,
    Geometry,
    Image,
    Kind,
    OnConnection,
    OnEvent,
    Pointing,
    Position,
    Started,
    TelescopeState,
)
from pyros.messages import WeatherReading

S = TypeVar("S", bound=str)

TOLERANCE_ARCSEC = 30.0
"""A slew that ends farther from its target is sent again; a mount may say Ok and be 170 arcseconds off."""


def _allowed(estimate: float) -> float:
    """How long to wait for the end of what a device thinks takes ``estimate`` seconds."""
    return estimate + max(10.0, 0.5 * estimate)


def _reason(event: Event) -> str:
    return event.named.get("reason") or "it gave no reason"


def separation_arcsec(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two directions given in degrees, in arcseconds (haversine formula, exact for small angles)."""
    a1, d1, a2, d2 = map(math.radians, (ra1, dec1, ra2, dec2))
    h = math.sin((d2 - d1) / 2) ** 2 + math.cos(d1) * math.cos(d2) * math.sin((a2 - a1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(h)))) * 3600


class NativeDevice:
    """What the native drivers share. Connects at once and stays connected until `disconnect`."""

    kind: Kind

    def __init__(
        self,
        address: str,
        reactor: Any,
        clock: Clock,
        on_connection: OnConnection | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._clock = clock
        self._connection = Connection(self.kind, address, reactor, clock)
        self._connection.on_connection = on_connection
        self._connection.on_event = on_event
        # A tag is never used twice, also not by the next process: an event left over from a command of this one
        # must not end a command of that one.
        self._session = np.base_repr(int(clock.time() * 1000), 36).lower()
        self._commands = 0
        self._connection.start()

    @property
    def name(self) -> str:
        return self._connection.name

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def on_connection(self) -> OnConnection | None:
        return self._connection.on_connection

    @on_connection.setter
    def on_connection(self, function: OnConnection | None) -> None:
        self._connection.on_connection = function

    @property
    def on_event(self) -> OnEvent | None:
        return self._connection.on_event

    @on_event.setter
    def on_event(self, function: OnEvent | None) -> None:
        self._connection.on_event = function

    def disconnect(self) -> Deferred[None]:
        return self._connection.disconnect()

    # For the drivers below.

    def _tag(self, tag: str) -> str:
        self._commands += 1
        return f"{re.sub(r'[^A-Za-z0-9_.:/-]', '_', tag)[:64] or self.kind}~{self._session}~{self._commands}"

    async def _get(self, name: str) -> Ok:
        answer = await self._connection.ask("GET", name)
        if not isinstance(answer, Ok):
            raise DeviceFailed(f"{self.name}: answered BUSY to GET {name}")
        return answer

    async def _numbers(self, name: str, count: int) -> list[float]:
        values = (await self._get(name)).values
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = []
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise DeviceFailed(f"{self.name}: answered {values} to GET {name}, not {count} numbers")
        return numbers

    async def _read_state(self, states: type[S] | Any) -> Any:
        values = (await self._get("state")).values
        if len(values) != 1 or values[0] not in get_args(states):
            allowed = ", ".join(get_args(states))
            raise DeviceFailed(f"{self.name}: answered {values} to GET state, not one of {allowed}")
        return values[0]

    async def _do(self, action: str, started: Started | None = None, **named: Value) -> Busy | None:
        """Begin an action; None means that it is done already."""
        answer = await self._connection.ask("DO", action, **named)
        if isinstance(answer, Ok):
            return None
        if started is not None:
            started(answer.seconds)
        return answer

    async def _end(self, watch: Watch, busy: Busy, what: str) -> Event:
        return await watch.next(self._clock, _allowed(busy.seconds), f"{self.name}: {what}")

    def _aborted(self, what: str, why: str) -> Callable[[], CommandAborted]:
        return lambda: CommandAborted(f"{self.name}: {what}: {why}")


class NativeTelescope(NativeDevice):
    """A `Telescope` that speaks the native grammar."""

    kind: Kind = "telescope"

    def __init__(self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, **named: Any) -> None:
        super().__init__(*args, **named)
        self.tolerance_arcsec = tolerance_arcsec

    def slew(self, ra: float, dec: float, tag: str = "", started: Started | None = None) -> Deferred[Pointing]:
        return Deferred.fromCoroutine(self._slew(ra, dec, tag, started))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def park(self, started: Started | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._park(started))

    def unpark(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._unpark())

    def position(self) -> Deferred[Position]:
        return Deferred.fromCoroutine(self._position())

    def state(self) -> Deferred[TelescopeState]:
        return Deferred.fromCoroutine(self._read_state(TelescopeState))

    async def _slew(self, ra: float, dec: float, tag: str, started: Started | None) -> Pointing:
        error = 0.0
        for _attempt in range(2):
            await self._slew_once(ra, dec, tag, started)
            started = None
            measured = await self._position()
            error = separation_arcsec(ra, dec, measured.ra, measured.dec)
            if error <= self.tolerance_arcsec:
                return Pointing(measured.ra, measured.dec, error)
        raise DeviceFailed(
            f"{self.name}: {error:.0f} arcsec from the target after two slews (at most {self.tolerance_arcsec:g})"
        )

    async def _slew_once(self, ra: float, dec: float, tag: str, started: Started | None) -> None:
        tag = self._tag(tag)
        begin = partial(self._do, "slew", started, ra=float(ra), dec=float(dec), tag=tag)
        with self._connection.watch("slew_finished", "slew_failed", "slew_aborted", tag=tag) as watch:
            try:
                busy = await begin()
            except DeviceRefused as refusal:
                if refusal.code not in ("STATE", "BUSY") or not await self._make_ready():
                    raise
                busy = await begin()
            self._end_park("a slew took its place")
            if busy is None:
                return
            event = await self._end(watch, busy, "slew")
        if event.name == "slew_failed":
            raise DeviceFailed(f"{self.name}: slew failed: {_reason(event)}")
        if event.name == "slew_aborted":
            raise CommandAborted(f"{self.name}: slew: stopped, or a newer command took its place")

    async def _make_ready(self) -> bool:
        """Unpark a parked telescope, stop a parking one; whether it was either."""
        state: TelescopeState = await self._read_state(TelescopeState)
        if state == "parked":
            await self._unpark()
        elif state == "parking":
            await self._stop()
        return state in ("parked", "parking")

    async def _stop(self) -> None:
        await self._do("stop")
        self._end_park("stopped")

    def _end_park(self, why: str) -> None:
        self._connection.end_watches("park_finished", self._aborted("park", why))

    async def _park(self, started: Started | None) -> None:
        with self._connection.watch("park_finished", "park_aborted") as watch:
            busy = await self._do("park", started)
            if busy is not None and (await self._end(watch, busy, "park")).name == "park_aborted":
                raise CommandAborted(f"{self.name}: park: stopped, or a newer command took its place")

    async def _unpark(self) -> None:
        await self._do("unpark")

    async def _position(self) -> Position:
        return Position(*await self._numbers("position", 2))


class NativeCamera(NativeDevice):
    """A `Camera` that speaks the native grammar."""

    kind: Kind = "camera"
    _exposing = False

    def expose(self, seconds: float, filter: str, tag: str = "", started: Started | None = None) -> Deferred[Image]:
        return Deferred.fromCoroutine(self._expose(seconds, filter, tag, started))

    def abort(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._abort())

    def filters(self) -> Deferred[tuple[str, ...]]:
        return Deferred.fromCoroutine(self._filters())

    def geometry(self) -> Deferred[Geometry]:
        return Deferred.fromCoroutine(self._geometry())

    def state(self) -> Deferred[CameraState]:
        return Deferred.fromCoroutine(self._read_state(CameraState))

    async def _expose(self, seconds: float, filter: str, tag: str, started: Started | None) -> Image:
        # Setting the filter would spoil an exposure under way, ours or one from before a restart: ask first.
        if self._exposing or await self._read_state(CameraState) in ("exposing", "reading"):
            raise DeviceRefused("BUSY", "an exposure is under way")
        self._exposing = True
        try:
            await self._connection.ask("SET", "filter", filter)
            return await self._expose_now(seconds, filter, self._tag(tag), started)
        finally:
            self._exposing = False

    async def _expose_now(self, seconds: float, filter: str, tag: str, started: Started | None) -> Image:
        names = ("exposure_started", "exposure_finished", "image_ready", "exposure_aborted", "exposure_failed")
        with self._connection.watch(*names, tag=tag) as watch:
            busy = await self._do("expose", seconds=float(seconds), tag=tag)
            if busy is None:
                raise DeviceFailed(f"{self.name}: answered OK to DO expose, not BUSY")
            opened = self._clock.time()
            while (event := await self._end(watch, busy, "exposure")).name != "image_ready":
                if event.name == "exposure_aborted":
                    raise CommandAborted(f"{self.name}: exposure: aborted")
                if event.name == "exposure_failed":
                    raise DeviceFailed(f"{self.name}: exposure failed: {_reason(event)}")
                if event.name == "exposure_started":
                    opened = self._clock.time()
                    if started is not None:
                        started(busy.seconds)
        pixels, scale = await self._image()
        (temperature,) = await self._numbers("temperature", 1)
        (gain,) = await self._numbers("gain", 1)
        return Image(pixels, opened, float(seconds), filter, temperature, gain, scale)

    async def _image(self) -> tuple[NDArray[np.uint16], float]:
        geometry = await self._geometry()
        answer = await self._get("image")
        if answer.block is None or not re.fullmatch(r"\d{1,6} \d{1,6} 16", " ".join(answer.values)):
            raise DeviceFailed(f"{self.name}: answered {answer.values} to GET image, not a 16-bit image")
        width, height = int(answer.values[0]), int(answer.values[1])
        if len(answer.block) != width * height * 2:
            raise DeviceFailed(f"{self.name}: an image of {width} x {height} came in {len(answer.block)} bytes")
        pixels = np.frombuffer(answer.block, "<u2").reshape(height, width).astype(np.uint16, copy=False)
        return pixels, geometry.arcsec_per_pixel

    async def _abort(self) -> None:
        await self._do("abort")

    async def _filters(self) -> tuple[str, ...]:
        return (await self._get("filters")).values

    async def _geometry(self) -> Geometry:
        width, height, bits, scale = await self._numbers("geometry", 4)
        return Geometry(int(width), int(height), int(bits), scale)


class NativeDome(NativeDevice):
    """A `Dome` that speaks the native grammar."""

    kind: Kind = "dome"

    def open(self, started: Started | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._move("open", started))

    def close(self, started: Started | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._move("close", started))

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def state(self) -> Deferred[DomeState]:
        return Deferred.fromCoroutine(self._read_state(DomeState))

    async def _move(self, action: Literal["open", "close"], started: Started | None) -> None:
        there, opposite = ("opened", "closed") if action == "open" else ("closed", "opened")
        with self._connection.watch(there) as watch:
            busy = await self._do(action, started)
            self._connection.end_watches(opposite, self._aborted("movement", f"{action} took its place"))
            if busy is None:
                return
            try:
                await self._end(watch, busy, action)
            except NoAnswer as silence:
                state: DomeState = await self._read_state(DomeState)
                if state != ("open" if action == "open" else "closed"):
                    raise DeviceFailed(f"{silence}; it is {state}") from None

    async def _stop(self) -> None:
        await self._do("stop")
        for end in ("opened", "closed"):
            self._connection.end_watches(end, self._aborted("movement", "stopped"))


class NativeWeatherStation(NativeDevice):
    """A `WeatherStation` that speaks the native grammar."""

    kind: Kind = "weather"

    def read(self) -> Deferred[WeatherReading]:
        return Deferred.fromCoroutine(self._read())

    async def _read(self) -> WeatherReading:
        named = (await self._get("readings")).named
        known = {key: text for key, text in named.items() if key in WeatherReading.__struct_fields__}
        try:
            reading = msgspec.convert(known, WeatherReading, strict=False)
        except msgspec.ValidationError as error:
            raise DeviceFailed(f"{self.name}: answered {named} to GET readings: {error}") from None
        # A NaN is smaller than no limit and greater than none: it would pass every test for bad weather.
        if not all(math.isfinite(number) for number in msgspec.structs.astuple(reading)):
            raise DeviceFailed(f"{self.name}: answered {named} to GET readings: not all finite")
        return reading


DEVICES: dict[Kind, type[NativeDevice]] = {
    "telescope": NativeTelescope,
    "camera": NativeCamera,
    "dome": NativeDome,
    "weather": NativeWeatherStation,
}


def connect(kind: Kind, address: str, reactor: Any, clock: Clock, **hooks: Any) -> NativeDevice:
    """The native driver for a kind of instrument. Raises ConfigError for an unknown kind or address."""
    if kind not in DEVICES:
        raise ConfigError([f"kind = {kind}: must be one of {', '.join(DEVICES)}"])
    return DEVICES[kind](address, reactor, clock, **hooks)
