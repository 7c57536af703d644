"""One event: its packets, the decisions rule by rule, how long each step took, its images and its light curve."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pyros import messages
from pyros.alerts import followup
from pyros.alerts.events import StoredEvent
from pyros.alerts.history import HistoryStep, history
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.imagery.index import FoundImage
from pyros.messages import ExposureFinished, ExposureStarted, Observation, SlewFinished, SlewStarted, SourceFound
from pyros.nights import diary
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.prepared import prepared
from pyros.views.events import EventLine, Standing, fates_of, line_of, parts_of, stored_event
from pyros.views.images import images
from pyros.views.observed import Observed

_AFTER_SECONDS = 6 * 3600.0
"""How long after a decision what is done about it is looked for, for each night."""
_MAX_IMAGES = 200
_MAX_STEPS = 500
_TYPES: dict[str, type] = {
    messages.SLEW_STARTED: SlewStarted, messages.SLEW_FINISHED: SlewFinished,
    messages.EXPOSURE_STARTED: ExposureStarted, messages.EXPOSURE_FINISHED: ExposureFinished,
}  # fmt: skip


_ASKED_BY = {
    messages.OBSERVATION_REQUESTED: "asked", messages.OBSERVATION_REQUEST_CHANGED: "asked anew",
    messages.OBSERVATION_REQUEST_WITHDRAWN: "taken back",
}  # fmt: skip
_ASKED = frozenset(_ASKED_BY.values())
"""Steps in which the central scheduler hands an observation to one of several telescopes, or takes it back."""


class Step(msgspec.Struct, frozen=True):
    """Something that happened about the event."""

    at: float
    """Unix seconds."""
    what: str
    """In a few words: received, decided, ordered, slew commanded, on target, shutter open, image on disk ..."""
    text: str = ""
    """Details."""
    after: float | None = None
    """Seconds since its first packet was received; None where that isn't known."""
    took: float | None = None
    """Seconds since the step before it; of several telescopes since the one before it there."""
    unit: str = ""
    """Of several telescopes, the one at which it happened; '' for what is of all."""


class EventTelescope(msgspec.Struct, frozen=True, kw_only=True):
    """What one of several telescopes did about an event."""

    unit: str
    """Its unit."""
    word: str
    """How the event's observation stands there: observing, planned, observed, failed, withdrawn ...; requested where it
    was asked of it, and not asked where it never was."""
    why: str = ""
    """Why, in words."""
    latencies: dict[str, float] = {}
    """By the steps' names, after how many seconds since its first packet each came first there."""
    images: int = 0
    """How many images of it there are in all nights."""
    nights: tuple[NightLine, ...] = ()
    """What became of its observation there in each night, the last night first."""


class PacketLine(msgspec.Struct, frozen=True, kw_only=True):
    """One packet, and what it changed."""

    step: HistoryStep
    """The packet as its event remembers it, the change in words, and what is believed from then on."""
    received: float | None = None
    """When the broker got it, Unix seconds; None where it isn't kept here."""
    source: str = ""
    """From where."""


class EventDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an event."""

    event: EventLine
    """As the list shows it."""
    names: tuple[str, ...] = ()
    """All keys that its packets have."""
    retracted: bool = False
    """Whether all of it is taken back."""
    event_time: float | None = None
    """When it happened in the sky, Unix seconds."""
    packets: tuple[PacketLine, ...] = ()
    """In their authors' order."""
    decisions: tuple[DecisionRecord, ...] = ()
    """Oldest first, each with the rules that were asked and their conditions."""
    request: Observation | None = None
    """What is, or was last, asked of the scheduler."""
    nights: tuple[NightLine, ...] = ()
    """What became of its observation in each night, the last night first."""
    steps: tuple[Step, ...] = ()
    """What happened, oldest first, with the seconds that each step took; 500 at most, the oldest ones."""
    telescopes: tuple[EventTelescope, ...] = ()
    """What each of several telescopes did about it; () where there is one, of which the rest tells."""
    images: tuple[FoundImage, ...] = ()
    """The newest first; 200 at most."""
    curve: tuple[SourceFound, ...] = ()
    """What was measured, by time."""


def event(observed: Observed, key: str) -> EventDetail | None:
    """Return an event by its name or by a packet's identifier; None where there is none.

    What happened long ago is told as far as the journals keep it: the last 50,000 messages of each agent.
    """
    stored = stored_event(observed, key)
    if stored is None:
        return None
    records: list[DecisionRecord] = []
    with observed.journal("alert_manager") as journal:
        if journal is not None:
            records = decisions.read(journal, events=[stored.name])
    packets = _packets(observed, stored)
    arrived = min((packet.received for packet in packets if packet.received is not None), default=None)
    requests = dict.fromkeys(record.observation for record in records if record.observation)
    ids = tuple(dict.fromkeys(each for request in requests for each in parts_of(stored, request)))
    telescopes = observed.telescopes or (observed,)
    logs = [_nights(each, ids) for each in telescopes]
    nights = tuple(sorted((line for log in logs for line in log), key=lambda line: line.night, reverse=True))
    fates = fates_of(observed, set(requests))
    decided = (records[0].decided, _last(records)) if records else None
    shown = images(observed, event=stored.name, limit=_MAX_IMAGES)
    curve = _curve(observed, stored.name, records[0].decided if records else None)
    request, standing = stored.followed.observation, Standing(observed)
    steps = _steps_of_all(observed, packets, records, tuple(requests), curve)
    for each, log in zip(telescopes, logs, strict=True):
        unit = each.config.unit if observed.telescopes else ""
        steps += [
            msgspec.structs.replace(step, unit=unit)
            for step in _steps_at(each, records, ids, tuple(requests), log, unit)
        ]
    told = _with_latencies(steps, arrived)
    return EventDetail(
        event=line_of(stored, decided, fates, standing),
        names=tuple(sorted(stored.followed.event.keys)),
        retracted=bool(packets) and packets[-1].step.belief.retracted,
        event_time=request.event_time if request is not None else None, packets=packets, decisions=tuple(records),
        request=request, nights=nights, images=shown.images, curve=tuple(each for _, each in curve),
        steps=told[:_MAX_STEPS],
        telescopes=tuple(
            _at(each, log, told, ids, standing) for each, log in zip(observed.telescopes, logs, strict=False)
        ),
    )  # fmt: skip


def _at(
    observed: Observed, nights: tuple[NightLine, ...], steps: tuple[Step, ...], ids: tuple[str, ...], standing: Standing
) -> EventTelescope:
    """Return what one of several telescopes did."""
    unit = observed.config.unit
    latencies: dict[str, float] = {}
    for step in steps:
        if step.unit == unit and step.after is not None:
            latencies.setdefault(step.what, step.after)
    word, why = "not asked", ""
    last = next((step for step in reversed(steps) if step.unit == unit and step.what in _ASKED), None)
    if any(standing.running.get(each) == unit for each in ids):
        word = "observing"
    elif (done := next((line for line in nights if line.fate), None)) is not None:
        word, why = done.fate, done.fate_reason
    elif last is not None:
        word, why = ("withdrawn" if last.what == "taken back" else "requested"), last.text
    if word in ("not asked", "requested", "withdrawn") and any(standing.planned.get(each) == unit for each in ids):
        word, why = "planned", next((line.reason for line in nights if not line.fate), "")
    return EventTelescope(
        unit=unit, word=word, why=why, latencies=latencies, images=sum(line.images for line in nights), nights=nights
    )


def _last(records: list[DecisionRecord]) -> DecisionRecord:
    """Return the last one that asked for something, else the last one."""
    return next((record for record in reversed(records) if record.outcome != "nothing"), records[-1])


def _packets(observed: Observed, stored: StoredEvent) -> tuple[PacketLine, ...]:
    arrivals: dict[str, tuple[float, str] | None] = {}
    told = history(stored.followed.event)
    with observed.events() as journal:
        if journal is not None:
            arrivals = {step.packet.id: journal.arrival(step.packet.id) for step in told}
    lines = []
    for step in told:
        received, source = arrivals.get(step.packet.id) or (None, "")
        lines.append(PacketLine(step=step, received=received, source=source))
    return tuple(lines)


def _nights(observed: Observed, ids: tuple[str, ...]) -> tuple[NightLine, ...]:
    lines: list[NightLine] = []
    with observed.journal("scheduler") as journal:
        if journal is not None:
            known = night_log.last_of(journal, ids)
            lines = [line for each in known for line in night_log.of_observation(journal, each)]
    return tuple(sorted(lines, key=lambda line: line.night, reverse=True))


def _curve(observed: Observed, name: str, since: float | None) -> list[tuple[float, SourceFound]]:
    """Return what was measured, by the time of its exposure, each with when it was told."""
    rows: list[tuple[str, float, bytes]] = []
    with observed.journal("alert_manager") as journal:
        if journal is not None and since is not None:
            rows = journal.received_about(name, messages.SOURCE_FOUND, after=journal.since(since))
    found: list[tuple[float, SourceFound]] = []
    for _, taken, payload in rows:
        try:
            each = msgspec.json.decode(payload, type=prepared(SourceFound))
        except msgspec.DecodeError:  # of another version
            continue
        if each.event == name:
            found.append((taken, each))
    return sorted(found, key=lambda pair: pair[1].time)


def _steps_of_all(
    observed: Observed, packets: tuple[PacketLine, ...], records: list[DecisionRecord], requests: tuple[str, ...],
    curve: list[tuple[float, SourceFound]],
) -> list[Step]:  # fmt: skip
    """Return what happened about an event beside what its telescopes were told and did."""
    steps = [
        Step(packet.received, "received", f"{packet.step.packet.notice_type or packet.step.packet.id}, {packet.source}")
        for packet in packets
        if packet.received is not None
    ]
    steps += [
        Step(record.decided, "decided", f"{record.outcome}: {record.reason}" if record.accepted else record.reason)
        for record in records
    ]
    steps += [
        Step(
            taken, "source found", f"{each.filter} {each.magnitude:.2f} mag",
            unit=observed.config.unit_of(each.telescope),
        )
        for taken, each in curve
    ]  # fmt: skip
    return steps + _published(observed, requests)


def _steps_at(
    observed: Observed, records: list[DecisionRecord], ids: tuple[str, ...], requests: tuple[str, ...],
    nights: tuple[NightLine, ...], unit: str,
) -> list[Step]:  # fmt: skip
    """Return what happened about an event at a telescope, ``unit`` of several, or the only one."""
    steps = _handed(observed, requests, records[0].decided) if unit and records else []
    begun = {line.observation for line in nights if line.began is not None}
    with observed.journal("majordome") as journal:
        if journal is not None:
            ordered = [
                (each, line) for each in ids if each in requests or each in begun
                for line in diary.about(journal, "observe", each)
            ]  # fmt: skip
            steps += [
                Step(line.time, "ordered", _of_which(each, requests) + "the majordome has it observed")
                for each, line in ordered
            ]
    steps += [
        Step(
            line.ended, "ended", f"{_of_which(line.observation, requests)}{line.fate}, {line.images}"
            f" images{line.fate_reason and f': {line.fate_reason}'}",
        )
        for line in nights
        if line.ended is not None
    ]  # fmt: skip
    return steps + _of_the_devices(observed, records, ids, requests, nights)


def _handed(observed: Observed, requests: tuple[str, ...], since: float) -> list[Step]:
    """Return when a telescope's scheduler was asked for an event's observations, and when they were taken back."""
    steps: list[Step] = []
    with observed.journal("scheduler") as journal:
        if journal is not None:
            after = journal.since(since)
            for request in requests:
                for name, taken, payload in journal.received_about(json.dumps(request), *_ASKED_BY, after=after):
                    said = json.loads(payload)
                    if request in (said.get("id"), said.get("observation")):
                        steps.append(Step(taken, _ASKED_BY[name], said.get("reason", "")))
    return steps


def _of_which(observation: str, requests: tuple[str, ...]) -> str:
    """Return which field or galaxy of a sky map a step is about; '' for a request's own."""
    if observation in requests:
        return ""
    begin = next((each for each in requests if observation.startswith(f"{each}-")), "")
    return f"{observation[len(begin) + 1 if begin else 0 :]}: "


def _of_the_devices(
    observed: Observed, records: list[DecisionRecord], ids: tuple[str, ...], requests: tuple[str, ...],
    nights: tuple[NightLine, ...],
) -> list[Step]:  # fmt: skip
    spans = [(line.began - 60.0, (line.ended or line.began + _AFTER_SECONDS) + 60.0) for line in nights if line.began]
    spans = spans or [(record.decided, record.decided + _AFTER_SECONDS) for record in records if record.observation][:1]
    steps, wanted = [], set(ids)
    for begin, end in _joined(spans):
        with observed.journal("observation_manager") as journal:
            if journal is not None:
                for _, received in journal.taken_between(begin, end):
                    step = _of_message(received.name, received.payload, received.sent, wanted, requests)
                    if step is not None:
                        steps.append(step)
    return steps


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of time without those that others overlap: fields follow each other closely."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _of_message(name: str, payload: bytes, at: float, ids: set[str], requests: tuple[str, ...]) -> Step | None:
    kind = _TYPES.get(name)
    try:
        told: Any = msgspec.json.decode(payload, type=prepared(kind)) if kind is not None else None
    except msgspec.DecodeError:  # of another version
        return None
    if told is None or told.observation not in ids:
        return None
    match told:
        case SlewStarted():
            what, text = "slew commanded", f"the mount expects {told.seconds:.0f} s"
        case SlewFinished():
            what, text = "on target", f"{told.error:.1f} arcseconds off"
        case ExposureStarted():
            what, text = "shutter open", f"image {told.number} of {told.of}, {told.filter} {told.seconds:g} s"
        case _:
            what, text = "image on disk", f"image {told.number}, {told.filter}"
    return Step(at, what, _of_which(told.observation, requests) + text)


def _published(observed: Observed, ids: tuple[str, ...]) -> list[Step]:
    broker = observed.config.broker
    steps: list[Step] = []
    if broker is None or not broker.publish:
        return steps
    with observed.events() as journal:
        if journal is not None:
            for each in ids:
                begin = followup.beginning(broker.ivo, each)
                steps += [
                    Step(row.received, "published", row.ivorn.removeprefix(begin).partition("-")[0])
                    for row in journal.beginning_with(begin)
                ]
    return steps


def _with_latencies(steps: list[Step], arrived: float | None) -> tuple[Step, ...]:
    found: list[Step] = []
    before: dict[str, float] = {}
    for step in sorted(steps, key=lambda step: step.at):
        after = None if arrived is None else step.at - arrived
        last = before.get(step.unit, before.get(""))
        took = None if last is None else step.at - last
        found.append(msgspec.structs.replace(step, after=after, took=took))
        before[step.unit] = step.at
    return tuple(found)
