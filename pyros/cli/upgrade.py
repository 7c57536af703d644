"""``pyros upgrade``: the data of an older PYROS, brought to the formats of this one, after a backup."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros import __version__
from pyros import config as configuration
from pyros.backup import FOLDER, back_up
from pyros.cli.common import ConfigOption, out, short
from pyros.clock import system_time
from pyros.errors import PyrosError
from pyros.upgrade import running_agents, stored_files


def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    config: ConfigOption = None,
) -> None:
    """Bring journals and archive of an older PYROS to the formats of this one, while the observatory is down.

    Before anything is changed a backup is made, as pyros backup makes it. Each
    file is brought up to date wholly or not at all. Agents and broker do the same
    when they start, without a backup; what can be made anew, such as the index of
    images, is.

    Examples:
      pyros upgrade --dry-run
      pyros upgrade
    """
    loaded = configuration.load(config)
    stored = stored_files(loaded)
    for each in stored:
        told = f"format {each.found} becomes {each.wanted}" if each.older else f"format {each.found}, as it should be"
        out.print(f"{each.name:30} {told}", soft_wrap=True, highlight=False)
    if newer := [f"{each.name} has format {each.found}" for each in stored if each.found > each.wanted]:
        raise PyrosError(
            f"{loaded.data}: {', '.join(newer)}: it is of a newer PYROS than {__version__}; install that one"
        )
    older = [each for each in stored if each.older]
    if not older:
        out.print("there is nothing to upgrade")
        return
    if dry_run:
        out.print(
            f"pyros upgrade would make a backup in {short(loaded.data / FOLDER)} and upgrade {len(older)} of them"
        )
        return
    if lives := running_agents(loaded):
        raise PyrosError(f"{', '.join(lives)}: running: nothing was upgraded; stop the observatory first")
    try:
        folder, _ = back_up(loaded, loaded.data / FOLDER, system_time())
    except OSError as error:
        raise PyrosError(f"nothing was upgraded: the backup cannot be written: {error}") from None
    out.print(f"backup: {short(folder)}", soft_wrap=True)
    for each in older:
        each.upgrade()
        out.print(f"OK: {each.name} has format {each.wanted}", soft_wrap=True)
