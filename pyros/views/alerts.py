"""Alerts: every packet that came, from the archive: by stream, event, time, words and place."""

from __future__ import annotations

import math
import re
from typing import get_args

import msgspec

from pyros.alerts.alert import Kind, Role
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.errors import AlertError, JournalError
from pyros.views.observed import Observed

_AFTER = re.compile(r"(-?[\d.e+]{1,30}):(\d{1,18})")


class AlertPage(msgspec.Struct, frozen=True):
    """A part of the list, the newest first."""

    alerts: tuple[ArchivedPacket, ...] = ()
    """The lines."""
    after: str | None = None
    """What to ask the next page after; None at the end."""
    problem: str = ""
    """Why there is no list: nothing was archived yet, or the archive cannot be read."""


def alerts(
    observed: Observed, after: str = "", limit: int = 50, event: str = "", stream: str = "", role: str = "",
    kind: str = "", words: str = "", since: float | None = None, until: float | None = None,
    ra: float | None = None, dec: float | None = None, radius: float | None = None,
) -> AlertPage:  # fmt: skip
    """Return the newest packets that fit, or those that follow ``after`` in the list.

    ``since`` and ``until`` are Unix seconds at which they came; ``ra``, ``dec`` and ``radius`` (ICRS degrees) a cone;
    ``words`` are all in the packet, where ``burst*`` is a beginning. Raises ValueError for what makes no sense.
    """
    from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

    for name, given, known in (("role", role, get_args(Role)), ("kind", kind, get_args(Kind))):
        if given and given not in known:
            raise ValueError(f"{name}: {given[:40]!r} is none of {', '.join(known)}")
    query = Query(
        event=event, streams=(stream,) if stream else (), roles=(role,) if role else (), kinds=(kind,) if kind else (),
        since=since, until=until, before=_place(after), words=words, cone=_cone(ra, dec, radius), last=limit + 1,
    )  # fmt: skip
    try:
        reader = ArchiveReader(observed.config.alert_archive)
        try:
            found = list(reader.find(query))[::-1]
        finally:
            reader.close()
    except AlertError as error:
        raise ValueError(f"words: {error}") from None
    except JournalError as error:
        return AlertPage(problem=str(error))
    shown = tuple(found[:limit])
    return AlertPage(shown, f"{shown[-1].received!r}:{shown[-1].number}" if len(found) > limit else None)


def packet_bytes(observed: Observed, identity: str) -> bytes | None:
    """Return the bytes of a packet as they came, the newest one of that identifier; None where the archive has none.

    Raises JournalError for an archive that is there and cannot be read.
    """
    from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

    if not identity:
        return None
    try:
        reader = ArchiveReader(observed.config.alert_archive)
    except JournalError:  # nothing was archived yet
        return None
    try:
        found = [each.number for each in reader.find(Query(event=identity)) if each.identity == identity]
        return reader.packet(max(found)) if found else None
    finally:
        reader.close()


def _place(after: str) -> tuple[float, int] | None:
    if not after:
        return None
    match = _AFTER.fullmatch(after)
    try:
        received, number = (float(match[1]), int(match[2])) if match else (math.nan, 0)
    except ValueError:
        received = math.nan
    if not math.isfinite(received):
        raise ValueError(f"after: {after[:40]!r} is not what a page of alerts has given")
    return received, number


def _cone(ra: float | None, dec: float | None, radius: float | None) -> tuple[float, float, float] | None:
    if ra is None and dec is None and radius is None:
        return None
    if ra is None or dec is None or radius is None:
        raise ValueError("ra, dec and radius go together, degrees")
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 <= radius <= 180):
        raise ValueError("a cone has a ra of 0 to 360, a dec of -90 to 90 and a radius of 0 to 180 degrees")
    return ra % 360, dec, radius
