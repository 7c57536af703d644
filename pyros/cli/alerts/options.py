"""What the commands that look into the archive share: where it is, what is looked for, how a packet is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from pyros import config as configuration
from pyros.alerts.alert import Kind, Role
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.alerts.rules.readers import ANGLE
from pyros.cli.alerts.parse import facts, iso
from pyros.cli.common import plain_table, show
from pyros.errors import PyrosError
from pyros.printable import instant

if TYPE_CHECKING:
    from pyros.alerts.archive.search import ArchiveReader


def moment(text: str) -> float:
    """``2026-03-01`` or ``2026-03-01T12:30`` (UTC where it has no zone) as Unix seconds."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date like 2026-03-01 or 2026-03-01T12:30:00Z") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def cone(text: str) -> tuple[float, float, float]:
    """``RA DEC RADIUS`` in degrees, the radius with a unit if wanted, between commas or blanks."""
    words = text.replace(",", " ").split(maxsplit=2)
    try:
        ra, dec, radius = float(words[0]), float(words[1]), float(ANGLE(words[2]))
        if 0 <= ra <= 360 and -90 <= dec <= 90:
            return ra % 360, dec, radius
    except (ValueError, IndexError):
        pass
    raise typer.BadParameter(
        f"{text!r} is no cone like '83.63 22.01 2' or '83.63, 22.01, 5 arcmin' (RA, Dec and radius in degrees)"
    )


ArchiveOption = Annotated[
    str | None,
    typer.Option("--archive", metavar="FILE|URL", help="Another archive than the observatory's.", show_default=False),
]
StreamOption = Annotated[
    list[str] | None, typer.Option("--stream", metavar="NAME", help="Only these streams.", show_default=False)
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--role", metavar="ROLE", help="Only these roles: observation, prediction, utility, test.", show_default=False
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="Only these kinds: initial, update, retraction.", show_default=False),
]
SinceOption = Annotated[
    Any,
    typer.Option("--since", parser=moment, metavar="DATE", help="Received then or later (UTC).", show_default=False),
]
UntilOption = Annotated[
    Any, typer.Option("--until", parser=moment, metavar="DATE", help="Received before (UTC).", show_default=False)
]
ConeOption = Annotated[
    Any,
    typer.Option(
        "--cone",
        parser=cone,
        metavar="'RA DEC RADIUS'",
        help="Only positions within RADIUS of RA DEC, ICRS degrees.",
        show_default=False,
    ),
]


def where(archive: str | None, config: Path | None) -> Path | str:
    """Return the path or URL of the archive: the one named, or that of the configured observatory."""
    if archive is not None:
        return archive if "://" in archive else Path(archive)
    return configuration.load(config).alert_archive


def query(
    stream: list[str] | None, role: list[str] | None, kind: list[str] | None, since: Any, until: Any, **more: Any
) -> Query:
    """Make the archive's query of the options; raises PyrosError for an unknown role or kind."""
    for name, given, allowed in (("--role", role, get_args(Role)), ("--kind", kind, get_args(Kind))):
        for word in given or ():
            if word not in allowed:
                raise PyrosError(f"{name} {word}: must be one of {', '.join(allowed)}")
    return Query(
        streams=tuple(stream or ()), roles=tuple(role or ()), kinds=tuple(kind or ()), since=since, until=until, **more
    )


def reading(archive: str | None, config: Path | None) -> ArchiveReader:
    """Open the archive for reading."""
    from pyros.alerts.archive.search import ArchiveReader  # noqa: PLC0415  SQLAlchemy is slow to load

    return ArchiveReader(where(archive, config))


def as_dict(entry: ArchivedPacket) -> dict[str, Any]:
    """Return a packet of the archive as a JSON object.

    ``event`` is the event that it was joined to, ``key`` what its stream calls that.
    """
    found: dict[str, Any] = {
        "number": entry.number,
        "received": iso(datetime.fromtimestamp(entry.received, UTC)),
        "source": entry.source,
        "size": entry.size,
    }
    if entry.alert is not None:
        found |= {**facts(entry.alert), "event": entry.event, "key": entry.alert.event}
    if entry.error is not None:
        found["error"] = entry.error
    return found


def show_entries(entries: list[ArchivedPacket]) -> None:
    """Print a table of packets."""
    table = plain_table(
        "number", "received (UTC)", "event", "role", "kind", "notice", "ra", "dec", "error (deg)", "source",
        right=("number", "ra", "dec", "error (deg)"),
    )  # fmt: skip
    for entry in entries:
        alert = entry.alert
        row = [str(entry.number), instant(entry.received)]
        if alert is None:
            table.add_row(*row, f"not understood: {entry.error}"[:80], *[""] * 6, entry.source)
            continue
        numbers = [
            "" if value is None else f"{value:.{digits}}"
            for value, digits in ((alert.ra, "4f"), (alert.dec, "4f"), (alert.error_radius, "3g"))
        ]
        table.add_row(*row, entry.event, alert.role, alert.kind, alert.notice_type, *numbers, entry.source)
    show(table)
