"""The alert manager: understands packets, decides by the rules, asks for observations and takes them back.

Where the observatory publishes, it also writes the VOEvents that tell others what came of an alert.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from pyros import messages
from pyros.agents._filters import check_filters
from pyros.agents._skymaps import SkyMapsAgent
from pyros.agents.agent import Agent
from pyros.agents.runtime.turns import NotTaken
from pyros.alerts import Alert, detections, events, followup, identity, parse
from pyros.alerts.alert import Role
from pyros.alerts.detections import Detections
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.rules import decisions
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.decisions import DecisionRecord, RequestChange
from pyros.alerts.rules.rules import Decision, Rules
from pyros.config import BROKER, PYROS_IVO
from pyros.errors import AlertError, ConfigError, JournalError
from pyros.journal.events import EventReader
from pyros.messages import (
    AlertDecided,
    FiltersKnown,
    FollowUp,
    Message,
    Observation,
    Payload,
    Publish,
    SourceFound,
    Withdrawal,
)
from pyros.planning import Site, SiteSky
from pyros.planning.visibility import warm_up

LIGHT_CURVE_DUE = "Light curve due"
_FOUND = 50  # events of which it is remembered what was found; the state is written with every turn
_LIGHT_CURVE_AFTER = 120.0  # seconds after an observation has ended: its last images are measured by then


class LightCurveDue(Payload, frozen=True):
    """The alert manager to itself: an observation of that event has ended a while ago."""

    event: str


messages.register(LIGHT_CURVE_DUE, LightCurveDue, guarded=True)


class AlertManagerState(msgspec.Struct):
    """What the alert manager remembers beside the events, which have a table of their own."""

    events: dict[str, Followed] = {}
    """Empty: earlier versions kept the last events here, by name; they are moved into the table at the start."""
    published: int = 0
    """How many VOEvents of our own it has written."""
    found: dict[str, Detections] = {}
    """What was found of the last events, by their names."""
    maps: list[str] = []
    """The packets whose sky maps are being read, or fields chosen of."""


class AlertManagerAgent(SkyMapsAgent):
    """The alert manager: from *Alert received* to *Observation requested*, *changed* or *withdrawn*.

    *Follow-up* and *Source found* become VOEvents of our own.

    ``option_change``: magnitudes by which a source must have changed to be published again before its light curve is,
    after the observation; 0 for every measurement. `SkyMapsAgent` has the options for sky maps.
    """

    needs = ("site", "alert_rules")
    schema = events.SCHEMA
    state: AlertManagerState

    def __init__(self) -> None:
        super().__init__(Agent.ALERT_MANAGER)
        self.actions_by_message |= {
            messages.ALERT_RECEIVED: self.alert_received,
            messages.FOLLOW_UP: self.follow_up,
            messages.SOURCE_FOUND: self.source_found,
            LIGHT_CURVE_DUE: self.light_curve_due,
            messages.FILTERS_KNOWN: self.filters_known,
            messages.RELOAD_RULES: self.reload_rules,
        }

    def work(self) -> None:
        """Read the rules; a mistake in them stops the agent at its start, not at its first alert."""
        self._change = self.option("change", float, detections.CHANGE)
        self.rules = Rules.load(self.config.alert_rules)
        self._filters: FiltersKnown | None = None
        self.site = Site.load(self.config.site)
        self.sky = SiteSky(self.site)
        warm_up()
        self.in_transaction(decisions.prepare)
        self.events = EventTable(self.stored_rows, self.pending_writes)
        events.migrate(self.events, self.state.events, self.in_transaction)
        self.state.events = {}
        self.go_on_with_maps()

    def filters_known(self, message: Message) -> None:
        """Check the rules' filters against those of the wheel, which is connected and tells what it has."""
        self._filters = message.payload
        self._check_filters()

    def _check_filters(self) -> None:
        if self._filters is not None:
            named = (each.filter for rule in self.rules.rules for each in rule.exposures)
            check_filters(self, self._filters, named, "alert rules")

    def reload_rules(self) -> None:
        """Read the file of rules again; one with mistakes is refused with all of them, and the old rules stay."""
        try:
            rules = Rules.load(self.config.alert_rules)
        except ConfigError as error:
            self.log.error("the rules are as before: {problems}", problems="; ".join(error.problems))
            raise NotTaken(f"the rules are as before: {'; '.join(error.problems)}") from None
        self.rules = rules
        self._check_filters()
        self.log.info("{file} is read again: {count} rules", file=self.config.alert_rules, count=len(rules.rules))

    def alert_received(self, message: Message) -> None:
        """Understand a packet, decide, and tell the scheduler and whoever watches."""
        packet = self.packet_of(message.payload)
        try:
            alert = parse(packet, topic=message.payload.topic)
        except AlertError as error:
            self._tell(AlertDecided(alert="", event="", accepted=False, reason=f"not understood: {error}"))
            return
        broker = self.config.broker
        if broker is not None and followup.is_own(alert.id, broker.ivo):
            decision = Decision(accepted=False, reason="our own follow-up, which is never followed up")
            self.keep_decision(alert, alert.event, decision)
            return
        new = identity.packet_record(alert)
        known = self.events.about(new)
        if any(each.followed.event.has(new.id) for each in known):
            handled = Decision(accepted=False, reason="this packet was handled before")
            self.keep_decision(alert, known[0].name, handled)
            return
        stored = known[0] if known else StoredEvent(0, self._new_name(new), Followed())
        followed = stored.followed
        for other in known[1:]:
            self._join(followed, other.followed)
            self.join_maps(followed, other)
        followed.event = identity.add(followed.event, new)
        fields_gone = self.look_at_map(alert, message.payload, stored, packet)
        if alert.kind == "retraction":
            self._retract(alert, stored.name, followed, fields_gone)
        else:
            self._decide(alert, stored.name, followed)
        self.in_transaction(self.events.change(stored, (new,), known[1:]))

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

    def packet_of(self, received: messages.AlertReceived) -> bytes:
        """Return an alert's packet; one too large for a message is read from the broker's journal.

        Raises JournalError when that isn't here: then the message is kept as failed, and can be handled again.
        """
        if received.packet or received.kept is None:
            return received.packet
        reader = EventReader(self.config.journal("broker"))
        try:
            packet = reader.packet(received.kept)
        finally:
            reader.close()
        if packet is None:
            raise JournalError(f"{reader.path}: has no event {received.kept}, which the broker handed over")
        return packet

    def _join(self, followed: Followed, other: Followed) -> None:
        """Make one event of two, of which a packet has shown that they are one."""
        followed.event = identity.join(followed.event, other.event)
        followed.requests += other.requests
        followed.accepted += other.accepted
        if followed.observation is None:
            followed.observation = other.observation
        elif other.observation is not None:
            self.withdraw(other.observation, f"it is the same event as {followed.observation.event}")

    def _new_name(self, new: identity.PacketRecord) -> str:
        """Name an event heard of first; tests and what is real may have one key, and are never one event."""
        for_tests = f"{new.key} (test)"
        namesake = self.events.named(new.key)
        if namesake is None:
            return new.key
        if new.role == "test":
            return for_tests
        namesake.name = for_tests
        self.in_transaction(self.events.change(namesake))
        return new.key

    def _decide(self, alert: Alert, name: str, followed: Followed) -> None:
        """Ask for an observation, or for a change of it, if the rules want it and the packet is the best so far."""
        if alert.target is None and self.takes_map(alert):
            retracted = alert.id in identity.retracted_ids(followed.event)
            reading = f"no position yet: its sky map is read first ({alert.skymap})"
            reason = "its event was retracted before" if retracted else reading
            self.keep_decision(alert, name, Decision(accepted=False, reason=reason))
            return
        event = EventFacts.of(alert, followed) if self.rules.asks_of_event else None
        decision = self.rules.decide(alert, self.clock.now(), self.sky, event)
        if decision.accepted:
            followed.accepted = [*followed.accepted, alert.id][-identity.MAX_PACKETS_PER_EVENT :]
        known = followed.observation
        best = identity.believe(followed.event).best
        refusal = ""
        if alert.id in identity.retracted_ids(followed.event):
            refusal = "its event was retracted before"
        elif self.observed_in_fields(alert, followed):
            refusal = self.OBSERVED_IN_FIELDS
        elif known is not None and best is not None and best.id != alert.id:
            refusal = f"the position of {best.id} is better, or newer; the observation keeps it"
        if decision.accepted and refusal:
            asked = decision.considered
            decision = Decision(accepted=False, rule=decision.rule, reason=refusal, considered=asked)
        if not decision.accepted:
            self.keep_decision(alert, name, decision)
            return
        if known is None:
            followed.requests += 1
            followed.since = self.clock.time()
        followed.observation = self._observation(alert, name, decision, followed, best)
        request = messages.OBSERVATION_REQUEST_CHANGED if known else messages.OBSERVATION_REQUESTED
        self.keep_decision(alert, name, decision, followed.observation.id, "changed" if known else "requested")
        self.send_to(self.SCHEDULER, request, followed.observation)

    def _retract(self, alert: Alert, name: str, followed: Followed, fields_gone: bool) -> None:
        """Take the observation back if the packet that had caused it is taken back.

        Where another mission's packet stands, and the rules had wanted that one too, the observation goes on there.
        """
        known = followed.observation
        best = identity.believe(followed.event).best
        if known is None:
            decision = Decision(accepted=False, reason=f"{alert.event} is retracted")
            self.keep_decision(alert, name, decision, outcome="withdrawn" if fields_gone else "nothing")
        elif known.alert not in identity.retracted_ids(followed.event) and best is not None:
            reason = f"{alert.event} is retracted, but not {known.alert}, for which its observation was asked"
            self.keep_decision(alert, name, Decision(accepted=False, reason=reason))
        elif best is not None and best.ra is not None and best.dec is not None and best.id in followed.accepted:
            reason = f"{alert.event} is retracted, but {best.id} stands: the observation goes on there"
            followed.observation = msgspec.structs.replace(
                known, ra=best.ra, dec=best.dec, error_radius=best.error_radius, alert=best.id, reason=reason
            )
            self.keep_decision(alert, name, Decision(accepted=False, reason=reason), known.id, "changed")
            self.send_to(self.SCHEDULER, messages.OBSERVATION_REQUEST_CHANGED, followed.observation)
        else:
            followed.observation = None
            decision = Decision(accepted=False, reason=f"{alert.event} is retracted")
            self.keep_decision(alert, name, decision, known.id, "withdrawn")
            self.withdraw(known, decision.reason)

    def withdraw(self, observation: Observation, reason: str) -> None:
        """Take an observation back."""
        withdrawal = Withdrawal(observation=observation.id, reason=reason)
        self.send_to(self.SCHEDULER, messages.OBSERVATION_REQUEST_WITHDRAWN, withdrawal)

    def _observation(
        self, alert: Alert, name: str, decision: Decision, followed: Followed, best: identity.PacketRecord | None
    ) -> Observation:
        """Make the request, at the best position that is known, which an earlier packet may have given."""
        assert alert.target is not None, "the rules accept nothing without a position"
        ra, dec, error = *alert.target, alert.error_radius
        if best is not None and best.ra is not None and best.dec is not None:
            ra, dec, error = best.ra, best.dec, best.error_radius
        now = self.clock.now()
        expires = now + timedelta(seconds=decision.expires_after) if decision.expires_after else None
        id_ = followed.observation.id if followed.observation else self.new_observation_id(name, followed.requests)
        return Observation(
            id=id_,
            target=name,
            ra=ra,
            dec=dec,
            exposures=decision.exposures,
            priority=decision.priority,
            alert=alert.id,
            event=name,
            error_radius=error,
            event_time=alert.time.timestamp() if alert.time else None,
            min_altitude=decision.min_altitude,
            expires=expires.timestamp() if expires else None,
            requested=now.timestamp(),
            reason=decision.reason,
            repeat=tuple(followed.since + seconds for seconds in decision.repeat),
        )

    def keep_decision(
        self, alert: Alert, name: str, decision: Decision, observation: str = "", outcome: RequestChange = "nothing"
    ) -> None:
        """Keep the decision with the turn, and tell whoever watches."""
        target = alert.target or (None, None)
        now = self.clock.now()
        record = DecisionRecord(
            alert=alert.id,
            event=name,
            decided=now.timestamp(),
            accepted=decision.accepted,
            rule=decision.rule,
            reason=decision.reason,
            outcome=outcome,
            observation=observation,
            looked_at=decisions.looked_at(alert, now, self.sky),
            considered=decision.considered,
        )
        self.in_transaction(lambda db: decisions.write(db, record))
        self._tell(
            AlertDecided(
                alert=alert.id,
                event=name,
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
        if decided.accepted:
            self.send_if_there(self.NOTIFIER, messages.ALERT_DECIDED, decided)

    def new_observation_id(self, event: str, number: int) -> str:
        """``obs-swift-1234``; an event that is observed anew after a retraction counts on: ``obs-lvc-S1a-2``."""
        words = re.sub(r"[^A-Za-z0-9.+-]+", "-", event).strip("-")[:80]
        return f"obs-{words}" if number == 1 else f"obs-{words}-{number}"
