"""``pyros jobs``: the group of its commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from pyros.cli.common import Group
from pyros.cli.jobs.look import list_, log, schedule, show
from pyros.cli.jobs.run import clean, revoke, run

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Jobs: long work in queues. See what they do, run scripts, revoke, clean.",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_,
    "show": show,
    "log": log,
    "run": run,
    "revoke": revoke,
    "clean": clean,
    "schedule": schedule,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
