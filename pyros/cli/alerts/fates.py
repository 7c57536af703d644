"""What has become of observations that were asked for: by the scheduler's journal, where that is on this computer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from pyros import messages
from pyros.config import Config
from pyros.errors import JournalError, PyrosError
from pyros.journal import JournalReader
from pyros.messages import Observation
from pyros.prepared import prepared
from pyros.printable import instant

_DAY = 86_400.0


class _Scheduled(msgspec.Struct):
    """What is looked at of the scheduler's state."""

    requests: dict[str, Observation] = {}
    running: str | None = None


def fates(config: Config, observations: Iterable[str]) -> Iterator[str]:
    """Tell a line for each observation, and for each of its repeats that is to come; none without the journal."""
    try:
        journal = JournalReader(config.journal("scheduler"))
    except JournalError:
        return
    try:
        state = msgspec.json.decode(journal.state() or b"{}", type=prepared(_Scheduled))
        for observation in observations:
            if observation not in state.requests:
                yield f"{observation} {_ended(journal, observation)}"
            for each in state.requests.values():
                if observation in {each.id, each.repeats}:
                    yield f"{each.id} {'is being observed' if each.id == state.running else _waits(config, each)}"
    except (JournalError, msgspec.DecodeError):  # of another version, perhaps
        return
    finally:
        journal.close()


def _ended(journal: JournalReader, observation: str) -> str:
    """By the messages that the scheduler keeps."""
    words = {messages.OBSERVATION_FINISHED: "was observed, until", messages.OBSERVATION_FAILED: "failed, last at"}
    for name, taken, payload in journal.received_about(json.dumps(observation), *words):
        said = json.loads(payload)
        if said.get("observation") == observation:
            why = f": {said['reason']}" if said.get("reason") else ""
            return f"{words[name]} {instant(float(taken))}{why}"
    return "does not wait any more: it has expired, or its end is too long ago"


def _waits(config: Config, observation: Observation) -> str:
    """Why it is not observed at this moment, and when it could be."""
    from pyros.observatory import clock_for  # noqa: PLC0415
    from pyros.planning import Site, make_plan  # noqa: PLC0415  astropy is slow to load
    from pyros.planning.visibility import observable_after  # noqa: PLC0415

    try:
        site, now = Site.load(config.site), clock_for(config, None).now()
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
