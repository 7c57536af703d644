"""``pyros console``: links for people, switches, and what people have written, as fixtures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, Group, out, user_name, writing
from pyros.console.links import entry_link, section_of
from pyros.console.offline import open_database
from pyros.console.roles import role_named
from pyros.console.switches import Switches, SwitchFile
from pyros.errors import PyrosError
from pyros.files import atomic_write

app = typer.Typer(
    name="console", cls=Group, help="The console: links for people, switches, fixtures.",
    rich_markup_mode="rich", no_args_is_help=True,
)  # fmt: skip


@app.command()
def link(
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="The user's name; by default yours.")] = "",
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="The role of a user who is new: viewer, observer, operator or admin.")
    ] = "admin",
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
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="read_only, requests, sign_in or jobs; without it all are shown.")
    ] = "",
    to: Annotated[str, typer.Argument(metavar="[on|off]", help="What it is from now on.")] = "",
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


@app.command()
def dumpdata(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; by default standard output.")
    ] = None,
    with_passwords: Annotated[
        bool, typer.Option("--with-passwords", help="With the passwords' hashes: keep the file to yourself.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write users with their roles, devices, requests and notes as JSON, by names and not by numbers.

    Equal databases give equal bytes. Passwords are left out unless you ask for
    their hashes; tokens, invitations and sessions always.

    Examples:
      pyros console dumpdata -o people.json
    """
    open_database(configuration.load(config))
    from pyros.console.fixtures import dump  # noqa: PLC0415  it needs Django

    text = dump(with_passwords=with_passwords)
    if output is None:
        typer.echo(text, nl=False)
        return
    with writing(output), atomic_write(output) as partial:
        partial.touch(mode=0o600)
        partial.write_text(text, encoding="utf-8")


@app.command()
def loaddata(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As pyros console dumpdata writes it.")],
    config: ConfigOption = None,
) -> None:
    """Load users, devices, requests and notes: all of the file, or nothing where something in it is wrong.

    What has the same name is replaced; a user whose password isn't in the file
    keeps it.

    Examples:
      pyros console loaddata people.json
    """
    open_database(configuration.load(config))
    from pyros.console.fixtures import load  # noqa: PLC0415  it needs Django

    out.print(f"{load(file)} loaded from {file}")


def own_name() -> str:
    """Return this user's name as the console takes names."""
    name = re.sub(r"[^a-z0-9._-]", "", user_name().lower())[:32]
    return name if re.match("[a-z]", name) else "owner"
