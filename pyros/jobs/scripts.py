"""Scripts of a folder as jobs: their annotations, and what people give for their parameters.

A script is any executable file. Lines that begin with a prefix, ``##~~`` unless the queue's section says another one
(``option_annotation``), tell what it needs, in the order in which it gets them as arguments:

    ##~~ - Align and add the images of a night
    ##~~ night - the evening's date
    ##~~ stars (int = 100) - how many to align by
    ##~~ method (one of mean|median = median) - how they are added
    ##~~ flat (file) - a flat field
    ##~~ notes (long = ) - goes into the header
    ##~~ list (inbox) - a list of targets

A parameter is text unless a type follows its name: ``text``, ``int``, ``float``, ``yes`` (yes or no), ``file`` (one
that can be read; the script gets its whole path), ``inbox`` (the name of a file of the queue's inbox, ``option_inbox``;
the script gets its whole path), ``one of A|B|C``, ``long`` (a text of any kind and length, of which
the script gets the name of a file). What has a default needn't be given. No shell sees any of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pyros.config import Config
from pyros.errors import JobError
from pyros.jobs.names import queue_of, queues

PREFIX = "##~~"
MAX_ARGUMENT = 131_071
"""Bytes of one argument that Linux gives to a program."""
MAX_ARGUMENTS = 1 << 20
"""Bytes of all arguments; Linux takes about twice that, with the environment."""
MAX_LONG = 8 << 20
_MAX_SCRIPT = 1 << 20
_MAX_PARAMETERS = 100
_TYPES = ("text", "int", "float", "yes", "file", "inbox", "long")
_NAME = re.compile(r"[A-Za-z]\w{0,49}", re.ASCII)
_LINE = re.compile(
    r"(?P<name>[^\s()=]+)?\s*(?:\((?P<type>[^()=]*?)\s*(?P<has_default>=\s*(?P<default>[^()]*?)\s*)?\))?"
    r"\s*(?:(?:^|\s)-\s+(?P<text>.*))?"
)  # fmt: skip


class Parameter(msgspec.Struct, frozen=True):
    """One argument of a script."""

    name: str
    """What people give it by: ``name=value``."""
    type: str = "text"
    """``text``, ``int``, ``float``, ``yes``, ``file``, ``inbox``, ``long`` or ``one of``."""
    choices: tuple[str, ...] = ()
    """What ``one of`` may be."""
    default: str | None = None
    """What it is where nothing is given; None: it must be given."""
    text: str = ""
    """What it means."""
    folder: Path | None = None
    """The inbox, for a file of it; None where the queue has none."""

    def files(self) -> list[str]:
        """Return the names of the inbox's files, which such a parameter may be."""
        try:
            return sorted(path.name for path in self.folder.iterdir() if _is_of(path)) if self.folder else []
        except OSError:
            return []

    def check(self, value: str) -> str:
        """Return the argument for a value; raises ValueError that says what would be right."""
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError("is not UTF-8") from None
        if "\0" in value:
            raise ValueError("has a zero byte, which no argument can have")
        if self.type == "long":
            if size > MAX_LONG:
                raise ValueError(f"has {size} bytes; {MAX_LONG} are the most")
            return value
        if size > MAX_ARGUMENT:
            raise ValueError(f"has {size} bytes; {MAX_ARGUMENT} are the most, but for the type long")
        if self.type == "int" and not re.fullmatch(r"[-+]?\d{1,30}", value, re.ASCII):
            raise ValueError(f"{value[:50]!r} is not a whole number")
        if self.type == "float" and not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?", value, re.ASCII | re.I):
            raise ValueError(f"{value[:50]!r} is not a number")
        if self.type == "yes" and value not in ("yes", "no"):
            raise ValueError(f"{value[:50]!r} is neither yes nor no")
        if self.type == "one of" and value not in self.choices:
            raise ValueError(f"{value[:50]!r} is not one of {', '.join(self.choices)}")
        return self._path(value) if self.type in ("file", "inbox") else value

    def _path(self, value: str) -> str:
        """Return the whole path of a file, or of an inbox's file; raises ValueError."""
        if self.type == "inbox":
            if self.folder is None:
                raise ValueError("needs an inbox: option_inbox of the queue's section names its folder")
            if value not in self.files():
                raise ValueError(f"{value[:200]!r} is no file of {self.folder}")
            return str(self.folder / value)
        path = Path(value).expanduser().absolute()
        if not (path.is_file() and os.access(path, os.R_OK)):
            raise ValueError(f"{value[:200]!r} is no file that can be read")
        return str(path)


class Script(msgspec.Struct, frozen=True):
    """A script and what it says of itself."""

    path: Path
    """The file."""
    text: str = ""
    """What it does."""
    parameters: tuple[Parameter, ...] = ()
    """Its arguments, in their order."""

    @property
    def name(self) -> str:
        """What people call it: its file's name."""
        return self.path.name

    def arguments(self, values: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the whole command, and the files that it needs, by their names.

        Raises JobError listing every mistake.
        """
        problems = [f"{self.name} has no parameter {name!r}" for name in values.keys() - self._names()]
        words: list[str] = [str(self.path)]
        files: dict[str, str] = {}
        for parameter in self.parameters:
            value = values.get(parameter.name, parameter.default)
            if value is None:
                told = f" ({parameter.text})" if parameter.text else ""
                problems.append(f"{self.name}: {parameter.name} is missing{told}")
                continue
            try:
                word = parameter.check(value)
            except ValueError as error:
                problems.append(f"{self.name}: {parameter.name} {error}")
                continue
            if parameter.type == "long":
                files[f"{parameter.name}.txt"] = word
                word = f"{parameter.name}.txt"
            words.append(word)
        if not problems and sum(len(word.encode()) + 1 for word in words) > MAX_ARGUMENTS:
            problems = [f"{self.name}: all arguments together have more than {MAX_ARGUMENTS} bytes"]
        if problems:
            known = ", ".join(self._names()) or "none"
            raise JobError("\n".join([*sorted(problems), f"{self.name} takes: {known}"]))
        return tuple(words), files

    def _names(self) -> list[str]:
        return [parameter.name for parameter in self.parameters]


def _is_of(path: Path) -> bool:
    """Return whether a path of an inbox is a file of it: not hidden, and no link."""
    return not path.name.startswith(".") and not path.is_symlink() and path.is_file()


def read_script(path: Path, prefix: str = PREFIX, inbox: Path | None = None) -> Script:
    """Read a script's annotations; raises JobError listing every mistake, with file and line.

    ``inbox`` is the folder from which its parameters of that type are chosen.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SCRIPT + 1)
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _MAX_SCRIPT:
        return Script(path)  # a program, not a script
    text = ""
    parameters: list[Parameter] = []
    problems: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.startswith(prefix):
            continue
        try:
            parameter = _parameter(line.removeprefix(prefix).strip())
            if parameter.name in [each.name for each in parameters]:
                raise ValueError(f"{parameter.name} is there twice")
            if len(parameters) >= _MAX_PARAMETERS:
                raise ValueError(f"there are more than {_MAX_PARAMETERS} parameters")
        except ValueError as error:
            problems.append(f"{path}: line {number}: {error}")
            continue
        if parameter.name:
            parameters.append(
                msgspec.structs.replace(parameter, folder=inbox) if parameter.type == "inbox" else parameter
            )
        else:
            text = f"{text} {parameter.text}".strip()
    if problems:
        raise JobError("\n".join(problems))
    return Script(path, text, tuple(parameters))


def _parameter(line: str) -> Parameter:
    """Read one annotation; one without a name is about the script itself."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("is not written: name (type = default) - description")
    name, kind, text = found["name"] or "", found["type"], (found["text"] or "").strip()
    if name in ("", "-"):
        if kind is not None or name == "-" or not text:
            raise ValueError("has no name: it is written name (type = default) - description")
        return Parameter("", text=text)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no name: a letter, then letters, digits and _ (50 at most)")
    kind = "text" if kind is None or not kind.strip() else kind.strip()
    choices: tuple[str, ...] = ()
    if kind.startswith("one of "):
        choices = tuple(word.strip() for word in kind.removeprefix("one of ").split("|"))
        kind = "one of"
        if not all(choices) or len(set(choices)) != len(choices):
            raise ValueError(f"{name}: one of A|B|C needs choices that differ")
    elif kind not in _TYPES:
        raise ValueError(f"{name}: {kind[:60]!r} is no type: {', '.join(_TYPES)}, or one of A|B|C")
    parameter = Parameter(name, kind, choices, found["default"] if found["has_default"] else None, text)
    if parameter.default is not None and kind not in ("file", "inbox"):
        try:
            parameter.check(parameter.default)
        except ValueError as error:
            raise ValueError(f"{name}: its default {error}") from None
    return parameter


def scripts(folder: Path, prefix: str = PREFIX, inbox: Path | None = None) -> tuple[list[Script], list[str]]:
    """Return a folder's scripts, by their names, and what is wrong with those that cannot be used."""
    found: list[Script] = []
    problems: list[str] = []
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        return [], [f"{folder}: cannot be read: {error.strerror}"]
    for path in files:
        if not os.access(path, os.X_OK):
            continue  # data, or a module that a script imports
        try:
            found.append(read_script(path, prefix, inbox))
        except JobError as error:
            problems += str(error).splitlines()
    return found, problems


class ScriptFolder(NamedTuple):
    """The scripts of a queue."""

    queue: str
    """The queue's agent."""
    folder: Path
    """Where they are."""
    prefix: str
    """What their annotations begin with."""
    inbox: Path | None
    """From where their inputs are chosen."""

    def scripts(self) -> tuple[list[Script], list[str]]:
        """See `scripts`."""
        return scripts(self.folder, self.prefix, self.inbox)


def script_folders(config: Config, queue: str = "") -> list[ScriptFolder]:
    """Return the folders of the queues that have scripts, or of that queue; raises ConfigError as `queue_of` does."""
    wanted, here = queue_of(config, queue) if queue else "", config.path.parent
    return [
        ScriptFolder(
            section.name, here / section.options["scripts"], section.options.get("annotation", PREFIX),
            here / section.options["inbox"] if "inbox" in section.options else None,
        )
        for section in queues(config)
        if "scripts" in section.options and wanted in ("", section.name)
    ]  # fmt: skip
