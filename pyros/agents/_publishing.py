"""What the observatory tells the world: VOEvents about what came of an alert, written by the alert manager."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

import msgspec

from pyros import messages
from pyros.agents._skymaps import SkyMapsAgent
from pyros.agents.options import AgentOption, OptionTable
from pyros.alerts import detections, followup, identity
from pyros.alerts.alert import Role
from pyros.alerts.detections import Detections
from pyros.config import BROKER, PYROS_IVO
from pyros.messages import FollowUp, Message, Payload, Publish, SourceFound
from pyros.quantities import number

LIGHT_CURVE_DUE = "Light curve due"
_FOUND = 50  # events of which it is remembered what was found; the state is written with every turn
_LIGHT_CURVE_AFTER = 120.0  # seconds after an observation has ended: its last images are measured by then


class LightCurveDue(Payload, frozen=True):
    """The alert manager to itself: an observation of that event has ended a while ago."""

    event: str


messages.register(LIGHT_CURVE_DUE, LightCurveDue, guarded=True)


class PublishingState(msgspec.Struct):
    """What is remembered of what was published."""

    published: int = 0
    """How many VOEvents of our own it has written."""
    found: dict[str, Detections] = {}
    """What was found of the last events, by their names."""


_CHANGE = AgentOption("change", number(0.0), detections.CHANGE)


class PublishingAgent(SkyMapsAgent):
    """The part of the alert manager that publishes: *Follow-up* and *Source found* become VOEvents of our own."""

    OPTIONS: ClassVar[OptionTable] = (*SkyMapsAgent.OPTIONS, _CHANGE)
    state: PublishingState

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {
            messages.FOLLOW_UP: self.follow_up,
            messages.SOURCE_FOUND: self.source_found,
            LIGHT_CURVE_DUE: self.light_curve_due,
        }

    def work(self) -> None:
        """Read by how much a source must have changed to be news."""
        self._change = self.option(*_CHANGE)

    def follow_up(self, message: Message) -> None:
        """Tell the broker's subscribers that an observation has begun or ended."""
        said: FollowUp = message.payload
        covered = self.field_observed(said)
        self._publish(
            said.request.id, said.what, said.request.alert,
            lambda author, ivorn, role, now: followup.report(author, ivorn, role, now, said, covered),
        )  # fmt: skip
        if said.what != "started":
            self.call_later(_LIGHT_CURVE_AFTER, LIGHT_CURVE_DUE, LightCurveDue(said.request.event))

    def source_found(self, message: Message) -> None:
        """Something was found where an alert's source may be: tell the broker's subscribers."""
        found: SourceFound = message.payload
        self.log.info(
            "{event}: a source at ra {ra:.5f}, dec {dec:+.5f}, {filter} = {magnitude:.2f} mag",
            event=found.event, ra=found.ra, dec=found.dec, filter=found.filter, magnitude=found.magnitude,
        )  # fmt: skip
        if found.observation != followup.BY_HAND and self._is_retracted(found.alert):
            self.log.info("{event} is retracted: what was found is not published", event=found.event)
            return
        if not self.config.publishes or (found.observation != followup.BY_HAND and not self._is_news(found)):
            return
        self._publish(
            found.observation, "detection", found.alert,
            lambda author, ivorn, role, now: followup.detection(author, ivorn, role, now, found),
        )  # fmt: skip

    def _is_news(self, found: SourceFound) -> bool:
        kept = self.state.found.pop(found.event, None) or Detections()
        self.state.found[found.event] = kept
        while len(self.state.found) > _FOUND:
            del self.state.found[next(iter(self.state.found))]
        return detections.add(kept, found, self._change)

    def light_curve_due(self, message: Message) -> None:
        """Publish what was measured in all images, where that was not done one by one."""
        kept = self.state.found.get(message.payload.event)
        found = detections.take(kept) if kept is not None else []
        if found and not self._is_retracted(found[-1].alert):
            self._publish(
                found[-1].observation, "photometry", found[-1].alert,
                lambda author, ivorn, role, now: followup.light_curve(author, ivorn, role, now, found),
            )  # fmt: skip

    def _is_retracted(self, alert: str) -> bool:
        """Whether the event of a packet is known, and taken back: an image of it may come to be measured later."""
        return any(identity.believe(each.followed.event).retracted for each in self.events.having(alert))

    def _publish(
        self, observation: str, what: str, alert: str,
        write: Callable[[followup.Author, str, Role, datetime], bytes],
    ) -> None:  # fmt: skip
        """Give a VOEvent of our own to the broker: with the turn, so that it gets there exactly once, or not at all.

        What no telescope has seen is a test: everything of a simulated observatory, and what follows up a demo's alert.
        What follows up no alert (somebody asked for it) is nobody else's business.
        """
        broker = self.config.broker
        if broker is None or not broker.publish or not alert:
            return
        self.state.published += 1
        now = self.clock.now()
        site = self.site
        author = followup.Author(broker.ivo, self.config.name, site.latitude, site.longitude, site.elevation)
        ivorn = followup.new_ivorn(broker.ivo, observation, what, now, self.state.published)
        test = self.config.simulated or alert.lower().startswith(PYROS_IVO)
        packet = write(author, ivorn, "test" if test else "observation", now)
        self.send_to(BROKER, messages.PUBLISH, Publish(packet))
