"""Which checks there are: those that come with PYROS, the site's own, agents' own, and those of installed packages.

A file or module that can't be loaded is told as a problem, which a report shows as a check; the others are run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import traceback
import unittest
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

from pyros.config import Config
from pyros.health.check import HealthCheck, Level

SITE_FILE = "site_health.py"
"""The site's own checks, beside the configuration."""
ENTRY_POINTS = "pyros.health"
"""The group of entry points by which a package brings checks: each names a module or a class."""
OPTION = "health"
"""An agent's own checks: ``option_health`` of its section, a file (relative to the configuration) or a module."""
BUILT_IN = ("agents", "alerts", "computer", "devices", "images", "jobs", "night", "weather")
_LOAD_SECONDS = 10.0


class LoadProblem(NamedTuple):
    """A source of checks that can't be loaded."""

    source: str
    """Which: ``site_health``, ``weather.option_health``, ``entry point NAME``."""
    text: str
    """What is wrong, with file and line."""


class Loaded(NamedTuple):
    """The checks there are."""

    classes: tuple[type[HealthCheck], ...]
    """The classes, in the order in which they are shown."""
    problems: tuple[LoadProblem, ...]
    """What could not be loaded."""


def load(config: Config) -> Loaded:
    """Load all checks of an observatory. Raises nothing for a mistake in other people's code."""
    classes: dict[type[HealthCheck], None] = {}
    problems: list[LoadProblem] = []
    for source, find in _sources(config):
        try:
            module = _within(_LOAD_SECONDS, find)
            found = _classes(module)
        except _Mistake as error:
            problems.append(LoadProblem(source, str(error)))
            continue
        classes |= dict.fromkeys(found)
    names: dict[str, type[HealthCheck]] = {}
    for each in classes:
        for name in unittest.defaultTestLoader.getTestCaseNames(each):
            full = each(name).check_name
            if full in names:
                problems.append(
                    LoadProblem(full, f"{_place(each)} and {_place(names[full])} have a check of this name")
                )
            names[full] = each
    return Loaded(tuple(classes), tuple(problems))


class _Mistake(Exception):
    """What is wrong with a source, in words."""


def _sources(config: Config) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name in BUILT_IN:
        yield name, lambda name=name: importlib.import_module(f"pyros.health.checks.{name}")  # type: ignore[misc]
    folder = config.path.parent
    if (folder / SITE_FILE).is_file():
        yield SITE_FILE.removesuffix(".py"), lambda: _file(folder / SITE_FILE)
    for section in config.agents.values():
        if (where := section.options.get(OPTION, "")) != "":
            yield f"{section.name}.option_{OPTION}", lambda where=where: _named(folder, where)  # type: ignore[misc]
    for point in entry_points(group=ENTRY_POINTS):
        yield f"entry point {point.name}", point.load


def _named(folder: Path, where: str) -> ModuleType:
    return _file(folder / where) if where.endswith(".py") else importlib.import_module(where)


_files: dict[Path, tuple[int, ModuleType]] = {}


def _file(path: Path) -> ModuleType:
    """Load a file as a module, once until it is changed."""
    path = path.absolute()
    changed = path.stat().st_mtime_ns
    if path in _files and _files[path][0] == changed:
        return _files[path][1]
    name = f"pyros_health_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _files[path] = (changed, module)
    return module


def _within(seconds: float, find: Callable[[], Any]) -> Any:
    """Call other people's code within a time limit. Raises _Mistake."""
    found: list[Any] = []
    mistake: list[str] = []

    def work() -> None:
        try:
            found.append(find())
        except BaseException as error:
            mistake.append(explain(error))

    thread = threading.Thread(target=work, name="checks are loaded", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise _Mistake(f"loading it has not ended within {seconds:g} s")
    if mistake:
        raise _Mistake(mistake[0])
    return found[0]


def explain(error: BaseException) -> str:
    """Return an exception of other people's code in one line, with the file and line that raised it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _classes(module: Any) -> list[type[HealthCheck]]:
    """Return the checks of a module that were written in it. Raises _Mistake for a class that is wrong."""
    values = [module] if isinstance(module, type) else list(vars(module).values())
    found = []
    for value in values:
        if not isinstance(value, type) or not issubclass(value, unittest.TestCase):
            continue
        if isinstance(module, ModuleType) and value.__module__ != module.__name__:
            continue
        if not issubclass(value, HealthCheck):
            raise _Mistake(f"{_place(value)}: is a unittest.TestCase; make it a pyros.health.HealthCheck")
        if value.level not in get_args(Level):
            raise _Mistake(f"{_place(value)}: level: {value.level!r} is neither 'critical' nor 'warning'")
        if (
            isinstance(value.timeout, bool)
            or not isinstance(value.timeout, int | float)
            or not 0 < value.timeout <= 600
        ):
            raise _Mistake(f"{_place(value)}: timeout: {value.timeout!r} is not a number of seconds up to 600")
        found.append(value)
    return found


def _place(of: type) -> str:
    module = sys.modules.get(of.__module__)
    return f"{getattr(module, '__file__', None) or of.__module__}: {of.__name__}"
