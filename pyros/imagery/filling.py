"""How images get into the index: each as it has been analysed, and all again from the files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from pyros.config import NOWHERE, Config
from pyros.errors import ImageError
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.reading import read_record
from pyros.imagery.record import ImageRecord
from pyros.messages import ImageAnalysed
from pyros.site import Site

SUFFIXES = (".fits", ".fits.fz", ".fit", ".fts")
_GROUP = 500


class IndexJob(msgspec.Struct, frozen=True):
    """An image that is to be in the index."""

    report: ImageAnalysed
    """The image's path, and what was found in it."""
    index: str
    """The index's file."""
    site: str = ""
    """The site's file; '' for none."""


class Indexed(msgspec.Struct):
    """What came of going through the files."""

    new: int = 0
    """Images that were added or read again."""
    known: int = 0
    """Images that have not changed."""
    gone: int = 0
    """Images whose file is not there any more."""
    problems: list[str] = []
    """Files that could not be read, and why."""


def index_image(job: IndexJob) -> None:
    """Put an image into the index: a job for a worker. Raises ImageError or JournalError."""
    site = Site.load(Path(job.site)) if job.site else None
    record = read_record(Path(job.report.path), site, job.report)
    with closing(ImageIndex(Path(job.index))) as index:
        index.add([record])


def index_files(
    config: Config, folders: list[Path] | None = None, told: Callable[[Indexed], None] = lambda _so_far: None
) -> Indexed:
    """Go through the FITS files of the image folder, or of others, and index what is new or has changed.

    What the analyzer has found stays. ``told`` is called after each group. Raises JournalError.
    """
    site = Site.load(config.site) if config.site != NOWHERE else None
    home, done = config.images, Indexed()
    with closing(ImageIndex(index_file(config))) as index:
        known, seen, group = index.known(), set[str](), list[ImageRecord]()
        for path in _files(folders or [home]):
            seen.add(str(path))
            there = path.stat()
            if known.get(str(path)) == (there.st_size, there.st_mtime):
                done.known += 1
                continue
            try:
                group.append(read_record(path, site))
            except ImageError as error:
                done.problems.append(str(error))
                continue
            if len(group) >= _GROUP:
                index.add(group)
                done.new += len(group)
                group.clear()
                told(done)
        index.add(group)
        done.new += len(group)
        gone = [path for path in known if path not in seen and not Path(path).exists()]
        index.forget(gone)
        done.gone = len(gone)
    return done


def _files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.absolute().rglob("*")):
            if path.name.lower().endswith(SUFFIXES) and path.is_file():
                yield path
