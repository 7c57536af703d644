"""``pyros alerts``: packets understood, and the archive of all that came."""

from __future__ import annotations

from collections.abc import Callable

import typer

from pyros.cli.alerts.archive import explain, list_, search, show_
from pyros.cli.alerts.coverage import coverage
from pyros.cli.alerts.export_packets import export
from pyros.cli.alerts.galaxies import galaxies
from pyros.cli.alerts.import_packets import import_
from pyros.cli.alerts.parse import parse
from pyros.cli.alerts.skymap import skymap
from pyros.cli.common import Group

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Alerts: understand packets, and look into the archive of all that came.",
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "parse": parse,
    "skymap": skymap,
    "galaxies": galaxies,
    "coverage": coverage,
    "list": list_,
    "search": search,
    "show": show_,
    "explain": explain,
    "import": import_,
    "export": export,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
