"""A mount that slews along great circles, tracks, has limits, and parks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from pyros.clock import Clock
from pyros.simulators.celestial import Ground, Site, Sky, between, offset, separation
from pyros.simulators.description import TelescopeSettings
from pyros.simulators.device import Arguments, Device, Refused, one_of
from pyros.simulators.grammar import Answer, busy, ok

_LIMIT_CHECK = 10.0  # seconds of the real sky, which moves by 2.5 arcminutes meanwhile


@dataclass(frozen=True)
class _Slew:
    """A movement to a point of the sky, or to the park position where there is no target."""

    start: Sky
    target: Sky | None
    began: float
    travel: float
    tag: str | None


class Telescope(Device):
    """States: parked, idle (fixed to the ground, the sky drifts past), slewing, tracking, parking.

    Where it points is one of three things: a slew under way, a tracked point of the sky, or a point of the ground.
    The sky is that of the clock's time whatever the speed; only slewing and settling pass faster.
    """

    def __init__(self, settings: TelescopeSettings, site: Site, clock: Clock, emit: Callable[[Answer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.state = "parked" if settings.parked else "idle"
        self._settings = settings
        self._site = site
        self._park_position = Ground(settings.park_altitude, settings.park_azimuth)
        self._random = random.Random(settings.seed)
        self._slew: _Slew | None = None
        self._tracked: Sky | None = None
        self._fixed = self._park_position
        self._target: Sky | None = None
        self.properties |= {
            "position": lambda: ok(*_words(self.pointing())),
            "target": self._get_target,
            "altitude": self._get_altitude,
            "tracking": lambda: ok("on" if self.state == "tracking" else "off"),
        }
        self.settable |= {"tracking": self._set_tracking}
        self.actions |= {"slew": self._do_slew, "stop": self._do_stop, "park": self._do_park, "unpark": self._unpark}
        self.pointing()  # loads the sky's routines now, not in the middle of the first slew

    @property
    def busy(self) -> bool:
        return self._slew is not None

    def pointing(self) -> Sky:
        """The true direction at this moment, ICRS."""
        if self._slew:
            slew = self._slew
            elapsed = self.pace.monotonic() - slew.began
            fraction = min(1.0, elapsed / slew.travel) if slew.travel > 0 else 1.0
            return between(slew.start, slew.target or self._sky(self._park_position), fraction)
        return self._tracked or self._sky(self._fixed)

    # What is asked.

    def _get_target(self) -> Answer:
        if self._target is None:
            raise Refused("STATE", f"there is no target: the telescope is {self.state}")
        return ok(*_words(self._target))

    def _get_altitude(self) -> Answer:
        ground = self._ground(self.pointing())
        return ok(f"{ground.alt:.4f}", f"{round(ground.az, 4) % 360:.4f}")

    # What is done.

    def _do_slew(self, arguments: Arguments) -> Answer:
        ra, dec = arguments.number("ra", 0, 360), arguments.number("dec", -90, 90)
        tag = arguments.tag()
        arguments.end()
        self._refuse_if("parked", "parking")
        target = Sky(ra % 360, dec)
        self._refuse_below_limit("the target", target)
        self._end_slew()
        # The mount's own imperfection is decided here, so that the way leads to where it will really stand.
        noise = self._settings.pointing_noise / 3600
        reached = offset(target, self._random.gauss(0, noise), self._random.gauss(0, noise))
        self._target = target
        return self._move("slewing", reached, tag, self._slew_finished)

    def _do_park(self, arguments: Arguments) -> Answer:
        arguments.end()
        if self.state == "parked":
            return ok()
        if self.state == "parking" and self._slew:
            return busy(self.real(self._slew.began + self._duration(self._slew.travel) - self.pace.monotonic()))
        self._end_slew()
        self._target = None
        return self._move("parking", None, None, self._park_finished)

    def _unpark(self, arguments: Arguments) -> Answer:
        arguments.end()
        self._refuse_if("parking")
        if self.state == "parked":
            self.state = "idle"
        return ok()

    def _do_stop(self, arguments: Arguments) -> Answer:
        arguments.end()
        if self.state not in ("parked", "idle"):
            self._end_slew()
            self._stand_still()
        return ok()

    def _set_tracking(self, values: tuple[str, ...]) -> Answer:
        on = one_of("tracking", values, ["on", "off"]) == "on"
        if not on and self.state in ("parked", "idle"):
            return ok()
        self._refuse_if("parked", "parking", "slewing")
        if on and self.state == "idle":
            here = self.pointing()
            self._refuse_below_limit("the telescope", here)
            self._track(here)
        elif not on:
            self._stand_still()
        return ok()

    # How it moves.

    def _move(self, state: str, target: Sky | None, tag: str | None, arrived: Callable[[], None]) -> Answer:
        start = self.pointing()
        travel = separation(start, target or self._sky(self._park_position)) / self._settings.slew_rate
        self.cancel("limit")
        self.state = state
        self._slew = _Slew(start, target, self.pace.monotonic(), travel, tag)
        self._tracked = None
        self.later("move", self._duration(travel), arrived)
        return busy(self.real(self._duration(travel)))

    def _slew_finished(self) -> None:
        slew, reached = self._slew, self.pointing()
        tag = slew.tag if slew else None
        if self._below_limit(reached):
            self._stand_still()
            self.event("slew_failed", tag=tag, reason="the target has set below the altitude limit")
            return
        self._slew = None
        self._track(reached)
        ra, dec = _words(reached)
        self.event("slew_finished", ra=ra, dec=dec, tag=tag)

    def _park_finished(self) -> None:
        self._slew = None
        self._fixed = self._park_position
        self.state = "parked"
        self.event("park_finished")

    def _end_slew(self) -> None:
        """A movement that something else replaces; whoever waits for it is told."""
        if self._slew:
            here, slew, was = self.pointing(), self._slew, self.state
            self.cancel("move")
            self._slew, self._tracked = None, here
            if was == "parking":
                self.event("park_aborted")
            else:
                self.event("slew_aborted", tag=slew.tag)

    def _track(self, sky: Sky) -> None:
        self.state, self._tracked = "tracking", sky
        self.later("limit", _LIMIT_CHECK, self._check_limit, self.clock)

    def _check_limit(self) -> None:
        if self._below_limit(self.pointing()):
            self._stand_still()
            self.event("limit_reached")
        else:
            self.later("limit", _LIMIT_CHECK, self._check_limit, self.clock)

    def _stand_still(self) -> None:
        self._fixed = self._ground(self.pointing())
        self.state, self._slew, self._tracked, self._target = "idle", None, None, None
        self.cancel("limit")

    # Helpers.

    def _duration(self, travel: float) -> float:
        return travel + self._settings.settle

    def _below_limit(self, sky: Sky) -> bool:
        return self._ground(sky).alt < self._settings.altitude_limit

    def _refuse_below_limit(self, what: str, sky: Sky) -> None:
        altitude, limit = self._ground(sky).alt, self._settings.altitude_limit
        if altitude < limit:
            raise Refused("LIMIT", f"{what} is at altitude {altitude:.2f} degrees, the limit is {limit:g}")

    def _refuse_if(self, *states: str) -> None:
        if self.state in states:
            if self.state == "parked":
                raise Refused("STATE", "the telescope is parked; DO unpark first")
            raise Refused("BUSY", f"the telescope is {self.state}; wait, or DO stop")

    def _ground(self, sky: Sky) -> Ground:
        return self._site.ground(sky, self.clock.time())

    def _sky(self, ground: Ground) -> Sky:
        return self._site.sky(ground, self.clock.time())


def _words(sky: Sky) -> tuple[str, str]:
    """Right ascension and declination as answers give them; never 360."""
    return f"{round(sky.ra, 7) % 360:.7f}", f"{sky.dec:.7f}"
