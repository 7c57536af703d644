"""A guider: a second camera that holds the telescope on a star. It corrects nothing of a simulated mount."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from pyros.clock import Clock
from pyros.simulators.device import Arguments, Refused, SimulatedDevice, one_of
from pyros.simulators.grammar import DeviceAnswer, busy, ok
from pyros.simulators.settings import NotNegative, Positive, Seconds, Settings

_FIND_ATTEMPTS = 3
_FIRST_ERROR = 6.0
"""How many times the jitter a star is beside its place when guiding begins."""
NO_STAR = "failed to find a suitable guide star"
NOT_STEADY = "timed-out waiting for guider to settle"


class GuiderSettings(Settings, frozen=True, kw_only=True):
    """A guide camera, and how well it guides."""

    kind = "guider"
    can_have = frozenset({"stuck"})

    exposure: Annotated[float, Meta(ge=0.1, le=60, description="seconds, 0.1 to 60")] = 2.0
    """Of each image, seconds: one step of guiding."""
    calibration: Seconds = 60.0
    """How long the first guiding takes longer, seconds; 0 for a guider that is calibrated."""
    jitter: NotNegative = 0.4
    """By how much the star is beside its place when it guides well, arcseconds RMS in each axis."""
    arcsec_per_pixel: Positive = 1.6
    """Of the guide camera."""
    phd2: Annotated[str, Meta(description="a server endpoint such as tcp:4400:interface=127.0.0.1, or nothing")] = ""
    """Server endpoint of a second port on which it speaks as PHD2 does; '' for none."""


@dataclass
class _Settlement:
    """What is to become steady: within so many arcseconds for so many seconds; times are the device's."""

    tag: str | None
    arcsec: float
    seconds: float
    end: float
    since: float | None = None


class SimulatedGuider(SimulatedDevice):
    """States: idle, calibrating, guiding, paused, lost.

    ``listeners`` hear what happens, by the names of the grammar's events and ``step`` for each image, with its values.
    """

    def __init__(self, settings: GuiderSettings, clock: Clock, emit: Callable[[DeviceAnswer], None]) -> None:
        super().__init__(settings, clock, emit)
        self.settings = settings
        self.state = "idle"
        self.star = True
        """Whether there is a star to see."""
        self.calibrated = settings.calibration == 0
        self.x = self.y = 0.0
        """How far the star is beside its place, arcseconds."""
        self.frame = 0
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []
        self._noise = random.Random(f"{settings.seed} guider")
        self._settlement: _Settlement | None = None
        self._attempts = 0
        self.properties |= {"error": self._error, "star": lambda: ok(int(self.star))}
        self.settable |= {"star": self._set_star}
        self.actions |= {
            "guide": lambda arguments: self._begin(arguments, self.guide),
            "dither": lambda arguments: self._begin(arguments, self.dither, by=arguments.number("by", 0, 600)),
            "pause": self._pause,
            "stop": self._stop,
        }

    @property
    def busy(self) -> bool:
        return self._settlement is not None

    @property
    def settling(self) -> bool:
        """Whether it is to become steady and is not yet."""
        return self._settlement is not None

    def guide(self, arcsec: float, seconds: float, timeout: float, tag: str | None = None) -> float:
        """Guide until steady, in place of what was to become steady; returns the longest that it may take."""
        self.abort()
        wait = 0.0
        if self.state in ("idle", "calibrating", "lost"):
            wait = _FIND_ATTEMPTS * self.settings.exposure + (0.0 if self.calibrated else self.settings.calibration)
            self._attempts, self.state = 0, "calibrating"
            self.later("image", self.settings.exposure, self._search)
        elif self.state == "paused":
            self.resume()
        now = self.device_clock.monotonic()
        self._settlement = _Settlement(tag, arcsec, seconds, now + wait + timeout)
        return wait + timeout + self.settings.exposure

    def dither(self, arcsec: float, seconds: float, timeout: float, tag: str | None = None, by: float = 0.0) -> float:
        """Move the star's place. Raises Refused."""
        if self.settling:
            raise Refused("BUSY", "it is not steady yet")
        if self.state != "guiding":
            raise Refused("STATE", f"it is {self.state}, and dithers only while it guides")
        self.x += self._noise.uniform(-by, by)
        self.y += self._noise.uniform(-by, by)
        self._settlement = _Settlement(tag, arcsec, seconds, self.device_clock.monotonic() + timeout)
        return timeout + self.settings.exposure

    def pause(self) -> None:
        """Take no images. Raises Refused."""
        if self.state != "guiding":
            raise Refused("STATE", f"it is {self.state}, not guiding")
        self.abort()
        self.state = "paused"
        self.cancel("image")
        self._tell("paused")

    def resume(self) -> None:
        """Guide on after a pause, with the same star."""
        self.state = "guiding"
        self.later("image", self.settings.exposure, self._step)

    def rest(self) -> None:
        """Stop guiding, whatever it does."""
        self.abort()
        self.cancel("image")
        was, self.state = self.state, "idle"
        if was != "idle":
            self._tell("guiding_stopped")

    def abort(self) -> None:
        """Let what was to become steady be so no longer."""
        settlement, self._settlement = self._settlement, None
        if settlement is not None:
            self._tell("settle_aborted", tag=settlement.tag)

    def _begin(self, arguments: Arguments, begin: Callable[..., float], **named: float) -> DeviceAnswer:
        settle = {
            "arcsec": arguments.number("arcsec", 0.01, 600),
            "seconds": arguments.number("seconds", 0, 3600),
            "timeout": arguments.number("timeout", 1, 3600),
        }
        tag = arguments.tag()
        arguments.end()
        return busy(self.real(begin(**settle, **named, tag=tag)))

    def _pause(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        self.pause()
        return ok()

    def _stop(self, arguments: Arguments) -> DeviceAnswer:
        arguments.end()
        self.rest()
        return ok()

    def _set_star(self, values: tuple[str, ...]) -> DeviceAnswer:
        self.star = one_of("star", values, ["0", "1"]) == "1"
        return ok()

    def _error(self) -> DeviceAnswer:
        if self.state != "guiding":
            raise Refused("STATE", f"it is {self.state}, not guiding")
        return ok(f"{math.hypot(self.x, self.y):.3f}")

    def _search(self) -> None:
        """Look for a star in an image, and calibrate if need be."""
        if not self.star:
            self._attempts += 1
            if self._attempts >= _FIND_ATTEMPTS:
                self._give_up(NO_STAR)
            else:
                self.later("image", self.settings.exposure, self._search)
            return
        self.later("image", 0.0 if self.calibrated else self.settings.calibration, self._guiding)

    def _guiding(self) -> None:
        self.calibrated, self.state = True, "guiding"
        first = _FIRST_ERROR * self.settings.jitter
        self.x, self.y = self._noise.uniform(-first, first), self._noise.uniform(-first, first)
        self._tell("guiding_began")
        self.later("image", self.settings.exposure, self._step)

    def _step(self) -> None:
        """Take an image, and correct half of what the star is off."""
        self.later("image", self.settings.exposure, self._step)
        self.frame += 1
        if not self.star:
            if self.state != "lost":
                self.state = "lost"
                self._tell("star_lost")
        else:
            if self.state == "lost":
                self.state = "guiding"
                self._tell("star_found")
            spread = self.settings.jitter * math.sqrt(0.75)  # with what is left of the last step: the jitter in all
            self.x = 0.5 * self.x + self._noise.gauss(0, spread)
            self.y = 0.5 * self.y + self._noise.gauss(0, spread)
        self._hear("step", seen=self.star)
        self._settle()

    def _settle(self) -> None:
        """See whether it is steady now."""
        wanted, now = self._settlement, self.device_clock.monotonic()
        if wanted is None:
            return
        near = self.state == "guiding" and math.hypot(self.x, self.y) <= wanted.arcsec
        if not near:
            wanted.since = None
        elif wanted.since is None:
            wanted.since = now
        if wanted.since is not None and now - wanted.since >= wanted.seconds:
            self._settlement = None
            self._tell("settled", error=f"{math.hypot(self.x, self.y):.3f}", tag=wanted.tag)
        elif now >= wanted.end:
            self._settlement = None
            self._tell("settle_failed", reason=NOT_STEADY, tag=wanted.tag)

    def _give_up(self, reason: str) -> None:
        wanted, self._settlement = self._settlement, None
        self.state = "idle"
        if wanted is not None:
            self._tell("settle_failed", reason=reason, tag=wanted.tag)

    def _tell(self, name: str, **named: object) -> None:
        self.event(name, **named)
        self._hear(name, **named)

    def _hear(self, name: str, **named: object) -> None:
        for listener in list(self.listeners):
            listener(name, named)
