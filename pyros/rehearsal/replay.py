"""A night of the past replayed: which decisions today's code makes otherwise, and why.

The alert manager and the scheduler each take again what they took then. So a difference is the agent's own: what the
other one would have made of it is not followed. What they decided then stands in the decisions of the alert manager,
and in the journals of those whom they told. Of several telescopes the scheduler of each is replayed. Which of them the
central scheduler chose is not: what it was told of the weather is fleeting, and kept by no journal.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pyros import messages
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.config import Config, StandardAgents
from pyros.errors import JournalError, PyrosError
from pyros.journal import JournalReader, Outgoing, Received, past
from pyros.messages import FieldRequests, Observation, Plan, Withdrawal, decode_payload
from pyros.planning import Site
from pyros.planning.night_log import night_name, noon_before
from pyros.rehearsal.replayed import START, ReplayedAgent, ReplayedTurn

_LATE_SECONDS = 86_400.0
"""What was said in the night arrived so long afterwards at the latest."""
_MAX_RECEIVED = 500_000
_REQUESTS = (
    messages.OBSERVATION_REQUESTED, messages.OBSERVATION_REQUEST_CHANGED, messages.OBSERVATION_REQUEST_WITHDRAWN,
    messages.FIELDS_REQUESTED,
)  # fmt: skip
_NOTHING = "nothing"


class Difference(msgspec.Struct, frozen=True):
    """A decision that is another one now."""

    time: float
    """When it was made then, Unix seconds."""
    about: str
    """The alert, the observation or the message that it was about."""
    then: str
    """What was decided then, and why."""
    now: str
    """What is decided now, and why."""


class ReplayResult(msgspec.Struct, frozen=True):
    """What came of one agent's night."""

    agent: str
    """The agent's name."""
    messages: int
    """How many messages of that night it took."""
    decisions: int
    """How many decisions it made of them then."""
    differences: tuple[Difference, ...]
    """In order of time."""
    notes: tuple[str, ...] = ()
    """What could not be compared."""


class _Span(NamedTuple):
    begin: float
    end: float

    def has(self, when: float) -> bool:
        return self.begin <= when < self.end


def nights(config: Config, site: Site) -> list[str]:
    """Return the nights of which a data folder has the beginnings, by the dates of their evenings, the last one last.

    Raises JournalError where the folder has no journals of the alert manager or the scheduler.
    """
    found: set[str] = set()
    judged = list(_judged(config, site))
    for seen, place, name in judged:
        with closing(JournalReader(seen.journal(name))) as journal:
            found |= _nights(journal, place)
    if not judged:
        raise JournalError(
            f"{config.data}: has no journals/alert_manager.sqlite or journals/scheduler.sqlite: give the data folder of"
            " an observatory that has run"
        )
    return sorted(found)


def _judged(config: Config, site: Site) -> Iterator[tuple[Config, Site, str]]:
    """Return the agents whose decisions are compared and that have run, each as its unit sees it, and their sites."""
    several = len(config.telescopes) > 1
    for name in _JUDGES:
        units = config.telescopes if several and name == StandardAgents.SCHEDULER else ("",)
        for unit in units:
            seen = config.seen_from(unit) if unit else config
            if name in seen.agents and seen.journal(name).exists():
                yield seen, Site.load(seen.required("site", f"the telescope {unit}")) if unit else site, name


def _nights(journal: JournalReader, site: Site) -> set[str]:
    """Return the nights from the first one of which a journal has the beginning to that of its last message."""
    kept = past.days(journal)
    newest = journal.received(last=1) if kept else []
    if not newest:
        return set()
    starts = past.starts(journal, 0)
    begin = (kept[0].day + 1) * past.DAY_SECONDS - 1
    if kept[0].number == 0 and starts:
        begin = starts[0].at
    first, last = (date.fromisoformat(night_name(site, when)) for when in (begin, newest[0][1].taken))
    return {(first + timedelta(days=each)).isoformat() for each in range((last - first).days + 1)}


def replay_night(config: Config, site: Site, night: date) -> list[ReplayResult]:
    """Replay a night, from noon to noon at ``site``, or that of each of several telescopes.

    The journals are those of ``config.data``, and are only read.

    Raises PyrosError naming the file where a journal cannot be read or doesn't reach back so far.
    """
    found = []
    for seen, place, name in _judged(config, site):
        begin = noon_before(place, night)
        found.append(_replay(seen, name, _Span(begin, begin + past.DAY_SECONDS)))
    return found


def _replay(config: Config, name: str, span: _Span) -> ReplayResult:
    with closing(JournalReader(config.journal(name))) as journal, tempfile.TemporaryDirectory() as scratch:
        agent = ReplayedAgent(config, name, journal, Path(scratch))
        turns = [turn for turn in agent.run(span.begin, span.end) if span.has(turn.taken)]
        told, notes = _told(config, name, _JUDGES[name].hearer, span)
        count, found = _JUDGES[name].judge(agent, turns, told, span)
    found += [
        Difference(turn.taken, f"{turn.name} from {turn.sender}", turn.then or "handled", turn.now or "handled")
        for turn in turns
        if bool(turn.then) != bool(turn.now)
    ]  # fmt: skip
    taken = sum(turn.name != START for turn in turns)
    return ReplayResult(config.agent(name).name, taken, count, tuple(sorted(found, key=lambda each: each.time)), notes)


def _told(config: Config, sender: str, hearer: str, span: _Span) -> tuple[list[Received] | None, tuple[str, ...]]:
    """Return what an agent sent another one then, from the other one's journal; None, and why, where that lacks."""
    try:
        with closing(JournalReader(config.journal(hearer))) as journal:
            taken = journal.taken_between(span.begin, span.end + _LATE_SECONDS, _MAX_RECEIVED)
            first = journal.rows("SELECT first FROM turns ORDER BY last LIMIT 1")
    except PyrosError as error:
        return None, (f"what {sender} sent {hearer} is not compared: {error}",)
    if taken and first and taken[0][0] == first[0][0] > 1:
        return None, (f"what {sender} sent {hearer} is not compared: {hearer}'s journal doesn't reach back so far",)
    said_by = config.agent(sender).name
    return [row for _, row in taken if row.sender == said_by and span.has(row.sent)], ()


# The alert manager ------------------------------------------------------------------------------------------------


def _judge_alerts(
    agent: ReplayedAgent, turns: Sequence[ReplayedTurn], told: list[Received] | None, span: _Span
) -> tuple[int, list[Difference]]:
    then = decisions.decided_between(agent.recorded, *span)
    now = decisions.decided_between(agent.reader(), *span)
    pairs = _paired([(each.alert, each) for each in then], [(each.alert, each) for each in now])
    found = [
        Difference((one or other).decided, alert, _decision(one), _decision(other))
        for alert, one, other in pairs
        if _essence(one) != _essence(other)
    ]
    changed = {
        each.observation for pair in pairs if _essence(pair[1]) != _essence(pair[2]) for each in pair[1:] if each
    }
    hearer = agent.config.agent(StandardAgents.SCHEDULER).name
    sent = [(out.sent, out.name, out.payload) for turn in turns for out in turn.outgoing if out.agent == hearer]
    if told is not None:
        found += _requests([(row.sent, row.name, row.payload) for row in told], sent, changed)
    return len(then), found


def _essence(record: DecisionRecord | None) -> tuple[Any, ...] | None:
    """Return what makes a decision another one: words with ages in them don't."""
    return None if record is None else (record.accepted, record.rule, record.event, record.outcome, record.observation)


def _decision(record: DecisionRecord | None) -> str:
    if record is None:
        return "no decision"
    what = {"requested": "observe", "changed": "change the observation", "withdrawn": "withdraw the observation"}
    did = what.get(record.outcome, "accepted, nothing new to observe" if record.accepted else "do not observe")
    rule = f" (rule {record.rule})" if record.rule else ""
    return f"{did}{rule}: {record.reason}"


_Sent = tuple[float, str, bytes]


def _requests(then: Iterable[_Sent], now: Iterable[_Sent], known: set[str]) -> list[Difference]:
    """Return the requests that are others, but for those of observations whose decisions are others already."""
    before, after = _by_observation(then), _by_observation(now)
    return [
        Difference((one or other)[0], key, *_request_words(one, other))
        for key, one, other in _paired(before, after)
        if key not in known and _request_words(one, other)[0] != _request_words(one, other)[1]
    ]


def _by_observation(sent: Iterable[_Sent]) -> list[tuple[str, tuple[float, str, Any]]]:
    found = []
    for when, name, json in sent:
        if name in _REQUESTS:
            payload = decode_payload(name, json)
            key = payload.id if isinstance(payload, Observation) else (
                payload.observation if isinstance(payload, Withdrawal) else payload.event
            )  # fmt: skip
            found.append((key, (when, name, payload)))
    return found


def _request_words(one: tuple[float, str, Any] | None, other: tuple[float, str, Any] | None) -> tuple[str, str]:
    """Return two requests in words: the fields in which they differ."""
    if one is None or other is None or one[1] != other[1]:
        return tuple("no request" if each is None else each[1] for each in (one, other))  # type: ignore[return-value]
    values = [_comparable(each[2]) for each in (one, other)]
    fields = [name for name in values[0] if values[0][name] != values[1].get(name)]
    words = [", ".join(f"{name} {_word(each.get(name))}" for name in fields) for each in values]
    return f"{one[1]}: {words[0]}", f"{one[1]}: {words[1]}"


def _comparable(payload: Observation | Withdrawal | FieldRequests) -> dict[str, Any]:
    """Return a request's fields without its words, its moments counted from when it was asked for, to the second."""
    if isinstance(payload, Observation):
        since = payload.requested
        payload = msgspec.structs.replace(
            payload, requested=0.0, expires=None if payload.expires is None else round(payload.expires - since),
            repeat=tuple(round(each - since) for each in payload.repeat),
        )  # fmt: skip
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    if isinstance(payload, FieldRequests):
        fields["requests"] = [_comparable(each) for each in payload.requests]
    return {name: value for name, value in fields.items() if name != "reason"}


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}..."


# The scheduler ----------------------------------------------------------------------------------------------------


class _Course:
    """What the majordome is told to do, plan after plan."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.withdrawn: set[str] = set()

    def take(self, plans: Iterable[bytes]) -> None:
        self.withdrawn = set()
        for json in plans:
            self.plan = decode_payload(messages.PLAN_UPDATED, json)
            self.withdrawn |= set(self.plan.withdrawn)

    @property
    def doing(self) -> str:
        return (self.plan.start_now if self.plan is not None else None) or _NOTHING

    def words(self, other: str) -> str:
        """Say what is done, and why; where it is nothing, why not what the other plan does."""
        lines = () if self.plan is None else self.plan.observations
        about = other if self.doing == _NOTHING else self.doing
        reason = next((line.reason for line in lines if line.observation.id == about), "it is not planned")
        return f"{self.doing}: {reason}"


def _judge_plans(
    agent: ReplayedAgent, turns: Sequence[ReplayedTurn], told: list[Received] | None, span: _Span
) -> tuple[int, list[Difference]]:
    if told is None:
        return 0, []
    moments = sorted({turn.taken for turn in turns})
    then: dict[float, list[bytes]] = defaultdict(list)
    for row in told:
        if row.name == messages.PLAN_UPDATED and (place := bisect_right(moments, row.sent + 1e-6)):
            then[moments[place - 1]].append(row.payload)
    now: dict[float, list[bytes]] = defaultdict(list)
    for turn in turns:
        now[turn.taken] += [_payload(out) for out in turn.outgoing if out.name == messages.PLAN_UPDATED]
    one, other, found, count = _Course(), _Course(), list[Difference](), 0
    told_last = (_NOTHING, _NOTHING)
    for moment in moments:
        before = one.doing
        one.take(then[moment])
        other.take(now[moment])
        count += one.doing not in (before, _NOTHING)
        pair = (one.doing, other.doing)
        if one.doing != other.doing and pair != told_last:
            about = one.doing if one.doing != _NOTHING else other.doing
            found.append(Difference(moment, about, one.words(other.doing), other.words(one.doing)))
        if one.withdrawn != other.withdrawn:
            gone = [", ".join(sorted(each)) or _NOTHING for each in (one.withdrawn, other.withdrawn)]
            found.append(Difference(moment, "what is withdrawn", *gone))
        told_last = pair
    return count, found


def _payload(out: Outgoing) -> bytes:
    return bytes(out.payload)


def _paired(one: Sequence[tuple[str, Any]], other: Sequence[tuple[str, Any]]) -> list[tuple[str, Any, Any]]:
    """Pair what has the same key, the first with the first; None where one side has fewer of it."""
    left: dict[str, list[Any]] = defaultdict(list)
    for key, value in other:
        left[key].append(value)
    found = [(key, value, left[key].pop(0) if left[key] else None) for key, value in one]
    return found + [(key, None, value) for key, values in left.items() for value in values]


class _Judge(NamedTuple):
    hearer: str
    """The agent that heard the decisions."""
    judge: Any


_JUDGES = {
    StandardAgents.ALERT_MANAGER: _Judge(StandardAgents.SCHEDULER, _judge_alerts),
    StandardAgents.SCHEDULER: _Judge(StandardAgents.MAJORDOME, _judge_plans),
}
