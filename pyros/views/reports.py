"""Night reports: which nights there are, and how each went."""

from __future__ import annotations

from datetime import date

import msgspec

from pyros.nights import diary
from pyros.nights.report import NightReport, folder_of, gather
from pyros.views.observed import Observed


class NightLink(msgspec.Struct, frozen=True):
    """A night of which something is kept."""

    night: str
    """The date of its evening."""
    written: bool
    """Whether its report was written, as each morning."""
    unit: str = ""
    """Of several telescopes, the unit of the one that it tells of."""


class NightDetail(msgspec.Struct, frozen=True, kw_only=True):
    """How a night went."""

    report: NightReport
    """All that is known of it."""
    hours: dict[str, float]
    """What the dark time went to."""
    to_look_at: list[str]
    """What a person should look at."""


def reports(observed: Observed) -> tuple[NightLink, ...]:
    """Return the nights that are kept, the last one first; of several telescopes those of each."""
    links = [link for each in observed.telescopes or (observed,) for link in _reports(each)]
    return tuple(sorted(links, key=lambda link: link.night, reverse=True))


def _reports(observed: Observed) -> tuple[NightLink, ...]:
    nights: set[str] = set()
    with observed.journal("majordome") as journal:
        nights = set(diary.nights(journal)) if journal is not None else set()
    folder = folder_of(observed.config)
    written = {path.stem for path in folder.glob("*.html")} if folder.is_dir() else set()
    return tuple(NightLink(night, night in written, observed.config.unit) for night in nights | written)


def report(observed: Observed, night: str, unit: str = "") -> NightDetail | None:
    """Return how a night went, gathered from the journals (a second for a busy one); None for a night without any.

    ``unit``: of several telescopes the one that it is told of, as `Observed.telescope` names it. Raises ValueError for
    no date and for a unit without a telescope, ConfigError without a site.
    """
    observed = observed.telescope(unit)
    name = date.fromisoformat(night).isoformat()
    if name not in {each.night for each in _reports(observed)}:
        return None
    gathered = gather(observed.config, name, observed.time())
    return NightDetail(report=gathered, hours=gathered.hours(), to_look_at=gathered.to_look_at())
