"""All of the index as an ObsCore table, for archives of others to take in: VOTable or CSV, written row by row.

The same columns as SIA2's answers (`pyros.imagery.sia2`); no limit, and no more in memory than a page of the index.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from pyros.imagery.index import MAX_LIMIT, FoundImage, ImageIndexReader, ImageQuery
from pyros.imagery.sia2 import COLUMNS, obscore
from pyros.printable import printable

_NO_NUMBER = -1


def found(reader: ImageIndexReader, query: ImageQuery) -> Iterator[FoundImage]:
    """Return all images that fit, the newest first, page by page. Raises JournalError, and ValueError for the query."""
    after = ""
    while True:
        page = reader.find(msgspec.structs.replace(query, limit=MAX_LIMIT, after=after))
        yield from page.images
        if not (after := page.next):
            return


def votable(images: Iterable[FoundImage], base: str, collection: str) -> Iterator[str]:
    """Return a VOTable 1.4 of the images in pieces.

    ``base`` is where an image is downloaded: its number follows. ``collection`` is the observatory's name.
    """
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n<RESOURCE type="results">\n'
        '<INFO name="QUERY_STATUS" value="OK"/>\n<TABLE name="ivoa.obscore">\n'
    )
    for column in COLUMNS:
        yield _field(*column)
    yield "<DATA><TABLEDATA>\n"
    for image in images:
        values = obscore(image, base, collection)
        yield f"<TR>{''.join(f'<TD>{_cell(values[name], kind)}</TD>' for name, kind, *_ in COLUMNS)}</TR>\n"
    yield "</TABLEDATA></DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n"


def table(images: Iterable[FoundImage], base: str, collection: str) -> Iterator[str]:
    """Return the same as CSV (RFC 4180) with a line of the columns' names, in pieces; what isn't known is empty."""
    names = [name for name, *_ in COLUMNS]
    yield _line(names)
    for image in images:
        values = obscore(image, base, collection)
        yield _line([_plain(values[name]) for name in names])


FORMATS: dict[str, tuple[str, Callable[[Iterable[FoundImage], str, str], Iterator[str]]]] = {
    "votable": ("application/x-votable+xml", votable),
    "csv": ("text/csv; charset=utf-8", table),
}
"""By the format's name, its media type and what writes it."""


def _field(name: str, kind: str, unit: str, ucd: str, utype: str) -> str:
    attributes = {"name": name, "ID": name, "datatype": kind, "ucd": ucd}
    attributes |= {"arraysize": "*"} if kind == "char" else {}
    attributes |= {"unit": unit} if unit else {}
    attributes |= {"utype": f"obscore:{utype}"} if utype else {}
    written = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    if kind in ("int", "long"):
        return f'<FIELD {written}><VALUES null="{_NO_NUMBER}"/></FIELD>\n'
    return f"<FIELD {written}/>\n"


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return str(_NO_NUMBER) if kind in ("int", "long") else ""
    return escape(printable(str(value)))


def _plain(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _line(values: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(values)
    return stream.getvalue()
