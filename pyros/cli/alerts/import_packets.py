"""``pyros alerts import``: packets of other archives, from tar files, folders and files.

Nothing is ever unpacked to the disk: members are read into memory one after the other, and their names are only shown.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pyros.alerts.formats.gcn import MAX_BYTES
from pyros.cli.alerts.options import ArchiveOption, where
from pyros.cli.alerts.tar import DAMAGED, Member, is_packed, is_tar, members
from pyros.cli.common import ConfigOption, JsonOption, complain, err, out, progress_bar
from pyros.clock import system_time
from pyros.errors import PyrosError

if TYPE_CHECKING:
    from pyros.alerts.archive.archive import Archive, Packet

GROUP = 200
_GROUP_BYTES = 32 * 1024 * 1024


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
    for path in paths:
        if not path.exists():
            raise PyrosError(f"{path}: there is no such file or folder")
    target = _opened(where(archive, config))
    failed = False
    try:
        for path in paths:
            failed |= not _import(target, path, as_json)
    finally:
        target.close()
    if failed:
        raise typer.Exit(1)


def _opened(place: Path | str) -> Archive:
    from pyros.alerts.archive.archive import Archive  # noqa: PLC0415  SQLAlchemy is slow to load

    with _progress() as progress:
        tasks: list[TaskID] = []

        def older(done: int, of: int) -> None:
            if not tasks:
                err.print(f"The archive is of an older format: its {of} packets are brought up to date first, once.")
                tasks.append(progress.add_task("up to date", total=of))
            progress.update(tasks[0], completed=done)

        return Archive(place, older)


def _import(archive: Archive, path: Path, as_json: bool) -> bool:
    """Import one of the paths, with a progress bar where somebody sees it; False when it could not all be read."""
    from pyros.alerts.archive.archive import Packet  # noqa: PLC0415

    counts: Counter[str] = Counter()
    problem = ""
    interrupted = False
    with _progress() as progress:
        task = progress.add_task(_printable(path.name), total=_total(path))
        group: list[Packet] = []

        def store(done: int) -> None:
            stored = archive.store(group, only_alerts=True)
            group.clear()
            counts.update(new=stored.new, known=stored.known, skipped=stored.not_understood)
            progress.update(task, completed=done)

        done = size = 0
        try:
            try:
                for found in packets_in(path):
                    done = found.done
                    if found.content is None or is_packed(found.content):
                        counts.update(skipped=1, packed=found.content is not None)
                        continue
                    source = f"import {_printable(path.name)}: {_printable(found.name)}"
                    group.append(Packet(found.content, source, otherwise=found.changed or system_time()))
                    size += len(found.content)
                    if len(group) >= GROUP or size >= _GROUP_BYTES:
                        store(done)
                        size = 0
            except DAMAGED as error:
                problem = f"{path}: cannot be read to its end: {' '.join(str(error).split()) or type(error).__name__}"
            store(done)
        except KeyboardInterrupt:
            problem, interrupted = f"{path}: interrupted; the same command goes on with the rest", True
    new, known, skipped, packed = (counts[each] for each in ("new", "known", "skipped", "packed"))
    if as_json:
        told = {"new": new, "known": known, "skipped": skipped, "packed": packed}
        out.print(json.dumps({"path": str(path), **told, "problem": problem or None}))
    else:
        inside = f"; {packed} of them are packed: unpack these first" if packed else ""
        out.print(f"{path}: {new} new, {known} known already, {skipped} skipped (no alerts{inside})")
    if problem:
        complain(problem)
    if interrupted:
        raise typer.Abort
    return not problem


def _progress() -> Progress:
    return progress_bar(TextColumn("{task.description}"), BarColumn(40), TaskProgressColumn(), TimeRemainingColumn())


def _total(path: Path) -> int:
    if path.is_dir():
        return sum(1 for _ in _files(path))
    return path.stat().st_size


def packets_in(path: Path) -> Iterator[Member]:
    """Iterate over the packets in a folder, in a tar file or in a single file."""
    if path.is_dir():
        for count, file in enumerate(_files(path), 1):
            yield Member(str(file.relative_to(path)), _read(file), file.stat().st_mtime, count)
    elif is_tar(path):
        yield from members(path, MAX_BYTES)
    else:
        yield Member(path.name, _read(path), path.stat().st_mtime, path.stat().st_size)


def _files(folder: Path) -> Iterator[Path]:
    """Iterate over the plain files of a folder, in order; no link is followed, and nothing that blocks is opened."""
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _read(path: Path) -> bytes | None:
    if path.stat().st_size > MAX_BYTES:
        return None
    return path.read_bytes()


def _printable(name: str) -> str:
    """Return a stranger's file name on one line, without control characters."""
    text = "".join(each if each.isprintable() else "?" for each in name.encode("utf-8", "replace").decode())
    return text if len(text) <= 200 else f"{text[:100]}...{text[-90:]}"
