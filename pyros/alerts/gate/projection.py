"""Survey packets read only as far as they are needed: a few fields of an Avro record, never its images.

An Avro record is its fields one after the other, without names or lengths. So the writer's schema is cut after the last
field that is wanted (what follows is not even skipped), and fastavro is given a reader's schema of the wanted ones: it
skips the others in C, without making values of them. Apache Avro 1.11, "Schema Resolution". Framing: an object
container file of one record (ZTF, Fink, ALeRCE), or Confluent's five bytes with a schema that the reader knows already
(Rubin). For one thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from pyros.alerts.formats.avro import MAGIC, checked_schema, number_of_schema, record_of, unpacked
from pyros.errors import AlertError

_HEADER = {
    "type": "record",
    "name": "header",
    "fields": [{"name": "meta", "type": {"type": "map", "values": "bytes"}}],
}
_SYNC_BYTES = 16
_MAX_LONG_BYTES = 10
_MAX_SCHEMAS = 50

Tree = dict[str, "Tree"]
"""Wanted fields, and of each the ones within; none for all of it."""


class _Cut(NamedTuple):
    """How the packets of one schema are read."""

    writer: Any
    reader: Any
    codec: bytes


class Projection:
    """A reader of the wanted fields of packets."""

    def __init__(self, paths: Iterable[str], schema: Any = None) -> None:
        """Take the wanted fields, with dots into records, and the schema of packets that name theirs by a number.

        Raises AlertError where the schema cannot be used, or fastavro isn't installed.
        """
        try:
            import fastavro  # noqa: PLC0415  an extra
        except ImportError:
            raise AlertError("reading Avro: pip install 'pyros-observatory[avro]'") from None
        self._avro: Any = fastavro
        self._tree: Tree = {}
        for path in paths:
            tree = self._tree
            for name in path.split("."):
                tree = tree.setdefault(name, {})
        self._known = self._cut(schema, b"null") if schema is not None else None
        self._headers: dict[bytes, _Cut] = {}

    def read(self, packet: bytes) -> dict[str, Any]:
        """Return the wanted fields of a packet that it has.

        Raises AlertError for what is no such packet; no other exception, whatever the bytes.
        """
        try:
            if self._known is not None and number_of_schema(packet) is not None:
                return self._decode(self._known, record_of(packet))
            if not packet.startswith(MAGIC):
                raise AlertError("neither an Avro container nor a packet of a registry whose schema is given")
            cut, place = self._header(packet)
            place += _SYNC_BYTES
            count, place = _long(packet, place)
            size, place = _long(packet, place)
            if count != 1 or size < 0:
                raise AlertError("an Avro file of none or several records: a packet is one detection")
            return self._decode(cut, packet[place : place + size])
        except AlertError:
            raise
        except Exception as error:  # fastavro raises whatever the damage leads to
            raise AlertError(f"not Avro: {type(error).__name__}: {' '.join(str(error).split())[:150]}") from None

    def _decode(self, cut: _Cut, data: bytes) -> dict[str, Any]:
        plain = io.BytesIO(unpacked(data, cut.codec))
        found: dict[str, Any] = self._avro.schemaless_reader(plain, cut.writer, cut.reader)
        return found

    def _header(self, packet: bytes) -> tuple[_Cut, int]:
        """Return how a container's record is read, and where its header ends; a service's packets share a header."""
        for known, cut in self._headers.items():
            if packet.startswith(known):
                return cut, len(known)
        stream = io.BytesIO(packet[len(MAGIC) :])
        meta = self._avro.schemaless_reader(stream, _HEADER)["meta"]
        end = len(MAGIC) + stream.tell()
        cut = self._cut(msgspec.json.decode(meta["avro.schema"]), meta.get("avro.codec", b"null"))
        if len(self._headers) >= _MAX_SCHEMAS:
            del self._headers[next(iter(self._headers))]
        self._headers[packet[:end]] = cut
        return cut, end

    def _cut(self, schema: Any, codec: bytes) -> _Cut:
        writer = checked_schema(schema)
        if not isinstance(writer, Mapping) or writer.get("type") != "record":
            raise AlertError("the Avro schema is no record")
        fields = writer["fields"]
        last = max((place for place, field in enumerate(fields) if field["name"] in self._tree), default=-1)
        if last < 0:
            raise AlertError("the Avro schema has none of the fields that are wanted")
        prefix = {**writer, "fields": fields[: last + 1]}
        reader = _wanted(prefix, self._tree)
        return _Cut(self._avro.parse_schema(prefix), self._avro.parse_schema(reader), codec)


def _wanted(schema: Any, tree: Tree) -> Any:
    """Return the part of a schema that is wanted."""
    if isinstance(schema, list):
        return [_wanted(each, tree) for each in schema]
    if not tree or not isinstance(schema, Mapping) or schema.get("type") != "record":
        return schema
    fields = [
        {**field, "type": _wanted(field["type"], tree[field["name"]])}
        for field in schema["fields"]
        if field["name"] in tree
    ]
    return {**schema, "fields": fields}


def _long(data: bytes, place: int) -> tuple[int, int]:
    """Read a zigzag long; returns it and where the next value begins."""
    value = shift = 0
    for number in range(place, place + _MAX_LONG_BYTES):
        byte = data[number]
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), number + 1
        shift += 7
    raise AlertError("the Avro block is damaged")
