"""``pyros images``: the index of all images: find them, and make it anew from the files."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from pyros import config as configuration
from pyros.cli.common import (
    ConfigOption,
    Group,
    JsonOption,
    UnitOption,
    complain,
    err,
    evening,
    load_units,
    out,
    plain_table,
    short,
    show,
    writing,
)
from pyros.errors import PyrosError
from pyros.files import atomic_write
from pyros.printable import instant

ObsCoreFormat = Literal["votable", "csv"]
app = typer.Typer(cls=Group, no_args_is_help=True, help="The index of images: find them, make it anew from the files.")


@app.command()
def find(
    cone: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            "--cone", metavar="RA DEC RADIUS", help="RA DEC RADIUS, ICRS degrees: images of which a part may lie in it."
        ),
    ] = None,
    filter_: Annotated[str, typer.Option("--filter", help="The filter's name.")] = "",
    night: Annotated[str, typer.Option("--night", help="The date of the night's evening: 2026-11-29.")] = "",
    event: Annotated[str, typer.Option("--event", help="The event's name.")] = "",
    observation: Annotated[str, typer.Option("--observation", help="The observation's id.")] = "",
    target: Annotated[str, typer.Option("--object", help="The target's name (OBJECT).")] = "",
    kind: Annotated[str, typer.Option("--type", help="LIGHT, BIAS, DARK or FLAT.")] = "",
    since: Annotated[datetime | None, typer.Option(help="Exposed at or after this (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Exposed before this (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many at most.")] = 50,
    after: Annotated[str, typer.Option(metavar="WORD", help="The next page: the word that the last one gave.")] = "",
    unit: UnitOption = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find images, the newest first: all conditions that are given must hold.

    Examples:
      pyros images find --cone 83.633 22.0145 0.5 --filter r
      pyros images find --night 2026-11-29 --json
      pyros images find --event "GRB 260320A"
    """
    from pyros.imagery.index import ImageQuery, find_images  # noqa: PLC0415  astropy takes a moment

    loaded = load_units(config, unit)
    query = ImageQuery(
        telescope=loaded.telescope_name if unit else "",
        cone=cone, filter=filter_, night=_night(night), event=event, observation=observation, object=target,
        type=kind.upper(), since=_unix(since), until=_unix(until), limit=limit, after=after,
    )  # fmt: skip
    try:
        page = find_images(loaded, query)
    except ValueError as error:
        raise PyrosError(str(error)) from None
    if json:
        for image in page.images:
            out.print(msgspec.json.encode({"number": image.number} | msgspec.structs.asdict(image.record)).decode())
    else:
        table = plain_table("exposed (UTC)", "object", "filter", "s", "ra", "dec", "fwhm", "file")
        for image in page.images:
            it = image.record
            place = ("", "") if it.ra is None or it.dec is None else (f"{it.ra:.5f}", f"{it.dec:+.5f}")
            fwhm = "" if it.fwhm is None else f"{it.fwhm:.1f}"
            seconds = "" if it.seconds is None else f"{it.seconds:g}"
            table.add_row(instant(it.started), it.object, it.filter, seconds, *place, fwhm, short(Path(it.path)))
        show(table) if page.images else out.print("no such images")
    if page.next:
        err.print(f"more: --after {page.next}")


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="By default the standard output.")
    ] = None,
    format_: Annotated[ObsCoreFormat, typer.Option("--format", help="VOTable or CSV.")] = "votable",
    base: Annotated[
        str,
        typer.Option("--base", metavar="URL", help="The URL before an image's number, where it is downloaded."),
    ] = "",
    night: Annotated[str, typer.Option("--night", help="The date of the night's evening: 2026-11-29.")] = "",
    since: Annotated[datetime | None, typer.Option(help="Exposed at or after this (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Exposed before this (UTC).")] = None,
    config: ConfigOption = None,
) -> None:
    """Write the images of the sky as an ObsCore table: VOTable or CSV, the newest first.

    Images are downloaded from the console: where others reach it, --base says.

    Examples:
      pyros images export -o obscore.xml
      pyros images export --format csv --night 2026-11-29
      pyros images export --base https://observatory.example/sia2/images/
    """
    from pyros.imagery.index import ImageIndexReader, ImageQuery, index_file  # noqa: PLC0415
    from pyros.imagery.obscore import FORMATS, found  # noqa: PLC0415

    loaded = configuration.load(config)
    if not base:
        if loaded.console is None:
            raise PyrosError(f"{loaded.path}: has no [console] from which images are downloaded; give --base URL")
        base = f"{loaded.console.url}sia2/images/"
    query = ImageQuery(type="LIGHT", night=_night(night), since=_unix(since), until=_unix(until))
    with closing(ImageIndexReader(index_file(loaded))) as reader:
        pieces = FORMATS[format_][1](found(reader, query), base, loaded.name)
        if output is None:
            for piece in pieces:
                sys.stdout.write(piece)
            return
        with (
            writing(output),
            atomic_write(output, shared=True) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            file.writelines(pieces)


@app.command()
def index(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="By default the observatory's images.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Index the FITS files on disk: what is new or has changed is read, what is gone forgotten.

    The analyzer adds each image as it comes; this is for those from before, or
    when the index (images.sqlite in the data folder) was lost. What the
    analyzer has found (FWHM, zero point) stays. The exit code is 1 when some
    file could not be read.

    Examples:
      pyros images index
      pyros images index /archive/2025
    """
    from pyros.imagery.filling import Indexed, index_files  # noqa: PLC0415

    def told(so_far: Indexed) -> None:
        err.print(f"{so_far.new} images ...")

    for folder in folders or []:
        if not folder.is_dir():
            raise PyrosError(f"{folder}: no such folder")
    done = index_files(configuration.load(config), folders, told)
    out.print(f"{done.new} images indexed, {done.known} known, {done.gone} gone")
    for problem in done.problems:
        complain(problem)
    raise typer.Exit(1 if done.problems else 0)


def _night(text: str) -> str:
    """Return a night's date as the index has it; '' for none. Raises PyrosError."""
    return evening(text).isoformat() if text else ""


def _unix(when: datetime | None) -> float | None:
    return None if when is None else when.replace(tzinfo=when.tzinfo or UTC).timestamp()
