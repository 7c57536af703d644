"""``pyros alerts import``: packets of other archives, from tar files, folders and files.

Nothing is ever unpacked to the disk: members are read into memory one after the other, and their names are only shown.
"""

from __future__ import annotations

import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pyros.alerts.gcn import MAX_BYTES
from pyros.cli.alerts_options import ArchiveOption, where
from pyros.cli.common import ConfigOption, JsonOption, complain, err, out
from pyros.clock import system_time
from pyros.errors import PyrosError

if TYPE_CHECKING:
    from pyros.alerts.archive import Archive, Packet

GROUP = 200
_GROUP_BYTES = 32 * 1024 * 1024
_MOST_NAME = 1_000_000
"""Bytes of a tar header that holds a long name or other attributes; no honest one has more."""
_LONG_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class Found(NamedTuple):
    """A file or member; ``packet`` is None where it is too large for any alert. ``done`` are bytes of what is read."""

    name: str
    packet: bytes | None
    changed: float
    done: int


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Tar files (also .gz, .bz2, .xz), folders, packets.")
    ],
    archive: ArchiveOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take alerts of other archives into this one; those that are there already are left out.

    What is no alert is skipped and counted. No observation is made of what is
    imported. The observatory may be running. It may be interrupted and
    repeated.

    Examples:
      pyros alerts import voevents-2025.tar.xz
      pyros alerts import old-events/ more.tar.gz
    """
    from pyros.alerts.archive import Archive  # noqa: PLC0415  SQLAlchemy is slow to load

    for path in paths:
        if not path.exists():
            raise PyrosError(f"{path}: there is no such file or folder")
    target = Archive(where(archive, config))
    failed = False
    try:
        for path in paths:
            failed |= not _import(target, path, as_json)
    finally:
        target.close()
    if failed:
        raise typer.Exit(1)


def _import(archive: Archive, path: Path, as_json: bool) -> bool:
    """Import one of the paths, with a progress bar where somebody sees it; False when it could not all be read."""
    from pyros.alerts.archive import Packet  # noqa: PLC0415

    new = known = skipped = 0
    problem = ""
    columns = (TextColumn("{task.description}"), BarColumn(40), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(_printable(path.name), total=_total(path))
        group: list[Packet] = []

        def store(done: int) -> None:
            nonlocal new, known, skipped
            stored = archive.store(group, only_alerts=True)
            group.clear()
            new, known, skipped = new + stored.new, known + stored.known, skipped + stored.not_understood
            progress.update(task, completed=done)

        done = size = 0
        try:
            for found in _found(path):
                done = found.done
                if found.packet is None:
                    skipped += 1
                    continue
                source = f"import {_printable(path.name)}: {_printable(found.name)}"
                group.append(Packet(found.packet, source, otherwise=found.changed or system_time()))
                size += len(found.packet)
                if len(group) >= GROUP or size >= _GROUP_BYTES:
                    store(done)
                    size = 0
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            problem = f"{path}: cannot be read to its end: {' '.join(str(error).split()) or type(error).__name__}"
        store(done)
    if as_json:
        counts = {"new": new, "known": known, "skipped": skipped}
        out.print(json.dumps({"path": str(path), **counts, "problem": problem or None}))
    else:
        out.print(f"{path}: {new} new, {known} known already, {skipped} skipped (no alerts)")
    if problem:
        complain(problem)
    return not problem


def _total(path: Path) -> int:
    if path.is_dir():
        return sum(1 for _ in _files(path))
    return path.stat().st_size


def _found(path: Path) -> Iterator[Found]:
    if path.is_dir():
        for count, file in enumerate(_files(path), 1):
            yield Found(str(file.relative_to(path)), _read(file), file.stat().st_mtime, count)
    elif _is_tar(path):
        yield from _members(path)
    else:
        yield Found(path.name, _read(path), path.stat().st_mtime, path.stat().st_size)


def _files(folder: Path) -> Iterator[Path]:
    """The plain files of a folder, in order; no link is followed, and nothing that would block is opened."""
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(512)
    packed = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
    return start.startswith(packed) or start[257:262] == b"ustar" or path.suffix.lower() == ".tar"


def _read(path: Path) -> bytes | None:
    if path.stat().st_size > MAX_BYTES:
        return None
    return path.read_bytes()


class _Member(tarfile.TarInfo):
    """A member whose headers may not be of any size: tarfile reads them into memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _LONG_HEADERS and member.size > _MOST_NAME:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


def _members(path: Path) -> Iterator[Found]:
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as tar:
        position: Callable[[], int] = file.tell
        for member in tar:
            tar.members.clear()  # type: ignore[attr-defined]  # it would remember every member
            if not member.isreg():
                continue
            if member.size > MAX_BYTES:
                yield Found(member.name, None, 0.0, position())
                continue
            content = tar.extractfile(member)
            yield Found(member.name, content.read() if content else b"", float(member.mtime), position())


def _printable(name: str) -> str:
    """A name of strangers on one line, without control characters."""
    text = "".join(each if each.isprintable() else "?" for each in name.encode("utf-8", "replace").decode())
    return text if len(text) <= 200 else f"{text[:100]}...{text[-90:]}"
