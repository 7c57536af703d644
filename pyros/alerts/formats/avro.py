"""Avro containers to the same dictionaries as JSON: SCiMMA's igwn.gwalert, ZTF's, ALeRCE's and Fink's alerts.

Apache Avro 1.11, "Object Container Files": magic, a map of metadata with the schema, then blocks of records. The blocks
are taken apart here, not by fastavro, so that a stranger's packet can neither unpack to more memory than there is nor
nest deeper than the stack.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pyros.alerts.formats.snappy import unsnap
from pyros.errors import AlertError

MAGIC = b"Obj\x01"
_IGNORED = frozenset(
    {"logicalType", "default", "aliases", "doc", "__fastavro_parsed", "__named_schemas"}  # fastavro would trust them
)
"""Parts of a type's schema by which nothing is read."""
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""A record with its cut-outs or its sky map; Rubin's have 100 kB, multi-order maps 1 to 2.3 MB."""
_UNPACKERS: dict[bytes, Callable[[], object]] = {
    b"deflate": lambda: zlib.decompressobj(-zlib.MAX_WBITS),
    b"bzip2": bz2.BZ2Decompressor,
    b"xz": lambda: lzma.LZMADecompressor(memlimit=MAX_UNPACKED_BYTES),
}
"""By the name of the codec; each takes at most so many bytes as it is asked for."""
_MAX_NODES = 20_000
"""Types in a schema where each use of a named one counts; Rubin's schema has about 1,000."""
_MAX_DEPTH = 32
_SYNC_BYTES = 16
_FRAME_BYTES = 5
_HEADER = {
    "type": "record",
    "name": "header",
    "fields": [
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": _SYNC_BYTES}},
    ],
}
_BLOCK = {
    "type": "record",
    "name": "block",
    "fields": [{"name": "count", "type": "long"}, {"name": "data", "type": "bytes"}],
}


def read_avro(packet: bytes) -> Any:
    """Return the one record of an Avro container as a dictionary of plain values; bytes stay bytes.

    Raises:
        AlertError: fastavro isn't installed; no container, a damaged one, one with a schema that is recursive or too
            large, of an unknown compression, or not of exactly one record.
    """
    try:
        import fastavro  # noqa: PLC0415  an extra
    except ImportError:
        raise AlertError("an Avro packet: pip install 'pyros-observatory[avro]' to read such") from None
    decode: Any = fastavro.schemaless_reader
    stream = io.BytesIO(packet[len(MAGIC) :])
    try:
        meta = decode(stream, _HEADER)["meta"]
        schema = fastavro.parse_schema(checked_schema(msgspec.json.decode(meta["avro.schema"])))
        block = decode(stream, _BLOCK)
        more = len(packet) - len(MAGIC) - stream.tell() > _SYNC_BYTES
        if block["count"] != 1 or more:
            raise AlertError("an Avro file of none or several records: a packet is one notice")
        data = unpacked(block["data"], meta.get("avro.codec", b"null"))
        stream = io.BytesIO(data)
        record = decode(stream, schema)
        if stream.tell() != len(data):
            raise AlertError("the Avro record is not of the schema that came with it: it has more bytes")
        return record
    except AlertError:
        raise
    except Exception as error:  # fastavro raises whatever the damage leads to
        raise AlertError(f"not Avro: {type(error).__name__}: {' '.join(str(error).split())[:150]}") from None


def number_of_schema(packet: bytes) -> int | None:
    """Return the number that a packet of a registry names its schema by (Rubin's); None for other packets.

    Confluent's wire format: a zero, the number in four bytes, the record.
    """
    framed = len(packet) > _FRAME_BYTES and packet[:1] == b"\0" and any(packet[1:_FRAME_BYTES])
    return int.from_bytes(packet[1:_FRAME_BYTES]) if framed else None


def record_of(packet: bytes) -> bytes:
    """Return the bare record of a packet that has a `number_of_schema`."""
    return packet[_FRAME_BYTES:]


def container(schema: bytes | None, record: bytes) -> bytes:
    """Return an Avro container of a bare record, where the schema that came with it is one (a key of Fink's packets).

    The same record becomes the same container each time. A packet whose key is no schema is returned as it is.
    """
    if not schema or not schema.startswith(b"{") or record.startswith(MAGIC):
        return record
    try:
        written = msgspec.json.decode(schema)
    except msgspec.DecodeError:
        return record
    if not isinstance(written, dict) or written.get("type") != "record" or not isinstance(written.get("fields"), list):
        return record
    mark = hashlib.sha256(schema).digest()[:_SYNC_BYTES]
    meta = b"".join(map(_bytes, (b"avro.schema", schema, b"avro.codec", b"null")))
    return b"".join((MAGIC, _long(2), meta, _long(0), mark, _long(1), _bytes(record), mark))


def _bytes(data: bytes) -> bytes:
    return _long(len(data)) + data


def _long(number: int) -> bytes:
    """Write a long that is not negative, zigzag in groups of seven bits."""
    left, written = number << 1, bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    written.append(left)
    return bytes(written)


def unpacked(data: bytes, codec: bytes) -> bytes:
    """Return what a block holds.

    Raises:
        AlertError: it is damaged, holds more than `MAX_UNPACKED_BYTES`, or is compressed by another means.
    """
    if codec == b"null":
        return data
    name = codec[:20].decode("utf-8", "replace")
    problem = f"the Avro block is damaged, or unpacks to more than {MAX_UNPACKED_BYTES} bytes"
    try:
        if codec == b"snappy":
            return unsnap(data, MAX_UNPACKED_BYTES)
        if codec not in _UNPACKERS:
            raise AlertError(f"Avro compressed by {name!r}; null, deflate, snappy, bzip2 and xz are read")
        unpacker: Any = _UNPACKERS[codec]()
        found: bytes = unpacker.decompress(data, MAX_UNPACKED_BYTES)
    except (ValueError, IndexError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise AlertError(f"{problem} ({name}: {error})") from None
    if not unpacker.eof:
        raise AlertError(problem)
    return found


def checked_schema(schema: Any) -> Any:
    """Return a stranger's schema without its logical types.

    Raises:
        AlertError: it is recursive, nested too deeply or too large, or has an array whose items take no bytes.
    """
    return _Checked().plain(schema, 0)


class _Checked:
    """What was seen of a schema so far."""

    def __init__(self) -> None:
        self._nodes = 0
        self._open: list[str] = []
        self._named: dict[str, Any] = {}

    def plain(self, schema: Any, depth: int) -> Any:
        """Return a copy without logical types; raises AlertError as `checked_schema` does."""
        self._count(depth)
        if isinstance(schema, list):
            return [self.plain(each, depth + 1) for each in schema]
        if isinstance(schema, str):
            self._use(schema, depth)
            return schema
        if not isinstance(schema, Mapping):
            raise AlertError("the Avro schema has what is no type")
        copy = {key: value for key, value in schema.items() if key not in _IGNORED}
        inner = {"array": "items", "map": "values"}.get(str(schema.get("type")))
        if inner:
            copy[inner] = self.plain(schema.get(inner), depth + 1)
            if inner == "items" and self._is_free(copy[inner], depth):
                raise AlertError("the Avro schema has an array whose items take no bytes")
        elif "fields" in schema:
            self._record(copy, depth)
        elif isinstance(schema.get("type"), dict | list):
            copy["type"] = self.plain(schema["type"], depth + 1)
        self._remember(copy)
        return copy

    def _record(self, copy: dict[str, Any], depth: int) -> None:
        self._open += self._names(copy)
        copy["fields"] = [
            {"name": field["name"], "type": self.plain(field["type"], depth + 1)} for field in copy["fields"]
        ]
        del self._open[len(self._open) - len(self._names(copy)) :]

    def _names(self, named: Mapping[str, Any]) -> list[str]:
        """Return what a type may be called by: with its namespace and without."""
        name = str(named.get("name", ""))
        return [name, name.rpartition(".")[2]]

    def _remember(self, copy: dict[str, Any]) -> None:
        if "name" in copy:
            self._named.update(dict.fromkeys(self._names(copy), copy))

    def _use(self, name: str, depth: int) -> None:
        """Count what stands behind a name, each time anew: names used twice in names used twice double each time."""
        short = name.rpartition(".")[2]
        if short in self._open:
            raise AlertError(f"the Avro schema is recursive: {name[:100]!r} within itself")
        if short in self._named:
            self._walk(self._named[short], depth + 1)

    def _walk(self, schema: Any, depth: int) -> None:
        self._count(depth)
        if isinstance(schema, list):
            for each in schema:
                self._walk(each, depth + 1)
        elif isinstance(schema, str):
            self._use(schema, depth)
        else:
            parts = [field["type"] for field in schema.get("fields", ())]
            for part in (*parts, schema.get("items", ""), schema.get("values", "")):
                self._walk(part, depth + 1)

    def _is_free(self, schema: Any, depth: int) -> bool:
        """Tell whether a value of the type takes no bytes: an array of a billion such fits into a packet of 100."""
        self._count(depth)
        if isinstance(schema, str):
            named = self._named.get(schema.rpartition(".")[2])
            return schema == "null" or (named is not None and self._is_free(named, depth + 1))
        if isinstance(schema, list):
            return not schema
        kind = schema.get("type")
        if "fields" in schema:
            return all(self._is_free(field["type"], depth + 1) for field in schema["fields"])
        if kind == "fixed":
            return not isinstance(schema.get("size"), int) or schema["size"] < 1
        return kind not in {"enum", "array", "map"} and self._is_free(kind, depth + 1)

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise AlertError(f"the Avro schema has more than {_MAX_NODES} types, or is nested over {_MAX_DEPTH} deep")
