"""Events: what was heard of each, what was decided and why, and what became of its observation."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import NamedTuple

import msgspec

from pyros.alerts import events as table
from pyros.alerts.archive.query import Query
from pyros.alerts.events import StoredEvent
from pyros.alerts.identity import PacketRecord, believe
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.errors import JournalError
from pyros.journal import JournalReader
from pyros.messages import SourceFound
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views.observed import Observed
from pyros.views.places import PartOfSky, part_of_sky
from pyros.views.states import AlertManager, Majordome, ObservationManager

WORDS = ("observing", "planned", "requested", "observed", "failed", "withdrawn", "retracted", "rejected")
"""What an event's ``word`` may be."""
_FATES = {
    "observed": "observed", "failed": "failed", "withdrawn": "withdrawn", "expired": "failed",
    "interrupted": "requested", "observing": "observing",
}  # fmt: skip


_SMALL_SHARE = 3e-4
"""The share of the sky up to which the archive is asked: 3,000 of 10 million packets."""
_AT_ONCE = 500
_NEWEST = 50
"""Events that lists begin with, of which what was read is kept."""


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a list."""

    number: int
    """Its place in the list: the ``after`` of the page that follows it."""
    name: str
    """Its name, by which it is asked for."""
    streams: tuple[str, ...] = ()
    """The beginnings of its keys: who has told of it."""
    notice: str = ""
    """Type of the first notice."""
    test: bool = False
    """Whether all of it is a test."""
    packets: int = 0
    """How many packets it has."""
    came: float | None = None
    """When the first of them was decided about, Unix seconds."""
    ra: float | None = None
    """The best position, ICRS degrees; None without one."""
    dec: float | None = None
    """ICRS, degrees."""
    error_radius: float | None = None
    """Degrees; None where nobody says."""
    word: str = "rejected"
    """How it stands: one of `WORDS`."""
    rule: str = ""
    """The rule that decided; '' for none."""
    why: str = ""
    """Why it stands so, in words."""
    observation: str = ""
    """Id of its observation; '' for none."""
    images: int = 0
    """How many images of it there are in its last night."""
    found: tuple[SourceFound, ...] = ()
    """What was found last, one measurement a filter."""


class EventPage(msgspec.Struct, frozen=True):
    """A part of the list, the newest first."""

    events: tuple[EventLine, ...] = ()
    """The lines."""
    after: int | None = None
    """What to ask the next page after; None at the end."""


def events(
    observed: Observed, after: int | None = None, limit: int = 50,
    ra: float | None = None, dec: float | None = None, radius: float | None = None,
    sky_map: str = "", share: float | None = None, moc: str = "",
) -> EventPage:  # fmt: skip
    """Return the newest events, or those that follow ``after`` in the list.

    ``ra`` to ``moc`` are a part of the sky, as `part_of_sky` has it, in which an event's best position lies; a page
    of a large one may have fewer than ``limit`` though others follow. Raises ValueError for one that makes no sense.
    """
    sky = part_of_sky(observed, ra, dec, radius, sky_map, share, moc)
    listed = _ListedEvents([], {}, None)
    if sky.is_everywhere and after is None and limit <= _NEWEST:
        newest = observed.followed("alert_manager", "events", _newest, listed)
        listed = newest._replace(stored=newest.stored[:limit])
        if len(listed.stored) == limit:
            listed = listed._replace(further=listed.stored[-1].number)
    elif sky.is_everywhere:
        listed = observed.kept(
            "alert_manager", ("events", after, limit), partial(_listed, after=after, limit=limit), listed
        )
    else:
        with observed.journal("alert_manager") as journal:
            if journal is not None:
                among = _heard_of_in(observed, journal, sky)
                stored, further = table.page_within(journal, sky.are_within, after, limit, among)
                listed = _ListedEvents(stored, _decided(journal, stored), further)
    stored, decided = listed.stored, listed.decided
    ids = {found[1].observation for found in decided.values() if found is not None and found[1].observation}
    fates = fates_of(observed, ids)
    standing = Standing(observed)
    lines = tuple(line_of(each, decided.get(each.name), fates, standing) for each in stored)
    return EventPage(lines, listed.further)


class _ListedEvents(NamedTuple):
    """Events of the alert manager's journal."""

    stored: list[StoredEvent]
    """The newest first."""
    decided: dict[str, tuple[float, DecisionRecord] | None]
    """By their names, when each was decided about first, and the last decision."""
    further: int | None
    """What to ask the next ones after; None at the end."""
    until: int = 0
    """The last decision that was read."""


def _newest(journal: JournalReader, known: _ListedEvents | None) -> _ListedEvents:
    """Return the newest events; only of those about which something was decided since are the decisions looked up."""
    stored, until = table.page(journal, None, _NEWEST), decisions.newest(journal)
    decided = known.decided if known is not None and known.until <= until else {}
    changed = decisions.decided_after(journal, known.until) if known is not None and decided else set()
    fresh = [each for each in stored if each.name not in decided or each.name in changed]
    decided = {each.name: decided.get(each.name) for each in stored} | _decided(journal, fresh)
    return _ListedEvents(stored, decided, None, until)


def _listed(journal: JournalReader, after: int | None, limit: int) -> _ListedEvents:
    stored = table.page(journal, after, limit)
    return _ListedEvents(stored, _decided(journal, stored), stored[-1].number if len(stored) == limit else None)


def _decided(journal: JournalReader, stored: list[StoredEvent]) -> dict[str, tuple[float, DecisionRecord] | None]:
    return {each.name: decisions.first_and_last(journal, each) for each in stored}


def _heard_of_in(observed: Observed, journal: JournalReader, sky: PartOfSky) -> list[int] | None:
    """Return the numbers of the events with a packet in a small part of the sky; None for a large one, or no archive.

    By the archive, which has every packet by its place: some seconds after it came.
    """
    from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

    if sky.share > _SMALL_SHARE:
        return None
    try:
        with closing(ArchiveReader(observed.config.alert_archive)) as reader:
            heard = [each.identity for each in reader.find(Query(cone=sky.cone, region=sky.region))]
    except JournalError:
        return None
    return [
        number
        for begin in range(0, len(heard), _AT_ONCE)
        for number in table.numbers_linked(journal, heard[begin : begin + _AT_ONCE])
    ]


class Standing:
    """What goes on now: what is observed, what is planned, what was found."""

    def __init__(self, observed: Observed) -> None:
        self.running: dict[str, str] = {}
        """The ids of what is observed, at one telescope or several, each with the telescope's unit."""
        self.planned: dict[str, str] = {}
        """By their requests' ids, the unit of the telescope that plans to observe them."""
        for each in observed.telescopes or (observed,):
            current = each.state("observation_manager", ObservationManager).current
            if current is not None:
                self.running[current.id] = each.config.unit
            plan = each.state("majordome", Majordome).plan
            for line in plan.observations if plan is not None else ():
                if line.start is not None:
                    self.planned[line.observation.repeats or line.observation.id] = each.config.unit
        self.found = observed.state("alert_manager", AlertManager).found
        """By events' names."""


def fates_of(observed: Observed, observations: set[str]) -> dict[str, NightLine]:
    """Return what became of observations last, by their ids; of several telescopes at the one that did most."""
    nothing: dict[str, NightLine] = {}
    what, found = ("fates", frozenset(observations)), dict[str, NightLine]()
    for each in observed.telescopes or (observed,):
        lines = each.kept("scheduler", what, lambda journal: night_log.last_of(journal, observations), nothing)
        for observation, line in lines.items():
            found[observation] = max(found.get(observation, line), line, key=weight)
    return found


def weight(line: NightLine) -> tuple[bool, str, float]:
    """Return by what one telescope's line counts more than another's: what was done, and later."""
    return line.fate not in ("", "withdrawn", "expired"), line.night, line.ended or line.began or line.planned


def parts_of(stored: StoredEvent, observation: str) -> tuple[str, ...]:
    """Return the ids under which an event's observation may be observed: its own, and those of its map's targets."""
    tiling = stored.followed.tiling
    return (observation, *(tiling.ids_of(observation) if tiling is not None else ()))


def line_of(
    stored: StoredEvent, decided: tuple[float, DecisionRecord] | None, fates: dict[str, NightLine], standing: Standing
) -> EventLine:
    """Return an event as a list shows it."""
    packets = stored.followed.event.packets
    belief = believe(stored.followed.event)
    best = belief.best
    record = decided[1] if decided is not None else None
    observation = record.observation if record is not None else ""
    fate = fates.get(observation)
    word, why = _word(belief.retracted, record, fate, standing, stored)
    told = standing.found.get(stored.name)
    return EventLine(
        number=stored.number, name=stored.name,
        streams=tuple(dict.fromkeys(stream_of(packet) for packet in packets)),
        notice=packets[0].notice_type if packets else "", test=bool(packets) and not any(each.real for each in packets),
        packets=len(packets), came=decided[0] if decided is not None else None,
        ra=best.ra if best is not None else None, dec=best.dec if best is not None else None,
        error_radius=best.error_radius if best is not None else None,
        word=word, rule=record.rule if record is not None else "", why=why, observation=observation,
        images=fate.images if fate is not None else 0, found=tuple(told.told.values()) if told is not None else (),
    )  # fmt: skip


def short_name(name: str) -> str:
    """Return what is different in an event's, a target's or a packet's name: without the authority of an ivorn."""
    return name.rpartition("#")[2].rpartition("/")[2] or name


def stream_of(packet: PacketRecord) -> str:
    """Return who tells of an event: the beginning of its key, or its author where no stream's table knows that."""
    stream = packet.key.partition(":")[0]
    return packet.author.removeprefix("ivo://") if stream == "ivo" else stream


def _word(
    retracted: bool, record: DecisionRecord | None, fate: NightLine | None, standing: Standing, stored: StoredEvent
) -> tuple[str, str]:
    if record is None:
        return ("retracted" if retracted else "rejected"), "no decision is kept"
    if not record.observation:
        return ("retracted" if retracted else "rejected"), record.reason
    if record.outcome == "withdrawn":
        return ("retracted" if retracted else "withdrawn"), record.reason
    parts = parts_of(stored, record.observation)
    if not standing.running.keys().isdisjoint(parts):
        return "observing", record.reason
    observed = stored.followed.tiling.observed if stored.followed.tiling is not None else ()
    if observed and fate is None and len(parts) > 1:
        return "observed", f"{len(observed)} of {len(parts) - 1} fields or galaxies: {record.reason}"
    return _word_of_observation(record, fate, standing, parts)


def _word_of_observation(
    record: DecisionRecord, fate: NightLine | None, standing: Standing, parts: tuple[str, ...]
) -> tuple[str, str]:
    if fate is not None and fate.fate in _FATES and fate.fate != "observing":
        images = f"{fate.images} images" if fate.images else ""
        return _FATES[fate.fate], ": ".join(each for each in (images, fate.fate_reason) if each) or record.reason
    if not standing.planned.keys().isdisjoint(parts):
        return "planned", (fate.reason if fate is not None else "") or record.reason
    return "requested", (fate.reason if fate is not None else "") or record.reason


def stored_event(observed: Observed, key: str) -> StoredEvent | None:
    """Return an event by its name or by one of its packets' identifiers; None where there is none."""
    with observed.journal("alert_manager") as journal:
        return table.with_packet(journal, key) if journal is not None else None
    return None
