"""``pyros console``: links for people, switches, and what people have written, as fixtures."""

from __future__ import annotations

import getpass
import re
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, Group, out
from pyros.console.links import entry_link, section_of
from pyros.console.roles import role_named
from pyros.console.switches import Switches, SwitchFile
from pyros.errors import PyrosError

app = typer.Typer(
    name="console", cls=Group, help="The console: links for people, switches, fixtures.",
    rich_markup_mode="rich", no_args_is_help=True,
)  # fmt: skip


@app.command()
def link(
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Whom; by default you.")] = "",
    role: Annotated[str, typer.Option(metavar="ROLE", help="For somebody who is new: viewer ... admin.")] = "admin",
    config: ConfigOption = None,
) -> None:
    """Print a link that signs its opener in, for an hour: for who runs the observatory.

    Others are invited on the page Users.

    Examples:
      pyros console link
      pyros console link --user joan --role operator
    """
    loaded = configuration.load(config)
    try:
        out.print(entry_link(loaded, user or own_name(), role_named(role)))
    except ValueError as error:
        raise PyrosError(str(error)) from None


@app.command()
def switch(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="read_only, requests, sign_in or jobs.")] = "",
    to: Annotated[str, typer.Argument(metavar="[on|off]")] = "",
    config: ConfigOption = None,
) -> None:
    """Switch a part of the console on or off, at once; without a name, show all.

    Examples:
      pyros console switch read_only on
      pyros console switch requests off
    """
    switches = SwitchFile(section_of(configuration.load(config)).folder)
    if name:
        if to not in ("on", "off"):
            raise PyrosError(f"{to!r} is neither on nor off")
        try:
            switches.set(name, to == "on")
        except ValueError as error:
            raise PyrosError(str(error)) from None
    now = switches.read()
    for each in Switches.__struct_fields__:
        out.print(f"{each:10} {'on' if getattr(now, each) else 'off'}")


def own_name() -> str:
    """Return this user's name as the console takes names."""
    try:
        name = getpass.getuser().lower()
    except (OSError, KeyError):  # a user id without a name
        name = ""
    name = re.sub(r"[^a-z0-9._-]", "", name)[:32]
    return name if re.match("[a-z]", name) else "owner"
