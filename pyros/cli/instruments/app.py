"""``pyros instruments``: the devices of the configuration, those in the network, and one of them in one's hand."""

from __future__ import annotations

from collections.abc import Callable

import typer

from pyros.cli.common import Group
from pyros.cli.instruments.conform import conform
from pyros.cli.instruments.discover import discover
from pyros.cli.instruments.list import list_
from pyros.cli.instruments.shell import shell

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Instruments: list them, find others, test one against what its kind promises, talk to one.",
)
_COMMANDS: dict[str, Callable[..., None]] = {"list": list_, "discover": discover, "test": conform, "shell": shell}
for name, command in _COMMANDS.items():
    app.command(name)(command)
