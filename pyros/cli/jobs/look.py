"""``pyros jobs list``, ``show``, ``log`` and ``schedule``: they only read, whether the queues' agents run or not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, JsonOption, facts_table, observatory_clock, out, plain_table, short
from pyros.cli.common import show as show_table
from pyros.cli.jobs.find import JobArgument, QueueOption, find
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import JobError, PyrosError
from pyros.jobs.ledger import ENDS, JobRow
from pyros.jobs.outbox import FOLDER, outputs
from pyros.jobs.reading import folder_of, ledgers, progress_of
from pyros.printable import instant, printable

_STATES = ("pending", "running", *ENDS)
_FOLLOW_SECONDS = 0.2
_EVER = 1e9


def list_(
    queue: QueueOption = "",
    state: Annotated[
        str, typer.Option(metavar="STATE", help=f"Only these: {', '.join(_STATES)}.", show_default=False)
    ] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=1, metavar="N", help="How many of each queue.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the newest jobs, the oldest first, with how far those are that run.

    Examples:
      pyros jobs list
      pyros jobs list --state failed --last 100
      pyros jobs list --queue reduce --json
    """
    if state and state not in _STATES:
        raise typer.BadParameter(f"{state!r} is no state: {', '.join(_STATES)}")
    loaded = configuration.load(config)
    with ledgers(loaded, queue) as readers:
        rows = [row for reader in readers for row in reader.jobs(state=state, last=last)]
    rows.sort(key=lambda row: row.asked)
    if as_json:
        for row in rows:
            out.print(json.dumps(_as_dict(loaded, row)))
        return
    if not rows:
        out.print("no jobs")
        return
    table = plain_table("job", "queue", "name", "state", "asked (UTC)", "took", "", right=("took",))
    for row in rows:
        table.add_row(row.id, row.queue, row.name, row.state, instant(row.asked), _took(loaded, row), _now(loaded, row))
    show_table(table)


def show(job: JobArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show all about a job: what was asked for, when, by whom, and how it ended.

    Examples:
      pyros jobs show 3f2a
      pyros jobs show masters-20260320T120000 --json
    """
    loaded = configuration.load(config)
    with ledgers(loaded) as readers:
        row = find(readers, job)
    told = _as_dict(loaded, row)
    left = outputs(loaded, row.queue, row.id)
    if as_json:
        out.print(json.dumps(told | {"outputs": [name for name, _ in left]}))
        return
    table = facts_table()
    for key, value in told.items():
        if value not in (None, "", [], {}):
            text = instant(value) if key in ("due", "expires", "asked", "begun", "ended") else value
            table.add_row(key, text if isinstance(text, str) else json.dumps(text))
    show_table(table)
    for name, size in left:
        out.print(f"output  {name}  {size} bytes  {_link(loaded, row, name)}")
    if row.end is not None and row.end.traceback:
        out.print(f"\n{row.end.traceback.rstrip()}")


def log(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print what a job has printed.

    Examples:
      pyros jobs log 3f2a
      pyros jobs log 3f2a --follow
    """
    loaded = configuration.load(config)
    with ledgers(loaded) as readers:
        row = find(readers, job)
        file = folder_of(loaded, row) / "log"
        if not follow and not file.exists():
            raise JobError(f"job {row.id} has printed nothing: it is {row.state}")
        place, deadline = 0, Deadline(_EVER)
        while True:
            ended = find(readers, row.id).ended is not None or not follow
            place = _print_from(file, place)
            if ended:
                return
            deadline.pause(_FOLLOW_SECONDS)


def schedule(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the scheduled jobs, and when each is due next (UTC of the observatory's clock).

    Examples:
      pyros jobs schedule
      pyros jobs schedule --json
    """
    loaded = configuration.load(config)
    now = observatory_clock(loaded).time()
    table = plain_table("job", "queue", "every", "next (UTC)", "if missed", "what")
    for job in loaded.jobs:
        due, what = job.every.next_after(now), job.task or " ".join(job.command)
        if as_json:
            out.print(json.dumps({
                "name": job.name, "queue": job.queue, "every": job.every.text, "next": due, "missed": job.missed,
                "task": job.task, "command": job.command,
            }))  # fmt: skip
        else:
            next_time = instant(due) if due is not None else "never"
            table.add_row(job.name, job.queue, job.every.text, next_time, job.missed, what)
    if as_json:
        return
    if not loaded.jobs:
        out.print(f"no scheduled jobs; they are sections [job NAME] of {loaded.path}")
        return
    show_table(table)


def _link(config: Config, row: JobRow, name: str) -> str:
    """Return the link by which an output can be taken; its path where this user can make none."""
    try:
        from pyros.console.links import download_link  # noqa: PLC0415  the extra may be missing

        return download_link(config, row.queue, row.id, name)
    except (PyrosError, OSError, ImportError):
        return short(folder_of(config, row) / "work" / FOLDER / name)


def _print_from(file: Path, place: int) -> int:
    """Print a file from a byte on, what isn't printable escaped; returns where it ends."""
    try:
        with file.open("rb") as stream:
            stream.seek(place)
            while data := stream.read(1 << 16):
                if not data.endswith(b"\n") and len(data) < 1 << 16:
                    data += stream.readline()
                sys.stdout.write(printable(data.decode("utf-8", "replace"), lines=True))
                place = stream.tell()
    except FileNotFoundError:
        return place
    sys.stdout.flush()
    return place


def _took(config: Config, row: JobRow) -> str:
    if row.begun is None:
        return ""
    if row.ended is None:
        return _span(observatory_clock(config).time() - row.begun) if row.state == "running" else ""
    return _span(row.end.seconds if row.end is not None and row.end.seconds else row.ended - row.begun)


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _now(config: Config, row: JobRow) -> str:
    """Return what there is to say: how far it is, why it failed, when it is due."""
    if (progress := progress_of(config, row)) is not None:
        return f"{progress.percent:.0f} % {progress.text}"[:100]
    if row.state == "pending" and row.attempt:
        return f"again at {instant(row.due)}: {row.reason}"[:100]
    if row.state == "pending" and row.due:
        return f"not before {instant(row.due)}"
    return row.reason[:100] if row.ended is not None else ""


def _as_dict(config: Config, row: JobRow) -> dict[str, Any]:
    progress = progress_of(config, row)
    request = msgspec.to_builtins(row.request)
    told = {
        **{key: value for key, value in row._asdict().items() if key not in ("end", "request")},
        "due": row.due or None,
        **{key: value for key, value in request.items() if key not in row._fields and key != "files"},
        "progress": None if progress is None else f"{progress.percent:g} % {progress.text}",
        "folder": os.fspath(folder_of(config, row)),
    }
    if row.end is not None:
        told |= {key: value for key, value in msgspec.to_builtins(row.end).items() if key not in ("traceback", "error")}
    return told
