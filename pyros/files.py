"""Files: written so that they are whole or not there, and the YAML that people write."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LARGEST_YAML = 1_000_000
"""Bytes; what people write has a few thousand."""
_QUICK_YAML = 16_384  # bytes, of which libyaml can nest no more than the stack of a thread bears


@contextmanager
def atomic_write(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Write to the path this gives; it becomes ``path``, in place of what is there, when the ``with`` statement ends.

    Then it is on disk: content and name are synced. When the block raises, nothing of it is left, and a file that
    ``path`` was stays as it is. ``shared``: several processes or threads may write it at the same time, and one of them
    is the last. Raises OSError as the disk gives it. Runs in whichever thread calls it.
    """
    mine = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    partial = path.with_name(f".{path.name}{mine}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync(path.parent)  # or the name may be gone after a power cut, though the content is there


def read_only_database(path: Path) -> str:
    """Return the URI that opens an SQLite file for reading, also for a user who may not write beside it.

    A reader of a file in WAL mode needs its ``-shm`` file. While nobody has the database open there is none, and such a
    user cannot make it: but then nothing is left in a WAL either, and the file is read as one that doesn't change.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    beside = any(path.with_name(path.name + end).exists() for end in ("-shm", "-wal"))
    return uri if beside or os.access(path.parent, os.W_OK) else f"{uri}&immutable=1"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class UniqueKeys(yaml.SafeLoader):
    """YAML lets the second of two equal keys win silently; here it is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class LinedMapping(dict[Any, Any]):
    """A mapping of a file, with its line and those of its keys."""

    lines: dict[str, int]
    line: int


class LinedMappings(UniqueKeys):
    """A YAML loader whose mappings know their lines, as `LinedMapping`."""

    def construct_lined(self, node: yaml.MappingNode) -> Iterator[LinedMapping]:
        found = LinedMapping()
        found.line = node.start_mark.line + 1
        found.lines = {key.value: key.start_mark.line + 1 for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        yield found
        found.update(self.construct_mapping(node))


LinedMappings.add_constructor("tag:yaml.org,2002:map", LinedMappings.construct_lined)


def read_bytes(path: Path, largest: int) -> bytes:
    """Return a file's bytes; raises ValueError, one line, for one that cannot be read or has more than ``largest``."""
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > largest:
        raise ValueError(f"is larger than {largest} bytes")
    return content


def read_text(path: Path, largest: int, encoding: str = "utf-8") -> str:
    """Return a file's text; raises ValueError as `read_bytes` does, and for what is not UTF-8."""
    try:
        return read_bytes(path, largest).decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def read_yaml(path: Path, loader: type[UniqueKeys] = UniqueKeys) -> Any:
    """Return what a YAML file holds; None for an empty one.

    Raises ValueError: one line that says what is wrong, and where in the file, but not in which.
    """
    text = read_text(path, LARGEST_YAML)
    try:
        return _parsed(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ValueError(f"line {line}: is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None


def _parsed(text: str, loader: type[UniqueKeys]) -> Any:
    """Parse by libyaml, ten times as fast, where it is there; what is wrong is told by PyYAML's own parser."""
    if yaml.__with_libyaml__ and len(text) <= _QUICK_YAML:
        with suppress(yaml.YAMLError):
            return yaml.load(text, quick_loader(loader))  # type: ignore[arg-type]  # the hash of a class is its own
    return yaml.load(text, loader)


@cache
def quick_loader(loader: type[UniqueKeys]) -> type[UniqueKeys]:
    """Return the same loader on libyaml's parser."""
    return type(loader.__name__, (yaml.CSafeLoader, loader), {})


class LinedReader:
    """A reader of a YAML file that collects every mistake, each with its file, line and key, before it gives up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._line = 0
        """The line that is looked at; 0 for none."""

    def document(self) -> Any:
        """Return what the file holds; None, and a problem, for one that cannot be read."""
        try:
            return read_yaml(self.path, LinedMappings)
        except ValueError as error:
            self.problem("", str(error))
            return None

    def look(self, content: Any, key: Any) -> None:
        """Note the line of a key, or of the mapping it is missing in, for the problems that follow."""
        if isinstance(content, LinedMapping):
            self._line = content.lines.get(str(key), content.line)

    def convert(self, value: Any, read: Callable[[Any], Any], where: str) -> Any:
        """Return ``read(value)``; None, and a problem, where that raises ValueError."""
        try:
            return read(value)
        except ValueError as error:
            self.problem(where, str(error))
            return None

    def unknown_keys(self, content: dict[Any, Any], known: Iterable[str], where: str) -> None:
        """Make a problem of each key that isn't known."""
        names = tuple(known)
        for key in (key for key in content if key not in names):
            near = get_close_matches(str(key)[:100], names, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            self.look(content, key)
            told = f"is not known here; known are {', '.join(names)}{meant}"
            self.problem(f"{where} {str(key)[:100]}".strip(), told)

    def problem(self, where: str, what: str) -> None:
        """Note a mistake; ``where`` are the words that lead to it within the file."""
        line = f"line {self._line}: " if self._line else ""
        self.problems.append(f"{self.path}: {line}{where + ': ' if where else ''}{what}")


LARGEST_SECRET = 10_000
"""Bytes of a file that holds a secret."""


def read_secret(path: Path) -> str:
    """Return the text of a file that only its owner may read (mode 0400 or 0600), without blanks around it.

    Raises ValueError, one line that neither repeats the text nor names the file: it is not there, cannot be read,
    others may read or write it, it holds nothing, or more than `LARGEST_SECRET` bytes.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(LARGEST_SECRET + 1)
        text = content.decode().strip()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if mode & 0o177:
        raise ValueError(f"is open to others (mode {mode:04o}); run: chmod 600 {path}")
    if not text or len(content) > LARGEST_SECRET:
        raise ValueError(f"must hold a secret, in {LARGEST_SECRET} bytes at most")
    return text


def free_gigabytes(folder: Path) -> float:
    """Return the free space of a folder's disk in GB (10^9 bytes); infinite where that cannot be known.

    Where the folder isn't there yet it is the disk of the one that it would be made in.
    """
    try:
        folder = next((each for each in (folder, *folder.parents) if each.exists()), folder)
        return shutil.disk_usage(folder).free / 1e9
    except OSError:
        return float("inf")


def disk_problem(folder: Path, least: float) -> str:
    """Return why a folder's disk is too full, where so many GB (10^9 bytes) must be free; '' when it isn't."""
    free = free_gigabytes(folder)
    return f"the disk has {free:.2f} GB left, the limit is {least:g}" if free < least else ""
