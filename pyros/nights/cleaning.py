"""Old nights' images are removed: by their age, and by the free space that a disk must have.

Only folders of nights go, whole, from ``images`` and ``reduced`` of the data folder, the oldest first; journals,
archive, masters, light curves and reports stay. Plain Python, for any thread or process.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

ROOMS = ("reduced", "images")
"""Folders of nights; of one night what can be made again goes first."""
_NIGHT = re.compile(r"\d{4}-\d\d-\d\d")


class OldNight(NamedTuple):
    """A night's folder that is removed, or would be."""

    folder: Path
    """The folder."""
    size: int
    """Bytes of its files."""
    why: str
    """``age`` or ``space``."""


def clean_nights(
    data: Path,
    today: date,
    *,
    older_days: float | None = None,
    free_bytes: float | None = None,
    keep: int = 7,
    dry: bool = False,
    free_now: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[OldNight]:
    """Remove nights that are older than so many days, and then the oldest until so many bytes are free.

    The newest ``keep`` nights stay in any case. With ``dry`` nothing is removed: the list says what would be. Raises
    OSError as the disk gives it.
    """
    nights = sorted(
        (folder for room in ROOMS for folder in (data / room).glob("*") if folder.is_dir() and _is_night(folder.name)),
        key=lambda folder: (folder.name, ROOMS.index(folder.parent.name)),
    )
    names = sorted({folder.name for folder in nights})
    names = names[: max(0, len(names) - keep)]
    removed: list[OldNight] = []
    gained = 0
    for folder in nights:
        if folder.name not in names:
            break
        if older_days is not None and today - date.fromisoformat(folder.name) > timedelta(days=older_days):
            why = "age"
        elif free_bytes is not None and free_now(data) + (gained if dry else 0) < free_bytes:
            why = "space"
        else:
            continue
        night = OldNight(folder, _size(folder), why)
        gained += night.size
        removed.append(night)
        if not dry:
            gone = folder.with_name(f".{folder.name}.gone")  # half of a night must not look like one
            folder.rename(gone)
            shutil.rmtree(gone)
    return removed


def _is_night(name: str) -> bool:
    with suppress(ValueError):
        return bool(_NIGHT.fullmatch(name) and date.fromisoformat(name))
    return False


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
