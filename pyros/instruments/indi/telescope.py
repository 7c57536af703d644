"""A mount behind INDI."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyros.angles import separation_arcsec
from pyros.errors import CommandAborted, ConnectionLost, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from pyros.instruments.drivers.coordinates import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.drivers.device import deferred
from pyros.instruments.drivers.horizon import refuse_below
from pyros.instruments.drivers.pointing import TOLERANCE_ARCSEC, checked_slew
from pyros.instruments.indi import codec
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import IndiCommand, code_of
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Kind, PierSide, Place, Pointing, Position, Started, TelescopeState

_OF_DATE, _J2000 = "EQUATORIAL_EOD_COORD", "EQUATORIAL_COORD"
_FINE_ARCSEC = 2.0
"""A mount that says Ok farther off is sent there again: its second, short slew ends closer."""
_MAX_FINE_SLEWS = 3
_MAX_SYNCS = 5
"""A mount that has said that it is there and still settles may pass over a sync without a word: it is sent again."""
_MAX_POLL_MILLISECONDS = 5000.0
_MOTION, _SYNC = "motion", "sync"
_TRACKING = "TELESCOPE_TRACK_STATE"
_STOP_SECONDS = 10.0
_SETTLE_SECONDS = 10.0
"""How long a mount may stand on its target and say that it slews, before it is stopped there."""
_MAX_SLEW_ATTEMPTS = 3
"""How often a mount that refuses a slew because it moves is stopped and told again."""
_DRIFT_SECONDS = 10.0
_DRIFT_ARCSEC = 7.5
"""A mount that says that it tracks and goes on against the sky for so long, and this fast a second at the equator, does
not: one that stands still drifts by 15."""
_COARSE_ARCSEC = 60.0
"""Mounts tell their positions no more coarsely."""


@dataclass
class _MountMotion:
    """Whether a slew may have left the mount moving."""

    unknown: bool = False


class IndiTelescope(IndiDevice):
    """A `Telescope` behind INDI: J2000 where the mount counts in it, else the equator and equinox of date."""

    kind: Kind = "telescope"
    wants_site = True
    interface = 1

    def __init__(
        self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, site: Place | None = None, **named: Any
    ) -> None:
        self._site = site
        self._unattended = False
        """A slew was given up while the mount could not be told to stop."""
        self._seen: tuple[float, Position] | None = None
        """Where the mount was seen tracking, and when."""
        self._drifts = False
        super().__init__(*args, **named)
        self.tolerance_arcsec = self._option("tolerance_arcsec", tolerance_arcsec)
        self._slew_seconds = self._option("slew_seconds", MOTION_SECONDS)
        self._stop_seconds = self._option("stop_seconds", _STOP_SECONDS)

    # When it has become ready.

    def _missing(self, properties: Properties) -> str:
        return "" if _OF_DATE in properties or _J2000 in properties else _OF_DATE

    def _prepare(self) -> None:
        """Tell the time and the place to a mount that can be told: it finds the horizon, and the hour, by them."""
        device, known = self._connection.device, self._properties
        self._forget_drift()
        if self._unattended and "TELESCOPE_ABORT_MOTION" in known:
            self._connection.write(codec.new_vector("Switch", device, "TELESCOPE_ABORT_MOTION", {"ABORT": True}))
        self._unattended = False
        if (clock := known.get("TIME_UTC")) is not None and clock.writable:
            now = datetime.fromtimestamp(self._clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._connection.write(codec.new_vector("Text", device, "TIME_UTC", {"UTC": now, "OFFSET": "0"}))
        place = known.get("GEOGRAPHIC_COORD")
        if self._site is not None and place is not None and place.writable:
            wanted = {
                "LAT": self._site.latitude,
                "LONG": self._site.longitude % 360,
                "ELEV": self._site.elevation,
            }
            # Not when it knows: many mounts keep their alignment with it, and drivers write it to a file.
            if any(abs((place.number(key) or 0.0) - value) > 1e-3 for key, value in wanted.items() if key != "ELEV"):
                self._connection.write(codec.new_vector("Number", device, "GEOGRAPHIC_COORD", wanted))

    # Positions.

    @property
    def _frame(self) -> str:
        return _OF_DATE if _OF_DATE in self._properties else _J2000

    def _to_mount(self, ra: float, dec: float) -> dict[str, float]:
        if self._frame == _J2000:  # which is ICRS to 0.02 arcseconds
            return {"RA": ra % 360 / 15, "DEC": dec}
        apparent = apparent_of_icrs(ra, dec, self._clock.time())
        return {"RA": apparent[0] / 15, "DEC": apparent[1]}

    def _where(self, vector: Property) -> Position:
        hours, dec = vector.number("RA"), vector.number("DEC")
        if hours is None or dec is None or not -90 <= dec <= 90:
            raise DeviceFailed(f"{self.name}: its position is no position: RA {hours}, DEC {dec}")
        if vector.name == _J2000:
            return Position(hours * 15 % 360, dec)
        return Position(*icrs_of_apparent(hours * 15, dec, self._clock.time()))

    @deferred
    async def position(self) -> Position:
        await self._connection.until_ready()
        return self._where(await self._ask(self._frame))

    @deferred
    async def state(self) -> TelescopeState:
        """Tracking only while the mount says so and keeps to the sky."""
        await self._connection.until_ready()
        vector = await self._ask(self._frame)
        known = self._properties
        if (park := known.get("TELESCOPE_PARK")) is not None and park.is_on("PARK"):
            return "parking" if park.state == "Busy" else "parked"
        if vector.state == "Busy":
            self._forget_drift()
            return "slewing"
        if (tracking := known.get(_TRACKING)) is not None:
            tracks = tracking.is_on("TRACK_ON") and tracking.state != "Alert" and vector.state != "Alert"
        else:
            tracks = vector.state == "Ok"
        return "tracking" if tracks and not self._is_drifting(vector) else "idle"

    def _is_drifting(self, vector: Property) -> bool:
        """Whether a mount that says that it tracks goes on against the sky, or tells no position."""
        now = self._clock.monotonic()
        try:
            here = self._where(vector)
        except DeviceFailed:
            return True
        if self._seen is None:
            self._seen = now, here
        since, there = self._seen
        if now - since >= _DRIFT_SECONDS:
            off = separation_arcsec(there.ra, there.dec, here.ra, here.dec)
            rate = _DRIFT_ARCSEC * math.cos(math.radians(here.dec))
            self._drifts = off > max(_COARSE_ARCSEC, rate * (now - since))
            self._seen = now, here
        return self._drifts

    def _forget_drift(self) -> None:
        self._seen, self._drifts = None, False

    # Slews.

    @deferred
    async def slew(
        self, ra: float, dec: float, tag: str = "", started: Started | None = None, *, side: PierSide = ""
    ) -> Pointing:
        with self._connection.command(f"slew {tag}".strip(), _MOTION) as command:
            motion = _MountMotion()

            async def slew(attempt: int) -> None:
                for fine in range(_MAX_FINE_SLEWS):
                    begin = started if attempt == 1 and fine == 0 else None
                    await self._slew_once(command, ra, dec, begin, motion)
                    here = self._where(await command.ask(self._frame))
                    if separation_arcsec(ra, dec, here.ra, here.dec) <= _FINE_ARCSEC:
                        return

            async def measure() -> Position:
                return self._where(await command.ask(self._frame))

            try:
                pointing = await checked_slew(slew, measure, ra, dec, self.name, self.tolerance_arcsec)
                await self._track_now(command)
            except (DeviceRefused, DeviceFailed, NoAnswer):
                if motion.unknown:
                    await self._stop_unattended(command)
                raise
            self._forget_drift()
            return pointing

    async def _track_now(self, command: IndiCommand) -> None:
        """Make sure that a mount on its target follows the sky. Raises DeviceFailed for one that does not."""
        tracking = self._properties.get(_TRACKING)
        if tracking is None:
            if command.property(self._frame).state == "Idle":
                raise DeviceFailed(command.describe("it is on its target, and does not track"))
            return
        if tracking.is_on("TRACK_ON") and tracking.state != "Alert":
            return
        since = self._properties.serial
        if tracking.writable:
            try:
                await command.change(_TRACKING, {"TRACK_ON": True})
            except DeviceRefused as refusal:
                raise DeviceFailed(f"{refusal}: it is on its target, and does not track") from None

        def on() -> Property | None:
            now = self._properties.get(_TRACKING)
            return now if now is not None and now.is_on("TRACK_ON") and now.state != "Alert" else None

        await command.ask(_TRACKING)  # some say yes, and then that they don't
        with suppress(NoAnswer):
            await command.until(on, self._begin_seconds, "it does not track")
            return
        raise command.failed(since, "it is on its target, and does not track, though it was told to")

    async def _stop_unattended(self, command: IndiCommand) -> None:
        """Stop a mount that may go on for nobody; at once, or when there is a connection again."""
        if any(other is not command for other in self._connection.commands.of(_MOTION)):
            return
        if not self._connection.connected:
            self._unattended = True
            return
        try:
            await self._abort_motion(command)
        except (ConnectionLost, NoAnswer):
            self._unattended = True
        except InstrumentError:
            pass  # it cannot be stopped, or was ended by a newer command

    async def _slew_once(
        self, command: IndiCommand, ra: float, dec: float, started: Started | None, motion: _MountMotion
    ) -> None:
        await self._connection.until_ready()
        _check(command, ra, dec)
        self._check_horizon(command, ra, dec)
        self._end(_MOTION, "a newer slew took its place", command)
        self._end(_SYNC, "a slew took its place", command)
        await command.settled(self._frame)
        motion.unknown = command.property(self._frame).state == "Busy"  # on its way for a command that was ended
        await self._make_ready(command)
        await command.change("ON_COORD_SET", {"TRACK": True})
        vector, since = await self._begin_slew(command, ra, dec, motion)
        if vector.state != "Busy":
            return
        motion.unknown = True
        begun(started, vector)
        end = await self._end_of_slew(command, ra, dec)
        if end.state == "Alert":
            raise command.failed(since, "the mount says Alert", end)
        if end.state == "Busy":  # it stands there
            await self._abort_motion(command)
            motion.unknown = False
            return
        motion.unknown = False
        if end.state == "Idle" and not self._is_at(ra, dec, end):
            raise CommandAborted(command.describe("stopped by somebody else, or by the mount itself"))

    def _is_at(self, ra: float, dec: float, vector: Property) -> bool:
        try:
            here = self._where(vector)
        except DeviceFailed:
            return False
        return separation_arcsec(ra, dec, here.ra, here.dec) <= self.tolerance_arcsec

    async def _begin_slew(
        self, command: IndiCommand, ra: float, dec: float, motion: _MountMotion
    ) -> tuple[Property, int]:
        """Send the mount there; one that refuses because it moves is stopped first, and told again."""
        for attempt in range(_MAX_SLEW_ATTEMPTS):
            was_moving = motion.unknown
            try:
                vector, since = await self._send(command, ra, dec)
                # What it tells of its older movement is no answer, when it has complained of that.
                if not (was_moving and code_of(self._properties.complaint(since)) == "BUSY"):
                    return vector, since
                raise command.refused(since, "it moves")
            except DeviceRefused as refusal:
                if not (was_moving or refusal.code == "BUSY") or attempt == _MAX_SLEW_ATTEMPTS - 1:
                    raise
                reason = refusal
            except NoAnswer:
                motion.unknown = True
                raise
            motion.unknown = True
            if attempt:
                with suppress(NoAnswer):  # it takes a moment to stand still
                    await command.until(lambda: None, 1.0, "")
            try:
                await self._abort_motion(command)
            except DeviceRefused:
                raise reason from None
        raise AssertionError("the last attempt raises or returns")

    async def _send(self, command: IndiCommand, ra: float, dec: float) -> tuple[Property, int]:
        def arrived(vector: Property) -> bool:
            """Whether the mount says that it is done, and is there: a short slew may be over before it was Busy."""
            if vector.state != "Ok":
                return False
            here = self._where(vector)
            return separation_arcsec(ra, dec, here.ra, here.dec) <= _FINE_ARCSEC

        return await command.change(self._frame, self._to_mount(ra, dec), self._answer_to(arrived))

    async def _end_of_slew(self, command: IndiCommand, ra: float, dec: float) -> Property:
        """Wait until the mount has ended its slew, or has stood on the target for long and still says Busy."""
        clock, seconds = self._clock, self._slew_seconds
        settle = self._option("settle_seconds", _SETTLE_SECONDS)
        there: list[float] = []

        def ended() -> Property | None:
            vector = self._properties.get(self._frame)
            if vector is None or vector.state != "Busy":
                return vector
            if not self._is_at(ra, dec, vector):
                there.clear()
                return None
            there.append(clock.monotonic())
            del there[1:]
            return vector if clock.monotonic() - there[0] >= settle else None

        return await command.until(ended, seconds, f"no end within {seconds:.0f} s")

    def _park_ended(self) -> Property | None:
        return self._properties.at_rest("TELESCOPE_PARK")

    async def _make_ready(self, command: IndiCommand) -> None:
        """Unpark a parked mount, stop a parking one."""
        park = self._properties.get("TELESCOPE_PARK")
        if park is None or not park.is_on("PARK"):
            return
        if park.state == "Busy":
            await self._abort_motion(command)
        if not command.property("TELESCOPE_PARK").is_on("UNPARK"):
            await command.change("TELESCOPE_PARK", {"UNPARK": True})
            await command.until(self._park_ended, self._slew_seconds, "it does not unpark")

    def _check_horizon(self, command: IndiCommand, ra: float, dec: float) -> None:
        """Refuse what is below the horizon of the place that the mount knows: not every mount does it."""
        latitude = self._properties.number("GEOGRAPHIC_COORD", "LAT")
        longitude = self._properties.number("GEOGRAPHIC_COORD", "LONG")
        if self._site is not None:
            latitude, longitude = self._site.latitude, self._site.longitude
        refuse_below(ra, dec, latitude, longitude, self._clock.time(), f"{self.name}: {command.what}")

    # The rest.

    @deferred
    async def stop(self) -> None:
        with self._connection.command("stop") as command, self._stopping(_MOTION):
            await self._connection.until_ready()
            await self._abort_motion(command)

    async def _abort_motion(self, command: IndiCommand) -> None:
        await command.change("TELESCOPE_ABORT_MOTION", {"ABORT": True})
        frame = self._frame
        await command.until(lambda: self._properties.at_rest(frame), self._stop_seconds, "told to stop, it still moves")
        if "TELESCOPE_PARK" in self._properties:
            await command.until(self._park_ended, self._stop_seconds, "told to stop, it still parks")

    @deferred
    async def park(self, started: Started | None = None) -> None:
        with self._connection.command("park", _MOTION) as command:
            await self._connection.until_ready()
            command.property("TELESCOPE_PARK")
            self._end(_MOTION, "parking took its place", command)
            self._end(_SYNC, "parking took its place", command)
            park = await command.settled("TELESCOPE_PARK")
            if park.is_on("PARK") and park.state != "Busy":
                return
            moves = command.property(self._frame).state == "Busy"
            try:
                vector, since = await command.change("TELESCOPE_PARK", {"PARK": True})
            except DeviceRefused as refusal:
                if not moves and refusal.code != "BUSY":
                    raise
                await self._abort_motion(command)  # it doesn't park while it moves
                vector, since = await command.change("TELESCOPE_PARK", {"PARK": True})
            begun(started, vector)
            if vector.state == "Busy":
                seconds = self._slew_seconds
                vector = await command.until(self._park_ended, seconds, f"no end within {seconds:.0f} s")
            if vector.state == "Alert" or not vector.is_on("PARK"):
                raise command.failed(since, "the mount says that it is not parked", vector)

    @deferred
    async def unpark(self) -> None:
        with self._connection.command("unpark", _MOTION) as command:
            await self._connection.until_ready()
            command.property("TELESCOPE_PARK")
            self._end(_MOTION, "unparking took its place", command)
            park = await command.settled("TELESCOPE_PARK")
            if park.is_on("UNPARK") and park.state != "Busy":
                if (await command.ask(self._frame)).state == "Busy":  # a slew whose command has ended just now
                    await self._abort_motion(command)
                return
            await self._make_ready(command)

    @deferred
    async def side(self) -> PierSide:
        await self._connection.until_ready()
        pier = self._properties.get("TELESCOPE_PIER_SIDE")
        if pier is None:
            return ""
        return "west" if pier.is_on("PIER_WEST") else "east" if pier.is_on("PIER_EAST") else ""

    @deferred
    async def track(self, on: bool) -> None:
        await self._connection.until_ready()
        self._forget_drift()
        await self._switch(_TRACKING, "TRACK_ON" if on else "TRACK_OFF", f"track {'on' if on else 'off'}")

    @deferred
    async def sync(self, ra: float, dec: float) -> None:
        """Refused (BUSY) while it moves: what it is sent then would be taken for the target."""
        with self._connection.command("sync", _SYNC) as command:
            await self._connection.until_ready()
            _check(command, ra, dec)
            if self._connection.commands.of(_MOTION):
                raise DeviceRefused("BUSY", command.describe("the mount is moving"))
            self._end(_SYNC, "a newer one took its place", command)
            await command.settled(self._frame)
            try:
                await command.change("ON_COORD_SET", {"SYNC": True})
                for _ in range(_MAX_SYNCS):
                    _, since = await command.change(self._frame, self._to_mount(ra, dec))
                    await self._polled(command)
                    here = self._where(await command.ask(self._frame))
                    off = separation_arcsec(ra, dec, here.ra, here.dec)
                    if off <= self.tolerance_arcsec:
                        self._forget_drift()
                        return
                raise command.failed(since, f"the mount now says that it is {off:.0f} arcsec from there")
            finally:  # or the next position that anybody sends would be a sync
                with self._connection.command("the end of a sync") as afterwards:
                    await afterwards.change("ON_COORD_SET", {"TRACK": True})

    async def _polled(self, command: IndiCommand) -> None:
        """Until INDI's driver has asked the mount itself again: before, it may only repeat what it was told."""
        period = self._properties.number("POLLING_PERIOD", "PERIOD_MS") or 0.0
        if 0.0 < period <= _MAX_POLL_MILLISECONDS:
            await self._pause(2 * period / 1000)


def _check(command: IndiCommand, ra: float, dec: float) -> None:
    if not (math.isfinite(ra) and -90 <= dec <= 90):
        raise DeviceRefused("VALUE", command.describe(f"ra {ra}, dec {dec} is no position"))
