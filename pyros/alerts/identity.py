"""Which packets are about one event, and what is believed of it once they are put together.

An event is the set of its packets. What is believed (is it retracted? which position is the best?) is computed from
that set alone, and so it does not matter in which order the packets came, nor how often: a late packet cannot undo a
better one, and a retraction may come before what it retracts.

Packets are joined by the identity keys that each stream's table gives (`Alert.event`, `Alert.names`), by those of other
missions that they tell (`Alert.related`), and by their citations in either direction: `VOEvent 2.0 section 3.7
<https://www.ivoa.net/documents/VOEvent/>`_ has all three kinds of citation refer to the same astrophysical event. So an
event may have several keys, some for each mission that numbered it. What no citation joins: two events that one mission
numbers differently, what merely follows up a gravitational wave (many candidates do), and tests with what is real.
Plain functions on frozen values, for any thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec

from pyros.alerts.alert import Alert, Kind, Role
from pyros.alerts.formats import event_keys, streams

MAX_PACKETS_PER_EVENT = 100
"""Packets that an event remembers; GBM, the most talkative stream, sends a dozen. Test events come for years."""
_KINDS: dict[Kind, int] = {"initial": 0, "update": 1, "retraction": 2}
_TAKEN_BACK = frozenset({"retraction", "supersedes"})
_REFERENCE = 0.9
"""The containment at which error radii are compared."""


FACTS = (
    "importance",
    "far",
    "significant",
    "known_source",
    "classification",
    "instruments",
    "group",
    "pipeline",
    "search",
    "measured",
)
"""Fields of `Alert` of which an event has the value that was said last."""
_said_facts = attrgetter(*FACTS)


class PacketRecord(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One packet, as far as its event needs it. Stored as a JSON array: an agent keeps hundreds."""

    id: str
    """The packet's identifier."""
    key: str
    """The identity key in its own stream's numbering."""
    kind: Kind = "initial"
    """Whether it begins the event, updates it or takes it back."""
    role: Role = "observation"
    """The packet's role."""
    notice_type: str = ""
    """Type of the notice, in its stream's words."""
    sent: float | None = None
    """When its author wrote it, Unix seconds."""
    ra: float | None = None
    """ICRS degrees of the source; None where the packet doesn't say where the source is."""
    dec: float | None = None
    """Declination, ICRS degrees; None without a position."""
    error_radius: float | None = None
    """How well the position is known, degrees; None when the packet doesn't say."""
    containment: float | None = None
    """Probability that the source is within that radius, 0 to 1; None when the packet doesn't say."""
    cites: tuple[tuple[str, str], ...] = ()
    """What it cites: (identifier, how)."""
    links: tuple[str, ...] = ()
    """What else joins it with others, see `links`; worked out when it is made."""
    names: tuple[str, ...] = ()
    """Its author's other keys of the event."""
    time: float | None = None
    """When it happened in the sky, Unix seconds."""
    facts: dict[str, Any] = {}
    """What else the packet says that conditions on the event as a whole ask for: the `FACTS` that it has."""

    def __post_init__(self) -> None:
        if (self.cites or self.names) and not self.links:
            msgspec.structs.force_setattr(self, "links", links(self.key, self.role, self.cites, self.names))

    @property
    def own(self) -> tuple[str, ...]:
        """All keys that the packet's author gives the event."""
        return self.key, *self.names

    @property
    def real(self) -> bool:
        """Whether the packet says something of the sky: it is no test, no utility."""
        return self.role in {"observation", "prediction"}

    @property
    def takes_back(self) -> bool:
        """Whether the packet is a retraction that counts: one of role utility does (CHIME), a test's is a test."""
        return self.kind == "retraction" and self.role != "test"

    @property
    def author(self) -> str:
        """The packet's author: the part of its ivorn before the #, or its topic."""
        return self.id.partition("#" if self.id.startswith("ivo:") else ":")[0]

    @property
    def radius(self) -> float:
        """The error radius in degrees, scaled to 90 % for a Gaussian; infinite where unknown."""
        if self.error_radius is None:
            return math.inf
        if self.containment is None or not 0 < self.containment < 1:
            return self.error_radius
        return self.error_radius * math.sqrt(math.log(1 - _REFERENCE) / math.log(1 - self.containment))

    @property
    def order(self) -> tuple[float, int, float, str]:
        """The packet's place in its author's order: when it was written, then its kind; the more precise one last."""
        return (-math.inf if self.sent is None else self.sent, _KINDS[self.kind], -self.radius, self.id)


class Belief(msgspec.Struct, frozen=True):
    """The belief about an event, from all of its packets."""

    retracted: bool = False
    """Something real was said, and all of it is taken back."""
    best: PacketRecord | None = None
    """The packet whose position is the best one known and still stands."""


class Event(msgspec.Struct, frozen=True):
    """The packets about one event, in their authors' order."""

    packets: tuple[PacketRecord, ...] = msgspec.field(default=(), name="sightings")
    """``sightings`` is their name in stored states."""

    @property
    def keys(self) -> frozenset[str]:
        """The event's identity keys, one for each numbering."""
        return frozenset(packet.key for packet in self.packets)

    def has(self, id_: str) -> bool:
        """Tell whether the event has the packet of that identifier."""
        return any(packet.id == id_ for packet in self.packets)


def links(
    key: str, role: Role, cites: Iterable[tuple[str, str]], names: Iterable[str] = (), related: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what joins a packet with others beside its identifier and key: other keys, and other packets.

    Args:
        key: its own, as `Alert.event`.
        role: a test's citations and its words on other missions join nothing: mocks cite real packets.
        cites: `Alert.citations`.
        names: `Alert.names`.
        related: `Alert.related`.
    """
    found = list(names)
    if role != "test":
        found += related
        for ivorn, cite in cites:
            about = event_keys.event_of_ivorn(ivorn)
            if about == key or cite != "followup" or not _another(key, about):
                found += (event_keys.packet_of_ivorn(ivorn), about)
    return tuple(dict.fromkeys(found))


def _another(key: str, about: str) -> bool:
    """Tell whether the event that is followed up is another one than the event that follows it up."""
    mission = about.partition(":")[0]
    return streams.wide(about) or (mission != "ivo" and mission == key.partition(":")[0])


def packet_record(alert: Alert) -> PacketRecord:
    """Make the record of an alert that its event keeps."""
    target = alert.target
    ra, dec = target or (None, None)
    return PacketRecord(
        id=alert.id,
        key=alert.event,
        kind=alert.kind,
        role=alert.role,
        notice_type=alert.notice_type,
        sent=alert.sent.timestamp() if alert.sent else None,
        ra=ra,
        dec=dec,
        error_radius=alert.error_radius if target else None,
        containment=alert.containment if target else None,
        cites=alert.citations,
        links=links(alert.event, alert.role, alert.citations, alert.names, alert.related),
        names=alert.names,
        time=alert.time.timestamp() if alert.time else None,
        facts=_facts(alert),
    )


def alert_of(packet: PacketRecord) -> Alert:
    """Return what a record keeps of its alert: rules can be asked about it once more."""
    facts = dict(packet.facts)
    if "instruments" in facts:
        facts["instruments"] = tuple(facts["instruments"])
    return Alert(
        stream=packet.key.partition(":")[0],
        id=packet.id,
        role=packet.role,
        kind=packet.kind,
        event=packet.key,
        notice_type=packet.notice_type,
        time=None if packet.time is None else datetime.fromtimestamp(packet.time, UTC),
        sent=None if packet.sent is None else datetime.fromtimestamp(packet.sent, UTC),
        ra=packet.ra,
        dec=packet.dec,
        error_radius=packet.error_radius,
        containment=packet.containment,
        names=packet.names,
        **facts,
    )


def _facts(alert: Alert) -> dict[str, Any]:
    return {
        name: value
        for name, value in zip(FACTS, _said_facts(alert), strict=True)
        if value or (value == 0 and name != "known_source")
    }


def said_together(event: Event) -> dict[str, Any]:
    """Return the facts that the packets of an event that stand say together, as fields of `Alert`.

    Each is the one that was written last; of what was measured, each quantity by itself.
    """
    dead = retracted_ids(event)
    found: dict[str, Any] = {}
    for each in event.packets:
        if each.kind == "retraction" or each.id in dead:
            continue
        for name, value in each.facts.items():
            found[name] = {**found.get(name, {}), **value} if name == "measured" else value
    if "instruments" in found:
        found["instruments"] = tuple(found["instruments"])  # JSON has made a list of it
    return found


def missions(event: Event) -> tuple[str, ...]:
    """Return the missions whose packets an event has, in their order: the part of each key before the colon."""
    return tuple(dict.fromkeys([each.key.partition(":")[0] for each in event.packets]))


def join(*events: Event) -> Event:
    """Join events to one that has all their packets; the same for every order of them."""
    by_id: dict[str, PacketRecord] = {}
    for event in events:
        for each in event.packets:
            known = by_id.get(each.id)
            if known is None or each.order < known.order:  # of two texts under one name always the same
                by_id[each.id] = each
    ordered = sorted(by_id.values(), key=lambda each: each.order)
    return Event(_bounded(ordered))


def add(event: Event, new: PacketRecord) -> Event:
    """Return the event with one more packet; an equal event when it had that packet."""
    return join(event, Event((new,))) if event.packets else Event((new,))


def is_same_event(event: Event, new: PacketRecord) -> bool:
    """Tell whether a packet is about that event: they share a key, one cites the other, or both cite the same packet.

    An event of tests and one that is real are never one, whatever they have in common.
    """
    wanted = {new.id, new.key, *new.links}
    return any(
        (each.role == "test") == (new.role == "test") and not wanted.isdisjoint((each.id, each.key, *each.links))
        for each in event.packets
    )


def believe(event: Event) -> Belief:
    """Return what the packets of an event say together."""
    if len(event.packets) == 1:  # as of nearly all that surveys find
        (only,) = event.packets
        if only.kind == "retraction":
            return Belief(retracted=only.takes_back)
        return Belief(best=only if only.real and only.ra is not None else None)
    dead = retracted_ids(event)
    said = [each for each in event.packets if each.real and each.kind != "retraction"]
    alive = [each for each in said if each.id not in dead]
    withdrawn = not alive and any(each.takes_back for each in event.packets)
    return Belief(retracted=withdrawn, best=_best(alive))


def retracted_ids(event: Event) -> frozenset[str]:
    """Return the identifiers of the packets that others of the event take back.

    A retraction takes back what has its key, whenever that was written or comes (a stream that goes on automatically
    after "this was no burst" says nothing new), and what it cites. It counts no more when a packet supersedes it, or,
    in a stream that revives events, when one was written after it. That of a test takes only tests back; one that is
    sent as a utility notice counts.
    """
    retractions = [each for each in event.packets if each.kind == "retraction"]
    if not retractions:
        return frozenset()
    revived = {
        ivorn
        for each in event.packets
        if each.kind != "retraction" and each.real
        for ivorn, cite in each.cites
        if cite == "supersedes"
    }
    dead: set[str] = set()
    for retraction in retractions:
        if retraction.id in revived:
            continue
        own = set(retraction.own)
        cited = {ivorn for ivorn, cite in retraction.cites if cite in _TAKEN_BACK}
        revives = streams.revives(retraction.key)
        for each in event.packets:
            after = revives and None not in (each.sent, retraction.sent) and each.order > retraction.order
            about = (not own.isdisjoint(each.own) and not after) or each.id in cited
            if about and each.kind != "retraction" and (retraction.takes_back or not each.real):
                dead.add(each.id)
    return frozenset(dead)


def _best(alive: Iterable[PacketRecord]) -> PacketRecord | None:
    """Choose the most precise position among each author's last of each kind of notice that nothing superseded.

    Within one kind of notice its author's last word counts, even where it is less precise: it is a correction. Where a
    mission revises what it said (IceCube), its last word counts by whatever way and in whatever kind of notice it came.
    """
    placed = {each.id: each for each in alive if each.ra is not None}
    if len(placed) < 2:
        return next(iter(placed.values()), None)
    superseded = {
        ivorn for each in placed.values() for ivorn, cite in each.cites if cite == "supersedes" and ivorn != each.id
    }
    last: dict[tuple[str, ...], PacketRecord] = {}
    for each in sorted(placed.values(), key=lambda each: each.order):
        if each.id not in superseded:
            said = (each.author, each.key, each.notice_type)
            last[(each.key.partition(":")[0],) if streams.revises(each.key) else said] = each
    return min(last.values(), key=lambda each: (each.radius, *(_down(each.order))), default=None)


def _down(order: tuple[float, int, float, str]) -> tuple[float, int]:
    """Return a sort key that puts the last of equally precise positions first."""
    return -order[0], -order[1]


def _bounded(ordered: list[PacketRecord]) -> tuple[PacketRecord, ...]:
    """Keep `MAX_PACKETS_PER_EVENT` at most: retractions and the best position stay, of the others the last."""
    if len(ordered) <= MAX_PACKETS_PER_EVENT:
        return tuple(ordered)
    best = believe(Event(tuple(ordered))).best
    needed = [each for each in ordered if each.kind == "retraction" or each is best][-MAX_PACKETS_PER_EVENT // 2 :]
    ids = {each.id for each in needed}
    others = [each for each in ordered if each.id not in ids][len(needed) - MAX_PACKETS_PER_EVENT :]
    ids |= {each.id for each in others}
    return tuple(each for each in ordered if each.id in ids)
