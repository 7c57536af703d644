"""Observations: what the plans of all nights did with each request, and what became of it."""

from __future__ import annotations

import msgspec

from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views.events import weight
from pyros.views.observed import Observed


class ObservationPage(msgspec.Struct, frozen=True):
    """A part of the list, the last night first."""

    observations: tuple[NightLine, ...] = ()
    """The lines."""
    after: str | None = None
    """What to ask the next page after; None at the end."""


def observations(observed: Observed, after: str = "", limit: int = 50) -> ObservationPage:
    """Return what was planned and done, or what follows ``after`` in the list. Raises ValueError for another text.

    Of several telescopes what all of them did; of one observation in one night what the one did that did most.
    """
    night, _, observation = after.partition(" ")
    if after and not observation:
        raise ValueError("after: not what a page of observations has given")
    found: dict[tuple[str, str], NightLine] = {}
    for telescope in observed.telescopes or (observed,):
        with telescope.journal("scheduler") as journal:
            if journal is not None:
                for line in night_log.page(journal, (night, observation) if after else None, limit):
                    key = line.night, line.observation
                    found[key] = max(found.get(key, line), line, key=weight)
    lines = [found[key] for key in sorted(found, reverse=True)[:limit]]
    last = lines[-1] if lines and len(lines) == limit else None
    return ObservationPage(tuple(lines), f"{last.night} {last.observation}" if last is not None else None)
