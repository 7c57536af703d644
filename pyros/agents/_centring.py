"""Centring, as the observation manager has it done: an image shows where the telescope points, and a slew corrects it.

An observation never fails for it: what cannot be centred is exposed as it is, and said.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.observing import ObservationManagerState
from pyros.agents.options import AgentOption
from pyros.messages import ExposureFinished, Exposures, ImageAnalysed, Message, Observation, PointingMeasured
from pyros.quantities import positive

CENTRE: AgentOption[float | None] = AgentOption("centre", positive, None)
"""Arcseconds that the field may be off its centre; None where nothing is centred."""
CENTRE_SECONDS = AgentOption("centre_seconds", positive, 5.0)
"""Seconds of the images that are taken for it."""
_MAX_IMAGES = 3
_ANALYSIS_SECONDS = 180.0


class ObservationCentring:
    """The part of the observation manager, whose state it shares, that centres the field before an exposure."""

    def __init__(
        self,
        manager: Agent,
        slew: Callable[[Observation], None],
        expose: Callable[[Observation, Exposures, int], None],
        expect_within: Callable[[float | None], None],
        go_on: Callable[[], None],
    ) -> None:
        """``expect_within`` sets how long the analysis may take, ``go_on`` begins the next exposure."""
        self._manager = manager
        self._slew, self._expose, self._expect_within, self._go_on = slew, expose, expect_within, go_on
        manager.guarded.add(messages.IMAGE_ANALYSED)  # what it says of the field may be another slew
        manager.actions_by_message[messages.IMAGE_ANALYSED] = self.image_analysed

    def work(self) -> None:
        """Read the options. Raises AgentError."""
        self._centre = self._manager.option(*CENTRE)
        self._seconds = self._manager.option(*CENTRE_SECONDS)

    @property
    def _state(self) -> ObservationManagerState:
        state: ObservationManagerState = self._manager.state
        return state

    def ask(self, wanted: bool = True) -> None:
        """Have the field centred before the next exposure, or not, where the configuration has that done at all."""
        self._state.centring = _MAX_IMAGES if wanted and self._centre is not None else 0

    def begins(self, current: Observation) -> bool:
        """Have an image taken that shows where the telescope points, where that is due; whether it is."""
        if self._state.centring <= 0 or self._state.pointing is None:
            return False
        self._state.centring -= 1
        self._state.phase = "centring"
        self._expose(current, Exposures(self._state.filter, self._seconds), 0)
        return True

    def takes(self, end: ExposureFinished) -> bool:
        """Wait for the analysis of an image if it is the one that was taken for this; whether it is."""
        current = self._state.current
        if current is None or self._state.phase != "centring" or (end.observation, end.number) != (current.id, 0):
            return False
        self._state.centring_path = end.path
        self._expect_within(_ANALYSIS_SECONDS)
        return True

    def image_analysed(self, message: Message) -> None:
        """Send the telescope to the target once more where the image shows that it is beside it."""
        report: ImageAnalysed = message.payload
        state = self._state
        if state.current is None or state.phase != "centring" or report.path != state.centring_path:
            return
        if report.east is None or report.north is None:
            self.fails(report.problem or "the image was not solved")
            return
        beside = math.hypot(report.east, report.north)
        self._manager.log.info("the field is {beside:.0f} arcseconds off its centre", beside=beside)
        if self._centre is None or beside <= self._centre:
            self._end()
        elif state.centring <= 0:
            self.fails(f"it is {beside:.0f} arcseconds off still")
        else:
            # On the same link as the slew, so that it comes before it; the analyzer's own word counts once only.
            pointing = PointingMeasured(observation=state.current.id, east=report.east, north=report.north)
            self._manager.send_to(Agent.TELESCOPE, messages.POINTING_MEASURED, pointing)
            images = state.centring
            self._slew(state.current)
            state.centring = images

    def fails(self, reason: str) -> None:
        """Go on with the field as it is."""
        self._manager.log.warn("the field is not centred: {reason}", reason=reason)
        self._end()

    def _end(self) -> None:
        self._state.centring, self._state.centring_path = 0, ""
        self._go_on()
