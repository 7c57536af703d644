"""What views look at: one observatory's journals and archive, its clock and site, read only.

An `Observed` is made once and asked from any thread. It keeps journals open, since opening fifteen of them takes longer
than reading them; a journal that was put in another's place is opened anew. What was read of a journal is kept until
its agent has committed again (`Observed.kept`). A journal that is missing, damaged or of an earlier version never
raises here: its part of a view is empty, and `Observed.problems` says why.
"""

from __future__ import annotations

import copy
import errno
import math
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pyros import config as configuration
from pyros.clock import Timer, steady_seconds, system_time
from pyros.config import BROKER, Config
from pyros.errors import ConfigError, JournalError
from pyros.hold import Holds
from pyros.journal import NOT_YOURS, JournalReader, running
from pyros.journal.events import EventReader
from pyros.prepared import prepared
from pyros.site import Site

_MAX_IDLE = 4
"""Connections to a journal that are kept for the next question."""
_MAX_KEPT = 20
"""Answers of a journal that are kept until it changes."""

State = TypeVar("State")
Answer = TypeVar("Answer")
Reader = TypeVar("Reader", bound=JournalReader)
_Place = tuple[int, int]


class _Glance(msgspec.Struct):
    """What one look at an observatory has seen."""

    all: tuple[Hashable, ...]
    """What `Observed.versions` said when it began."""
    versions: dict[str, Hashable]
    """The same of each journal."""
    alive: dict[Path, bool | None] | None = None
    """Which agents run; None before that was asked."""


class Observed:
    """One observatory, as views look at it. For any number of threads."""

    def __init__(self, config: Config) -> None:
        """Look at the observatory of a configuration; without a site its views have no sky. Raises ConfigError."""
        self.config = config
        self.site = Site.load(config.site) if config.site != configuration.NOWHERE else None
        self.clock = _ObservatorysClock(config)
        self.holds = Holds(config.data, self.clock)
        self._unreadable: dict[str, str] = {}
        self._misread: dict[str, str] = {}
        self.names: tuple[str, ...] = (*config.agents, *((BROKER,) if config.broker is not None else ()))
        """The names of all that have journals: the agents, and the broker if there is one."""
        self._paths = {name: config.journal(name) for name in self.names}
        for section in config.agents.values():
            self._paths[section.name] = config.journal(section.name)
            if section.kind in config.agents:
                self._paths[section.kind] = config.journal(section.kind)
        self._lock = threading.Lock()
        self._idle: dict[str, list[tuple[_Place, JournalReader]]] = {}
        self._states: dict[tuple[str, type], tuple[bytes, Any]] = {}
        self._watched: dict[str, tuple[_Place, int, JournalReader]] = {}
        self._watches = 0
        self._watching = threading.Lock()
        self._kept: dict[str, tuple[Hashable, dict[Hashable, Any]]] = {}
        self._telescopes: tuple[Observed, ...] | None = None
        self.running_seconds = 0.0
        """For how long it counts who runs, once that was asked (`look_who_runs`)."""
        self._running: list[tuple[float, dict[Path, bool | None]]] = []
        """Who runs, and when that was asked (monotonic seconds): one entry, which a `glance` shares."""
        self._grown: dict[tuple[str, Hashable], tuple[_Place | None, Any]] = {}
        self.glanced: _Glance | None = None
        """In a `glance`, what it has seen; None for what isn't one."""

    def time(self) -> float:
        """Return the observatory's time, Unix seconds."""
        return self.clock.time()

    @property
    def telescopes(self) -> tuple[Observed, ...]:
        """The observatory as the unit of each of several telescopes sees it; () for one telescope, and within a unit.

        Raises ConfigError for a unit whose site cannot be read.
        """
        with self._watching:
            if self._telescopes is None:
                units = self.config.telescopes if self.config.unit == configuration.WHOLE else ()
                self._telescopes = tuple(Observed(self.config.seen_from(unit)) for unit in units)
        return self._telescopes

    def telescope(self, unit: str = "") -> Observed:
        """Return the observatory as a telescope's unit sees it; '' for the first of several, or the only one.

        Raises ValueError for a unit without a telescope.
        """
        if not unit or unit == self.config.unit:
            return self.telescopes[0] if self.telescopes else self
        found = next((each for each in self.telescopes if each.config.unit == unit), None)
        if found is None:
            there = ", ".join(self.config.telescopes) or "one without a name"
            raise ValueError(f"unit: there is no telescope {unit[:40]!r} (there are: {there})")
        return found

    @property
    def problems(self) -> dict[str, str]:
        """By agent, why its journal or its state cannot be read; without those that have never run."""
        return self._misread | self._unreadable

    def require(self, name: str) -> None:
        """Raise JournalError where an agent has no journal, or where the last look into it found it unreadable."""
        if place_of(self._paths[name]) is None:
            raise JournalError(f"{self._paths[name]}: no such journal (the agent has not run here yet)")
        if problem := self.problems.get(name):
            raise JournalError(problem)

    def require_folder(self) -> None:
        """Raise JournalError where this user may not look into the folder of the journals; one may be missing."""
        folders = {path.parent for path in self._paths.values()}
        for folder in sorted(folders):
            try:
                folder.stat()
                allowed = os.access(folder, os.R_OK | os.X_OK)
            except FileNotFoundError:
                continue
            except OSError:
                allowed = False
            if not allowed:
                raise JournalError(f"{folder}: {os.strerror(errno.EACCES)}; {NOT_YOURS}")

    def path(self, name: str) -> Path:
        """Return where that agent's journal is."""
        return self._paths[name]

    @contextmanager
    def journal(self, name: str) -> Iterator[JournalReader | None]:
        """Lend an agent's journal; None where it cannot be read.

        A JournalError inside the ``with`` statement ends it quietly, so read into a variable that has a default:
        the journal may be damaged, or of a version that lacks a table.
        """
        with self._lend(name, JournalReader) as journal:
            yield journal

    @contextmanager
    def events(self) -> Iterator[EventReader | None]:
        """Lend the broker's journal, as `journal` does."""
        with self._lend(BROKER, EventReader) as journal:
            yield journal

    def state(self, name: str, kind: type[State]) -> State:
        """Return of an agent's stored state what ``kind`` has fields for; a ``kind()`` where it cannot be read.

        Fields that the agent's version does not know keep their defaults. Don't change it: it is kept for the next.
        """
        stored = self.kept(name, "state", JournalReader.state, None)
        if stored is None:
            return kind()
        known = self._states.get((name, kind))
        if known is not None and known[0] == stored:
            return known[1]  # type: ignore[no-any-return]
        try:
            state = msgspec.json.decode(stored, type=prepared(kind))
        except (msgspec.DecodeError, ValueError) as error:
            self._misread[name] = f"its state is of another version, or damaged: {error}"
            return kind()
        self._misread.pop(name, None)
        self._states[name, kind] = (stored, state)
        return state

    def kept(self, name: str, what: Hashable, read: Callable[[JournalReader], Answer], otherwise: Answer) -> Answer:
        """Return what ``read`` makes of an agent's journal, or has made since that was committed to last.

        ``what`` names the answer among those of the journal; ``otherwise`` is returned where it cannot be read. Don't
        change what it returns: it is kept for the next. ``read`` may raise JournalError, and nothing may depend on
        anything but the journal and ``what``.
        """
        if name not in self._paths:
            return otherwise
        version = self.glanced.versions.get(name) if self.glanced is not None else None
        if version is None:
            with self._watching:
                version = self._version(name)
        known = self._kept.get(name)
        if known is not None and known[0] == version and what in known[1]:
            self._unreadable.pop(name, None)
            return known[1][what]  # type: ignore[no-any-return]
        made, sound = otherwise, False
        with self.journal(name) as journal:
            if journal is not None:
                made, sound = read(journal), True
        if sound and version is not None:  # it was asked before: what is kept is as new as it says, or newer
            with self._lock:
                known = self._kept.get(name)
                if known is None or known[0] != version or len(known[1]) >= _MAX_KEPT:
                    known = self._kept[name] = version, {}
                known[1][what] = made
        return made

    def followed(
        self, name: str, what: Hashable, read: Callable[[JournalReader, Answer | None], Answer], otherwise: Answer
    ) -> Answer:
        """Return what ``read`` makes of an agent's journal and of what it has made of it before; as `kept`.

        For what grows: only what is new must be read. It is given None at first, and for another file in its place; a
        file of which it sees that it has begun anew is its own to notice. It makes another object, and changes none.
        """
        place = place_of(self._paths[name]) if name in self._paths else None

        def read_on(journal: JournalReader) -> Answer:
            before = self._grown.get((name, what))
            made = read(journal, before[1] if before is not None and before[0] == place else None)
            self._grown[name, what] = place, made
            return made

        return self.kept(name, ("followed", what), read_on, otherwise)

    def glance(self, versions: tuple[Hashable, ...] = ()) -> Observed:
        """Return the same observatory for one look: whether anything has changed is asked now, and once for all.

        ``versions`` are what was just told, by `versions`.
        """
        looking, versions = copy.copy(self), versions or self.versions()
        looking.glanced = _Glance(versions, dict(zip(self.names, versions, strict=False)))
        looking._telescopes = tuple(each.glance() for each in self.telescopes)  # noqa: SLF001  of the same class
        return looking

    def running(self) -> dict[Path, bool | None]:
        """Return of each journal whether its agent has it open (`pyros.journal.running`); in a glance asked once."""
        if self.glanced is not None and self.glanced.alive is not None:
            return self.glanced.alive
        when, alive = self._running[0] if self._running else (-math.inf, {})
        if steady_seconds() - when > self.running_seconds:
            alive = self.look_who_runs()
        if self.glanced is not None:
            self.glanced.alive = alive
        return alive

    def look_who_runs(self) -> dict[Path, bool | None]:
        """Ask the kernel now who runs, as `running` tells it: the kernel stops every lock of the computer meanwhile."""
        alive = running(self._paths.values())
        self._running[:] = [(steady_seconds(), alive)]
        return alive

    def versions(self) -> tuple[Hashable, ...]:
        """Return what is another one after any commit of any agent, a hold, or a shift of the clock.

        A third of a millisecond for fifteen journals; nothing of them is read.
        """
        with self._watching:
            found: list[Hashable] = [self._version(name) for name in self.names]
        return (*found, (_stamp(self.holds.path), _stamp(self.config.clock_shift)))

    def _version(self, name: str) -> Hashable:
        path = self.path(name)
        place = place_of(path)
        known = self._watched.get(name)
        if known is not None and known[0] != place:
            self._watched.pop(name)[2].close()
            known = None
        if place is None:
            return None
        try:
            if known is None:
                reader = JournalReader(path)
                if reader.unchanging:  # nobody writes it now: it is looked at whether somebody has begun to
                    reader.close()
                    return place, _stamp(path)
                self._watches += 1  # a number of one connection says nothing of another's
                known = self._watched[name] = (place, self._watches, reader)
            return place, known[1], known[2].data_version()
        except JournalError:
            if name in self._watched:
                self._watched.pop(name)[2].close()
            return place, _stamp(path)

    def close(self) -> None:
        """Close all journals that nobody reads at this moment."""
        for each in self._telescopes or ():
            each.close()
        with self._watching:
            for _, _, watched in self._watched.values():
                watched.close()
            self._watched.clear()
        with self._lock:
            idle, self._idle = self._idle, {}
        for readers in idle.values():
            for _, reader in readers:
                reader.close()

    @contextmanager
    def _lend(self, name: str, kind: type[Reader]) -> Iterator[Reader | None]:
        path = self._paths.get(name)
        place = place_of(path) if path is not None else None
        if path is None or place is None:
            self._unreadable.pop(name, None)
            yield None
            return
        try:
            reader = self._take(name, place, kind) or kind(path)
        except JournalError as error:
            self._unreadable[name] = str(error)
            yield None
            return
        sound = False
        try:
            yield reader
            sound = True
            self._unreadable.pop(name, None)
        except JournalError as error:
            self._unreadable[name] = str(error)
        finally:
            if sound and not reader.unchanging:
                self._give_back(name, place, reader)
            else:
                reader.close()

    def _take(self, name: str, place: _Place, kind: type[Reader]) -> Reader | None:
        with self._lock:
            idle = self._idle.setdefault(name, [])
            old = [each for each in idle if each[0] != place]
            found = next((each for each in idle if each[0] == place and type(each[1]) is kind), None)
            idle[:] = [each for each in idle if each is not found and each not in old]
        for _, reader in old:
            reader.close()
        return found[1] if found is not None else None  # type: ignore[return-value]

    def _give_back(self, name: str, place: _Place, reader: JournalReader) -> None:
        with self._lock:
            idle = self._idle.setdefault(name, [])
            keep = len(idle) < _MAX_IDLE
            if keep:
                idle.append((place, reader))
        if not keep:
            reader.close()


def observed(settings: Config | str | os.PathLike[str] | None = None) -> Observed:
    """Return the views' way into an observatory: of a read configuration, or of the file that ``load`` finds.

    Raises ConfigError.
    """
    return Observed(settings if isinstance(settings, Config) else configuration.load(settings))


def site_of(seen: Observed) -> Site:
    """Return the site; raises ConfigError where the configuration names none."""
    if seen.site is None:
        raise ConfigError([f"{seen.config.path}: [observatory] site: missing; this view needs it"])
    return seen.site


def place_of(path: Path) -> _Place | None:
    """Return what tells a file from another one of its name; None for none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stamp(path: Path) -> Hashable:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class _ObservatorysClock:
    """The observatory's clock for who only looks: the computer's, shifted as the agents have noted it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._written, self._shift = -1, 0.0

    def time(self) -> float:
        if self._config.clock == "night":
            with suppress(OSError):
                written = self._config.clock_shift.stat().st_mtime_ns
                if self._written != written:
                    self._written, self._shift = written, self._config.shift_seconds()
        return system_time() + self._shift

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        return steady_seconds()

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        raise NotImplementedError("views only look")
