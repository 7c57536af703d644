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


class NightDetail(msgspec.Struct, frozen=True, kw_only=True):
    """How a night went."""

    report: NightReport
    """All that is known of it."""
    hours: dict[str, float]
    """What the dark time went to."""
    to_look_at: list[str]
    """What a person should look at."""


def reports(observed: Observed) -> tuple[NightLink, ...]:
    """Return the nights that are kept, the last one first."""
    nights: set[str] = set()
    with observed.journal("majordome") as journal:
        nights = set(diary.nights(journal)) if journal is not None else set()
    folder = folder_of(observed.config)
    written = {path.stem for path in folder.glob("*.html")} if folder.is_dir() else set()
    return tuple(NightLink(night, night in written) for night in sorted(nights | written, reverse=True))


def report(observed: Observed, night: str) -> NightDetail | None:
    """Return how a night went, gathered from the journals (a second for a busy one); None for a night without any.

    Raises ValueError for no date, ConfigError without a site.
    """
    name = date.fromisoformat(night).isoformat()
    if name not in {each.night for each in reports(observed)}:
        return None
    gathered = gather(observed.config, name, observed.time())
    return NightDetail(report=gathered, hours=gathered.hours(), to_look_at=gathered.to_look_at())
