"""``pyros image``: look at FITS files, ours and others', and make master frames."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, Group, complain, job_progress, out, short
from pyros.config import Config
from pyros.errors import ImageError

app = typer.Typer(cls=Group, help="Look at images; make masters.")

DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SUFFIXES = (".fits", ".fit", ".fts", ".fz", ".gz")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A FITS file, plain or in compressed tiles.")],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PNG", help="Where the picture goes; by default beside it.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, max=8192, metavar="PIXELS", help="The picture's longer side, pixels.")
    ] = 800,
    ra: Annotated[
        float | None,
        typer.Option(min=0, max=360, metavar="DEGREES", help="Mark a position: its right ascension, ICRS degrees ..."),
    ] = None,
    dec: Annotated[
        float | None, typer.Option(min=-90, max=90, metavar="DEGREES", help="... and its declination, ICRS degrees.")
    ] = None,
) -> None:
    """Draw an image as a PNG, with a stretch that shows faint and bright stars, and its target marked.

    The target is what the header says (OBJCTRA, OBJCTDEC) unless a position is
    given. Nothing is opened: look at the file with what you like.

    Examples:
      pyros image show var/images/2026-03-20/o-17_233000_001_r.fits
      pyros image show foreign.fits.fz --out look.png --size 1600 --ra 83.633 --dec 22.0145
    """
    from pyros.instruments.fits import read_image  # noqa: PLC0415  astropy takes a moment
    from pyros.instruments.preview import draw_preview, target_pixel  # noqa: PLC0415

    if (ra is None) != (dec is None):
        raise typer.BadParameter("--ra and --dec go together")
    to = to or _beside(file)
    if to.exists() and to.resolve() == file.resolve():
        raise ImageError(f"{to}: the picture would take the image's own place; name another with --out")
    with warnings.catch_warnings():  # astropy has much to say about other people's headers
        warnings.simplefilter("ignore")
        read = read_image(file)
        if ra is None or dec is None:
            ra, dec = _degrees(read.header, "OBJCTRA", 15.0), _degrees(read.header, "OBJCTDEC", 1.0)
        try:
            draw_preview(read, to, ra, dec, size)
        except (OSError, ValueError) as error:  # pillow knows the format by the name
            raise ImageError(f"{to}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
        marked = ra is not None and dec is not None and target_pixel(read.header, ra, dec) is not None
    height, width = read.pixels.shape
    out.print(f"{short(file)}: {width} x {height} pixels{_facts(read.header)}")
    if marked:
        out.print(f"target   {ra:.5f} {dec:+.5f}")
    out.print(f"picture  {short(to)}")


NightOption = Annotated[
    str,
    typer.Option("--night", metavar="DATE", help="The date of a night's evening; by default the last one with images.",
                 show_default=False),
]  # fmt: skip


@app.command()
def masters(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES", help="Bias, dark and flat frames (IMAGETYP).")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="The folder for the masters: what option_masters of the analyzer names."
        ),
    ] = None,
    night: NightOption = "",
    config: ConfigOption = None,
) -> None:
    """Make master frames: medians of bias, dark and flat frames, one for each shape, exposure time and filter.

    Without FILES they are those of a night of the observatory. Masters that the
    folder has already serve where the files have none.

    Examples:
      pyros image masters
      pyros image masters --night 2026-03-20
      pyros image masters var/images/2026-03-20/darks_*.fits --to var/masters
    """
    from pyros.analysis.masters import make_masters  # noqa: PLC0415  astropy takes a moment
    from pyros.analysis.reduction import make_night_masters  # noqa: PLC0415

    if files and to is None:
        raise typer.BadParameter("FILES need --to, the folder where the masters go")
    problems: list[str] = []
    try:
        if files and to is not None:
            written = make_masters(files, to)
        else:
            loaded = configuration.load(config)
            if (folder := _night(loaded, night)) is None:
                return
            written, problems = make_night_masters(folder, to or _masters_folder(loaded))
            if not written:
                out.print(f"{short(folder)} has neither biases nor darks nor flats")
    except OSError as error:
        raise ImageError(f"{error.filename or to}: cannot be written: {error.strerror}") from None
    for each in written:
        out.print(f"master   {short(each)}")
    for problem in problems:
        complain(problem)


@app.command()
def reduce(
    night: NightOption = "",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="The folder for the reduced images; by default reduced/NIGHT in the data folder.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Reduce a night's images: bias and dark taken off, divided by the flat, as far as there are masters.

    The header says what was done, and by which masters. What is reduced already,
    and by the newest masters, is left alone.

    Examples:
      pyros image reduce
      pyros image reduce --night 2026-03-20 --to /archive/2026-03-20
    """
    from pyros.analysis.reduction import reduce_night  # noqa: PLC0415  astropy takes a moment

    loaded = configuration.load(config)
    if (folder := _night(loaded, night)) is None:
        return
    target = to or loaded.data / "reduced" / folder.name
    try:
        written, problems = reduce_night(folder, _masters_folder(loaded), target, job_progress)
    except OSError as error:
        raise ImageError(f"{error.filename or target}: cannot be written: {error.strerror}") from None
    for problem in problems:
        complain(problem)
    out.print(f"{len(written)} images of {folder.name} reduced into {short(target)}")


def _night(config: Config, night: str) -> Path | None:
    """Return the folder of a night's images; raises ImageError when that night has none.

    None, which is said, where no night is named and none has any yet: a job that does it every day has not failed.
    """
    root = config.images
    if not night:
        nights = sorted(folder.name for folder in root.glob("*") if folder.is_dir() and DATE.fullmatch(folder.name))
        if not nights:
            out.print(f"{short(root)} has no night's images yet")
            return None
        return root / nights[-1]
    if not DATE.fullmatch(night):
        raise ImageError(f"{night!r} is no date; give one like 2026-11-29")
    if not (root / night).is_dir():
        raise ImageError(f"{root / night}: there is no such folder: that night has no images")
    return root / night


def _masters_folder(config: Config) -> Path:
    """Return the folder of the master frames, as the analyzer has it."""
    analyzer = config.agents.get("analyzer")
    named = analyzer.options.get("masters", "") if analyzer is not None else ""
    return config.path.parent / named if named else config.data / "masters"


def _beside(file: Path) -> Path:
    """Return the picture's path: the file's, with .png in place of the endings of FITS."""
    while file.suffix.lower() in _SUFFIXES:
        file = file.with_suffix("")
    return file.with_name(f"{file.name}.png")


def _facts(header: Any) -> str:
    values = [header.get(keyword) for keyword in ("OBJECT", "FILTER", "EXPTIME", "DATE-OBS")]
    words = [f"{value:g} s" if isinstance(value, float | int) else str(value).strip() for value in values if value]
    return "".join(f", {word}" for word in words if word)


def _degrees(header: Any, keyword: str, unit: float) -> float | None:
    """Read a coordinate as degrees: a number (ours) or ``12 34 56.7`` (most others'); None for anything else.

    The first of three numbers is in ``unit`` degrees: hours have 15.
    """
    value = header.get(keyword)
    if isinstance(value, int | float):
        return float(value)
    try:
        first, *rest = str(value).replace(":", " ").split()
        sign = -1 if first.startswith("-") else 1
        parts = [abs(float(first)), *map(float, rest)]
    except ValueError:
        return None
    return sign * unit * sum(part / 60**power for power, part in enumerate(parts[:3])) if len(parts) > 1 else None
