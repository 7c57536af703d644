"""``pyros alerts galaxies``: a catalogue of galaxies made into an indexed file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from pyros.alerts.skymaps.galaxies import Galaxy, read_galaxies, write_catalogue
from pyros.cli.common import err, out, writing

_TELL_EVERY = 10_000


def galaxies(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="GLADE+.txt, NED-LVS or others as CSV with a header.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The indexed file to write.")] = Path("galaxies.npy"),
) -> None:
    """Make an indexed file of galaxies, for `pyros alerts skymap --galaxies`.

    A CSV file has columns ra and dec (degrees), distance (Mpc), and perhaps
    name and mass. Rows without a place or a distance are left out.

    Examples:
      pyros alerts galaxies GLADE+.txt
      pyros alerts galaxies NEDLVS.csv own.csv --to observatory/galaxies.npy
    """
    with writing(to), Progress(console=err, transient=True) as progress:
        task = progress.add_task("galaxies", total=None)
        count = write_catalogue(_counted(chain.from_iterable(map(read_galaxies, files)), progress, task), to)
    out.print(f"{count} galaxies in {to}")


def _counted(found: Iterator[Galaxy], progress: Progress, task: TaskID) -> Iterator[Galaxy]:
    for number, galaxy in enumerate(found, 1):
        if number % _TELL_EVERY == 0:
            progress.update(task, completed=number, description=f"{number} galaxies")
        yield galaxy
