"""Guiding, as the observation manager has it done: from before the first long exposure until the telescope moves.

An observation never fails for it: what cannot be guided is exposed unguided, and said.
"""

from __future__ import annotations

from collections.abc import Callable

from pyros.agents.agent import Agent
from pyros.agents.observing import ObservationManagerState
from pyros.agents.options import AgentOption
from pyros.messages import Exposures, Failure, Message, Observation, Order
from pyros.messages.guider import (
    DITHER,
    FAILED,
    FINISHED,
    GUIDE,
    GUIDING_AGAIN,
    GUIDING_LOST,
    PAUSE_GUIDING,
    STOP_GUIDING,
    Dither,
    Guide,
    Guiding,
)
from pyros.quantities import number

LIMIT_SECONDS = 1000.0
"""How long the guider's agent may take, which knows itself when its device takes too long: a calibration included."""
RETRY_SECONDS = 600.0
"""For how long exposures are not guided after a failure: clouds pass, and each attempt costs a minute."""
GUIDE_FROM = AgentOption("guide_from", number(0.0), 60.0)
"""Seconds of the exposures that are guided, and of longer ones."""
"""Exposures that are shorter are not guided."""


class ObservationGuiding:
    """The guider's part of the observation manager, whose state it shares. Without a ``[guider]`` it does nothing."""

    def __init__(
        self, manager: Agent, expect_within: Callable[[float | None], None], go_on: Callable[[], None]
    ) -> None:
        """``expect_within`` sets how long the guider may take, ``go_on`` begins the next exposure."""
        self._manager = manager
        self._expect_within, self._go_on = expect_within, go_on
        manager.actions_by_message |= {
            **dict.fromkeys(FINISHED.values(), self.steady),
            **dict.fromkeys(FAILED.values(), self.failed),
            GUIDING_LOST: self.lost,
            GUIDING_AGAIN: self.again,
        }

    def work(self) -> None:
        """Read the options. Raises AgentError."""
        self._from = self._manager.option(*GUIDE_FROM)

    @property
    def _state(self) -> ObservationManagerState:
        state: ObservationManagerState = self._manager.state
        return state

    # What the observation does.

    def observes(self) -> None:
        """Try it again, for a new observation."""
        self._state.guide_after = 0.0

    def begins(self, current: Observation, exposure: Exposures) -> bool:
        """Have the guider guide before an exposure that wants it; whether that is to be waited for.

        Not before the first image of an alert's observation, which is worth more than it would gain.
        """
        manager, state = self._manager, self._state
        if manager.GUIDER not in manager.config.agents or state.guiding == "on":
            return False
        if state.guiding == "off" and (
            exposure.seconds < self._from
            or manager.GUIDER in state.away
            or manager.clock.time() < state.guide_after
            or (current.alert and not state.done)
        ):
            return False
        manager.send_to(manager.GUIDER, GUIDE, Guide(observation=current.id))
        self._waits()
        return True

    def gives_up_a_lost_star(self) -> bool:
        """Stop a guider that has lost its star; whether it had, so that the field may have gone since."""
        if self._state.guiding != "lost":
            return False
        self.stop()
        return True

    def dithers(self, current: Observation, exposure: Exposures) -> bool:
        """Have the guider move its star between two images; not while it doesn't guide, then the telescope slews."""
        manager = self._manager
        if self._state.guiding != "on":
            return False
        manager.send_to(manager.GUIDER, DITHER, Dither(observation=current.id, arcsec=exposure.dither))
        self._waits()
        return True

    def pause(self) -> None:
        """Correct nothing while the focus moves."""
        manager = self._manager
        if self._state.guiding == "on":
            self._state.guiding = "paused"
            manager.send_to(manager.GUIDER, PAUSE_GUIDING, Order("the focus moves"))

    def stop(self) -> None:
        """Stop guiding: the telescope is going to move, or the observation has ended."""
        manager = self._manager
        if self._state.guiding != "off" or self._state.phase == "guiding":
            self._state.guiding = "off"
            manager.send_to(manager.GUIDER, STOP_GUIDING, Order("the telescope moves, or the observation has ended"))

    def overdue(self) -> None:
        """Go on without a guider that told no end."""
        self._manager.send_to(self._manager.GUIDER, STOP_GUIDING, Order("no end was heard in time"))
        self._unguided("no end was heard in time")

    def away(self) -> None:
        """Note that the guider is not connected."""
        if self._state.guiding != "off":
            self._state.guiding = "lost"

    # What the guider says.

    def steady(self, message: Message) -> None:
        manager, end = self._manager, message.payload
        if not self._waited_for(end):
            return
        manager.log.info("{id} is guided, to {error:.1f} arcseconds", id=end.observation, error=end.error)
        self._state.guiding = "on"
        self._go_on()

    def failed(self, message: Message) -> None:
        failure: Failure = message.payload
        if self._waited_for(failure):
            self._unguided(failure.reason)

    def lost(self, message: Message) -> None:
        """Let the exposure go on: the star may come back, and is looked for before the next one."""
        manager, failure = self._manager, message.payload
        if self._state.guiding != "off" and self._state.phase != "guiding" and self._is_of_current(failure):
            manager.log.warn("{id} is not guided: {reason}", id=failure.observation, reason=failure.reason)
            self._state.guiding = "lost"

    def again(self, message: Message) -> None:
        manager = self._manager
        if self._state.guiding == "lost" and self._is_of_current(message.payload):
            manager.log.info("{id} is guided again", id=message.payload.observation)
            self._state.guiding = "on"

    def _unguided(self, reason: str) -> None:
        """Go on without guiding, for some minutes."""
        manager = self._manager
        manager.log.warn(
            "the next {minutes:.0f} minutes are exposed unguided: {reason}", minutes=RETRY_SECONDS / 60, reason=reason
        )
        self._state.guiding = "off"
        self._state.guide_after = manager.clock.time() + RETRY_SECONDS
        self._go_on()

    def _waits(self) -> None:
        self._state.phase = "guiding"
        self._expect_within(LIMIT_SECONDS)

    def _waited_for(self, end: Guiding | Failure) -> bool:
        return self._state.phase == "guiding" and self._is_of_current(end)

    def _is_of_current(self, end: Guiding | Failure) -> bool:
        current = self._state.current
        return current is not None and end.observation == current.id
