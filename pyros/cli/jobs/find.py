"""What the commands share: options, and jobs by the beginning of their identifiers."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros.errors import JobError
from pyros.jobs.ledger import JobRow, LedgerReader

QueueOption = Annotated[
    str, typer.Option("--queue", "-q", metavar="QUEUE", help="Only this queue, or into this one.", show_default=False)
]
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's identifier, or so much of its beginning as only it has.")
]


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
