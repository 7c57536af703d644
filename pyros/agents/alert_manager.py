"""The alert manager: understands packets, decides by the rules, asks for observations and takes them back."""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec

from pyros import messages
from pyros.agents.base import Agent
from pyros.alerts import Alert, parse
from pyros.alerts.rules import Decision, Rules
from pyros.errors import AlertError
from pyros.messages import AlertDecided, Message, Observation, Withdrawal

_REMEMBERED = 500
_REMEMBERED_PACKETS = 50


class Event(msgspec.Struct):
    """What is known of one event: its packets, and the observation that it caused."""

    packets: list[str] = []
    observation: Observation | None = None
    withdrawn: bool = False


class AlertManagerState(msgspec.Struct):
    """The last events, oldest first, by their identity keys."""

    events: dict[str, Event] = {}


class AlertManagerAgent(Agent):
    """Turns *Alert received* into *Observation requested*, *changed* or *withdrawn*."""

    state: AlertManagerState

    def __init__(self) -> None:
        super().__init__(Agent.ALERT_MANAGER)
        self.actions_by_message[messages.ALERT_RECEIVED] = self.alert_received

    def work(self) -> None:
        """Read the rules; a mistake in them stops the agent at its start, not at its first alert."""
        self.rules = Rules.load(self.config.alert_rules)

    def alert_received(self, message: Message) -> None:
        """Understand a packet, decide, and tell the scheduler and whoever watches."""
        try:
            alert = parse(message.payload.packet)
        except AlertError as error:
            self._tell(AlertDecided(alert="", event="", accepted=False, reason=f"not understood: {error}"))
            return
        event = self.state.events.pop(alert.event, None) or Event()
        self.state.events[alert.event] = event
        while len(self.state.events) > _REMEMBERED:
            del self.state.events[next(iter(self.state.events))]
        if alert.id in event.packets:
            self._decided(alert, Decision(accepted=False, reason="this packet was handled before"))
            return
        event.packets = [*event.packets, alert.id][-_REMEMBERED_PACKETS:]
        if alert.kind == "retraction":
            self._retract(alert, event)
        else:
            self._decide(alert, event)

    def _decide(self, alert: Alert, event: Event) -> None:
        decision = self.rules.decide(alert, self.clock.now())
        if decision.accepted and event.withdrawn:
            decision = Decision(accepted=False, rule=decision.rule, reason="its event was retracted before")
        if not decision.accepted:
            self._decided(alert, decision)
            return
        observation = self._observation(alert, decision)
        known = event.observation
        event.observation = observation
        name = messages.OBSERVATION_REQUEST_CHANGED if known else messages.OBSERVATION_REQUESTED
        self._decided(alert, decision, observation.id)
        self.send_to(self.SCHEDULER, name, observation)

    def _retract(self, alert: Alert, event: Event) -> None:
        event.withdrawn = True
        decision = Decision(accepted=False, reason=f"{alert.event} is retracted")
        observation, event.observation = event.observation, None
        self._decided(alert, decision, observation.id if observation else "")
        if observation is not None:
            withdrawal = Withdrawal(observation=observation.id, reason=decision.reason)
            self.send_to(self.SCHEDULER, messages.OBSERVATION_REQUEST_WITHDRAWN, withdrawal)

    def _observation(self, alert: Alert, decision: Decision) -> Observation:
        assert alert.target is not None, "the rules accept nothing without a position"
        now = self.clock.now()
        expires = now + timedelta(seconds=decision.expires_after) if decision.expires_after else None
        return Observation(
            id="obs-" + re.sub(r"[^A-Za-z0-9.+-]+", "-", alert.event).strip("-")[:80],
            target=alert.event,
            ra=alert.target[0],
            dec=alert.target[1],
            exposures=decision.exposures,
            priority=decision.priority,
            alert=alert.id,
            event=alert.event,
            error_radius=alert.error_radius,
            min_altitude=decision.min_altitude,
            expires=expires.timestamp() if expires else None,
            requested=now.timestamp(),
            reason=decision.reason,
        )

    def _decided(self, alert: Alert, decision: Decision, observation: str = "") -> None:
        target = alert.target or (None, None)
        self._tell(
            AlertDecided(
                alert=alert.id,
                event=alert.event,
                accepted=decision.accepted,
                reason=decision.reason,
                rule=decision.rule,
                ra=target[0],
                dec=target[1],
                error_radius=alert.error_radius,
                observation=observation,
            )
        )

    def _tell(self, decided: AlertDecided) -> None:
        what = "observe" if decided.accepted else "do not observe"
        self.log.info("{event}: {what}: {reason}", event=decided.event or "a packet", what=what, reason=decided.reason)
        self.send_if_there(self.MONITORING, messages.ALERT_DECIDED, decided)
