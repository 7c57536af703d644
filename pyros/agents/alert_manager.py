"""The alert manager: understands packets, decides by the rules, asks for observations and takes them back.

Where the observatory publishes, it also writes the VOEvents that tell others what came of an alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import msgspec

from pyros import messages
from pyros.agents._alert_requests import RequestNotice, observation_id, settle
from pyros.agents._filters import check_filters
from pyros.agents._publishing import PublishingAgent, PublishingState
from pyros.agents._skymaps import Agreement
from pyros.agents.agent import Agent
from pyros.agents.runtime.batches import NotTaken
from pyros.alerts import Alert, coincidences, events, followup, identity, parse_all
from pyros.alerts.events import EventTable, Followed, StoredEvent, standing
from pyros.alerts.rules import decisions
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.decisions import DecisionRecord, RequestChange
from pyros.alerts.rules.rules import Decision, Rules
from pyros.config import NOWHERE
from pyros.errors import AlertError, ConfigError, JournalError
from pyros.journal.events import EventReader
from pyros.messages import (
    AlertDecided,
    FiltersKnown,
    Message,
    Observation,
    Withdrawal,
)
from pyros.planning import Site, SiteSky, SitesSky
from pyros.planning.visibility import warm_up

_MAX_COINCIDENT = 20


class AlertManagerState(PublishingState):
    """What the alert manager remembers beside the events, which have a table of their own."""

    events: dict[str, Followed] = msgspec.field(default_factory=dict)
    """Empty: earlier versions kept the last events here, by name; they are moved into the table at the start."""
    maps: list[str] = msgspec.field(default_factory=list)
    """The packets whose sky maps are being read, or fields chosen of."""


class AlertManagerAgent(PublishingAgent):
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
            messages.FILTERS_KNOWN: self.filters_known,
            messages.RELOAD_RULES: self.reload_rules,
        }

    def work(self) -> None:
        """Read the rules; a mistake in them stops the agent at its start, not at its first alert."""
        super().work()
        self.rules = Rules.load(self.config.alert_rules)
        self._filters: FiltersKnown | None = None
        self.site_changed(Site.load(self.config.site))
        warm_up()
        self.in_transaction(events.prepare)
        self.in_transaction(decisions.prepare)
        self.events = EventTable(self.stored_rows, self.pending_writes, self.clock.time)
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

    def site_changed(self, site: Site) -> None:
        super().site_changed(site)
        config = self.config
        seen = {config.seen_from(unit).site for unit in config.telescopes}
        others = [Site.load(path) for path in sorted(seen - {config.site, NOWHERE})]
        self.sky = SitesSky((site, *others)) if others else SiteSky(site)

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
            told = parse_all(packet, topic=message.payload.topic)
        except AlertError as error:
            self._tell(AlertDecided(alert="", event="", accepted=False, reason=f"not understood: {error}"))
            return
        for alert in told:
            self._take(alert, message.payload, packet)

    def _take(self, alert: Alert, received: messages.AlertReceived, packet: bytes) -> None:
        broker = self.config.broker
        if broker is not None and followup.is_own(alert.id, broker.ivo):
            decision = Decision(accepted=False, reason="our own follow-up, which is never followed up")
            self.keep_decision(alert, None, decision)
            return
        new = identity.packet_record(alert)
        known, namesake = self.events.about(new)
        if any(each.followed.event.has(new.id) for each in known):
            handled = Decision(accepted=False, reason="this packet was handled before")
            self.keep_decision(alert, known[0], handled)
            return
        stored = known[0] if known else StoredEvent(0, self._new_name(new, namesake), Followed())
        before = self.events.coincident(stored) if known else []
        had_been_retracted = bool(known) and stored.retracted
        for other in known[1:]:
            self._join(stored.followed, other.followed)
            self.join_maps(stored.followed, other)
        stored.followed.event = identity.add(stored.followed.event, new)
        fields_gone = self.look_at_map(alert, received, stored, packet)
        agrees = self.events.coincident(stored)
        if alert.kind == "retraction":
            decision = self._retract(alert, stored.followed)
        else:
            decision = self._decide(alert, stored, agrees)
        self.in_transaction(self.events.change(stored, (new,), known[1:]))
        requests = self._settle(stored, decision.reason, before, agrees, had_been_retracted)
        decision, observation, outcome = self._outcome(stored, decision, agrees, requests)
        self.settle_circles(stored, before, agrees)
        if fields_gone and outcome == "nothing":
            outcome = "withdrawn"
        self.keep_decision(alert, stored, decision, observation, outcome, agrees)
        for each in requests:
            self.send_to(self.SCHEDULER, each.message, each.payload)

    def relate_anew(self, stored: StoredEvent, before: list[Agreement]) -> None:
        """Settle who observes what coincides, now that an event's map is known, or is not waited for any more."""
        agrees = self.events.coincident(stored)
        if before or agrees:
            for each in self._settle(stored, "its sky map was read", before, agrees, stored.retracted):
                self.send_to(self.SCHEDULER, each.message, each.payload)
            self.settle_circles(stored, before, agrees)

    def settle_anew(self, stored: StoredEvent, reason: str) -> None:
        """Take an event's point back, unless what coincides asks for the observation, too."""
        agrees = self.events.coincident(stored)
        for each in self._settle(stored, reason, agrees, agrees, stored.retracted):
            self.send_to(self.SCHEDULER, each.message, each.payload)

    def _settle(
        self,
        stored: StoredEvent,
        reason: str,
        before: list[Agreement],
        agrees: list[Agreement],
        had_been_retracted: bool,
    ) -> list[RequestNotice]:
        """Ask for one observation of what coincides, and again for one of its own of what coincides no more."""
        followed = stored.followed
        if not before and not agrees and followed.asked is None and followed.observation is None:
            return []
        groups = [self._group(stored) if agrees else [stored]]
        for other, _ in before:
            if not any(other.number == each.number for group in groups for each in group):
                groups.append(self._group(other))
        if self.rules.asks_of_event:
            were = {} if had_been_retracted else standing(before)
            are = {} if stored.retracted else standing(agrees)
            self._judge_again(stored, [each for group in groups for each in group], were, are)
        requests: list[RequestNotice] = []
        for group in groups:
            as_before = [(each.followed.observation, each.followed.asked, each.followed.requests) for each in group]
            requests += settle(group, reason)
            for each, earlier in zip(group, as_before, strict=True):
                if (each.followed.observation, each.followed.asked, each.followed.requests) != earlier or agrees:
                    self.in_transaction(self.events.change(each))
        return requests

    def _group(self, stored: StoredEvent) -> list[StoredEvent]:
        """Return an event with what coincides with it, and with what coincides with that."""
        found = {stored.number: stored}
        waiting = [stored]
        while waiting and len(found) < _MAX_COINCIDENT:
            for other, _ in self.events.coincident(waiting.pop(0)):
                if other.number not in found:
                    found[other.number] = other
                    waiting.append(other)
        return list(found.values())

    def _judge_again(
        self, stored: StoredEvent, members: list[StoredEvent], were: dict[str, str], are: dict[str, str]
    ) -> None:
        """Ask the rules again about an event and those with which it began, or ceased, to coincide.

        Args:
            stored: the event.
            members: it, and all that are to be settled.
            were: the missions, by their events' names, that stood and coincided with it before.
            are: the same, now.
        """
        newly, gone = are.keys() - were.keys(), were.keys() - are.keys()
        self._reconsider(members, {*newly, stored.name} if newly else set())
        for each in members if gone else ():
            if each.name == stored.name:
                self._reconsider_without(each, tuple(were[name] for name in sorted(gone)))
            elif each.name in gone:
                self._reconsider_without(each, (coincidences.mission_of(stored.followed.event),))

    def _reconsider_without(self, stored: StoredEvent, gone: tuple[str, ...]) -> None:
        """Ask no more for what the rules wanted only because of missions that coincide no more, or are retracted.

        The rules are asked with them and without them at one moment: that an alert has become old changes nothing.
        """
        followed = stored.followed
        agrees = tuple(standing(self.events.coincident(stored)).values())
        best, now, dropped = identity.believe(followed.event).best, self.clock.now(), set()

        def decide(alert: Alert, missions: tuple[str, ...]) -> Decision:
            return self.rules.decide(alert, now, self.sky, EventFacts.of(alert, followed, missions))

        tiling, measured = followed.tiling, followed.map
        if tiling is not None and tiling.request is not None and measured is not None and measured.place:
            alert = tiling.sources[tiling.read].alert
            if decide(alert, (*agrees, *gone)).accepted and not decide(alert, agrees).accepted:
                self.decide_by_map(alert, stored, measured.place.densest)
        for packet in followed.event.packets:
            if packet.id not in followed.accepted:
                continue
            alert = identity.alert_of(packet)
            before, after = decide(alert, (*agrees, *gone)), decide(alert, agrees)
            if before.accepted and not after.accepted:
                dropped.add(packet.id)
            elif after.accepted and after.rule != before.rule and followed.asked and followed.asked.alert == packet.id:
                followed.asked = self._observation(alert, stored.name, after, followed, best)
        followed.accepted = [each for each in followed.accepted if each not in dropped]
        if followed.asked is not None and followed.asked.alert in dropped:
            self._go_on_or_end(followed, f"without {' and '.join(gone)} the rules do not want it")

    def _reconsider(self, group: list[StoredEvent], newly: set[str]) -> None:
        """Ask the rules again about events that something coincides with now: its packets came too early for that."""
        for stored in (each for each in group if each.name in newly):
            tiling, measured = stored.followed.tiling, stored.followed.map
            if tiling is not None and tiling.read and not tiling.request and measured is not None and measured.place:
                self.decide_by_map(tiling.sources[tiling.read].alert, stored, measured.place.densest)
            dead = identity.retracted_ids(stored.followed.event)
            for packet in stored.followed.event.packets:
                if packet.kind == "retraction" or packet.id in {*dead, *stored.followed.accepted}:
                    continue
                decision = self._decide(identity.alert_of(packet), stored, self.events.coincident(stored))
                if decision.accepted:
                    self.log.info(
                        "{event}: {reason}", event=stored.name, reason=f"now that it coincides: {decision.reason}"
                    )

    def _outcome(
        self, stored: StoredEvent, decision: Decision, agrees: list[Agreement], requests: list[RequestNotice]
    ) -> tuple[Decision, str, RequestChange]:
        """Return the decision with what came of it: an observation's id, and what was asked of the scheduler."""
        own = next(iter(requests), None)
        if own is not None:
            own = next((each for each in requests if each.change != "withdrawn"), own)
            return decision, own.observation, own.change
        if decision.accepted and stored.followed.observation is None and agrees:
            group = self._group(stored)
            holder = next((each for each in group if each.followed.observation is not None), None)
            if holder is not None and holder.followed.observation is not None:
                known = holder.followed.observation
                reason = f"{decision.reason}; {holder.name} coincides, and its observation keeps the better position"
                return msgspec.structs.replace(decision, reason=reason), known.id, "nothing"
        return decision, "", "nothing"

    def packet_of(self, received: messages.AlertReceived) -> bytes:
        """Return an alert's packet; one too large for a message is read from the broker's journal.

        Raises JournalError when that isn't here: then the message is kept as failed, and can be handled again.
        """
        if received.packet or received.kept is None:
            return received.packet
        with closing(EventReader(self.config.journal("broker"))) as reader:
            packet = reader.packet(received.kept)
        if packet is None:
            raise JournalError(f"{reader.path}: has no event {received.kept}, which the broker handed over")
        return packet

    def _join(self, followed: Followed, other: Followed) -> None:
        """Make one event of two, of which a packet has shown that they are one."""
        followed.event = identity.join(followed.event, other.event)
        followed.requests += other.requests
        followed.accepted += other.accepted
        followed.asked = followed.asked or other.asked
        if followed.observation is None:
            followed.observation = other.observation
        elif other.observation is not None:
            self.withdraw(other.observation, f"it is the same event as {followed.observation.event}")

    def _new_name(self, new: identity.PacketRecord, namesake: StoredEvent | None) -> str:
        """Name an event heard of first; tests and what is real may have one key, and are never one event."""
        for_tests = f"{new.key} (test)"
        if namesake is None:
            return new.key
        if new.role == "test":
            return for_tests
        namesake.name = for_tests
        self.in_transaction(self.events.change(namesake))
        return new.key

    def _decide(self, alert: Alert, stored: StoredEvent, agrees: list[Agreement]) -> Decision:
        """Have an observation asked for, or a change of it, if the rules want it and the packet is the best so far."""
        followed, event = stored.followed, None
        if alert.target is None and self.takes_map(alert):
            retracted = alert.id in identity.retracted_ids(followed.event)
            reading = f"no position yet: its sky map is read first ({alert.skymap})"
            return Decision(accepted=False, reason="its event was retracted before" if retracted else reading)
        if self.rules.asks_of_event:
            event = EventFacts.of(alert, followed, tuple(standing(agrees).values()))
        decision = self.rules.decide(alert, self.clock.now(), self.sky, event)
        if decision.accepted:
            followed.accepted = [*followed.accepted, alert.id][-identity.MAX_PACKETS_PER_EVENT :]
        known = followed.asked
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
        if decision.accepted:
            if known is None:
                followed.requests += 1
                followed.since = self.clock.time()
            followed.asked = self._observation(alert, stored.name, decision, followed, best)
        return decision

    def _retract(self, alert: Alert, followed: Followed) -> Decision:
        """Ask no more for what the packet takes back that had caused the observation.

        Where another mission's packet stands, and the rules had wanted that one too, the observation goes on there.
        """
        known = followed.asked
        best = identity.believe(followed.event).best
        if known is None:
            return Decision(accepted=False, reason=f"{alert.event} is retracted")
        if known.alert not in identity.retracted_ids(followed.event) and best is not None:
            reason = f"{alert.event} is retracted, but not {known.alert}, for which its observation was asked"
            return Decision(accepted=False, reason=reason)
        return Decision(accepted=False, reason=self._go_on_or_end(followed, f"{alert.event} is retracted"))

    def _go_on_or_end(self, followed: Followed, reason: str) -> str:
        """Ask for the observation at the best position, where the rules want that packet, or no more; say which."""
        known, best = followed.asked, identity.believe(followed.event).best
        if known is None or best is None or best.ra is None or best.dec is None or best.id not in followed.accepted:
            followed.asked = None
            return reason
        reason = f"{reason}, but {best.id} stands: the observation goes on there"
        followed.asked = msgspec.structs.replace(
            known, ra=best.ra, dec=best.dec, error_radius=best.error_radius, alert=best.id, reason=reason,
            requested=self.clock.time(),
        )  # fmt: skip
        return reason

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
        id_ = followed.asked.id if followed.asked else self.new_observation_id(name, followed.requests)
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
        self,
        alert: Alert,
        stored: StoredEvent | None,
        decision: Decision,
        observation: str = "",
        outcome: RequestChange = "nothing",
        agrees: Sequence[Agreement] = (),
    ) -> None:
        """Keep the decision with the turn, and tell whoever watches; ``stored`` is the packet's event, if any."""
        name = stored.name if stored is not None else alert.event
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
            looked_at=decisions.looked_at(alert, now, self.sky, [str(each) for _, each in agrees]),
            considered=decision.considered,
        )
        number = stored.number if stored is not None else None
        self.in_transaction(lambda db: decisions.write(db, record, number))
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
        """Return the id of an event's observation by how many it had."""
        return observation_id(event, number)

    def withdraw(self, observation: Observation, reason: str) -> None:
        """Take an observation back."""
        withdrawal = Withdrawal(observation=observation.id, reason=reason)
        self.send_to(self.SCHEDULER, messages.OBSERVATION_REQUEST_WITHDRAWN, withdrawal)
