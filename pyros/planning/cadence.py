"""The times of an observation that is made again and again."""

from __future__ import annotations

import math

import msgspec

from pyros.messages import Observation

MAX_OCCURRENCES = 200
"""The most observations that one request becomes in one night."""


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
