"""One event: its packets, the decisions rule by rule, how long each step took, its images and its light curve."""

from __future__ import annotations

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
from pyros.views.events import EventLine, Standing, line_of, stored_event
from pyros.views.images import images
from pyros.views.observed import Observed

_AFTER_SECONDS = 6 * 3600.0
"""How long after a decision what is done about it is looked for, for each night."""
_MAX_IMAGES = 200
_TYPES: dict[str, type] = {
    messages.SLEW_STARTED: SlewStarted, messages.SLEW_FINISHED: SlewFinished,
    messages.EXPOSURE_STARTED: ExposureStarted, messages.EXPOSURE_FINISHED: ExposureFinished,
}  # fmt: skip


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
    """Seconds since the step before it."""


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
    """What happened, oldest first, with the seconds that each step took."""
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
    ids = tuple(dict.fromkeys(record.observation for record in records if record.observation))
    nights = _nights(observed, ids)
    fates = {line.observation: line for line in reversed(nights)}
    decided = (records[0].decided, _last(records)) if records else None
    shown = images(observed, event=stored.name, limit=_MAX_IMAGES)
    curve = _curve(observed, stored.name, records[0].decided if records else None)
    request = stored.followed.observation
    return EventDetail(
        event=line_of(stored, decided, fates, Standing(observed)),
        names=tuple(sorted(stored.followed.event.keys)),
        retracted=bool(packets) and packets[-1].step.belief.retracted,
        event_time=request.event_time if request is not None else None, packets=packets, decisions=tuple(records),
        request=request, nights=nights, images=shown.images, curve=tuple(each for _, each in curve),
        steps=_with_latencies(_steps(observed, packets, records, ids, curve, nights), arrived),
    )  # fmt: skip


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
            lines = [line for each in ids for line in night_log.of_observation(journal, each)]
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


def _steps(
    observed: Observed, packets: tuple[PacketLine, ...], records: list[DecisionRecord], ids: tuple[str, ...],
    curve: list[tuple[float, SourceFound]], nights: tuple[NightLine, ...],
) -> list[Step]:  # fmt: skip
    steps = [
        Step(packet.received, "received", f"{packet.step.packet.notice_type or packet.step.packet.id}, {packet.source}")
        for packet in packets
        if packet.received is not None
    ]
    steps += [
        Step(record.decided, "decided", f"{record.outcome}: {record.reason}" if record.accepted else record.reason)
        for record in records
    ]
    with observed.journal("majordome") as journal:
        if journal is not None:
            ordered = [line for each in ids for line in diary.about(journal, "observe", each)]
            steps += [Step(line.time, "ordered", "the majordome has it observed") for line in ordered]
    steps += [Step(taken, "source found", f"{each.filter} {each.magnitude:.2f} mag") for taken, each in curve]
    steps += [
        Step(line.ended, "ended", f"{line.fate}, {line.images} images{line.fate_reason and f': {line.fate_reason}'}")
        for line in nights
        if line.ended is not None
    ]
    return steps + _of_the_devices(observed, records, ids, nights) + _published(observed, ids)


def _of_the_devices(
    observed: Observed, records: list[DecisionRecord], ids: tuple[str, ...], nights: tuple[NightLine, ...]
) -> list[Step]:
    spans = [(line.began - 60.0, (line.ended or line.began + _AFTER_SECONDS) + 60.0) for line in nights if line.began]
    spans = spans or [(record.decided, record.decided + _AFTER_SECONDS) for record in records if record.observation][:1]
    steps = []
    for begin, end in spans:
        with observed.journal("observation_manager") as journal:
            if journal is not None:
                for _, received in journal.taken_between(begin, end):
                    if (step := _of_message(received.name, received.payload, received.sent, ids)) is not None:
                        steps.append(step)
    return steps


def _of_message(name: str, payload: bytes, at: float, ids: tuple[str, ...]) -> Step | None:
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
    return Step(at, what, text)


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
    before: float | None = None
    for step in sorted(steps, key=lambda step: step.at):
        after = None if arrived is None else step.at - arrived
        took = None if before is None else step.at - before
        found.append(msgspec.structs.replace(step, after=after, took=took))
        before = step.at
    return tuple(found)
