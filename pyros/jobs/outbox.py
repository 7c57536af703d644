"""What jobs leave for people: the files in the folder ``outbox`` of their working folder.

The folder is the job's, which may be another user's: nothing that it has put there is followed out of it.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from pyros.config import Config
from pyros.jobs.names import job_folder, jobs_folder

FOLDER = "outbox"
MAX_FILES = 1000
_NAME = re.compile(r"[A-Za-z0-9_+=@,-][A-Za-z0-9_.+=@,-]{0,199}", re.ASCII)


def outputs(config: Config, queue: str, id_: str) -> list[tuple[str, int]]:
    """Return a job's outputs, their names and sizes (bytes), by name; at most a thousand. Other kinds don't count."""
    folder = _folder(config, queue, id_)
    try:
        if folder.is_symlink() or folder.parent.is_symlink():
            return []
        with os.scandir(folder) as entries:
            files = [each for each in entries if _NAME.fullmatch(each.name) and each.is_file(follow_symlinks=False)]
        return sorted((each.name, each.stat(follow_symlinks=False).st_size) for each in files)[:MAX_FILES]
    except OSError:
        return []


def open_output(config: Config, queue: str, id_: str, name: str) -> BinaryIO:
    """Open an output for reading. Raises FileNotFoundError for everything that isn't one, links and pipes too."""
    missing = FileNotFoundError(f"job {id_} has left no file {name!r}")
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(queue) and re.fullmatch(r"[A-Za-z0-9][\w.:@+-]{0,119}", id_)):
        raise missing
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        work = os.open(_folder(config, queue, id_).parent, flags | os.O_DIRECTORY)
        try:
            outbox = os.open(FOLDER, flags | os.O_DIRECTORY, dir_fd=work)
        finally:
            os.close(work)
        try:
            descriptor = os.open(name, flags, dir_fd=outbox)
        finally:
            os.close(outbox)
    except OSError:
        raise missing from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    return os.fdopen(descriptor, "rb")


def _folder(config: Config, queue: str, id_: str) -> Path:
    return job_folder(jobs_folder(config, queue), id_) / "work" / FOLDER
