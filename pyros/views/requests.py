"""Requests: what the scheduler has, how each stands, and when one can be made next."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pyros.errors import PlanningError
from pyros.messages import Observation
from pyros.planning import night_log
from pyros.planning.next_up import NextUp, next_up
from pyros.planning.night_log import NightLine
from pyros.views.events import weight
from pyros.views.observed import Observed
from pyros.views.states import SeenScheduler

_MAX_ENDED = 30


class RequestLine(msgspec.Struct, frozen=True):
    """One request."""

    request: Observation
    """As it was asked for."""
    state: str
    """What the scheduler does about it, in a few words."""


class RequestPage(msgspec.Struct, frozen=True):
    """A part of the list, in order of their ids."""

    requests: tuple[RequestLine, ...] = ()
    """The lines."""
    after: str | None = None
    """What to ask the next page after; None at the end."""
    filters: tuple[str, ...] = ()
    """The filters that there are; () where nobody has said."""
    ended: tuple[NightLine, ...] = ()
    """On the first page, the latest that have ended: observed, failed, withdrawn or expired."""


class RequestDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and when it is up; or what became of one that has ended."""

    key: str
    """Its id."""
    request: Observation | None = None
    """As it was asked for; None for one that has ended."""
    state: str = ""
    """What the scheduler does about it, or how it ended."""
    next_up: NextUp | None = None
    """When it can be made next; None without a site, or for an orbit that cannot be computed."""
    problem: str = ""
    """Why that isn't known."""
    nights: tuple[NightLine, ...] = ()
    """What the plans of each night did with it, the last night first."""


def requests(observed: Observed, after: str = "", limit: int = 50, owner: str = "") -> RequestPage:
    """Return requests in order of their ids, all or one owner's, those after ``after``."""
    state, at = observed.state("scheduler", SeenScheduler), _at_telescopes(observed)
    wanted = sorted(each for each, request in state.requests.items() if each > after and owner in ("", request.owner))
    lines = tuple(RequestLine(state.requests[each], _how_it_stands(state, at, state.requests[each]))
                  for each in wanted[:limit])  # fmt: skip
    known = [each.filters.filters for each in (state, *at.values()) if each.filters is not None]
    filters = tuple(dict.fromkeys(name for each in known for name in each))
    ended: list[NightLine] = []
    for telescope in () if after else observed.telescopes or (observed,):
        with telescope.journal("scheduler") as journal:
            ended += night_log.ended(journal, owner, _MAX_ENDED) if journal is not None else []
    ended = sorted(ended, key=lambda line: (line.night, line.ended or line.planned), reverse=True)[:_MAX_ENDED]
    gone = tuple(line for line in ended if line.request not in state.requests)
    return RequestPage(lines, lines[-1].request.id if len(wanted) > limit and lines else None, filters, gone)


def request(observed: Observed, key: str) -> RequestDetail | None:
    """Return a request, with the next time that it is up (up to a second for one that is up in months); or None.

    One that has ended is found as long as the nights that had it are kept.
    """
    state, at = observed.state("scheduler", SeenScheduler), _at_telescopes(observed)
    found = state.requests.get(key)
    nights: list[NightLine] = []
    for telescope in observed.telescopes or (observed,):
        with telescope.journal("scheduler") as journal:
            nights += night_log.of_observation(journal, key) if journal is not None else []
    nights.sort(key=weight)
    nights.sort(key=lambda line: line.night)
    nights.reverse()
    if found is None:
        return RequestDetail(key=key, state=_how_it_ended(nights[0]), nights=tuple(nights)) if nights else None
    coming, problem = None, "the observatory has no site"
    if observed.site is not None:
        try:
            coming, problem = next_up(found, observed.site, observed.time()), ""
        except PlanningError as error:
            problem = str(error)
    return RequestDetail(
        key=key,
        request=found,
        state=_how_it_stands(state, at, found),
        next_up=coming,
        problem=problem,
        nights=tuple(nights),
    )


def _at_telescopes(observed: Observed) -> dict[str, SeenScheduler]:
    """Return what the scheduler of each of several telescopes has, by its unit."""
    return {each.config.unit: each.state("scheduler", SeenScheduler) for each in observed.telescopes}


def _how_it_stands(state: SeenScheduler, at: dict[str, SeenScheduler], request: Observation) -> str:
    """Return how a request stands, and at which of several telescopes."""
    for unit, own in at.items():
        running = own.running or ""
        if request.id in own.requests or request.id in (running, running.rpartition("-due")[0]):
            return f"{how_it_stands(own, request)} at {unit}"
    return how_it_stands(state, request)


def _how_it_ended(line: NightLine) -> str:
    return f"{line.fate or 'has ended'}{f': {line.fate_reason}' if line.fate_reason else ''}"


class Scheduling(Protocol):
    """What tells how a request stands: the scheduler's state, or what views read of it."""

    running: str | None
    failures: dict[str, int]
    taken: dict[str, int]


def how_it_stands(state: Scheduling, request: Observation) -> str:
    """Return in a few words what the scheduler does about a request."""
    running = state.running or ""
    if request.id in (running, running.rpartition("-due")[0]):
        return "is being observed"
    if failures := state.failures.get(request.id):
        return f"failed {failures} times, is tried again"
    if taken := state.taken.get(request.id, 0):
        return f"{taken} of {sum(each.count for each in request.exposures)} images, goes on"
    return "waits"
