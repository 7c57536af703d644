"""``pyros backup`` and ``pyros restore``: what an observatory must not lose, and how it comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.backup import FOLDER, back_up, check
from pyros.backup import restore as restore_backup
from pyros.cli.common import ConfigOption, out, short
from pyros.clock import system_time
from pyros.errors import PyrosError


def backup(
    to: Annotated[
        Path | None,
        typer.Argument(help="The folder for backups; `backups` in the data folder by default.", show_default=False),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--check", metavar="BACKUP", help="Only tell whether a backup is whole.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Copy journals, archive, console, configuration and key into a new folder, while the observatory runs.

    Images are not in it: copy their folder as you copy other files. The backup has
    the observatory's key, so only its owner may read it. Put it on another disk.

    Examples:
      pyros backup
      pyros backup /mnt/other-disk
      pyros backup --check /mnt/other-disk/20261129T120000Z
    """  # fmt: skip
    try:
        if test is not None:
            made, problems = check(test)
            if problems:
                raise PyrosError(f"{test}: {'; '.join(problems)}")
            out.print(f"{short(test)}: {len(made.files)} files of {made.observatory!r}, all as they were written")
            return
        loaded = configuration.load(config)
        folder, made = back_up(loaded, to or loaded.data / FOLDER, system_time())
    except OSError as error:
        raise PyrosError(f"the backup cannot be written: {error}") from None
    out.print(f"{short(folder)}: {len(made.files)} files, {made.size / 2**20:.1f} MB", soft_wrap=True)
    for missing in made.missing:
        out.print(f"not in it: {missing}", soft_wrap=True)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's folder.")],
    config: ConfigOption = None,
) -> None:
    """Put a backup in the place of the data folder's databases, while the observatory is down.

    What stood there is moved beside it, not removed. Configuration, site and rules
    are left as they are; those that differ are named. On a new computer copy them
    from the backup's folder `files` first. The agents find by each other's numbers
    that their journals are older, go on, and raise an alarm that says what is lost.

    Examples:
      pyros restore var/backups/20261129T120000Z
      pyros restore /mnt/other-disk/20261129T120000Z --config observatory.ini
    """  # fmt: skip
    loaded = configuration.load(config)
    try:
        replaced, elsewhere = restore_backup(loaded, folder, system_time())
    except OSError as error:
        raise PyrosError(f"the backup cannot be restored: {error}; what stood there is in replaced-...") from None
    out.print(f"restored {short(folder)}", soft_wrap=True)
    if replaced.is_dir():
        out.print(f"what stood there is in {short(replaced)}", soft_wrap=True)
    for text in elsewhere:
        out.print(text, soft_wrap=True)
