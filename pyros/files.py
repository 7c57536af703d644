"""Files that are whole or not there: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write to the path this gives; it becomes ``path``, in place of what is there, when the ``with`` statement ends.

    Then it is on disk: content and name are synced. When the block raises, nothing of it is left, and a file that
    ``path`` was stays as it is. Raises OSError as the disk gives it. Runs in whichever thread calls it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync(path.parent)  # or the name may be gone after a power cut, though the content is there


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
