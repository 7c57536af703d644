"""The hold: a person's word that nothing opens, slews or exposes for the automation, until a person releases it.

It is one small file in the data folder, which every process of the observatory looks at before it moves anything, so
that it survives the restart of any of them in any order and needs no journal. A file that is there and cannot be read
holds, too. *Service by hand* is a hold under which persons may move the devices; it ends by itself.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import msgspec

from pyros.clock import Clock
from pyros.files import atomic_write
from pyros.prepared import prepared
from pyros.unique import boot_id

FILE = "hold.json"
_SAME_SECONDS = 10.0  # two orders of service that end so close to each other are one


class Hold(msgspec.Struct, frozen=True):
    """Who holds the observatory, why, and since when (Unix seconds)."""

    who: str
    """The person."""
    why: str
    """Why, for people."""
    when: float
    """When it began, Unix seconds."""
    said: float = -math.inf
    """The same as monotonic seconds of the computer's start ``boot``: no release that was said before ends it."""
    boot: str = ""
    """Id of the computer's run in which it began."""

    def is_newer(self, said: float) -> bool:
        """Whether it began after that instant (monotonic seconds); True when that cannot be known."""
        return said == -math.inf or (self.boot == boot_id() and self.said > said)

    def __str__(self) -> str:
        return f"held by {self.who}: {self.why}"


class ServiceMode(msgspec.Struct, frozen=True):
    """Who works on the devices by hand, why, since when (Unix seconds), and until when (monotonic seconds)."""

    who: str
    """The person."""
    why: str
    """Why, for people."""
    when: float
    """When it began, Unix seconds."""
    until: float
    """When it ends, monotonic seconds."""
    boot: str = ""
    """The computer's start that ``until`` counts from: the next one ends the service."""

    def __str__(self) -> str:
        return f"service by {self.who}: {self.why}"


class _Content(msgspec.Struct):
    hold: Hold | None = None
    service: ServiceMode | None = None


class Holds:
    """The hold and the service of one data folder. Any thread may ask; every look costs one ``stat``."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.path = data / FILE
        self._place = str(self.path)
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._content = _Content()
        self._unsaved = _Content()
        """What could not be written (the disk is full); it counts all the same while this process lives."""

    @property
    def hold(self) -> Hold | None:
        """The hold that the automation obeys; a service is one, too."""
        content = self._read()
        service = self._lasting(content)
        hold = self._unsaved.hold or content.hold
        return hold or (Hold(service.who, f"service: {service.why}", service.when) if service else None)

    @property
    def service(self) -> ServiceMode | None:
        """The service by hand, while it lasts."""
        return self._lasting(self._read())

    def _lasting(self, content: _Content) -> ServiceMode | None:
        service = self._unsaved.service or content.service
        lasts = service is not None and service.boot == boot_id() and self._clock.monotonic() < service.until
        return service if lasts else None

    def service_left(self) -> float:
        """Seconds until the service ends by itself; 0 when there is none."""
        service = self.service
        return 0.0 if service is None else max(0.0, service.until - self._clock.monotonic())

    def set(self, who: str, why: str) -> Hold:
        """Hold the observatory. Returns the hold that counts: the one that was there, if it says the same.

        Raises OSError when it cannot be written; it counts in this process all the same.
        """
        held = self._unsaved.hold or self._read().hold
        if held is not None and (held.who, held.why) == (who, why):
            return held
        hold = Hold(who, why, self._clock.time(), self._clock.monotonic(), boot_id())
        self._write(_Content(hold, self.service))
        return hold

    def serve(self, who: str, why: str, until: float) -> ServiceMode:
        """Begin a service by hand until then (monotonic seconds). Returns the one that counts.

        Raises OSError as `set` does.
        """
        there = self.service
        if there is not None and (there.who, there.why) == (who, why) and abs(there.until - until) < _SAME_SECONDS:
            return there
        service = ServiceMode(who, why, self._clock.time(), until, boot_id())
        self._write(_Content(self._unsaved.hold or self._read().hold, service))
        return service

    def release(self, said: float = math.inf) -> bool:
        """End hold and service, unless the hold began after ``said`` (monotonic seconds); whether they have ended.

        Raises OSError when the file cannot be removed: then they go on.
        """
        hold = self._unsaved.hold or self._read().hold
        if hold is not None and said != math.inf and hold.is_newer(said):
            return False
        self.path.unlink(missing_ok=True)
        self._unsaved = _Content()
        return True

    def _write(self, content: _Content) -> None:
        self._unsaved = content
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path, shared=True) as partial:
            partial.write_bytes(msgspec.json.encode(content))
        self._unsaved = _Content()

    def _read(self) -> _Content:
        try:
            there = os.stat(self._place)
            key = (there.st_mtime_ns, there.st_ino, there.st_size)
            if key != self._seen:
                self._content = msgspec.json.decode(self.path.read_bytes(), type=prepared(_Content))
                self._seen = key
        except FileNotFoundError:
            self._content, self._seen = _Content(), None
        except (OSError, ValueError) as error:  # somebody wanted to hold it
            self._content = _Content(Hold("somebody", f"{self.path} cannot be read: {error}", self._clock.time()))
            self._seen = None
        return self._content
