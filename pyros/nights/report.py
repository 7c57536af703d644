"""A night's report: what was planned and done, what the time went to, how good the images are, and what to look at.

It is gathered from the journals of majordome, scheduler, monitoring and telescope by their readers; a journal that is
not there leaves its part empty. Plain Python, for any thread or process.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pyros import config as configuration
from pyros import messages
from pyros.config import Config
from pyros.errors import JournalError
from pyros.files import atomic_write
from pyros.journal import JournalReader
from pyros.messages import AlarmRaised, AlertDecided, ImageAnalysed, Observation, Slew
from pyros.nights import diary
from pyros.nights.lateness import seconds_late
from pyros.nights.times import night_times
from pyros.planning import Site, night_log
from pyros.planning.night_log import NightLine
from pyros.planning.visibility import sun_altitude
from pyros.prepared import prepared
from pyros.printable import clock_time

_T = TypeVar("_T")
_NUMBER = re.compile(r"[\d.+-]*\d")
_Wanted = dict[str, list[tuple[float, Observation]]]
DAY = 86400.0


class Span(msgspec.Struct, frozen=True):
    """A part of the night."""

    begin: float
    """Unix seconds."""
    end: float
    """Unix seconds."""
    what: str
    """A state's name, ``unsafe``, or the id of the observation that ran."""
    reason: str = ""
    """Why it began."""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class AlertLine(msgspec.Struct, frozen=True):
    """An alert that came in the night."""

    alert: str
    """Its identifier."""
    time: float
    """When it was decided about, Unix seconds."""
    accepted: bool
    """Whether it was to be observed."""
    reason: str
    """Why, for people."""
    to_observe: float | None = None
    """Seconds from its decision to the order to observe; None when there was none."""
    to_slew: float | None = None
    """Seconds from its decision to the telescope's taking the order to slew; None when there was none."""
    late: float | None = None
    """Of these the seconds in which nothing kept it from being observed; None when it was told in time."""
    observation: str = ""
    """The id of the observation that it asked for."""


class ImageLine(msgspec.Struct, frozen=True):
    """What an image showed."""

    time: float
    """When it was analysed, Unix seconds."""
    path: str
    """The FITS file."""
    fwhm: float | None = None
    """Full width at half maximum of the stars, arcseconds."""
    zero_point: float | None = None
    """Magnitude of 1 ADU per second."""
    problem: str = ""
    """Why something is missing."""


class NightReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a night."""

    observatory: str
    """The observatory's name."""
    site: str
    """The site's name."""
    unit: str = ""
    """Of several telescopes, the unit of the one that it tells of."""
    night: str
    """The date of its evening at the site."""
    sunset: float
    """Unix seconds; noon where the Sun doesn't set."""
    sunrise: float
    """Unix seconds; the next noon where it doesn't rise."""
    dusk: float | None = None
    """When it became dark by the site's twilight, Unix seconds; None when it didn't."""
    dawn: float | None = None
    """When that ended, Unix seconds; None when it wasn't dark."""
    until: float | None = None
    """Up to when it is told, Unix seconds; None for a night that is over."""
    requests: tuple[NightLine, ...] = ()
    """The plan's lines, and what became of them."""
    spans: tuple[Span, ...] = ()
    """The majordome's states."""
    unsafe: tuple[Span, ...] = ()
    """When it was not safe."""
    working: tuple[Span, ...] = ()
    """When an observation ran."""
    images: tuple[ImageLine, ...] = ()
    """What the images showed."""
    focus: tuple[tuple[float, str, str], ...] = ()
    """When the focus was looked for (Unix seconds), where it is in steps, and why."""
    alerts: tuple[AlertLine, ...] = ()
    """The alerts."""
    alarms: tuple[tuple[float, str], ...] = ()
    """When a person was called (Unix seconds), and what for."""
    missing: tuple[str, ...] = ()
    """The journals that could not be read, and why."""

    def hours(self) -> dict[str, float]:
        """Return what the dark time went to, in hours; together they are all of it, or all that has passed.

        Weather comes before all else, then faults and holds, then observing and calibrating; the rest was idle.
        """
        kinds = {
            "weather": self.unsafe,
            "fault": tuple(span for span in self.spans if span.what == "fault"),
            "held": tuple(span for span in self.spans if span.what == "held"),
            "observing": self.working,
            "calibrating": tuple(span for span in self.spans if span.what in ("flats", "focusing")),
        }
        hours = dict.fromkeys((*kinds, "idle"), 0.0)
        if self.dusk is None or self.dawn is None:
            return hours
        over = self.dawn if self.until is None else min(self.dawn, self.until)
        edges = {self.dusk, over}
        edges |= {edge for spans in kinds.values() for span in spans for edge in (span.begin, span.end)}
        inside = sorted(edge for edge in edges if self.dusk <= edge <= over)
        for begin, end in pairwise(inside):
            middle = (begin + end) / 2
            covering = (name for name, spans in kinds.items() if any(s.begin <= middle < s.end for s in spans))
            hours[next(covering, "idle")] += (end - begin) / 3600
        return hours

    def _alarm_lines(self) -> Iterator[str]:
        """Yield a line for each alarm: for all that differ by figures alone the first, and how many there were."""
        same: dict[str, list[tuple[float, str]]] = {}
        for when, text in self.alarms:
            same.setdefault(_NUMBER.sub("", text), []).append((when, text))
        for alarms in same.values():
            when, text = alarms[0]
            again = f" (and {len(alarms) - 1} times more until {clock_time(alarms[-1][0])})" if len(alarms) > 1 else ""
            yield f"{clock_time(when)} UTC: alarm{again}: {text}"

    def to_look_at(self) -> list[str]:
        """Return what a person should look at, in sentences."""
        lines = list(self._alarm_lines())
        lines += [f"{clock_time(s.begin)} UTC: the night stood still for {s.seconds / 60:.0f} min: {s.reason}"
                  for s in self.spans if s.what == "fault"]  # fmt: skip
        lines += [f"{each.target}: failed: {each.fate_reason}" for each in self.requests if each.fate == "failed"]
        problems = [image for image in self.images if image.problem]
        if problems:
            lines.append(
                f"{len(problems)} of {len(self.images)} images have a problem, the first: {problems[0].problem}"
            )
        lines += [f"{alert.alert}: the telescope was told {alert.late:.1f} s after it could be observed"
                  for alert in self.alerts if alert.late is not None]  # fmt: skip
        lines += [f"the journal of {text}" for text in self.missing]
        return lines


def gather(config: Config, night: str, now: float | None = None) -> NightReport:
    """Read the journals and return a night's report; raises ConfigError without a site, ValueError for no date.

    A night that goes on ``now`` (Unix seconds) is told up to then.
    """
    site = Site.load(config.required("site", "a report"))
    times = night_times(site, night)
    noon, sunrise = times.noon, times.sunrise
    missing: list[str] = []
    with _journal(config, "majordome", missing) as journal:
        lines = diary.read(journal, night) if journal else []
    with _journal(config, "scheduler", missing) as journal:
        requests = night_log.read(journal, night) if journal else []
        wanted = _wanted(journal) if journal else {}
    until = None if now is None or now >= sunrise else max(now, noon)
    end = min(noon + DAY, max([sunrise, *(line.time for line in lines)])) if until is None else until
    with _journal(config, "monitoring", missing) as journal:
        heard = _heard(journal, noon) if journal else []
    with _journal(config, "telescope", missing) as journal:
        slews = _slews(journal) if journal else {}
    alerts = tuple(_alert(slews, lines, when, each) for when, each in heard if isinstance(each, AlertDecided))
    weather = spans_of([line for line in lines if line.what == "weather"], end)
    made = NightReport(
        observatory=config.name, unit=config.unit, site=site.name, night=night, sunset=times.sunset, sunrise=sunrise,
        dusk=times.dusk, dawn=times.dawn, until=until,
        requests=tuple(requests),
        spans=spans_of([line for line in lines if line.what == "state"], end),
        unsafe=tuple(span for span in weather if span.what == "unsafe"),
        working=worked(lines, end),
        images=tuple(ImageLine(when, each.path, each.fwhm, each.zero_point, each.problem)
                     for when, each in heard if isinstance(each, ImageAnalysed)),
        focus=tuple((line.time, line.value, line.reason) for line in lines if line.what == "focus"),
        alerts=alerts,
        alarms=tuple((when, each.text) for when, each in heard if isinstance(each, AlarmRaised)),
        missing=tuple(missing),
    )  # fmt: skip
    return msgspec.structs.replace(made, alerts=tuple(_with_lateness(made, site, each, wanted) for each in alerts))


@contextmanager
def _journal(config: Config, name: str, missing: list[str]) -> Iterator[JournalReader | None]:
    """Open an agent's journal; None, and a line in ``missing``, where that can't be."""
    try:
        journal = JournalReader(config.journal(name))
    except JournalError as error:
        missing.append(f"{name} cannot be read: {error}")
        yield None
        return
    try:
        yield journal
    finally:
        journal.close()


def _heard(journal: JournalReader, noon: float) -> list[tuple[float, Any]]:
    """Return what monitoring was told in the night, and its own alarms, with when it was said."""
    types: dict[str, Any] = {
        messages.IMAGE_ANALYSED: ImageAnalysed, messages.ALERT_DECIDED: AlertDecided, messages.ALARM: AlarmRaised,
        messages.TELL_ALARM: AlarmRaised,
    }  # fmt: skip
    heard = []
    for name, sent, payload in reversed(journal.received_about("", *types, sent=True)):
        if noon <= sent < noon + DAY:
            heard.append((sent, _decoded(payload, types[name])))
    return heard


def _wanted(journal: JournalReader) -> _Wanted:
    """Return what was asked of the scheduler and when (Unix seconds), by the ids, the oldest first."""
    names = (messages.OBSERVATION_REQUESTED, messages.OBSERVATION_REQUEST_CHANGED)
    wanted: _Wanted = {}
    for _, taken, payload in reversed(journal.received_about("", *names)):
        if (request := _decoded(payload, Observation)) is not None:
            wanted.setdefault(request.id, []).append((taken, request))
    return wanted


def _slews(journal: JournalReader) -> dict[str, list[float]]:
    """Return when the telescope took the orders to slew for each observation, Unix seconds, the oldest first."""
    slews: dict[str, list[float]] = {}
    for _, taken, payload in reversed(journal.received_about("", messages.SLEW)):
        if (order := _decoded(payload, Slew)) is not None:
            slews.setdefault(order.observation, []).append(taken)
    return slews


def _decoded(payload: bytes, kind: type[_T]) -> _T | None:
    """Return a payload as its type; None for one of another version."""
    try:
        decoded: _T = msgspec.json.decode(payload, type=prepared(kind))
    except msgspec.DecodeError:
        return None
    return decoded


def _with_lateness(report: NightReport, site: Site, alert: AlertLine, wanted: _Wanted) -> AlertLine:
    """Add for how long nothing kept an alert waiting that was observed; what runs yields to a higher priority."""
    if alert.to_slew is None:
        return alert
    told = alert.time + alert.to_slew

    def as_of_then(observation: str) -> Observation | None:
        return next((each for taken, each in reversed(wanted.get(observation, ())) if taken <= told), None)

    own = as_of_then(alert.observation)

    def gives_way(observation: str) -> bool:
        running = as_of_then(observation)
        return own is not None and running is not None and running.interruptible and running.priority < own.priority

    standing = {"fault", "held", "opening", "closing"}
    if own is not None and any(asked[-1][1].priority > own.priority for asked in wanted.values()):
        standing.add("focusing")  # what goes first waits for its end
    kept = [
        *report.unsafe,
        *(span for span in report.spans if span.what in standing),
        *(span for span in report.working if span.what != alert.observation and not gives_way(span.what)),
    ]
    late = seconds_late(site, own, alert.time, told, [(span.begin, span.end) for span in kept])
    return msgspec.structs.replace(alert, late=late)


def _alert(slews: dict[str, list[float]], lines: list[diary.DiaryLine], when: float, alert: AlertDecided) -> AlertLine:
    """Add to an alert when it was observed: the first order after its decision."""
    orders = [line for line in lines if line.what == "observe" and line.value == alert.observation]
    begun = next((line.time for line in orders if line.time >= when - 1), None) if alert.observation else None
    told = [] if begun is None else [taken for taken in slews.get(alert.observation, ()) if taken >= when - 1]
    return AlertLine(
        alert.alert, when, alert.accepted, alert.reason, None if begun is None else begun - when,
        told[0] - when if told else None, observation=alert.observation,
    )  # fmt: skip


def spans_of(lines: list[diary.DiaryLine], end: float) -> tuple[Span, ...]:
    """Return the spans that lines of one kind begin; the last one lasts until ``end``, Unix seconds."""
    ends = [*(line.time for line in lines[1:]), end]
    return tuple(Span(line.time, max(line.time, until), line.value, line.reason)
                 for line, until in zip(lines, ends, strict=bool(lines)))  # fmt: skip


def worked(lines: list[diary.DiaryLine], end: float) -> tuple[Span, ...]:
    """Return when each observation ran: until its end, or until another superseded it.

    Each order has an end of its own. That of a superseded one comes after the next order, which may be of the same
    observation with a better position.
    """
    spans: list[Span] = []
    running, orders = None, Counter[str]()
    for line in [*lines, diary.DiaryLine("", end, "ended", "")]:
        if line.what == "observe":
            orders[line.value] += 1
        elif line.what == "ended":
            orders[line.value] -= 1
            if running is None or line.value not in ("", running.value) or orders[line.value] > 0:
                continue
        else:
            continue
        if running is not None:
            spans.append(Span(running.time, line.time, running.value))
        running = line if line.what == "observe" else None
    return tuple(spans)


def median(values: list[float]) -> float | None:
    """Return the median; None of nothing."""
    return statistics.median(values) if values else None


def newest_night(site: Site, now: float) -> str:
    """Return the name of the last night that has begun (``now``: Unix seconds)."""
    night = night_log.night_name(site, now)
    day = date.fromisoformat(night)
    afternoon = now - night_log.noon_before(site, day) < DAY / 2
    if afternoon and sun_altitude(site, datetime.fromtimestamp(now, UTC)) >= 0:  # its night is still to come
        return (day - timedelta(days=1)).isoformat()
    return night


def folder_of(config: Config) -> Path:
    """Return the folder of the reports: of several telescopes each has one in that of the whole."""
    return config.data / "nights" / config.unit


def write_report(job: tuple[str, str, str]) -> list[str]:
    """Write a night's report as Markdown and HTML; ``job`` is the configuration's path, the night and a unit.

    Returns the files' paths. Raises ConfigError or OSError. For a worker, or the command line.
    """
    from pyros.nights.render import as_html, as_markdown  # noqa: PLC0415  they import this module

    path, night, unit = job
    config = configuration.load(path).seen_from(unit)
    report, site = gather(config, night), Site.load(config.required("site", "a report"))
    folder = folder_of(config)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for ending, text in (("md", as_markdown(report)), ("html", as_html(report, site))):
        file = folder / f"{night}.{ending}"
        with atomic_write(file, shared=True) as partial:
            partial.write_text(text, encoding="utf-8")
        files.append(str(file))
    return files
