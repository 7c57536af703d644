"""What has become of observations that were asked for, in words: by the schedulers' journals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from pyros import messages
from pyros.errors import PyrosError
from pyros.journal import JournalReader
from pyros.messages import Observation
from pyros.planning import night_log
from pyros.printable import instant
from pyros.views.events import stored_event
from pyros.views.observed import Observed, site_of
from pyros.views.states import SeenScheduler

_DAY = 86_400.0
_ENDS = {messages.OBSERVATION_FINISHED: "was observed, until", messages.OBSERVATION_FAILED: "failed, last at"}


class Fate(msgspec.Struct, frozen=True):
    """How an observation, or one of its repeats, stands."""

    observation: str
    """Its id."""
    words: str
    """What has become of it, and when it can be observed: ``was observed, until 2026-11-29 21:10:02``."""
    unit: str = ""
    """Of several telescopes, the one that this is of; '' where none has had it."""


def fates(observed: Observed, observations: Iterable[str], events: Iterable[str] = ()) -> tuple[Fate, ...]:
    """Return how each observation stands, and each of its repeats that is to come; () without the journal.

    Of several telescopes at each that has had it. Of what is observed in fields or galaxies of the sky maps of
    ``events``, by their names, one line tells how many stand how.
    """
    tilings = [
        stored.followed.tiling
        for stored in (stored_event(observed, name) for name in dict.fromkeys(events))
        if stored is not None and stored.followed.tiling is not None
    ]
    found: list[Fate] = []
    for observation in observations:
        fields = tuple(dict.fromkeys(each for tiling in tilings for each in tiling.ids_of(observation)))
        there = False
        told: list[Fate] = []
        for telescope in observed.telescopes or (observed,):
            unit = telescope.config.unit if observed.telescopes else ""
            with telescope.journal("scheduler") as journal:
                if journal is None:
                    continue
                there = True
                words = _at(telescope, journal, observation, several=bool(unit))
                told += [Fate(id_, each, unit) for id_, each in words]
                if not words and fields and (each := _in_fields(telescope, journal, fields)):
                    told.append(Fate(observation, each, unit))
        if there:
            found += told or [Fate(observation, _unknown(observed, observation))]
    return tuple(found)


def _at(observed: Observed, journal: JournalReader, observation: str, *, several: bool) -> list[tuple[str, str]]:
    """Return how an observation and its repeats stand at one telescope, by their ids; [] for one it never had."""
    state = observed.state("scheduler", SeenScheduler)
    found = []
    if observation not in state.requests and (ended := _ended(journal, observation, several=several)):
        found.append((observation, ended))
    return found + [
        (each.id, "is being observed" if each.id == state.running else _waits(observed, each))
        for each in state.requests.values()
        if observation in {each.id, each.repeats}
    ]


def _unknown(observed: Observed, observation: str) -> str:
    """Return how an observation stands of which no telescope knows."""
    if observed.telescopes and observation in observed.state("scheduler", SeenScheduler).requests:
        return "waits: no telescope has it yet"
    return "does not wait any more: it has expired, or its end is too long ago"


def _ended(journal: JournalReader, observation: str, *, several: bool) -> str:
    """Return its end by the messages that a scheduler keeps; '' where it has none.

    One of ``several`` telescopes may have had it taken away, for another one.
    """
    ends = _ENDS | ({messages.OBSERVATION_REQUEST_WITHDRAWN: "was taken back, at"} if several else {})
    for name, taken, payload in journal.received_about(json.dumps(observation), *ends):
        said = json.loads(payload)
        if said.get("observation") == observation:
            why = f": {said['reason']}" if said.get("reason") else ""
            return f"{ends[name]} {instant(float(taken))}{why}"
    return ""


def _in_fields(observed: Observed, journal: JournalReader, fields: tuple[str, ...]) -> str:
    """Return how the fields or galaxies of a sky map stand at one telescope; '' where it never had any."""
    state = observed.state("scheduler", SeenScheduler)
    waiting = [each for each in state.requests.values() if each.id in fields or each.repeats in fields]
    lines = night_log.last_of(journal, fields).values()
    ends = [line.ended or 0.0 for line in lines if line.fate == "observed"]
    parts = []
    if ends:
        parts.append(f"{_were(len(ends))} observed, the last until {instant(max(ends))}")
    left = Counter(line.fate for line in lines if line.observation not in state.requests)
    parts += [f"{count} {word}" for word in ("failed", "expired") if (count := left[word])]
    running = [each for each in waiting if each.id == state.running]
    if running:
        parts.append(f"{running[0].id} is being observed")
    others = [each for each in waiting if each.id != state.running]
    if others:
        first = max(others, key=lambda each: each.probability or 0.0)
        parts.append(f"{len(others)} {'waits' if len(others) == 1 else 'wait'}, {first.id} {_waits(observed, first)}")
    return f"is observed in {len(fields)} fields or galaxies: {'; '.join(parts)}" if parts else ""


def _were(count: int) -> str:
    return f"{count} {'was' if count == 1 else 'were'}"


def _waits(observed: Observed, observation: Observation) -> str:
    """Return why it is not observed at this moment, and when it could be."""
    from pyros.planning import make_plan  # noqa: PLC0415  astropy is slow to load
    from pyros.planning.visibility import observable_after  # noqa: PLC0415

    try:
        site, now = site_of(observed), observed.clock.now()
    except PyrosError:
        return "waits"
    lines = make_plan([observation], site, now).observations
    if not lines:
        return f"has expired, at {instant(observation.expires or 0.0)}"
    begin = max(now.timestamp(), observation.not_before or 0.0)
    within = min(_DAY, (observation.expires or begin + _DAY) - begin)
    when = datetime.fromtimestamp(begin, UTC)
    after = observable_after(site, observation.ra, observation.dec, when, observation.min_altitude, within)
    if after is None:
        ahead = f"and cannot be observed before {instant(begin + within)}, when it expires"
        if observation.expires is None:
            ahead = "and cannot be observed within a day"
    elif begin + after > now.timestamp():
        ahead = f"and can be observed from {instant(begin + after)} on"
    else:
        ahead = "and can be observed now"
    reason = lines[0].reason
    return f"{reason if reason.startswith('waits') else f'waits ({reason})'}, {ahead}"
