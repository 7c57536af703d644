"""What people type after ``pyros``: each command is a module of this package."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros import __version__
from pyros.cli import alerts, broker, image, instruments, messages, rules
from pyros.cli.alert import alert
from pyros.cli.check import check
from pyros.cli.common import Group, out
from pyros.cli.demo import demo
from pyros.cli.publish import publish
from pyros.cli.run import run
from pyros.cli.send import send
from pyros.cli.status import status

app = typer.Typer(
    name="pyros",
    cls=Group,
    help="Runs a robotic observatory: alerts of cosmic transients become observations.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, check, status, alert, publish, send):
    app.command()(command)
app.add_typer(broker.app, name="broker")
app.add_typer(messages.app, name="messages")
app.add_typer(alerts.app, name="alerts")
app.add_typer(rules.app, name="rules")
app.add_typer(image.app, name="image")
app.add_typer(instruments.app, name="instruments")


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"pyros {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before a command's name; without a command, the help."""
    if context.invoked_subcommand is None:
        out.print(context.get_help())
        raise typer.Exit(2)
