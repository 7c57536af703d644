"""A mount behind INDI."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused
from pyros.instruments.apparent import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.device import deferred
from pyros.instruments.horizon import refuse_below
from pyros.instruments.indi import codec
from pyros.instruments.indi._device import MOTION_SECONDS, IndiDevice, begun
from pyros.instruments.indi.command import Command
from pyros.instruments.indi.properties import Properties, Property
from pyros.instruments.interfaces import Kind, Place, Pointing, Position, Started, TelescopeState
from pyros.instruments.pointing import TOLERANCE_ARCSEC, checked_slew, separation_arcsec
from pyros.instruments.running import Running

_OF_DATE, _J2000 = "EQUATORIAL_EOD_COORD", "EQUATORIAL_COORD"
_FINE_ARCSEC = 2.0
"""A mount that says Ok farther off is sent there again: its second, short slew ends closer."""
_FINE_SLEWS = 3
_BEGIN_SECONDS = 5.0
"""A slew that the mount has not begun by then is over, or was never one; the position tells."""
_SYNCS = 5
"""A mount that has said that it is there and still settles may pass over a sync without a word: it is sent again."""
_LONGEST_POLL_MS = 5000.0
_MOTION, _SYNC = "motion", "sync"


class IndiTelescope(IndiDevice):
    """A `Telescope` behind INDI: J2000 where the mount counts in it, else the equator and equinox of date."""

    kind: Kind = "telescope"
    interface = 1

    def __init__(
        self, *args: Any, tolerance_arcsec: float = TOLERANCE_ARCSEC, site: Place | None = None, **named: Any
    ) -> None:
        self.tolerance_arcsec = tolerance_arcsec
        self._site = site
        super().__init__(*args, **named)

    # When it has become ready.

    def _missing(self, properties: Properties) -> str:
        return "" if _OF_DATE in properties or _J2000 in properties else _OF_DATE

    def _prepare(self) -> None:
        """Tell the time and the place to a mount that can be told: it finds the horizon, and the hour, by them."""
        device, known = self._connection.device, self._properties
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
        await self._connection.until_ready()
        moving = (await self._ask(self._frame)).state == "Busy"
        known = self._properties
        if (park := known.get("TELESCOPE_PARK")) is not None and park.is_on("PARK"):
            return "parking" if park.state == "Busy" else "parked"
        if moving:
            return "slewing"
        if (tracking := known.get("TELESCOPE_TRACK_STATE")) is not None:
            return "tracking" if tracking.is_on("TRACK_ON") else "idle"
        return "tracking" if (vector := known.get(self._frame)) is not None and vector.state == "Ok" else "idle"

    # Slews.

    @deferred
    async def slew(self, ra: float, dec: float, tag: str = "", started: Started | None = None) -> Pointing:
        with self._connection.command(f"slew {tag}".strip(), _MOTION) as command:

            async def slew(attempt: int) -> None:
                for fine in range(_FINE_SLEWS):
                    begin = started if attempt == 1 and fine == 0 else None
                    await self._slew_once(command, ra, dec, begin)
                    here = self._where(await command.ask(self._frame))
                    if separation_arcsec(ra, dec, here.ra, here.dec) <= _FINE_ARCSEC:
                        return

            async def measure() -> Position:
                return self._where(await command.ask(self._frame))

            return await checked_slew(slew, measure, ra, dec, self.name, self.tolerance_arcsec)

    async def _slew_once(self, command: Command, ra: float, dec: float, started: Started | None) -> None:
        await self._connection.until_ready()
        _check(command, ra, dec)
        self._check_horizon(command, ra, dec)
        self._end(_MOTION, "a newer slew took its place", command)
        self._end(_SYNC, "a slew took its place", command)
        await command.settled(self._frame)
        await self._make_ready(command)
        await command.change("ON_COORD_SET", {"TRACK": True})
        target = self._to_mount(ra, dec)
        frame = self._frame

        def arrived(vector: Property) -> bool:
            """Whether the mount says that it is done, and is there: a short slew may be over before it was Busy."""
            if vector.state != "Ok":
                return False
            here = self._where(vector)
            return separation_arcsec(ra, dec, here.ra, here.dec) <= _FINE_ARCSEC

        clock, begin = self._clock, self._clock.monotonic()
        vector, since = await command.change(
            frame,
            target,
            # The mount tells its position all the time: what is neither Busy nor there may be from before the command.
            lambda now: now.state == "Busy" or arrived(now) or clock.monotonic() - begin > _BEGIN_SECONDS,
        )
        if vector.state != "Busy":
            return
        begun(started, vector)
        end = await command.until(self._not_busy(frame), MOTION_SECONDS, f"no end within {MOTION_SECONDS:.0f} s")
        if end.state == "Alert":
            raise command.failed(since, "the mount says Alert")
        if end.state == "Idle":
            raise CommandAborted(command.describe("stopped by somebody else, or by the mount itself"))

    def _not_busy(self, name: str) -> Callable[[], Property | None]:
        def ended() -> Property | None:
            vector = self._properties.get(name)
            return vector if vector is not None and vector.state != "Busy" else None

        return ended

    async def _make_ready(self, command: Command) -> None:
        """Unpark a parked mount, stop a parking one."""
        park = self._properties.get("TELESCOPE_PARK")
        if park is None or not park.is_on("PARK"):
            return
        if park.state == "Busy":
            await self._abort_motion(command)
        if not command.property("TELESCOPE_PARK").is_on("UNPARK"):
            await command.change("TELESCOPE_PARK", {"UNPARK": True})
            await command.until(self._not_busy("TELESCOPE_PARK"), MOTION_SECONDS, "it does not unpark")

    def _check_horizon(self, command: Command, ra: float, dec: float) -> None:
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

    async def _abort_motion(self, command: Command) -> None:
        await command.change("TELESCOPE_ABORT_MOTION", {"ABORT": True})
        frame = self._frame
        await command.until(self._not_busy(frame), 10.0, "told to stop, it still moves")
        if "TELESCOPE_PARK" in self._properties:
            await command.until(self._not_busy("TELESCOPE_PARK"), 10.0, "told to stop, it still parks")

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
            vector, since = await command.change("TELESCOPE_PARK", {"PARK": True})
            if vector.state == "Busy":
                begun(started, vector)
                vector = await command.until(
                    self._not_busy("TELESCOPE_PARK"), MOTION_SECONDS, f"no end within {MOTION_SECONDS:.0f} s"
                )
            if vector.state == "Alert" or not vector.is_on("PARK"):
                raise command.failed(since, "the mount says that it is not parked")

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
    async def track(self, on: bool) -> None:
        await self._connection.until_ready()
        await self._switch("TELESCOPE_TRACK_STATE", "TRACK_ON" if on else "TRACK_OFF", f"track {'on' if on else 'off'}")

    @deferred
    async def sync(self, ra: float, dec: float) -> None:
        """Refused (BUSY) while it moves: what it is sent then would be taken for the target."""
        with self._connection.command("sync", _SYNC) as command:
            await self._connection.until_ready()
            _check(command, ra, dec)
            if self._connection.is_under_way(_MOTION):
                raise DeviceRefused("BUSY", command.describe("the mount is moving"))
            self._end(_SYNC, "a newer one took its place", command)
            await command.settled(self._frame)
            try:
                await command.change("ON_COORD_SET", {"SYNC": True})
                for _ in range(_SYNCS):
                    _, since = await command.change(self._frame, self._to_mount(ra, dec))
                    await self._polled(command)
                    here = self._where(await command.ask(self._frame))
                    off = separation_arcsec(ra, dec, here.ra, here.dec)
                    if off <= self.tolerance_arcsec:
                        return
                raise command.failed(since, f"the mount now says that it is {off:.0f} arcsec from there")
            finally:  # or the next position that anybody sends would be a sync
                with self._connection.command("the end of a sync") as afterwards:
                    await afterwards.change("ON_COORD_SET", {"TRACK": True})

    async def _polled(self, command: Command) -> None:
        """Until INDI's driver has asked the mount itself again: before, it may only repeat what it was told."""
        period = self._properties.number("POLLING_PERIOD", "PERIOD_MS") or 0.0
        if 0.0 < period <= _LONGEST_POLL_MS:
            await Running(command.what).pause(self._clock, 2 * period / 1000)


def _check(command: Command, ra: float, dec: float) -> None:
    if not (math.isfinite(ra) and -90 <= dec <= 90):
        raise DeviceRefused("VALUE", command.describe(f"ra {ra}, dec {dec} is no position"))
