"""A copy of what an observatory must not lose: its databases while they are written to, its configuration, its key.

`back_up` writes a folder, `check` says whether one is whole, `restore` puts it in place while the observatory is down;
all are for any thread or process. Images are not in it:
they are large, never change, and are copied by whatever copies files. An archive of alerts in PostgreSQL isn't either:
``pg_dump`` is for that, and the manifest says so.

Each database is copied by SQLite's backup API within one reading transaction (https://sqlite.org/backup.html): it is
what was committed at one instant, and nobody who writes waits. The instants differ from one database to the next: a
message may be in its sender's copy as sent and not yet in its receiver's.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pyros import config as configuration
from pyros.clock import system_time
from pyros.config import NOWHERE, Config
from pyros.errors import JournalError, PyrosError
from pyros.files import atomic_write, read_only_database
from pyros.prepared import prepared

MANIFEST = "manifest.json"
FOLDER = "backups"
"""The folder of the data folder into which each night's backup goes."""
KEPT = 14
"""Each night's backups that are kept."""
_DATA, _FILES = "data", "files"
_NOT_BACKED_UP = (FOLDER, "images", "reduced", "jobs", "celery", "lost+found")
"""Folders of the data folder that have no database that is to be kept."""
_MADE_ANEW = ("images.sqlite",)
"""Databases that can be made of other files: large, and not worth a place."""
_CHUNK = 1 << 20
_NAME = re.compile(r"\d{8}T\d{6}Z")


class BackedUp(msgspec.Struct, frozen=True):
    """One file of a backup."""

    path: str
    """Its path in the backup's folder: ``data/...`` is from the data folder, ``files/...`` another one."""
    origin: str
    """Where it came from."""
    size: int
    """Bytes."""
    sha256: str
    """Of its content, hexadecimal."""


class BackupManifest(msgspec.Struct, frozen=True):
    """A backup's manifest, ``manifest.json``; it is written last."""

    observatory: str
    """The observatory's name."""
    made: float
    """When, Unix seconds."""
    config: str
    """The configuration's file, a path in the backup's folder."""
    files: tuple[BackedUp, ...]
    """Its files."""
    missing: tuple[str, ...] = ()
    """What is not in it and why."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def back_up(config: Config, to: Path, now: float) -> tuple[Path, BackupManifest]:
    """Write a backup into a new folder of ``to``, named by the instant ``now`` (Unix seconds), and return both.

    The folder has another name until it is whole and synced. Nobody but its owner may read it: the observatory's key is
    in it. Raises JournalError naming a database that cannot be copied, and OSError as the disk gives it.
    """
    name = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    folder, partial = to / name, to / f".{name}.partial"
    if folder.exists():
        raise FileExistsError(f"{folder}: there is such a backup already")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    missing: list[str] = []
    if not isinstance(config.alert_archive, Path):
        missing.append("the archive of alerts: it is in a database server, whose own tools back it up (pg_dump)")
    try:
        jobs = [*_databases(config), *_other_files(config)]
        files: list[BackedUp] = []
        for origin, place in jobs:
            target = partial / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if place.endswith(".sqlite"):
                _copy_database(origin, target)
            else:
                shutil.copyfile(origin, target)
            files.append(BackedUp(place, str(origin), target.stat().st_size, _digest(target)))
        [ini] = [place for origin, place in jobs if origin == config.path]
        backup = BackupManifest(config.name, now, ini, tuple(files), tuple(missing))
        with atomic_write(partial / MANIFEST) as file:
            file.write_bytes(msgspec.json.format(msgspec.json.encode(backup)))
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder, backup


def nightly() -> str:
    """Back up the observatory that the environment names, and keep the newest fourteen: a task for a job.

    Returns the backup's folder. Another disk is safer: link ``backups`` in the data folder to one.
    """
    config = configuration.load()
    folder, _ = back_up(config, config.data / FOLDER, system_time())
    keep_newest(config.data / FOLDER, KEPT)
    return str(folder)


def check(folder: Path) -> tuple[BackupManifest, list[str]]:
    """Return a backup's manifest, and what is wrong with its files: missing, changed, or a broken database.

    Raises PyrosError when it has no manifest that can be read: then it isn't a backup, or not a whole one.
    """
    try:
        backup = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=prepared(BackupManifest))
    except (OSError, msgspec.DecodeError) as error:
        raise PyrosError(f"{folder}: is no whole backup: {MANIFEST} cannot be read: {error}") from None
    problems = []
    for file in backup.files:
        path = folder / file.path
        if not path.resolve().is_relative_to(folder.resolve()):
            problems.append(f"{file.path}: lies outside of the backup")
        elif not path.is_file():
            problems.append(f"{file.path}: is missing")
        elif path.stat().st_size != file.size or _digest(path) != file.sha256:
            problems.append(f"{file.path}: has changed since it was backed up")
    return backup, problems


def restore(config: Config, folder: Path, now: float) -> tuple[Path, list[str]]:
    """Put a backup's databases, and its other files of the data folder, in the place of those that are there.

    Returns the folder to which those were moved, named by the instant ``now`` (Unix seconds), and the files that came
    from elsewhere (configuration, site, rules) and differ from what stands there: they are left to a person.

    Agents find by their peers' numbers that their journals are older, and tell what is lost. Raises PyrosError when the
    backup isn't whole or of another observatory, or an agent runs; OSError as the disk gives it.
    """
    backup, problems = check(folder)
    if problems:
        raise PyrosError(f"{folder}: nothing was restored: {'; '.join(problems)}")
    if backup.observatory != config.name:
        raise PyrosError(f"{folder}: is a backup of {backup.observatory!r}; {config.path} is {config.name!r}")
    replaced = config.data / f"replaced-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    elsewhere = []
    with ExitStack() as stack:
        for lock in sorted((config.data / "journals").glob("*.lock")):
            _take_lock(lock, stack)
        for file in backup.files:
            kind, _, place = file.path.partition("/")
            if kind == _DATA:
                _put_back(folder / file.path, config.data / place, replaced / place)
            elif not Path(file.origin).is_file():
                elsewhere.append(f"{file.origin}: is missing; the backup has it as {folder / file.path}")
            elif _digest(Path(file.origin)) != file.sha256:
                elsewhere.append(f"{file.origin}: differs from the backup's {folder / file.path}")
    return replaced, elsewhere


def _take_lock(path: Path, stack: ExitStack) -> None:
    """Hold an agent's lock until the stack is left. Raises PyrosError while the agent runs."""
    lock = stack.enter_context(path.open("r+"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PyrosError(
            f"{path.stem} is running (process {next(iter(lock.read(128).split()), '?')}): nothing was restored; stop"
            " the observatory first"
        ) from None


def _put_back(source: Path, target: Path, old: Path) -> None:
    """Copy a file into its place, whole or not at all; what stood there, and what SQLite has beside it, is moved."""
    for end in ("-wal", "-shm", ""):
        beside = Path(f"{target}{end}")
        if beside.exists():
            old.parent.mkdir(parents=True, exist_ok=True)
            beside.rename(f"{old}{end}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        shutil.copyfile(source, file)
    target.chmod(0o600)  # the observatory gives its files to its group when it starts


def backups(to: Path) -> list[Path]:
    """Return the folders of the backups in ``to``, the oldest first."""
    return sorted(folder for folder in to.glob("*") if _NAME.fullmatch(folder.name) and (folder / MANIFEST).is_file())


def keep_newest(to: Path, count: int) -> list[Path]:
    """Remove all backups but the newest ``count``; returns the removed ones' folders. Raises OSError."""
    old = backups(to)[:-count] if count else []
    for folder in old:
        gone = folder.with_name(f".{folder.name}.gone")
        folder.rename(gone)  # half of a backup must not look like one
        shutil.rmtree(gone)
    return old


def _databases(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the observatory's SQLite files, each with its place in a backup."""
    for path in sorted(config.data.rglob("*.sqlite")):
        beside = path.relative_to(config.data)
        kept = beside.parts[0] not in _NOT_BACKED_UP and str(beside) not in _MADE_ANEW
        if kept and not any(part.startswith(".") for part in beside.parts):
            yield path, f"{_DATA}/{beside}"
    archive = config.alert_archive
    if isinstance(archive, Path) and archive.is_file() and not archive.is_relative_to(config.data):
        yield archive, f"{_FILES}/{archive.name}"


def _other_files(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the configuration and what it names, and the key."""
    wanted = [config.path, config.site, config.alert_rules, config.targets, *config.simulators, config.key_file]
    wanted += sorted(path for path in config.data.glob("*") if path.suffix in (".yaml", ".csv", ".json"))
    taken: set[str] = set()
    for path in dict.fromkeys(wanted):
        if path == NOWHERE or not path.is_file():
            continue
        inside = path.is_relative_to(config.data)
        place = f"{_DATA}/{path.relative_to(config.data)}" if inside else f"{_FILES}/{path.name}"
        while place in taken:
            place += "_"
        taken.add(place)
        yield path, place


def _copy_database(origin: Path, target: Path) -> None:
    """Copy what is committed now. Raises JournalError naming the file, also when it is damaged."""
    try:
        with (
            closing(sqlite3.connect(read_only_database(origin), uri=True, timeout=30)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL beside it
            [(verdict,)] = copy.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as error:
        raise JournalError(f"{origin}: cannot be backed up: {error}") from None
    if verdict != "ok":
        raise JournalError(f"{origin}: is damaged: {verdict}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
