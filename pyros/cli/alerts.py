"""``pyros alerts``: packets understood, and the archive of all that came."""

from __future__ import annotations

import typer

from pyros.cli.alerts_parse import parse
from pyros.cli.common import Group

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Alerts: understand packets, and look into the archive of all that came.",
)
for command in (parse,):
    app.command()(command)
