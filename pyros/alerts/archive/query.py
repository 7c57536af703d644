"""What can be asked of the archive, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pyros.alerts.alert import Alert

if TYPE_CHECKING:  # numpy
    from pyros.alerts.archive.region import SkyRegion


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A search of the archive; all that is given must hold. Times are Unix seconds, angles degrees."""

    number: int | None = None
    """Number of one packet; None for any."""
    event: str = ""
    """Any of an event's names, or a packet's identity."""
    streams: tuple[str, ...] = ()
    """Streams, of which it is one; () for any."""
    roles: tuple[str, ...] = ()
    """Roles, of which it has one; () for any."""
    kinds: tuple[str, ...] = ()
    """Kinds, of which it is one; () for any."""
    since: float | None = None
    """Received then or later."""
    until: float | None = None
    """Received before."""
    before: tuple[float, int] | None = None
    """Older than a packet, of which these are when it was received and its number: the next page of the newest."""
    words: str = ""
    """Words that the packet has; '' for any."""
    cone: tuple[float, float, float] | None = None
    """RA, Dec and radius."""
    region: SkyRegion | None = None
    """Where it is."""
    last: int | None = None
    """Only that many, the newest."""


class ArchivedPacket(msgspec.Struct, frozen=True):
    """A packet of the archive; ``alert`` is None where it was not understood, ``error`` then says why."""

    number: int
    """Number of the packet in the archive."""
    identity: str
    """The packet's identifier; '' where it was not understood."""
    event: str
    """Name of its event."""
    source: str
    """Where it came from."""
    received: float
    """When it came, Unix seconds."""
    size: int
    """Bytes."""
    alert: Alert | None
    """What it says; None where it was not understood."""
    error: str | None
    """Why it was not understood; None where it was."""


class PacketPage(msgspec.Struct, frozen=True):
    """A part of what a search finds, the newest first."""

    packets: tuple[ArchivedPacket, ...] = ()
    """The packets: fewer than were asked for at the end, or where the search has paused."""
    before: tuple[float, int] | None = None
    """What `Query.before` is of the next page; None at the end."""
