"""Whether the telescope was told of an alert late: what kept it waiting, of all that the journals know.

Weather, holds, faults, a dome on its way, another observation of as high a priority, and the sky itself are reasons to
wait; what is left of the time is told to a person. Plain Python, for any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pyros.messages import Observation
from pyros.planning import Site
from pyros.planning.phases import reason_not_now

AT_ONCE_SECONDS = 2.0
"""What nothing keeps waiting begins within that."""
_PLANNING_SECONDS = 120.0
"""What had a reason to wait begins within that after the reason has ended: plans are made each minute."""
_MAX_SAMPLES = 60
_SAMPLE_SECONDS = 60.0


def seconds_late(
    site: Site, wanted: Observation | None, decided: float, told: float, kept: Iterable[tuple[float, float]]
) -> float | None:
    """Return how long nothing kept an alert waiting from its decision until the telescope was told; None if in time.

    ``decided``, ``told`` and the times in ``kept``, within which there was a reason to wait, are Unix seconds.
    ``wanted`` is what is asked of the sky, where that is known.
    """
    if told - decided <= AT_ONCE_SECONDS:
        return None
    step = max(_SAMPLE_SECONDS, (told - decided) / _MAX_SAMPLES)
    sky = _kept_by_sky(site, wanted, decided, told, step) if wanted is not None else ()
    free = _uncovered(decided, told, [*kept, *sky])
    margin = AT_ONCE_SECONDS if free == told - decided else _PLANNING_SECONDS + step
    return free if free > margin else None


def _kept_by_sky(
    site: Site, wanted: Observation, begin: float, end: float, step: float
) -> Iterator[tuple[float, float]]:
    """Yield the steps at whose beginning the sky or the request's own times forbade it."""
    while begin < end:
        if reason_not_now(site, wanted, datetime.fromtimestamp(begin, UTC)):
            yield begin, begin + step
        begin += step


def _uncovered(begin: float, end: float, spans: Iterable[tuple[float, float]]) -> float:
    """Return how many seconds of a time lie in none of the spans."""
    free = 0.0
    for start, stop in sorted(spans):
        free += max(0.0, min(start, end) - begin)
        begin = max(begin, stop)
    return free + max(0.0, end - begin)
