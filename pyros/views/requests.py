"""Requests: what the scheduler has, how each stands, and when one can be made next."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pyros.errors import PlanningError
from pyros.messages import Observation
from pyros.planning import night_log
from pyros.planning.next_up import NextUp, next_up
from pyros.planning.night_log import NightLine
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
    state = observed.state("scheduler", SeenScheduler)
    wanted = sorted(each for each, request in state.requests.items() if each > after and owner in ("", request.owner))
    lines = tuple(RequestLine(state.requests[each], how_it_stands(state, state.requests[each]))
                  for each in wanted[:limit])  # fmt: skip
    filters = state.filters.filters if state.filters is not None else ()
    ended: list[NightLine] = []
    if not after:
        with observed.journal("scheduler") as journal:
            ended = night_log.ended(journal, owner, _MAX_ENDED) if journal is not None else []
    gone = tuple(line for line in ended if line.request not in state.requests)
    return RequestPage(lines, lines[-1].request.id if len(wanted) > limit and lines else None, filters, gone)


def request(observed: Observed, key: str) -> RequestDetail | None:
    """Return a request, with the next time that it is up (up to a second for one that is up in months); or None.

    One that has ended is found as long as the nights that had it are kept.
    """
    state = observed.state("scheduler", SeenScheduler)
    found = state.requests.get(key)
    nights: list[NightLine] = []
    with observed.journal("scheduler") as journal:
        nights = night_log.of_observation(journal, key) if journal is not None else []
    if found is None:
        return RequestDetail(key=key, state=_how_it_ended(nights[0]), nights=tuple(nights)) if nights else None
    coming, problem = None, "the observatory has no site"
    if observed.site is not None:
        try:
            coming, problem = next_up(found, observed.site, observed.time()), ""
        except PlanningError as error:
            problem = str(error)
    return RequestDetail(
        key=key, request=found, state=how_it_stands(state, found), next_up=coming, problem=problem, nights=tuple(nights)
    )


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
