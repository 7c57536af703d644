"""Whether the dome may be open now: what everybody said, from when that counts, and until when.

All of it lives in memory and counts in monotonic seconds, so that no clock that steps and no restart makes old words
fresh again: an agent that has just begun has heard nothing, and its dome is closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from pyros.clock import Clock
from pyros.errors import PlanningError
from pyros.hold import Holds

STEP_SECONDS = 2.0
"""A wall clock that goes so much more or less than the monotonic one has stepped."""
DOUBT_SECONDS = 12 * 3600.0
"""How long the Sun must be down by the clock before a step, too."""
LOOK_SECONDS = 5.0
"""How often an open dome's leave is looked at: the Sun, the hold, and the clock's steps come without a message."""
MAX_STEPS = 20
"""A clock that steps more often within `DOUBT_SECONDS` is not believed at all."""


class ShutterGuard:
    """Decides whether the dome may be open; knows no device, no journal and no message.

    The reactor's thread feeds it; `reason_closed` may be asked from any thread.
    """

    def __init__(
        self,
        clock: Clock,
        holds: Holds,
        sun_altitude: Callable[[datetime], float],
        *,
        max_silence: float,
        sun_limit: float,
        guardian: bool = False,
        disk: Callable[[], str] = lambda: "",
    ) -> None:
        """Take what decides.

        ``max_silence``: seconds for which monitoring's word counts. ``sun_limit``: the Sun's altitude in degrees above
        which it is day. ``guardian``: the observatory has one, without which nothing is open. ``disk``: why the disk is
        too full for an open dome; '' when it isn't.
        """
        self._clock = clock
        self._holds = holds
        self._sun_altitude = sun_altitude
        self._max_silence = max_silence
        self.sun_limit = sun_limit
        """The Sun's altitude in degrees from which on the dome is closed."""
        self._weather_until = self._heard_until = self._open_until = -math.inf
        self._weather_reason = self._heard_reason = "no word from monitoring yet"
        self._open_reason = "the majordome is silent"
        self._unsafe_said = -math.inf
        self._wet_reason = ""
        self._guardian_reason = "no word from the guardian yet" if guardian else ""
        self._disk = disk
        self._offset = clock.time() - clock.monotonic()
        self._doubts: list[tuple[float, float]] = []
        """Clocks from before a step: their offset to the monotonic clock, and until when they count, too."""

    # What was said ------------------------------------------------------------------------------------------------

    def weather_safe(self, said: float) -> None:
        """Begin the weather's lease anew; ``said`` is the message's monotonic instant."""
        self.notice_step()
        if said < self._unsafe_said:
            return  # it comes late, and is no longer true
        self._heard_until = max(self._heard_until, said + self._max_silence)
        self._weather_until = max(self._weather_until, said + self._max_silence)
        self._weather_reason = self._heard_reason = "monitoring is silent"
        self._wet_reason = ""

    def weather_unsafe(self, said: float, reason: str, wet: bool) -> None:
        """End the weather's lease. ``wet``: the dome closes under service, too. It counts however old it is."""
        self.notice_step()
        self._unsafe_said = max(self._unsafe_said, said)
        self._weather_until = -math.inf
        self._weather_reason = f"weather unsafe: {reason}"
        self._wet_reason = self._weather_reason if wet else ""
        self._heard_until = max(self._heard_until, said + self._max_silence)
        self._heard_reason = "monitoring is silent"

    def kept_open(self, said: float, seconds: float) -> None:
        """Begin the lease of who keeps the dome open anew."""
        self.notice_step()
        self._open_until = max(self._open_until, said + seconds)
        self._open_reason = "the majordome is silent"

    def guardian(self, present: bool, reason: str) -> None:
        """Note whether the guardian is there, and if not, why."""
        self._guardian_reason = "" if present else reason or "the guardian is gone"

    def notice_step(self) -> None:
        """End all leases if the wall clock has stepped: whoever said something by it may have been wrong."""
        now = self._clock.monotonic()
        offset = self._clock.time() - now
        step, before = offset - self._offset, self._offset
        self._offset = offset
        self._doubts = [doubt for doubt in self._doubts if doubt[1] > now]
        if abs(step) <= STEP_SECONDS:
            return
        if len(self._doubts) <= MAX_STEPS:
            self._doubts.append((before, now + DOUBT_SECONDS))
        self._weather_until = self._heard_until = self._open_until = -math.inf
        reason = f"the clock has stepped by {step:+.0f} s"
        self._weather_reason = self._heard_reason = f"{reason}, and monitoring has said nothing since"
        self._open_reason = f"{reason}, and the majordome has said nothing since"

    # What follows from it -----------------------------------------------------------------------------------------

    def reason_closed(self, *, by_hand: bool = False, asked: float = -math.inf) -> str:
        """Why the dome must not be open now; '' when it may.

        ``by_hand``: a person has opened it, or wants to, which a service allows. ``asked``: until when (monotonic
        seconds) an order that is being judged would keep it open.
        """
        now = self._clock.monotonic()
        if abs(step := self._clock.time() - now - self._offset) > STEP_SECONDS:
            return f"the clock has stepped by {step:+.0f} s"
        if by_hand and self._holds.service is not None:
            heard = "" if now < self._heard_until else self._heard_reason
            return self._wet_reason or heard or self._guardian_reason
        hold = self._holds.hold
        if hold is not None:
            return str(hold)
        if now >= self._weather_until:
            return self._weather_reason
        if reason := self._guardian_reason or self._disk():
            return reason
        return self._reason_day(now) or ("" if now < max(self._open_until, asked) else self._open_reason)

    def lease(self) -> float:
        """Return for how many seconds the dome may stay open if nobody says anything further; 0 when it may not."""
        return max(0.0, min(self._weather_until, self._open_until) - self._clock.monotonic())

    def next_change(self) -> float:
        """Return the monotonic instant at which the answer must be asked for again, if nothing is said before."""
        now = self._clock.monotonic()
        ends = [end for end in (self._weather_until, self._open_until, self._heard_until) if end > now]
        return min([now + LOOK_SECONDS, *ends])

    def _reason_day(self, now: float) -> str:
        if len(self._doubts) > MAX_STEPS:
            return f"the clock has stepped {len(self._doubts)} times: nobody knows whether it is day"
        clocks = [(self._offset, ""), *((offset, " by the clock before it stepped") for offset, _ in self._doubts)]
        for offset, which in clocks:
            try:
                altitude = self._sun_altitude(datetime.fromtimestamp(now + offset, UTC))
            except (PlanningError, ValueError, OverflowError, OSError) as error:
                return f"the Sun's place cannot be computed{which}: {error}"
            if not altitude < self.sun_limit:
                return f"the Sun is at {altitude:+.0f}°{which}: it is day"
        return ""
