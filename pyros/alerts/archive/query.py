"""What can be asked of the archive, and what it answers."""

from __future__ import annotations

import msgspec

from pyros.alerts.alert import Alert


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A search of the archive; all that is given must hold. Times are Unix seconds, angles degrees."""

    number: int | None = None
    event: str = ""
    """Any of an event's names, or a packet's identity."""
    streams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    since: float | None = None
    """Received then or later."""
    until: float | None = None
    """Received before."""
    words: str = ""
    cone: tuple[float, float, float] | None = None
    """RA, Dec and radius."""
    last: int | None = None
    """Only that many, the newest."""


class ArchivedPacket(msgspec.Struct, frozen=True):
    """A packet of the archive; ``alert`` is None where it was not understood, ``error`` then says why."""

    number: int
    identity: str
    event: str
    source: str
    received: float
    size: int
    alert: Alert | None
    error: str | None
