"""What views look at: one observatory's journals and archive, its clock and site, read only.

An `Observed` is made once and asked from any thread. It keeps journals open, since opening fifteen of them takes longer
than reading them; a journal that was put in another's place is opened anew. A journal that is missing, damaged or of
an earlier version never raises here: its part of a view is empty, and `Observed.problems` says why.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Hashable, Iterator
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
from pyros.journal import NOT_YOURS, JournalReader
from pyros.journal.events import EventReader
from pyros.prepared import prepared
from pyros.site import Site

_MAX_IDLE = 4
"""Connections to a journal that are kept for the next question."""

State = TypeVar("State")
Reader = TypeVar("Reader", bound=JournalReader)
_Place = tuple[int, int]


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
        self._watched: dict[str, tuple[_Place, JournalReader]] = {}
        self._watching = threading.Lock()

    def time(self) -> float:
        """Return the observatory's time, Unix seconds."""
        return self.clock.time()

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
        stored: bytes | None = None
        with self.journal(name) as journal:
            stored = journal.state() if journal is not None else None
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

    def versions(self) -> tuple[Hashable, ...]:
        """Return what is another one after any commit of any agent, a hold, or a shift of the clock.

        A third of a millisecond for fifteen journals; nothing of them is read.
        """
        with self._watching:
            found: list[Hashable] = [self._version(name) for name in self.names]
        return (*found, _stamp(self.holds.path), _stamp(self.config.clock_shift))

    def _version(self, name: str) -> Hashable:
        path = self.path(name)
        place = place_of(path)
        known = self._watched.get(name)
        if known is not None and known[0] != place:
            self._watched.pop(name)[1].close()
            known = None
        if place is None:
            return None
        try:
            if known is None:
                reader = JournalReader(path)
                if reader.unchanging:  # nobody writes it now: it is looked at whether somebody has begun to
                    reader.close()
                    return place, _stamp(path)
                known = self._watched[name] = (place, reader)
            return place, known[1].data_version()
        except JournalError:
            if name in self._watched:
                self._watched.pop(name)[1].close()
            return place, _stamp(path)

    def close(self) -> None:
        """Close all journals that nobody reads at this moment."""
        with self._watching:
            for _, watched in self._watched.values():
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
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stamp(path: Path) -> Hashable:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def shift_of(config: Config) -> float:
    """Return by how many seconds the agents have shifted the observatory's clock: 0 but for ``clock = night``."""
    if config.clock == "night":
        with suppress(OSError, ValueError):
            return float(config.clock_shift.read_text())
    return 0.0


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
                    self._written, self._shift = written, shift_of(self._config)
        return system_time() + self._shift

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        return steady_seconds()

    def call_later(self, seconds: float, function: Any, *args: Any) -> Timer:
        raise NotImplementedError("views only look")
