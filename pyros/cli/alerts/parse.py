"""``pyros alerts parse``: what PYROS understands of a packet; needs no archive and no configuration."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pyros.alerts import Alert, parse_all
from pyros.alerts.formats.gcn import MAX_BYTES
from pyros.cli.common import JsonOption, complain, out, plain_table, show
from pyros.errors import AlertError

STDIN = "-"


def parse(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Packets, one a file; - reads one from standard input.")
    ],
    topic: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The Kafka topic they came on: for JSON that names no schema, and to know tests by their topic.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what PYROS understands of packets: VOEvents, notices in JSON, Avro and text.

    Touches no archive and needs no configuration. The exit code is 1 when any
    packet could not be understood; the others are shown all the same.

    Examples:
      pyros alerts parse burst.xml
      pyros alerts parse packets/*.xml notices/*.json --json
      curl -s URL | pyros alerts parse -
    """
    failed = False
    places = ("ra", "dec", "error (deg)")
    table = plain_table("file", "event", "role", "kind", "notice", "time (UTC)", *places, right=places)
    for file in files:
        for found in _understood(file, topic):
            failed |= "error" in found
            if as_json:
                out.file.write(json.dumps(found) + "\n")
            elif "error" in found:
                complain(f"{_shown(file)}: {found['error']}")
            else:
                table.add_row(*_row(found))
    if table.row_count:
        show(table)
    if failed:
        raise typer.Exit(1)


def facts(alert: Alert) -> dict[str, Any]:
    """Return what an alert says as a JSON object: times ISO 8601 in UTC, angles degrees, the false-alarm rate Hz."""
    return {
        "stream": alert.stream,
        "id": alert.id,
        "ivorn": alert.ivorn,
        "role": alert.role,
        "kind": alert.kind,
        "event": alert.event,
        "notice_type": alert.notice_type,
        "time": iso(alert.time),
        "ra": alert.ra,
        "dec": alert.dec,
        "error_radius": alert.error_radius,
        "containment": alert.containment,
        "skymap": alert.skymap,
        "importance": alert.importance,
        "far": alert.far,
        "pointing": alert.pointing,
        "known_source": alert.known_source,
        "significant": alert.significant,
        "classification": alert.classification,
        "instruments": list(alert.instruments),
        "group": alert.group,
        "pipeline": alert.pipeline,
        "search": alert.search,
        "measured": alert.measured,
        "names": list(alert.names),
        "related": list(alert.related),
        "citations": [{"ivorn": ivorn, "cite": cite} for ivorn, cite in alert.citations],
    }


def iso(moment: datetime | None) -> str | None:
    """UTC as ISO 8601 with Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


def _understood(file: str, topic: str) -> list[dict[str, Any]]:
    try:
        return [{"file": file, **facts(alert)} for alert in parse_all(_read(file), topic=topic)]
    except AlertError as error:
        return [{"file": file, "error": str(error)}]
    except OSError as error:
        return [{"file": file, "error": f"cannot be read: {error.strerror or error}"}]


def _read(file: str) -> bytes:
    """Read a packet's bytes; of one that is too large only enough for the parser to say so."""
    if file == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with Path(file).open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _row(found: dict[str, Any]) -> list[str]:
    numbers = [
        "" if found[key] is None else f"{found[key]:.{digits}}"
        for key, digits in (("ra", "5f"), ("dec", "5f"), ("error_radius", "4g"))
    ]
    time = (found["time"] or "").replace("T", " ").removesuffix("Z")[:22]
    return [_shown(found["file"]), found["event"], found["role"], found["kind"], found["notice_type"], time, *numbers]


def _shown(file: str) -> str:
    """Return a file's name so that it can be printed, whatever bytes it has."""
    return file.encode("utf-8", "replace").decode()
