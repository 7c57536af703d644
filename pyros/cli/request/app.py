"""The commands of ``pyros request``, each in a module of its own."""

from __future__ import annotations

import typer

from pyros.cli.common import Group
from pyros.cli.request.add import add
from pyros.cli.request.cancel import cancel
from pyros.cli.request.importing import import_
from pyros.cli.request.listing import list_, show

app = typer.Typer(cls=Group, help="Requests for observations: from people and from files of other programs.")
app.command("add")(add)
app.command("import")(import_)
app.command("list")(list_)
app.command("show")(show)
app.command("cancel")(cancel)
