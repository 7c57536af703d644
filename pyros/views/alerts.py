"""Alerts: every packet that came, from the archive: by stream, event, time, words and place."""

from __future__ import annotations

import math
import re
from contextlib import closing
from typing import get_args

import msgspec

from pyros.alerts.alert import Kind, Role
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.errors import AlertError, JournalError
from pyros.views.observed import Observed
from pyros.views.places import part_of_sky

PAGE_SECONDS = 0.4
"""After which a search pauses, and its page has fewer packets than were asked for."""
_AFTER = re.compile(r"(-?[\d.e+]{1,30}):(\d{1,19})")


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
    sky_map: str = "", share: float | None = None, moc: str = "",
) -> AlertPage:  # fmt: skip
    """Return the newest packets that fit, or those that follow ``after`` in the list.

    ``since`` and ``until`` are Unix seconds at which they came; ``ra`` to ``moc`` are the part of the sky, as
    `part_of_sky` has it; ``words`` are all in the packet, where ``burst*`` is a beginning. A page of what is hard to
    find may have fewer than ``limit`` though others follow. Raises ValueError for what makes no sense.
    """
    from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

    for name, given, known in (("role", role, get_args(Role)), ("kind", kind, get_args(Kind))):
        if given and given not in known:
            raise ValueError(f"{name}: {given[:40]!r} is none of {', '.join(known)}")
    sky = part_of_sky(observed, ra, dec, radius, sky_map, share, moc)
    query = Query(
        event=event, streams=(stream,) if stream else (), roles=(role,) if role else (), kinds=(kind,) if kind else (),
        since=since, until=until, before=_place(after), words=words, cone=sky.cone, region=sky.region,
        last=limit,
    )  # fmt: skip
    try:
        with closing(ArchiveReader(observed.config.alert_archive)) as reader:
            page = reader.page(query, PAGE_SECONDS)
    except AlertError as error:
        raise ValueError(f"words: {error}") from None
    except JournalError as error:
        return AlertPage(problem=str(error))
    return AlertPage(page.packets, f"{page.before[0]!r}:{page.before[1]}" if page.before is not None else None)


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
    if not math.isfinite(received) or number >= 1 << 63:
        raise ValueError(f"after: {after[:40]!r} is not what a page of alerts has given")
    return received, number
