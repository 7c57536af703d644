"""What has become of observations that were asked for, in words: by the scheduler's journal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from pyros import messages
from pyros.errors import PyrosError
from pyros.journal import JournalReader
from pyros.messages import Observation
from pyros.printable import instant
from pyros.views.observed import Observed, site_of
from pyros.views.states import SeenScheduler

_DAY = 86_400.0


class Fate(msgspec.Struct, frozen=True):
    """How an observation, or one of its repeats, stands."""

    observation: str
    """Its id."""
    words: str
    """What has become of it, and when it can be observed: ``was observed, until 2026-11-29 21:10:02``."""


def fates(observed: Observed, observations: Iterable[str]) -> tuple[Fate, ...]:
    """Return how each observation stands, and each of its repeats that is to come; () without the journal."""
    found: list[Fate] = []
    with observed.journal("scheduler") as journal:
        if journal is None:
            return ()
        state = observed.state("scheduler", SeenScheduler)
        for observation in observations:
            if observation not in state.requests:
                found.append(Fate(observation, _ended(journal, observation)))
            found += [
                Fate(each.id, "is being observed" if each.id == state.running else _waits(observed, each))
                for each in state.requests.values()
                if observation in {each.id, each.repeats}
            ]
    return tuple(found)


def _ended(journal: JournalReader, observation: str) -> str:
    """Return its end by the messages that the scheduler keeps."""
    words = {messages.OBSERVATION_FINISHED: "was observed, until", messages.OBSERVATION_FAILED: "failed, last at"}
    for name, taken, payload in journal.received_about(json.dumps(observation), *words):
        said = json.loads(payload)
        if said.get("observation") == observation:
            why = f": {said['reason']}" if said.get("reason") else ""
            return f"{words[name]} {instant(float(taken))}{why}"
    return "does not wait any more: it has expired, or its end is too long ago"


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
