"""Tonight's plan: what is planned and what was done, beside the Sun's and the Moon's times and what came between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from pyros.messages import Plan
from pyros.nights import diary
from pyros.nights.diary import DiaryLine
from pyros.nights.report import Span, spans_of, worked
from pyros.nights.times import NightTimes, night_times
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.site import Site
from pyros.views.observed import Observed
from pyros.views.states import Majordome

_DAY = 86_400.0


class Tonight(msgspec.Struct, frozen=True, kw_only=True):
    """The night that is or comes next."""

    now: float
    """The observatory's time, Unix seconds."""
    times: NightTimes | None = None
    """None for an observatory without a site."""
    lines: tuple[NightLine, ...] = ()
    """What the scheduler has planned and done, in order of time; what it does without comes last."""
    working: tuple[Span, ...] = ()
    """When each observation ran."""
    unsafe: tuple[Span, ...] = ()
    """When it was not safe; the last one may go on."""
    states: tuple[Span, ...] = ()
    """The majordome's states."""
    start_now: str | None = None
    """The id of what the plan has begin now."""
    planned_until: float | None = None
    """The end of what is planned, Unix seconds."""


def tonight(observed: Observed, night: str = "") -> Tonight:
    """Return the plan of the night that is or comes next, or of one that is named by its evening's date.

    Raises ValueError for something else than a date.
    """
    now = observed.time()
    site = observed.site
    if site is None:
        return Tonight(now=now)
    night = night or night_name_of(site, now)
    times = night_times(site, night)
    nothing: tuple[list[NightLine], list[DiaryLine]] = [], []
    lines = observed.kept("scheduler", ("lines", night), lambda journal: night_log.read(journal, night), nothing[0])
    said = observed.kept("majordome", ("diary", night), lambda journal: diary.read(journal, night), nothing[1])
    end = max(times.noon, min(now, times.noon + _DAY))
    plan: Plan | None = observed.state("majordome", Majordome).plan
    weather = spans_of([line for line in said if line.what == "weather"], end)
    return Tonight(
        now=now, times=times, lines=tuple(lines), working=worked(said, end),
        unsafe=tuple(span for span in weather if span.what == "unsafe"),
        states=spans_of([line for line in said if line.what == "state"], end),
        start_now=plan.start_now if plan is not None else None, planned_until=plan.end if plan is not None else None,
    )  # fmt: skip


def around_now(lines: Sequence[NightLine], most: int, past: int) -> tuple[NightLine, ...]:
    """Return what is observed, what comes next and what is over last, in the night's order.

    Of what is over ``past`` lines, and more where the others leave room.
    """
    over = [line for line in lines if line.fate not in ("", "observing")]
    coming = [line for line in lines if line.fate in ("", "observing")]
    shown = {id(line) for line in (*over[-max(past, most - len(coming)) :], *coming)}
    return tuple(line for line in lines if id(line) in shown)[:most]


def nights(observed: Observed) -> tuple[str, ...]:
    """Return the names of the nights whose plans are kept, the oldest first."""
    with observed.journal("scheduler") as journal:
        return tuple(night_log.nights(journal)) if journal is not None else ()
    return ()


def night_name_of(site: Site, now: float) -> str:
    """Return the name of the night that is or comes next at a time (Unix seconds)."""
    name = night_log.night_name(site, now)
    dawn = night_times(site, name).dawn
    if dawn is None or now < dawn:
        return name
    return (date.fromisoformat(name) + timedelta(days=1)).isoformat()
