"""Snappy, as Avro's containers have it: https://github.com/google/snappy/blob/main/format_description.txt.

No library of Python's own reads it. A packet is one block, and nearly all of it literal: a sky map is packed already.
"""

from __future__ import annotations

import zlib

_CHECKSUM_BYTES = 4
_SHORT_LITERAL = 60
"""A literal's length stands in its tag, or in so many bytes as the tag has more than this."""


def unsnap(block: bytes, limit: int) -> bytes:
    """Unpack a block, which ends with a checksum of what it holds.

    Raises:
        ValueError: it is damaged, or holds more than ``limit`` bytes.
        IndexError: it ends too early.
    """
    packed, checksum = block[:-_CHECKSUM_BYTES], block[-_CHECKSUM_BYTES:]
    length, at = _length(packed)
    if length > limit:
        raise ValueError(f"it unpacks to {length} bytes")
    found = bytearray()
    while at < len(packed) and len(found) <= length:
        tag, at = packed[at], at + 1
        size = tag >> 2
        if tag & 3 == 0:
            if size >= _SHORT_LITERAL:
                width = size - _SHORT_LITERAL + 1
                size, at = int.from_bytes(packed[at : at + width], "little"), at + width
            found += packed[at : at + size + 1]
            at += size + 1
            continue
        if tag & 3 == 1:
            size, width, high = (size & 7) + 4, 1, tag >> 5 << 8
        else:
            size, width, high = size + 1, 2 if tag & 3 == 2 else 4, 0
        back, at = high | int.from_bytes(packed[at : at + width], "little"), at + width
        if not 0 < back <= len(found):
            raise ValueError("it repeats what is not there")
        piece = found[-back:][:size]
        found += (piece * (size // back + 1))[:size]
    if len(found) != length or zlib.crc32(found).to_bytes(_CHECKSUM_BYTES) != checksum:
        raise ValueError("its checksum is another one")
    return bytes(found)


def _length(packed: bytes) -> tuple[int, int]:
    """Read how many bytes the block holds, and where they begin."""
    length = 0
    for at in range(5):
        length |= (packed[at] & 0x7F) << 7 * at
        if packed[at] < 0x80:
            return length, at + 1
    raise ValueError("its length is no number")
