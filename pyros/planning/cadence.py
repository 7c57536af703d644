"""The times of an observation that is made again and again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import msgspec

from pyros.messages import Observation

MAX_OCCURRENCES = 200
"""The most observations that one request becomes in one night."""


class Wanted(Protocol):
    """What is to be observed: the scheduler's state, or what is read of it."""

    requests: dict[str, Observation]
    """By their ids."""
    made: dict[str, list[int]]
    """By the ids of requests with a cadence, the numbers of those of their times that need no observation any more."""
    running: str | None
    """The id of the one that runs."""
    taken: dict[str, int]
    """How many images there are of observations that were interrupted, by their ids."""


def wanted_until(state: Wanted, now: float, end: float) -> Iterator[Observation]:
    """Yield all that may be observed until ``end``, Unix seconds, each with the images that there are of it already.

    Of a request with a cadence these are its times, and the one that runs: it had to begin within its tolerance.
    """
    for request in state.requests.values():
        each_time = [request]
        if request.cadence is not None:
            made = state.made.get(request.id, [])
            begun, _, number = (state.running or "").rpartition("-due")
            running = [_occurrence(request, int(number))] if begun == request.id and number.isdigit() else []
            others = (each for each in occurrences(request, now, end) if each.id != state.running)
            each_time = [*running, *(each for each in others if int(each.id.rpartition("-due")[2]) not in made)]
        for each in each_time:
            taken = state.taken.get(each.id, 0)
            yield msgspec.structs.replace(each, taken=taken) if taken else each


def occurrences(request: Observation, begin: float, end: float) -> list[Observation]:
    """Return the observations that become of a request between two times, Unix seconds: itself without a cadence.

    The one of number k (from 0) is called ``<id>-due<k>``, may begin within the cadence's tolerance of its time and has
    no cadence itself. One that may still begin after ``begin`` counts, and so does the last one whose time reaches into
    the span. At most 200.
    """
    cadence = request.cadence
    if cadence is None:
        return [request]
    first = max(0, math.ceil((begin - cadence.tolerance - cadence.start) / cadence.period))
    last = math.floor((end + cadence.tolerance - cadence.start) / cadence.period)
    if cadence.count is not None:
        last = min(last, cadence.count - 1)
    return [_occurrence(request, number) for number in range(first, min(last, first + MAX_OCCURRENCES - 1) + 1)]


def next_due(request: Observation, when: float) -> float | None:
    """Return when a request with a cadence is due next after ``when``, Unix seconds; None when it is complete."""
    cadence = request.cadence
    if cadence is None:
        return None
    number = max(0, math.ceil((when - cadence.start) / cadence.period))
    if cadence.count is not None and number >= cadence.count:
        return None
    return cadence.start + number * cadence.period


def is_over(request: Observation, now: float) -> bool:
    """Whether nothing of a request can begin any more: by ``expires`` it had to have begun, and so had each repeat."""
    if request.windows and all(window.end <= now for window in request.windows):
        return True
    expires = math.inf if request.expires is None else request.expires
    cadence = request.cadence
    if cadence is None:
        patience = expires - request.requested
        return max((expires, *(moment + patience for moment in request.repeat))) <= now
    last = math.inf if cadence.count is None else cadence.start + (cadence.count - 1) * cadence.period
    return min(last + cadence.tolerance, expires) <= now


def _occurrence(request: Observation, number: int) -> Observation:
    cadence = request.cadence
    assert cadence is not None
    due = cadence.start + number * cadence.period
    return msgspec.structs.replace(
        request,
        id=f"{request.id}-due{number}",
        repeats=request.id,
        cadence=None,
        not_before=max(due - cadence.tolerance, request.not_before or -math.inf),
        expires=min(due + cadence.tolerance, math.inf if request.expires is None else request.expires),
    )
