"""What people type after ``pyros``: each command is a module of this package."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from pyros import __version__
from pyros.cli.common import Group, out

SUBJECTS: dict[str, dict[str, str]] = {
    "Safety, by hand": {
        "stop": "pyros.cli.hold:stop",
        "hold": "pyros.cli.hold:hold",
        "release": "pyros.cli.hold:release",
        "service": "pyros.cli.hold:service",
    },
    "The night": {
        "status": "pyros.cli.status:status",
        "night": "pyros.cli.night:night",
        "plan": "pyros.cli.plan:plan",
        "request": "pyros.cli.request.app:app",
        "report": "pyros.cli.report:report",
        "doctor": "pyros.cli.doctor:doctor",
        "notify": "pyros.cli.notify:app",
    },
    "Alerts": {
        "alert": "pyros.cli.alert:alert",
        "publish": "pyros.cli.publish:publish",
        "alerts": "pyros.cli.alerts.app:app",
        "rules": "pyros.cli.rules:app",
        "broker": "pyros.cli.broker:app",
    },
    "Images and instruments": {
        "instruments": "pyros.cli.instruments.app:app",
        "image": "pyros.cli.image:app",
        "images": "pyros.cli.images:app",
    },
    "Agents and jobs": {
        "send": "pyros.cli.send:send",
        "messages": "pyros.cli.messages:app",
        "jobs": "pyros.cli.jobs.app:app",
    },
    "Run and keep an observatory": {
        "init": "pyros.cli.init.init:init",
        "check": "pyros.cli.check:check",
        "run": "pyros.cli.run:run",
        "reload": "pyros.cli.reload:reload",
        "console": "pyros.cli.console.app:app",
        "cert": "pyros.cli.cert:cert",
        "backup": "pyros.cli.backup:backup",
        "restore": "pyros.cli.backup:restore",
        "upgrade": "pyros.cli.upgrade:upgrade",
        "clean": "pyros.cli.clean:clean",
    },
    "Try it": {
        "demo": "pyros.cli.demo.demo:demo",
        "rehearse": "pyros.cli.rehearse:rehearse_nights",
        "replay": "pyros.cli.replay:replay",
    },
}
"""Every command: module and function, or group of commands, under the subject by which ``pyros --help`` lists it."""
COMMANDS = {name: place for rows in SUBJECTS.values() for name, place in rows.items()}


class Commands(Group):
    """The commands, each loaded when it is asked for: all together they take longer than a question to the archive."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
            command.name = cmd_name
        else:
            alone = typer.Typer(cls=Group, rich_markup_mode="rich", pretty_exceptions_enable=False)
            alone.command(cmd_name)(found)
            alone.callback()(_nothing)
            command = typer.main.get_group(alone).commands[cmd_name]
        command.rich_help_panel = next(subject for subject, rows in SUBJECTS.items() if cmd_name in rows)
        return command


def _nothing() -> None:
    """Make typer keep a command's name where there is only one."""


app = typer.Typer(
    name="pyros",
    cls=Commands,
    help="Runs a robotic observatory: alerts of cosmic transients become observations.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """Take the options before a command's name; without a command, print the help."""
    if context.invoked_subcommand is None:
        out.print(context.get_help())
        raise typer.Exit(2)
