"""What is unlike anything before: names that are drawn once, and the name of the computer's present start.

A rehearsal, which must be the same each time, puts a `NameSource` of its own in place of the computer's (`drawn_from`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol


class NameSource(Protocol):
    """Where the names come from."""

    def name(self, size: int) -> str:
        """Return a new name of ``size`` random bytes, hexadecimal."""
        ...

    def boot_id(self) -> str:
        """Return the name of the computer's present start; '' where the system has none."""
        ...


class _Computer:
    """The computer's own names."""

    def name(self, size: int) -> str:
        return secrets.token_hex(size)

    def boot_id(self) -> str:
        return _boot_id()


_source: list[NameSource] = [_Computer()]


def new_name(size: int = 16) -> str:
    """Return a name that was never used before: ``size`` random bytes, hexadecimal."""
    return _source[-1].name(size)


def boot_id() -> str:
    """Name the computer's present start, from which `steady_seconds` count; '' where the system has no name for it."""
    return _source[-1].boot_id()


@contextmanager
def drawn_from(source: NameSource) -> Iterator[None]:
    """Take all names of this process from ``source`` meanwhile: for rehearsals."""
    _source.append(source)
    try:
        yield
    finally:
        _source.remove(source)


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
