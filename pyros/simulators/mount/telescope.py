"""A mount that slews with both axes, tracks, has limits, flexure and a sync, and parks."""

from __future__ import annotations

import random
from collections.abc import Callable

from pyros.clock import Clock
from pyros.simulators.celestial import SiteCoordinates, Sky, offset
from pyros.simulators.device import Arguments, Refused, SimulatedDevice, one_of
from pyros.simulators.grammar import DeviceAnswer, busy, ok
from pyros.simulators.mount.mechanics import Axes
from pyros.simulators.mount.pointing import Aim, Nudged
from pyros.simulators.mount.settings import TelescopeSettings

_LIMIT_CHECK = 10.0  # seconds of the real sky, which moves by 2.5 arcminutes meanwhile
_NUDGE_CHECK = 0.2  # seconds


class SimulatedTelescope(SimulatedDevice):
    """States: parked, idle (fixed to the ground, the sky drifts past), slewing, tracking, parking.

    The sky is that of the clock's time whatever the speed; only slewing and settling pass faster. The methods without
    an underscore are for other languages than the grammar; they raise `Refused`.
    """

    def __init__(
        self, settings: TelescopeSettings, site: SiteCoordinates, clock: Clock, emit: Callable[[DeviceAnswer], None]
    ) -> None:
        super().__init__(settings, clock, emit)
        self.state = "parked" if settings.parked else "idle"
        self.settings = settings
        self.site = site
        self.aim = Aim(settings, site, clock, self.device_clock)
        self._random = random.Random(settings.seed)
        self._target: Sky | None = None
        self._tag: str | None = None
        self._arrival = 0.0  # when the movement will end, by the device's clock
        self.properties |= {
            "position": lambda: ok(*_words(self.pointing())),
            "true_position": lambda: ok(*_words(self.aim.true())),
            "target": self._get_target,
            "altitude": self._get_altitude,
            "tracking": lambda: ok("on" if self.state == "tracking" else "off"),
            "offset": lambda: ok(*(f"{angle * 3600:.2f}" for angle in self.aim.offset)),
        }
        if settings.mount == "german":
            self.properties["pier"] = lambda: ok("west" if self.aim.axes().flipped else "east")
        self.settable |= {"tracking": self._set_tracking}
        self.actions |= {
            "slew": self._do_slew,
            "stop": self._do_stop,
            "park": self._do_park,
            "unpark": self._do_unpark,
            "track": self._do_track,
            "sync": self._do_sync,
            "move": self._do_move,
        }
        self.aim.true()  # loads the sky's routines now, not in the middle of the first slew

    @property
    def busy(self) -> bool:
        return self.state in ("slewing", "parking") and not self.nudged

    @property
    def nudged(self) -> bool:
        """Whether it is pushed along by hand."""
        return isinstance(self.aim.mode, Nudged)

    @property
    def target(self) -> Sky | None:
        """Where it was sent, ICRS."""
        return self._target

    def pointing(self) -> Sky:
        """Return what the mount says at this moment, ICRS; where the optics look is ``aim.true()``."""
        return self.aim.reported()

    # What is asked.

    def _get_target(self) -> DeviceAnswer:
        if self._target is None:
            raise Refused("STATE", f"there is no target: the telescope is {self.state}")
        return ok(*_words(self._target))

    def _get_altitude(self) -> DeviceAnswer:
        ground = self.aim.ground()
        return ok(f"{ground.alt:.4f}", f"{round(ground.az, 4) % 360:.4f}")

    # What is done.

    def slew(self, target: Sky, tag: str | None = None, side: str | None = None) -> float:
        """Begin to slew, to that side of the pier where it is said; returns the device's seconds it will take."""
        self._refuse_if("parked", "parking")
        self._refuse_below_limit("the target", target)
        # The mount's own imperfection is decided here, so that the way leads to where it will really stand.
        noise = self.settings.pointing_noise / 3600
        reached = offset(target, self._random.gauss(0, noise), self._random.gauss(0, noise)) if noise else target
        way = self._way(reached, side)
        self._end_movement()
        self._target, self._tag = target, tag
        return self._begin("slewing", self.aim.move(reached, way), self._slew_finished)

    def park(self) -> float:
        """Begin to park; returns the device's seconds it will take, 0 when it is parked."""
        if self.state == "parked":
            return 0.0
        if self.state == "parking":
            return self._arrival - self.device_clock.monotonic()
        self._end_movement()
        self._target = None
        return self._begin("parking", self.aim.park(), self._park_finished)

    def unpark(self) -> None:
        """Be ready to slew; nothing moves."""
        self._refuse_if("parking")
        if self.state == "parked":
            self.state = "idle"

    def stop_moving(self, tracking: bool = False) -> None:
        """Stop every motion; with ``tracking`` a mount that slewed or was pushed follows the sky where it is then."""
        if self.state in ("parked", "idle"):
            return
        tracking = tracking and self.state != "parking"
        self._end_movement()
        if tracking and not self.aim.broken_limit():
            self._track()
        else:
            self._stand_still()

    def track(self, on: bool) -> None:
        """Follow what is there, or stand still."""
        if not on and self.state in ("parked", "idle"):
            return
        self._refuse_if("parked", "parking", "slewing")
        if on and self.state == "idle":
            self._refuse_below_limit("the telescope", self.pointing())
            if limit := self.aim.broken_limit():
                raise Refused("LIMIT", f"the telescope has passed its {limit} limit")
            self._track()
        elif not on:
            self._stand_still()

    def sync(self, sky: Sky) -> None:
        """From now on this is where it points."""
        self._refuse_if("parked", "parking", "slewing")
        self.aim.synchronise(sky)
        if self.state == "tracking":
            self._target = sky

    def nudge(self, first: float, second: float) -> None:
        """Push it along by degrees per second of its own frame, west and north of an equatorial one; 0 and 0 end it."""
        self._refuse_if("parked", "parking")
        if not (first or second):
            if self.nudged:
                self._end_nudge()
            return
        if not self.nudged:
            self._refuse_if("slewing")
        limited = [max(-rate, min(rate, wanted)) for rate, wanted in zip(self.aim.rates, (first, second), strict=True)]
        self.cancel("limit")
        self.state = "slewing"
        self.aim.nudge(*limited)
        self.later("move", _NUDGE_CHECK, self._check_nudge)

    # The same in the grammar.

    def _do_slew(self, arguments: Arguments) -> DeviceAnswer:
        target = _sky(arguments)
        tag, side = arguments.tag(), arguments.word_or("side", ["east", "west"])
        arguments.end()
        if side is not None and self.settings.mount != "german":
            raise Refused("VALUE", "a mount without a pier has no side=")
        return busy(self.real(self.slew(target, tag, side)))

    def _do_park(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        seconds = self.park()
        return ok() if self.state == "parked" else busy(self.real(seconds))

    def _do_unpark(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        self.unpark()
        return ok()

    def _do_stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        self.stop_moving()
        return ok()

    def _do_track(self, arguments: Arguments) -> DeviceAnswer:
        on = arguments.word("on", ["0", "1"])
        arguments.end()
        self.track(on == "1")
        return ok()

    def _do_sync(self, arguments: Arguments) -> DeviceAnswer:
        sky = _sky(arguments)
        arguments.end()
        self.sync(sky)
        return ok()

    def _do_move(self, arguments: Arguments) -> DeviceAnswer:
        first, second = arguments.number("first", -360, 360), arguments.number("second", -360, 360)
        arguments.end()
        self.nudge(first, second)
        return ok()

    def _set_tracking(self, values: tuple[str, ...]) -> DeviceAnswer:
        self.track(one_of("tracking", values, ["on", "off"]) == "on")
        return ok()

    # How it moves.

    def _begin(self, state: str, travel: float, arrived: Callable[[], None]) -> float:
        self.cancel("limit")
        self.state = state
        seconds = travel + self.settings.settle
        self._arrival = self.device_clock.monotonic() + seconds
        self.later("move", seconds, arrived)
        return seconds

    def _way(self, sky: Sky, side: str | None) -> Axes:
        """How the axes will go there, or Refused."""
        now = self.aim.axes()
        ways = self.aim.ways(sky)
        if side is not None:
            ways = [way for way in ways if way.flipped == (side == "west")]
        if self.settings.flip == "never":
            ways = [way for way in ways if way.flipped == now.flipped]
        if not ways:
            limit = "zenith" if self.settings.mount == "altazimuth" else "meridian"
            raise Refused("LIMIT", f"the target is beyond the {limit} limit")
        return ways[0]

    def _slew_finished(self) -> None:
        tag, self._tag = self._tag, None
        if limit := self.aim.broken_limit():
            self._stand_still()
            self.event("slew_failed", tag=tag, reason=_SLEW_FAILURES[limit])
            return
        self._track()
        ra, dec = _words(self.pointing())
        self.event("slew_finished", ra=ra, dec=dec, tag=tag)

    def _park_finished(self) -> None:
        self.aim.stand_still()
        self.state = "parked"
        self.event("park_finished")

    def _end_movement(self) -> None:
        """Cancel a movement that something else replaces; the client that waits for it is told."""
        if self.nudged:
            self.cancel("move")
            self.aim.settle()
        elif self.busy:
            tag, was = self._tag, self.state
            self.cancel("move")
            self.aim.stand_still()
            if was == "parking":
                self.event("park_aborted")
            else:
                self.event("slew_aborted", tag=tag)

    def _track(self) -> None:
        self.aim.track()
        self.state = "tracking"
        self.later("limit", _LIMIT_CHECK, self._check_limit, self.clock)

    def _check_limit(self) -> None:
        limit = self.aim.broken_limit()
        if limit == "meridian" and self.settings.flip == "always" and self._flip():
            return
        if limit:
            self._stand_still()
            self.event("limit_reached", limit=limit)
        else:
            self.later("limit", _LIMIT_CHECK, self._check_limit, self.clock)

    def _flip(self) -> bool:
        """Change to the other side of the pier; whether that is possible."""
        here = self.pointing()
        ways = self.aim.ways(here)
        if ways:
            self._tag = None
            self._begin("slewing", self.aim.move(here, ways[0]), self._flip_finished)
            self.event("flip_started")
        return bool(ways)

    def _flip_finished(self) -> None:
        self._track()
        self.event("flip_finished")

    def _check_nudge(self) -> None:
        if limit := self.aim.broken_limit():
            self.aim.settle()
            self._stand_still()
            self.event("limit_reached", limit=limit)
        else:
            self.later("move", _NUDGE_CHECK, self._check_nudge)

    def _end_nudge(self) -> None:
        self.cancel("move")
        if self.aim.settle():
            self._track()
        else:
            self._stand_still()

    def _stand_still(self) -> None:
        self.aim.stand_still()
        self.state, self._target = "idle", None
        self.cancel("limit")

    # Helpers.

    def _refuse_below_limit(self, what: str, sky: Sky) -> None:
        ground = self.site.ground(sky, self.clock.time())
        if ground.alt < (limit := self.aim.lowest(ground.az)):
            raise Refused("LIMIT", f"{what} is at altitude {ground.alt:.2f} degrees, the limit is {limit:.4g}")

    def _refuse_if(self, *states: str) -> None:
        if self.state in states:
            if self.state == "parked":
                raise Refused("STATE", "the telescope is parked; DO unpark first")
            raise Refused("BUSY", f"the telescope is {self.state}; wait, or DO stop")


_SLEW_FAILURES = {
    "altitude": "the target has set below the altitude limit",
    "meridian": "the target has passed the meridian limit",
    "zenith": "the target has come too near the zenith",
}


def _sky(arguments: Arguments) -> Sky:
    return Sky(arguments.number("ra", 0, 360) % 360, arguments.number("dec", -90, 90))


def _words(sky: Sky) -> tuple[str, str]:
    """Right ascension and declination as answers give them; never 360."""
    return f"{round(sky.ra, 7) % 360:.7f}", f"{sky.dec:.7f}"
