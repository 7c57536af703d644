"""The members of a tar file, packed or not, read one after the other; whatever is missing of it is told.

Python's tarfile takes a damaged header, one that is cut, and a file that just ends for the end of the archive. Its own
streams pass over all but the first part of a gzip file that is made of several, and take quadratic time for what packs
well. So packed files are unpacked here, and the headers are looked at before it sees them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError)
"""What reading may raise."""

_PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_START = 512
_MOST_NAME = 1_000_000
"""Bytes of a header with a long name or other attributes: tarfile reads it into memory, and no honest one has more."""
_LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class Member(NamedTuple):
    """A plain file; ``content`` is None where it is larger than was asked for.

    ``done`` tells how far the reading is: bytes of the tar file.
    """

    name: str
    content: bytes | None
    changed: float
    done: int


def is_packed(start: bytes) -> bool:
    """Whether what begins so is a tar file, or was packed with gzip, bzip2 or xz."""
    return start.startswith(tuple(_PACKED)) or start[257:262] == b"ustar"


def is_tar(path: Path) -> bool:
    """Whether that file is one to look for members in."""
    with path.open("rb") as file:
        return is_packed(file.read(_START)) or path.suffix.lower() == ".tar"


def members(path: Path, most: int) -> Iterator[Member]:
    """Iterate over the plain files in a tar file, in its order, with the contents of those of ``most`` bytes at most.

    Raises one of `DAMAGED`, after all that could be read, where it has no end or something is broken.
    """
    try:
        with path.open("rb") as file, unpacked(file) as stream:
            yield from _members(file, stream, most)
    except RecursionError:  # tarfile reads the header after a header within that one
        raise tarfile.ReadError("hundreds of headers for one member") from None


def _members(file: BinaryIO, stream: Any, most: int) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as tar:
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # it would remember every member
            if sum(map(len, tar.pax_headers.values())) > _MOST_NAME:  # meant for all members, and never forgotten
                raise tarfile.ReadError("headers of megabytes")
            if not member.isreg():
                continue
            content = None
            if member.size <= most:
                inside = tar.extractfile(member)
                content = inside.read() if inside else b""
            yield Member(member.name, content, float(member.mtime), file.tell())


@contextmanager
def unpacked(file: BinaryIO) -> Iterator[Any]:
    start = file.read(_START)
    file.seek(0)
    opened = next((opener for magic, opener in _PACKED.items() if start.startswith(magic)), None)
    if opened is None:
        yield file
        return
    with opened(file) as unpacking:
        yield _Parts(unpacking)


class _Parts:
    """Gives what it has, though it may be less than is asked for: where a file is cut, all before that is read."""

    def __init__(self, unpacking: Any) -> None:
        self.read = unpacking.read1


class _Header(tarfile.TarInfo):
    """A member's header, for which nothing else is taken."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> _Header:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that says that it is whole
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends without the mark of its end") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no member's header where there should be one ({error})") from None
        if member.type in _LONG_HEADERS and member.size > _MOST_NAME:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member
