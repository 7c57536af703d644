"""What the commands share: ledgers, jobs by the beginning of their identifiers, progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pyros.config import Config
from pyros.errors import JobError, JournalError
from pyros.jobs.ledger import JobRow, LedgerReader
from pyros.jobs.names import job_folder, jobs_folder, queue_of, queues

QueueOption = Annotated[
    str, typer.Option("--queue", "-q", metavar="QUEUE", help="Only this queue, or into this one.", show_default=False)
]
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's identifier, or so much of its beginning as only it has.")
]


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


def find(readers: list[LedgerReader], beginning: str) -> JobRow:
    """Return the job whose identifier begins so; raises JobError when there is none, or more than one."""
    for reader in readers:
        row = reader.job(beginning)
        if row is not None:
            return row
    found = [(reader, id_) for reader in readers for id_ in reader.found(beginning)]
    if not found:
        raise JobError(f"no job {beginning!r}; pyros jobs list shows them")
    if len(found) > 1:
        raise JobError(f"several jobs begin with {beginning!r}: {', '.join(id_ for _, id_ in found[:5])}")
    row = found[0][0].job(found[0][1])
    if row is None:
        raise JobError(f"job {found[0][1]!r} has just been cleaned away")
    return row


def folder_of(config: Config, row: JobRow) -> Path:
    """Return the job's folder."""
    return job_folder(jobs_folder(config, row.queue), row.id)


def progress_of(config: Config, row: JobRow) -> JobProgress | None:
    """Return how far a running job is; None when it hasn't said so, or doesn't run."""
    if row.state != "running":
        return None
    try:
        data = (folder_of(config, row) / "progress.json").read_bytes()
        return msgspec.json.decode(data, type=JobProgress)
    except (OSError, msgspec.DecodeError):
        return None
