"""``pyros clean``: old nights' images are removed."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, observatory_clock, out, short
from pyros.errors import PyrosError
from pyros.quantities import DURATIONS, SIZES, quantity


def clean(
    older: Annotated[
        str, typer.Option("--older", metavar="AGE", help="Remove nights older than this: 365 d.", show_default=False)
    ] = "",
    free: Annotated[
        str,
        typer.Option(
            "--free",
            metavar="SIZE",
            help="Remove the oldest until so much of the disk is free: 50 GB.",
            show_default=False,
        ),
    ] = "",
    keep: Annotated[int, typer.Option(min=1, metavar="NIGHTS", help="The newest nights stay in any case.")] = 7,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove the images of old nights, raw and reduced: by their age, and by the space that must be free.

    Whole nights go, the oldest first. Journals, archive, masters, light curves and
    reports stay. Copy what you want to keep to another place before.

    Examples:
      pyros clean --older 365d --dry-run
      pyros clean --older 365d --free 50GB
    """  # fmt: skip
    from pyros.nights.cleaning import clean_nights  # noqa: PLC0415

    if not (older or free):
        raise typer.BadParameter("give --older, --free, or both")
    loaded = configuration.load(config)
    try:
        removed = clean_nights(
            loaded.data, observatory_clock(loaded).now().date(), keep=keep, dry=dry,
            older_days=quantity(DURATIONS, 86_400.0, 1e11)(older) / 86_400.0 if older else None,
            free_bytes=quantity(SIZES, 1.0, 2.0**60)(free) if free else None,
        )  # fmt: skip
    except ValueError as error:
        raise PyrosError(f"--older {older!r} --free {free!r}: {error}; give 365 d, or 50 GB") from None
    except OSError as error:
        raise PyrosError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    for night in removed:
        out.print(
            f"{'would remove' if dry else 'removed'}  {short(night.folder)}  {night.size / 2**20:.1f} MB  {night.why}"
        )
    out.print(f"{len(removed)} folders, {sum(night.size for night in removed) / 2**30:.2f} GB")
