"""Ledgers, jobs' folders and their progress, for those who look: the command line and the console. Any thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from pyros.config import Config
from pyros.errors import JobError, JournalError
from pyros.jobs.ledger import JobRow, LedgerReader
from pyros.jobs.names import job_folder, jobs_folder, queue_of, queues
from pyros.prepared import prepared


class JobProgress(msgspec.Struct):
    """How far a running job is, as it has said last."""

    percent: Annotated[float, msgspec.Meta(ge=0, le=100)]
    """Of all that is to be done."""
    text: str
    """What it is doing."""
    time: float
    """When it said so, Unix seconds of the computer's clock."""


@contextmanager
def ledgers(config: Config, queue: str = "") -> Iterator[list[LedgerReader]]:
    """Open the ledgers of all queues that have run here, or of one, which must have.

    Raises JobError when there is no queue, ConfigError when there is none of that name, JournalError.
    """
    names = [queue_of(config, queue)] if queue else [section.name for section in queues(config)]
    if not names:
        raise JobError(f"{config.path}: no queue; give one a section, with app = pyros.agents.jobs")
    readers: list[LedgerReader] = []
    try:
        for name in names:
            try:
                readers.append(LedgerReader(name, config.journal(name)))
            except JournalError:
                if queue or config.journal(name).is_file():
                    raise
        yield readers
    finally:
        for reader in readers:
            reader.close()


def folder_of(config: Config, row: JobRow) -> Path:
    """Return the job's folder."""
    return job_folder(jobs_folder(config, row.queue), row.id)


def progress_of(config: Config, row: JobRow) -> JobProgress | None:
    """Return how far a running job is; None when it hasn't said so, or doesn't run."""
    return read_progress(folder_of(config, row)) if row.state == "running" else None


def read_progress(folder: Path) -> JobProgress | None:
    """Return what the job of that folder has said last; None when it hasn't said how far it is."""
    try:
        data = (folder / "progress.json").read_bytes()
        return msgspec.json.decode(data, type=prepared(JobProgress))
    except (OSError, msgspec.DecodeError):
        return None


def log_tail(config: Config, row: JobRow, size: int) -> str:
    """Return the last ``size`` bytes of what a job has printed, from the beginning of a line; '' for nothing."""
    try:
        with (folder_of(config, row) / "log").open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - size))
            data = file.read(size)
    except OSError:
        return ""
    if length > size:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")
