"""The one table of a sky map's FITS file, unpacked no further than its header says.

A megabyte of gzip unpacks to a gigabyte of zeros, and an honest flat map is packed nearly as well: it is the headers
that tell them apart, before memory is spent (FITS 4.0, section 4.4.1, has the sizes).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

from pyros.errors import AlertError

MAX_BYTES = 512 * 1024 * 1024
"""Of a table: a flat map of NSIDE 1024 with distances has 400 MB; multi-order ones 1 to 10."""
MAX_CELLS = 1 << 21
"""Of a multi-order map: those of LVK have some 20,000 to 250,000."""
COLUMNS = ("PROBDENSITY", "PROB", "PROBABILITY")
_GZIP = b"\x1f\x8b"
_BLOCK_BYTES = 2880
_MAX_HEADER_BYTES = 400 * _BLOCK_BYTES
_MAX_SKIPPED_BYTES = 64 * 1024 * 1024
"""Before the table: images and tables of something else."""
_MOST_NUMBERED = 999
"""Axes and columns, whose numbers have three digits (FITS 4.0, 4.4.1.1 and 7.3.1)."""
_PIECE_BYTES = 1 << 20
_PACKED_BYTES = 1 << 16
_END = b"END".ljust(80)


def unpacked_table(data: bytes) -> bytes:
    """Return header and data of the file's first table with a column of probabilities; the file may be gzipped.

    Raises:
        AlertError: there is no such table, it is too large, or the file is cut or damaged.
    """
    file, skipped = _File(data), 0
    while (header := _next_header(file)) is not None:
        cards = _cards(header)
        size = _data_bytes(cards)
        names = {str(cards.get(f"TTYPE{number}", "")).upper() for number in range(1, _field_count(cards) + 1)}
        if cards.get("XTENSION") == "BINTABLE" and names & {*COLUMNS}:
            if size > MAX_BYTES:
                raise AlertError(f"the sky map has {size} bytes; at most {MAX_BYTES} are taken")
            if "UNIQ" in names and cards["NAXIS2"] > MAX_CELLS:
                raise AlertError(f"the sky map has {cards['NAXIS2']} cells; at most {MAX_CELLS} are taken")
            table = io.BytesIO()  # whose bytes are had without a copy
            table.write(header)
            if sum(map(table.write, file.pieces(size))) < size:
                raise AlertError("no sky map: the file is cut: its table has less than its header says")
            table.write(bytes(_padded(size) - size))
            sum(map(len, file.pieces(_PIECE_BYTES)))  # what may be left: at its end is the checksum
            return table.getvalue()
        skipped += _padded(size)
        if skipped > _MAX_SKIPPED_BYTES:
            raise AlertError(f"the FITS file has more than {_MAX_SKIPPED_BYTES} bytes before a table of probabilities")
        if sum(map(len, file.pieces(_padded(size)))) < _padded(size):
            break
    raise AlertError(f"no sky map: the FITS file has no table with a column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}")


class _File:
    """The file's bytes, in order, unpacked as they are asked for."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if data.startswith(_GZIP) else None
        self.is_at_start = True
        self._packed: bytes | memoryview = b""

    def read(self, size: int) -> bytes:
        """Return so many bytes or fewer; none at the end."""
        if self._unpacker is None:
            piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
            return piece
        piece = b""
        while not piece and not self._unpacker.eof and (self._packed or self._rest):
            if not self._packed:
                self._packed, self._rest = self._rest[:_PACKED_BYTES], self._rest[_PACKED_BYTES:]
            try:
                piece = self._unpacker.decompress(self._packed, size)
            except zlib.error as error:
                raise AlertError(f"no sky map: its gzip is damaged: {error}") from None
            self._packed = self._unpacker.unconsumed_tail
        if not piece and not self._unpacker.eof:
            raise AlertError("no sky map: its gzip is cut")
        return piece

    def pieces(self, size: int) -> Iterator[bytes]:
        """Return so many bytes in pieces, fewer at the end."""
        while size and (piece := self.read(min(_PIECE_BYTES, size))):
            size -= len(piece)
            yield piece


def _next_header(file: _File) -> bytes | None:
    """Return the next header whole, None at the file's end."""
    header = bytearray()
    while True:
        block = b"".join(file.pieces(_BLOCK_BYTES))
        if len(block) < _BLOCK_BYTES:
            if header or file.is_at_start:
                raise AlertError("no sky map: the file is cut within a header")
            return None
        file.is_at_start = False
        header += block
        if not header.startswith((b"SIMPLE  =", b"XTENSION=")):
            raise AlertError("no sky map: it is not FITS")
        if any(block[at : at + 80] == _END for at in range(0, _BLOCK_BYTES, 80)):
            return bytes(header)
        if len(header) >= _MAX_HEADER_BYTES:
            raise AlertError(f"no sky map: a header of more than {_MAX_HEADER_BYTES} bytes")


def _cards(header: bytes) -> Any:
    from astropy.io import fits  # noqa: PLC0415  slow to load

    return fits.Header.fromstring(header)


def _count(cards: Any, name: str, default: int | None = None) -> int:
    value = cards.get(name, default)
    if type(value) is not int or value < 0:
        raise AlertError(f"no sky map: a header with {name} {str(value)[:30]!r}")
    return value


def _field_count(cards: Any) -> int:
    """Return how many columns a table has; astropy would make any number of them."""
    if (count := _count(cards, "TFIELDS", 0)) > _MOST_NUMBERED:
        raise AlertError(f"no sky map: a header with TFIELDS {count}")
    return count


def _data_bytes(cards: Any) -> int:
    axes = _count(cards, "NAXIS")
    if axes == 0:
        return 0
    if axes > _MOST_NUMBERED:
        raise AlertError(f"no sky map: a header with NAXIS {axes}")
    bits: int = cards.get("BITPIX", 0)
    if bits not in {8, 16, 32, 64, -32, -64}:
        raise AlertError(f"no sky map: a header with BITPIX {str(bits)[:30]!r}")
    size = 1
    for axis in range(1, axes + 1):
        size *= _count(cards, f"NAXIS{axis}")
    return abs(bits) // 8 * _count(cards, "GCOUNT", 1) * (_count(cards, "PCOUNT", 0) + size)


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
