"""What the alert manager does about sky maps: has them read, decides again, and asks for fields or galaxies.

A packet's map is read in a worker process after the packet was decided by its position, so that no point waits for a
map. When it is read, the rules decide once more, now knowing the map; what they want is cut into the telescope's
fields, or galaxies are chosen, by the same worker, and all that is wanted of the event goes to the scheduler in one
message. Which map counts is `Tiling.newest`: it follows from the event's packets, in whatever order they came.

    look_at_map -> (worker) -> Sky map read -> rules -> (worker) -> Fields chosen -> Fields requested
                                    | no map: Read sky map again, later and later; then an older map, or none
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.options import AgentOption, OptionTable
from pyros.agents.skymap_messages import (
    CHOOSE_AGAIN,
    FIELDS_CHOSEN,
    MAP_READ,
    READ_MAP_AGAIN,
    FieldsChosen,
    MapAgain,
    MapRead,
)
from pyros.alerts import Alert
from pyros.alerts.coincidences import Coincidence
from pyros.alerts.events import EventTable, Followed, StoredEvent, standing
from pyros.alerts.formats.gcn import CONTAINMENT
from pyros.alerts.rules.circumstances import EventFacts
from pyros.alerts.rules.decisions import RequestChange
from pyros.alerts.rules.rules import Decision, Rules
from pyros.alerts.skymaps import FieldOfView
from pyros.alerts.tiling import MapSource, ObservedField, Tiling
from pyros.angles import SECONDS_PER_DAY
from pyros.areas import work
from pyros.areas.work import MAPS_FOLDER, Choice, ChooseJob, MapReading, ReadJob
from pyros.errors import AgentError, AlertError, WorkerError
from pyros.messages import AlertReceived, FieldRequests, FollowUp, Message, Observation
from pyros.planning import Site, SiteSky, SitesSky
from pyros.planning.night_sky import night_of
from pyros.quantities import number, whole
from pyros.reactor import Reactor
from pyros.workers import Worker

_PAUSES = (10.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds before a map that could not be read is read again."""
_JOB_SECONDS = 300.0
_AFTER_DAWN_SECONDS = 600.0
_BETWEEN_FIELDS_SECONDS = 30.0
"""For the slew from one to the next, and reading out: about that."""
_CHOOSE_AGAIN_SECONDS = 3600.0
"""After which fields are chosen anew, where more could be observed tonight than were asked for."""
_MAX_PACKETS = 20
_MAX_OBSERVED = 2000
_FIELD = re.compile(r"(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?")


Agreement = tuple[StoredEvent, Coincidence]


def _field_size(text: str) -> tuple[float, float] | None:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError("is not a field in degrees, such as 1.5 or 2x1.5")
    return float(match[1]), float(match[2] or match[1])


_SIZE = AgentOption("field", _field_size, None)
_OVERLAP = AgentOption("overlap", number(0.0, 90.0), 0.0)
_GALAXIES = AgentOption("galaxies", str, "")
_SHARE = AgentOption("share", number(0.01, 1.0), 0.9)
_MOST = AgentOption("most", whole(1, 500), 100)


class SkyMapsAgent(Agent):
    """The part of the alert manager that is about sky maps.

    ``option_field`` is the telescope's field of view, degrees (``1.5x1``): without it no map is read.
    ``option_overlap`` (degrees) is what neighbouring fields share; galaxies of ``option_galaxies``, a file as pyros
    alerts galaxies makes them or reads them, are observed instead where a map has distances. ``option_share`` (0.9) is
    the share of what can be observed at which there are enough, ``option_most`` (100) the most that is asked for at a
    time.
    """

    events: EventTable
    rules: Rules
    site: Site
    sky: SiteSky | SitesSky
    OPTIONS: ClassVar[OptionTable] = (_SIZE, _OVERLAP, _GALAXIES, _SHARE, _MOST)
    state: Any
    """With the field ``maps``: the packets whose maps are being read, or chosen of; after a restart that begins again.
    """

    OBSERVED_IN_FIELDS: ClassVar[str] = "it is observed in fields"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.actions_by_message |= {
            MAP_READ: self.map_read,
            FIELDS_CHOSEN: self.fields_chosen,
            READ_MAP_AGAIN: self.read_map_again,
            CHOOSE_AGAIN: self.choose_again,
        }
        self._field: FieldOfView | None = None
        self._packets: OrderedDict[str, bytes] = OrderedDict()
        """Packets whose maps are within them, until they are read."""
        self._reading: set[str] = set()
        """Reactor's thread: the packets whose maps the worker reads."""

    def attach(self, reactor: Reactor) -> None:
        """Begin the worker where there are maps to read, so that the first needs not wait for its imports."""
        self._field = self._field_of_view()
        self._worker = Worker(reactor, self.clock, self.log, "sky maps'", [work.__name__])
        self._detached = False
        self._reading.clear()
        if self._field is not None:
            self._worker.warm_up()

    def detach(self) -> Deferred[None]:
        """Stop; a map that is being read is read after the next start."""
        self._detached = True
        return self._worker.stop()

    def _field_of_view(self) -> FieldOfView | None:
        """Return the telescope's field by the options; raises AgentError naming file and key."""
        overlap, size, galaxies = self.option(*_OVERLAP), self.option(*_SIZE), self.option(*_GALAXIES)
        field = None if size is None else FieldOfView(*size, overlap)
        self._share, self._most = self.option(*_SHARE), self.option(*_MOST)
        where = f"{self.config.path}: [{self.name}]"
        if galaxies and field is None:
            raise AgentError(f"{where} option_galaxies: needs option_field, the telescope's field in degrees")
        if field is not None:
            try:
                field.check()
            except AlertError as error:
                raise AgentError(f"{where} option_field: {error}") from None
        self._galaxies = str(self.config.path.parent / galaxies) if galaxies else ""
        return field

    def go_on_with_maps(self) -> None:
        """Begin again what was being read or chosen when the agent stopped."""
        if self._field is None:
            self.state.maps = []
        for alert in list(self.state.maps):
            self._begin(alert)

    # For the alert manager ---------------------------------------------------------------------------------------

    def takes_map(self, alert: Alert) -> bool:
        """Tell whether a packet's map is read, or made of a wide circle, before it is decided for good."""
        return self._field is not None and alert.actionable and (alert.skymap is not None or self._is_wide(alert))

    def _is_wide(self, alert: Alert) -> bool:
        """Tell whether an error goes beyond a field about the position."""
        radius, field = alert.error_radius, self._field
        return field is not None and alert.target is not None and radius is not None and radius > _half(field)

    def observed_in_fields(self, alert: Alert, followed: Followed) -> bool:
        """Tell whether a position is no better than the fields in which the event's map is observed."""
        tiling = followed.tiling
        if self._field is None or tiling is None or tiling.request is None or not tiling.targets:
            return False
        return alert.error_radius is None or alert.error_radius > _half(self._field)

    def settle_circles(self, one: StoredEvent, *agreements: list[Agreement]) -> None:
        """Have wide circles observed in fields, unless the rules want a finer place that coincides with them.

        Args:
            one: an event of which something has become known.
            agreements: what coincides with it, or did.
        """
        if self._field is None:
            return
        ids = dict.fromkeys(other.followed.event.packets[0].id for some in agreements for other, _ in some)
        for stored in (one, *(each for id_ in ids for each in self.events.having(id_))):
            tiling = stored.followed.tiling
            source = tiling.newest(stored.followed.event) if tiling is not None else None
            if tiling is None or source is None or not source.is_circle or source.alert.id != tiling.read:
                continue
            finer = self._finer(stored)
            if finer and tiling.request is not None:
                self._request_fields(stored.name, tiling, f"{finer} coincides, and its place is finer", ())
                tiling.request, tiling.targets = None, ()
            elif not finer and tiling.request is None and source.alert.target is not None:
                self.decide_by_map(source.alert, stored, source.alert.target)
            else:
                continue
            self.in_transaction(self.events.change(stored))

    def _finer(self, stored: StoredEvent) -> str:
        """Return the name of an event that coincides, and of which the rules want a place that one field shows."""
        for other, _ in self.events.coincident(stored):
            asked = other.followed.asked
            if asked is not None and self._field is not None and (asked.error_radius or 0.0) <= _half(self._field):
                return other.name
        return ""

    def look_at_map(self, alert: Alert, received: AlertReceived, stored: StoredEvent, packet: bytes) -> bool:
        """Take note of a packet's map, and of what the packet says of maps before it; True where fields are withdrawn.

        Call it when the packet is part of the event, and before the event is kept.
        """
        followed = stored.followed
        if self.takes_map(alert):
            followed.tiling = followed.tiling or Tiling()
            source = MapSource(alert, received.kept, received.topic)
            followed.tiling.add(source)
            if not source.url and not source.is_circle:
                self._packets[alert.id] = packet
                while len(self._packets) > _MAX_PACKETS:
                    self._packets.popitem(last=False)
        return self._look(stored.name, followed)

    def join_maps(self, followed: Followed, other: StoredEvent) -> None:
        """Take over what is known of the maps of another event that has turned out to be the same."""
        theirs = other.followed.tiling
        if theirs is None:
            return
        if theirs.request is not None:
            self._request_fields(other.name, theirs, f"it is the same event as {followed.event.packets[0].key}", ())
        mine = followed.tiling = followed.tiling or Tiling()
        for source in theirs.sources.values():
            mine.add(source)
        mine.observed = (*mine.observed, *theirs.observed)[-_MAX_OBSERVED:]
        followed.map = followed.map or other.followed.map

    def field_observed(self, said: FollowUp) -> float | None:
        """Take note of a field that was observed; return the probability that is covered now.

        None for no field, and between a new map's reading and the choice of its fields.
        """
        request = said.request
        if request.probability is None or self._field is None:
            return None
        for stored in self.events.having(request.alert):
            tiling = stored.followed.tiling
            if tiling is None:
                continue
            if said.what == "finished":
                target = next((each for each in tiling.targets if request.id.endswith(f"-{each.key}")), None)
                key = target.key if target is not None else request.id
                if all(each.key != key for each in tiling.observed):
                    field = ObservedField(
                        key, request.ra, request.dec, self._field.width, self._field.height, said.time,
                        len(said.images),
                    )  # fmt: skip
                    tiling.observed = (*tiling.observed, field)[-_MAX_OBSERVED:]
                    if tiling.covered is not None and target is not None:
                        tiling.covered = min(1.0, tiling.covered + target.probability)
                    self.in_transaction(self.events.change(stored))
            return tiling.covered
        return None

    # Messages to itself ------------------------------------------------------------------------------------------

    def read_map_again(self, message: Message) -> None:
        """Read a map that could not be read, if it still counts."""
        for stored in self.events.having(message.payload.alert):
            self._look(stored.name, stored.followed)

    def choose_again(self, message: Message) -> None:
        """Choose of what is left of an event's map, for the rest of this night or for the next one."""
        for stored in self.events.having(message.payload.alert):
            tiling = stored.followed.tiling
            expires = tiling.request.expires if tiling is not None and tiling.request is not None else None
            if tiling is not None and tiling.read and (expires is None or self.clock.time() < expires):
                self._choose(tiling.read, tiling)

    def map_read(self, message: Message) -> None:
        """Decide by the rules once more, now that the map is known."""
        said: MapRead = message.payload
        self._done(said.alert)
        for stored in self.events.having(said.alert):
            followed = stored.followed
            tiling = followed.tiling
            if tiling is None or (source := tiling.newest(followed.event)) is None or source.alert.id != said.alert:
                continue
            before = self.events.coincident(stored)
            if said.reading is None:
                self._not_read(stored, tiling, source, said)
            else:
                tiling.read, tiling.file = said.alert, said.reading.file
                tiling.covered, tiling.most = None if tiling.observed else 0.0, 0.0  # they were of the map before
                if not source.is_circle:  # what coincides is told by the position, and rules know its error
                    followed.map = said.reading.facts
                if not source.is_circle or not self._finer(stored):
                    self.decide_by_map(source.alert, stored, (said.reading.ra, said.reading.dec))
            self.in_transaction(self.events.change(stored))
            self.relate_anew(stored, before)

    def fields_chosen(self, message: Message) -> None:
        """Ask the scheduler for what was chosen."""
        said: FieldsChosen = message.payload
        self._done(said.alert)
        for stored in self.events.having(said.alert):
            followed = stored.followed
            tiling = followed.tiling
            if tiling is None or tiling.read != said.alert or tiling.request is None:
                continue
            alert, request = tiling.sources[said.alert].alert, tiling.request
            choice = said.choice
            if choice is None or not choice.targets:
                reason = said.problem or "nothing of its sky map can be observed tonight"
                if choice is not None:
                    tiling.covered = choice.covered
                    if choice.covered:
                        reason += f"; {choice.covered:.1%} of it was observed"
                had = bool(tiling.targets)
                tiling.targets = ()
                if had:
                    self._request_fields(stored.name, tiling, reason)
                tiling.request = request if choice is not None else None
                self.keep_decision(alert, stored, Decision(accepted=False, reason=reason))
            else:
                outcome: RequestChange = "changed" if tiling.targets else "requested"
                meanwhile = {each.key for each in tiling.observed[choice.known :]}
                more = math.fsum(each.probability for each in choice.targets if each.key in meanwhile)
                tiling.targets, tiling.covered = choice.targets, min(1.0, choice.covered + more)
                tiling.most = max(tiling.most, *(each.probability for each in choice.targets))
                if followed.asked is not None:
                    followed.asked, outcome = None, "changed"
                    self.settle_anew(stored, self.OBSERVED_IN_FIELDS)
                reason = f"{request.reason}; {_in_words(choice)}"
                self.keep_decision(alert, stored, Decision(accepted=True, reason=reason), request.id, outcome)
                self._request_fields(stored.name, tiling, reason)
            self._choose_later(said.alert, tiling)
            self.in_transaction(self.events.change(stored))

    def _choose_later(self, alert: str, tiling: Tiling) -> None:
        """Have fields chosen anew; call it before the event is kept.

        After an hour, where as many were asked for as may be: some have set, or were observed. Else after this night,
        where the next begins in time.
        """
        now, night = self.clock.time(), night_of(self.site, self.clock.now())
        expires = tiling.request.expires if tiling.request is not None else None
        if expires is None:
            return
        begin, end = (now, now + SECONDS_PER_DAY) if night is None else (each.timestamp() for each in night)
        soon = max(now, begin) + _CHOOSE_AGAIN_SECONDS
        if len(tiling.targets) >= self._most and soon < min(end, expires):
            if not now < tiling.again <= soon:
                tiling.again = soon
                self.call_later(soon - now, CHOOSE_AGAIN, MapAgain(alert))
        elif tiling.again <= now:
            tiling.again = end + _AFTER_DAWN_SECONDS
            if begin + SECONDS_PER_DAY < expires:
                self.call_later(tiling.again - now, CHOOSE_AGAIN, MapAgain(alert))

    def _look(self, name: str, followed: Followed) -> bool:
        """Have the map read that counts now, unless it was; withdraw the fields where none does."""
        tiling = followed.tiling
        if tiling is None or self._field is None:
            return False
        source = tiling.newest(followed.event)
        if source is None:
            asked = tiling.request is not None
            if asked:
                self._request_fields(name, tiling, "retracted", ())
            tiling.forget()
            followed.map = None
            return asked
        if source.alert.id != tiling.read:
            self._begin(source.alert.id, source)
        return False

    def _not_read(self, stored: StoredEvent, tiling: Tiling, source: MapSource, said: MapRead) -> None:
        attempts = source.attempts + 1
        words = f"its sky map cannot be read: {said.problem}"
        if said.again and attempts <= len(_PAUSES):
            pause = _PAUSES[attempts - 1]
            tiling.sources[said.alert] = msgspec.structs.replace(source, attempts=attempts)
            self.call_later(pause, READ_MAP_AGAIN, MapAgain(said.alert))
            if attempts > 1:
                self.log.warn("{event}: {words}; again in {pause:g} s", event=stored.name, words=words, pause=pause)
                return
            words += f"; it is tried again in {pause:g} s, and {len(_PAUSES) - 1} times more after that"
        else:
            tiling.sources[said.alert] = msgspec.structs.replace(source, attempts=attempts, problem=said.problem)
            self._look(stored.name, stored.followed)
        self.keep_decision(source.alert, stored, Decision(accepted=False, reason=words))

    def decide_by_map(self, alert: Alert, stored: StoredEvent, densest: tuple[float, float]) -> None:
        """Decide about an event by its map, which is densest at that place (ICRS degrees), and have fields chosen."""
        name, followed, tiling = stored.name, stored.followed, stored.followed.tiling
        assert tiling is not None
        now = self.clock.now()
        agrees = tuple(standing(self.events.coincident(stored)).values())
        decision = self.rules.decide(alert, now, self.sky, EventFacts.of(alert, followed, agrees))
        if not decision.accepted:
            if tiling.request is not None:
                self._request_fields(name, tiling, decision.reason, ())
                tiling.request, tiling.targets = None, ()
            if alert.target is None:  # else it was decided, and told, by its position
                self.keep_decision(alert, stored, decision)
            return
        if tiling.request is None:
            followed.requests += 1
            followed.since = self.clock.time()
        expires = now + timedelta(seconds=decision.expires_after) if decision.expires_after else None
        tiling.request = Observation(
            id=tiling.request.id if tiling.request is not None else self.new_observation_id(name, followed.requests),
            target=name, ra=densest[0], dec=densest[1], exposures=decision.exposures, priority=decision.priority,
            alert=alert.id, event=name, event_time=alert.time.timestamp() if alert.time else None,
            min_altitude=decision.min_altitude, expires=expires.timestamp() if expires else None,
            requested=now.timestamp(), reason=decision.reason,
            repeat=tuple(followed.since + seconds for seconds in decision.repeat),
        )  # fmt: skip
        self._choose(alert.id, tiling)

    def _request_fields(
        self, name: str, tiling: Tiling, reason: str, requests: tuple[Observation, ...] | None = None
    ) -> None:
        wanted = tiling.observations() if requests is None else requests
        observed = tiling.observed_ids() if requests is None else ()
        payload = FieldRequests(event=name, requests=wanted, observed=observed, reason=reason)
        self.send_to(self.SCHEDULER, messages.FIELDS_REQUESTED, payload)

    def _begin(self, alert: str, source: MapSource | None = None) -> None:
        """Have a map read, or chosen of, with the turn that is under way."""
        for stored in [] if source is not None else self.events.having(alert):
            tiling = stored.followed.tiling
            if tiling is None or alert not in tiling.sources:
                continue
            if tiling.read == alert:
                self._choose(alert, tiling)
                return
            source = tiling.sources[alert]
        if source is None:
            self._done(alert)
            return
        if alert not in self.state.maps:
            self.state.maps.append(alert)
        folder = str(self.config.data / MAPS_FOLDER)
        told = source.alert
        circle = (told.ra or 0.0, told.dec or 0.0, told.error_radius or 0.0, told.containment or CONTAINMENT)
        job = ReadJob(
            folder, source.url or alert, source.url, circle if source.is_circle else None, self.config.simulated
        )
        received = AlertReceived(b"", "", 0.0, source.kept, source.topic)
        packet = b"" if source.url or source.is_circle else self._packets.get(alert) or self.packet_of(received)
        self.after_commit(self._read, alert, job, packet)

    def _choose(self, alert: str, tiling: Tiling) -> None:
        field, request = self._field, tiling.request
        if field is None or request is None:
            self._done(alert)
            return
        if alert not in self.state.maps:
            self.state.maps.append(alert)
        path = Path(self.config.data / MAPS_FOLDER / tiling.file)
        job = ChooseJob(
            path=str(path), site=self.site, now=self.clock.time(), until=request.expires,
            min_altitude=request.min_altitude, width=field.width, height=field.height, overlap=field.overlap,
            share=self._share, limit=self._most, seconds=_seconds_of(request), galaxies=self._galaxies,
            observed=tiling.observed,
        )  # fmt: skip
        self.after_commit(self._choose_fields, alert, job)

    def _done(self, alert: str) -> None:
        if alert in self.state.maps:
            self.state.maps.remove(alert)

    # Of the alert manager ----------------------------------------------------------------------------------------

    def keep_decision(
        self,
        alert: Alert,
        stored: StoredEvent | None,
        decision: Decision,
        observation: str = "",
        outcome: RequestChange = "nothing",
    ) -> None:
        """Keep a decision with the turn, and tell whoever watches."""
        raise NotImplementedError

    def new_observation_id(self, event: str, number: int) -> str:
        """Make the id of an event's observation."""
        raise NotImplementedError

    def packet_of(self, received: AlertReceived) -> bytes:
        """Return an alert's packet."""
        raise NotImplementedError

    def relate_anew(self, stored: StoredEvent, before: list[Agreement]) -> None:
        """Settle who observes what coincides, now that an event's map is known, or is not waited for any more."""
        raise NotImplementedError

    def settle_anew(self, stored: StoredEvent, reason: str) -> None:
        """Settle who observes what coincides, now that an event asks for no point any more."""
        raise NotImplementedError

    # In the reactor's thread -------------------------------------------------------------------------------------

    def _read(self, alert: str, job: ReadJob, packet: bytes) -> None:
        if alert in self._reading or self._detached:
            return
        self._reading.add(alert)
        reading = self._worker.run(work.read_map, job, memoryview(packet), seconds=_JOB_SECONDS)

        def read(found: MapReading) -> None:
            self._reading.discard(alert)
            self.post_to_self(MAP_READ, MapRead(alert, found))

        def failed(failure: Failure) -> None:
            self._reading.discard(alert)
            if not self._detached:
                self.post_to_self(
                    MAP_READ, MapRead(alert, problem=failure.getErrorMessage(), again=_again(job, failure))
                )

        reading.addCallbacks(read, failed)

    def _choose_fields(self, alert: str, job: ChooseJob) -> None:
        if self._detached:
            return
        choosing = self._worker.run(work.choose, job, seconds=_JOB_SECONDS)

        def chosen(choice: Choice) -> None:
            self.post_to_self(FIELDS_CHOSEN, FieldsChosen(alert, choice))

        def failed(failure: Failure) -> None:
            if not self._detached:
                words = f"no fields can be chosen: {failure.getErrorMessage()}"
                self.post_to_self(FIELDS_CHOSEN, FieldsChosen(alert, problem=words))

        choosing.addCallbacks(chosen, failed)


def _half(field: FieldOfView) -> float:
    return min(field.width, field.height) / 2


def _seconds_of(request: Observation) -> float:
    """Return how long one field takes."""
    return math.fsum(each.seconds * each.count for each in request.exposures) + _BETWEEN_FIELDS_SECONDS


def _again(job: ReadJob, failure: Failure) -> bool:
    """Tell whether a map may be there later: one within its packet is what it is, unless the worker was lost."""
    return bool(job.url) or failure.check(AlertError) is None or failure.check(WorkerError) is not None


def _in_words(choice: Choice) -> str:
    together = math.fsum(each.probability for each in choice.targets)
    what = choice.kind if len(choice.targets) != 1 else {"fields": "field", "galaxies": "galaxy"}[choice.kind]
    share = "of its probability" if choice.kind == "fields" else "of the catalogue's probability"
    words = f"{len(choice.targets)} {what} with {together:.1%} {share}; {choice.observable:.1%} is visible tonight"
    return words + (f", {choice.covered:.1%} was observed already" if choice.covered else "")
