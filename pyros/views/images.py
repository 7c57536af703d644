"""Images: which there are, by event, place and time, and what one shows; from the index of images."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from pyros.errors import ImageError, JournalError
from pyros.imagery.index import FoundImage, ImageIndexReader, ImageQuery, index_file
from pyros.imagery.record import ImageRecord
from pyros.views.observed import Observed
from pyros.views.places import part_of_sky


class ImagePage(msgspec.Struct, frozen=True):
    """A part of the list, the newest first."""

    images: tuple[FoundImage, ...] = ()
    """The lines."""
    after: str | None = None
    """What to ask the next page after; None at the end."""
    problem: str = ""
    """Why there is no list: the index was not made yet, or cannot be read."""


class Card(msgspec.Struct, frozen=True):
    """A line of a FITS header."""

    keyword: str
    """Its name."""
    value: str
    """As text."""
    comment: str
    """What it means."""


class ImageDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One image."""

    number: int
    """Its number in the index."""
    image: ImageRecord
    """What the index knows of it."""
    name: str
    """Of its file."""
    there: bool
    """Whether the file is there still."""
    header: tuple[Card, ...] = ()
    """Its FITS header; () where it cannot be read."""
    problem: str = ""
    """Why it cannot be read."""


def images(
    observed: Observed, after: str = "", limit: int = 50, event: str = "", observation: str = "", night: str = "",
    filter: str = "", object: str = "",  # noqa: A002  FITS' own words
    ra: float | None = None, dec: float | None = None, radius: float | None = None,
    sky_map: str = "", share: float | None = None, moc: str = "", unit: str = "",
) -> ImagePage:  # fmt: skip
    """Return the newest images that fit, or those that follow ``after`` in the list.

    ``ra`` to ``moc`` are a part of the sky, as `part_of_sky` has it, in which some part of an image may lie; ``unit``
    is that of one of several telescopes. Raises ValueError for a place, unit, or word of a page, that makes no sense.
    """
    telescope = observed.telescope(unit).config.telescope_name if unit else ""
    sky = part_of_sky(observed, ra, dec, radius, sky_map, share, moc)
    query = ImageQuery(event=event, observation=observation, night=night, filter=filter, object=object,
                       telescope=telescope,
                       cone=sky.cone, region=sky.region, limit=limit, after=after)  # fmt: skip
    try:
        with closing(ImageIndexReader(index_file(observed.config))) as reader:
            page = reader.find(query)
    except JournalError as error:
        return ImagePage(problem=str(error))
    return ImagePage(page.images, page.next or None)


def image(observed: Observed, number: int) -> ImageDetail | None:
    """Return one image with its header; None where there is none of that number. It may take 50 ms: a file is read."""
    record = _record(observed, number)
    if record is None:
        return None
    path = Path(record.path)
    header: tuple[Card, ...] = ()
    there, problem = path.is_file(), ""
    try:
        header = _header(path) if there else ()
    except ImageError as error:
        problem = str(error)
    return ImageDetail(
        number=number, image=record, name=path.name, there=there, header=header,
        problem=problem if there else "its file is gone",
    )  # fmt: skip


def file_of(observed: Observed, number: int) -> Path | None:
    """Return the FITS file of an image; None where there is no such image, or its file is gone."""
    record = _record(observed, number)
    path = Path(record.path) if record is not None else None
    return path if path is not None and path.is_file() else None


def is_indexed(observed: Observed, number: int) -> bool:
    """Return whether the index has an image of that number, whatever has become of its file."""
    return _record(observed, number) is not None


def _record(observed: Observed, number: int) -> ImageRecord | None:
    try:
        reader = ImageIndexReader(index_file(observed.config))
    except JournalError:
        return None
    try:
        return reader.get(number)
    finally:
        reader.close()


def _header(path: Path) -> tuple[Card, ...]:
    from pyros.instruments.fits import header_lines  # noqa: PLC0415  astropy takes a moment

    return tuple(Card(*card) for card in header_lines(path))
