"""Who may read the observatory's data: its owner alone, or a group, too; nobody else, and nobody else writes it."""

from __future__ import annotations

import grp
import os
import stat
from contextlib import suppress
from pathlib import Path

from pyros import keys
from pyros.errors import ConfigError

CONSOLE = "console"
"""The folder, in the data folder, of what the console keeps; it protects it itself."""
_OTHERS = stat.S_IRWXO
_WRITES = stat.S_IWGRP


def umask(group: str) -> int:
    """Return what a process of the observatory leaves out of the modes of the files it makes."""
    return _OTHERS | _WRITES if group else _OTHERS | stat.S_IRWXG


def protect(folder: Path, config_file: Path, group: str = "") -> str:
    """Make the data folder if there is none, and give it to its owner, or to that group for reading.

    A folder that was open to others, or to another group, is changed once with all that is in it. One that the
    configuration file lies in holds other things, too: there only the journals' folder is changed; likewise nothing
    that is another user's. Returns what was changed, in words for the log; '' for nothing. Raises ConfigError when the
    group isn't known here, or not this user's.
    """
    number = _group(config_file, group)
    top = folder / "journals" if config_file.is_relative_to(folder) else folder
    try:
        fresh = not top.exists()
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        if fresh:
            _set(top, number)
            return ""
        if top.stat().st_uid != os.geteuid() or _fits(top, number):
            return ""
        for path, folders, files in os.walk(top):
            if Path(path) == folder and CONSOLE in folders:
                folders.remove(CONSOLE)  # its passwords and sessions are for no group
            for name in (*folders, *files):
                with suppress(FileNotFoundError):  # what another process has just removed
                    _set(Path(path, name), number)
        _set(top, number)  # at last: whoever sees that it fits needn't look into it
    except OSError as error:
        who = f"group {group}" if group else "its owner alone"
        raise ConfigError([
            f"{config_file}: [observatory] data: {error.filename or top} cannot be given to {who}: {error.strerror}"
        ]) from None  # fmt: skip
    return f"{top} was readable by others: now it is for " + (
        f"its owner and the group {group}" if group else "its owner"
    )


def _group(config_file: Path, group: str) -> int | None:
    if not group:
        return None
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError([
            f"{config_file}: [observatory] group: {group!r} is not a group of this computer; make it (groupadd),"
            " and add the observatory's user and the observers to it"
        ]) from None  # fmt: skip
    if os.geteuid() != 0 and number not in {os.getegid(), *os.getgroups()}:
        raise ConfigError([
            f"{config_file}: [observatory] group: this user is not in {group!r}; add it (usermod -aG), and log in again"
        ]) from None  # fmt: skip
    return number


def _fits(top: Path, group: int | None) -> bool:
    there = top.stat()
    mode = stat.S_IMODE(there.st_mode)
    return mode == _mode(mode, folder=True, group=group) and group in (None, there.st_gid)


def _mode(mode: int, *, folder: bool, group: int | None) -> int:
    owner = mode & stat.S_IRWXU
    if group is None:
        return owner
    return owner | (owner & 0o500) >> 3 | (stat.S_ISGID if folder else 0)


def _set(path: Path, group: int | None) -> None:
    there = path.lstat()
    if there.st_uid != os.geteuid() or not (stat.S_ISDIR(there.st_mode) or stat.S_ISREG(there.st_mode)):
        return
    if path.name == keys.FILE:
        path.chmod(0o600)  # a group that may look may not command
        return
    if group is not None and there.st_gid != group:
        os.chown(path, -1, group)
    path.chmod(_mode(stat.S_IMODE(there.st_mode), folder=stat.S_ISDIR(there.st_mode), group=group))
