"""``pyros request import``: a file of requests, ours or another program's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.progress import track

from pyros import config as configuration
from pyros.cli.common import ConfigOption, err, out, user_name
from pyros.cli.request.common import CheckOption, RequestDesk, SimbadOption, TimeoutOption
from pyros.planning.intake.draft import Drafts
from pyros.planning.intake.ekos import read_ekos
from pyros.planning.intake.pocs import looks_like_pocs, read_pocs
from pyros.planning.intake.request_file import load_requests_yaml, read_requests_csv, read_requests_yaml


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML, CSV, POCS's fields, or an Ekos schedule (.esl).")],
    filter_: Annotated[
        str, typer.Option("--filter", metavar="NAME", help="The filter of entries of POCS and Ekos that name none.")
    ] = "",
    timezone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The time zone of an Ekos schedule's times, such as Europe/Paris."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="The owner of requests that name none; you by default.")
    ] = None,
    simbad: SimbadOption = False,
    check: CheckOption = False,
    timeout: TimeoutOption = 10.0,
    config: ConfigOption = None,
) -> None:
    """Take all requests of a file, or none: every mistake in it is told, with its line and key.

    Which kind of file it is, is seen by its ending and by what is in it. The
    sequences (.esq) of an Ekos schedule are looked for where it says, and beside it.

    Examples:
      pyros request import requests.yaml
      pyros request import fields/simple.yaml --filter clear --check
      pyros request import night.esl --timezone Europe/Paris
    """
    drafts = read_file(file, filter_, timezone)
    desk = RequestDesk(configuration.load(config), timeout, simbad)
    requests = desk.review(drafts, owner or user_name())
    shown = track(requests, "looking at the sky", console=err, transient=True, disable=not err.is_terminal)
    coming = [(request, desk.coming(request)) for request in shown]
    if not check:
        shown = track(requests, "sending", console=err, transient=True, disable=not err.is_terminal)
        desk.send(shown)
    for request, each in coming:
        desk.tell(request, each)
    for note in dict.fromkeys(note for draft in drafts.drafts for note in draft.notes):
        out.print(f"note: {note}")
    out.print(f"{len(requests)} requests " + ("are right; nothing was sent" if check else "are with the scheduler"))


def read_file(file: Path, filter_name: str = "", timezone: str | None = None) -> Drafts:
    """Read a file of whatever kind; an unknown time zone, or an option that it has no use for, is wrong usage."""
    kind = file.suffix.lower()
    if kind in (".esl", ".xml"):
        try:
            zone = ZoneInfo(timezone) if timezone is not None else None
        except (ZoneInfoNotFoundError, ValueError):
            raise typer.BadParameter(f"--timezone: {timezone!r} is not a time zone, like Europe/Paris") from None
        return read_ekos(file, zone, filter_name)
    if timezone is not None:
        raise typer.BadParameter(
            f"--timezone: only an Ekos schedule (.esl) has local times; {file} has UTC, or 2026-12-01T22:30+01:00"
        )
    if kind != ".csv":
        try:
            document = load_requests_yaml(file)
        except ValueError:
            document = None  # it is told by the reader
        if looks_like_pocs(document):
            return read_pocs(file, filter_name)
    if filter_name:
        raise typer.BadParameter(f"--filter: only entries of POCS and Ekos name none; those of {file} name their own")
    return read_requests_csv(file) if kind == ".csv" else read_requests_yaml(file)
