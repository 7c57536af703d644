"""The frames: what must agree on every page, made once for everybody, with a number, when the observatory has changed.

While somebody listens, a thread of its own looks five times a second whether a journal has changed; else it is looked
when a page is asked for. Every two seconds another thread looks whether the observatory is there at all.
News is pushed to who subscribes (`pyros.console.live`), in the reactor's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from twisted.logger import Logger

from pyros.clock import steady_seconds
from pyros.errors import PyrosError

log = Logger("console")
LOOK_SECONDS = 0.2
PULSE_SECONDS = 2.0
OLDEST_SECONDS = 5.0
"""A frame is made anew after so long, though no journal has changed: what only time changes is in it, too."""


class FrameSource(Protocol):
    """What frames are made of. Any thread may call its methods."""

    def changed(self) -> bool:
        """Whether there is news since the last call. Cheap; called by one thread at a time."""
        ...

    def frame(self, number: int) -> msgspec.Struct:
        """Return the frame of now, with that number. Raises PyrosError."""
        ...

    def head(self) -> msgspec.Struct:
        """Return as much of the frame of now as stands at the head of every page. Raises PyrosError."""
        ...

    def panels(self, frame: Any) -> Mapping[str, str]:
        """Return the HTML of the parts of pages that show it, by name."""
        ...

    def alive(self) -> bool:
        """Whether any part of the observatory answers. Takes a second at most."""
        ...


class PublishedFrame(msgspec.Struct, frozen=True):
    """A frame as it goes to browsers."""

    number: int
    """Counts from 1 for each start of the console."""
    frame: Any
    """The frame."""
    panels: Mapping[str, str]
    """The HTML of the parts that show it."""
    made: float
    """When it was begun to be made: monotonic seconds."""


Listener = Callable[[str, bytes], None]
"""Takes an event's name and its data, JSON, in the reactor's thread."""


class Feed:
    """Makes the frames. `latest` and `heard_ago` are for any thread; `subscribe` for the reactor's."""

    def __init__(self, source: FrameSource, in_reactor: Callable[..., Any]) -> None:
        """``in_reactor`` calls a function in the reactor's thread: its ``callFromThread``."""
        self._source, self._in_reactor = source, in_reactor
        self._listeners: set[Listener] = set()
        self._ending, self._wanted = threading.Event(), threading.Event()
        self._making, self._looking = threading.Lock(), threading.Lock()
        self._published: PublishedFrame | None = None
        self._head: PublishedFrame | None = None
        self._told: PublishedFrame | None = None
        self._changed = 0.0
        """When news was seen last, monotonic seconds: a frame that was begun earlier may lack it."""
        self._heard = steady_seconds()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="console-feed", daemon=True)
        self._pulse = threading.Thread(target=self._listen, name="console-pulse", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()
        self._pulse.start()

    def stop(self) -> None:
        """End both threads; returns when they have ended. In a thread but theirs."""
        self._ending.set()
        self._wanted.set()
        for thread in (self._thread, self._pulse):
            if thread.is_alive():
                thread.join()

    @property
    def latest(self) -> PublishedFrame:
        """The frame of now; made here where there is news. Raises PyrosError where none can be made."""
        self._look()
        published = self._published
        return self._make() if published is None or self._is_old(published) else published

    @property
    def head(self) -> PublishedFrame:
        """The frame of now, or, where there is news, its head alone, without a number. Raises PyrosError."""
        self._look()
        with self._making:
            for published in (self._published, self._head):
                if published is not None and not self._is_old(published):
                    return published
            began = steady_seconds()
            head = self._source.head()
            self._head = PublishedFrame(0, head, self._source.panels(head), began)
            return self._head

    def refresh(self) -> None:
        """Have a frame made now and everybody told, for something was done that must be seen. Waits for nothing."""
        self._wanted.set()

    @property
    def heard_ago(self) -> float:
        """Seconds since the observatory has answered."""
        return steady_seconds() - self._heard

    def pulse(self) -> bytes:
        """Return the data of an event ``pulse``: that the console is there, and since when the observatory is not."""
        return msgspec.json.encode({"heard": round(self.heard_ago, 1), "problem": self._problem})

    def news(self) -> bytes:
        """Return the data of an event ``frame``. Raises PyrosError."""
        return _news(self.latest)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener told every event; returns what ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wanted.wait(LOOK_SECONDS)
            self._wanted.clear()
            if self._ending.is_set() or not self._listeners:
                continue
            try:
                published = self.latest
                if published is not self._told:  # a page may have had it made
                    self._tell("frame", _news(published))
                    self._told = published
                self._problem = ""
            except PyrosError as error:
                self._failed(str(error))
            except Exception:  # a mistake of ours must not end the news of the night
                log.failure("no frame can be made")
                self._failed("no frame can be made; see the console's log")

    def _look(self) -> None:
        with self._looking:
            if self._source.changed():
                self._changed = steady_seconds()

    def _is_old(self, published: PublishedFrame) -> bool:
        return published.made < self._changed or steady_seconds() - published.made > OLDEST_SECONDS

    def _failed(self, problem: str) -> None:
        if problem != self._problem:
            log.error("{problem}", problem=problem)
        self._problem = problem

    def _listen(self) -> None:
        while True:
            if self._source.alive():
                self._heard = steady_seconds()
            self._tell("pulse", self.pulse())
            if self._ending.wait(PULSE_SECONDS):
                return

    def _make(self) -> PublishedFrame:
        """Return a frame with all that was seen to change: that of another thread, which has made it, or one's own."""
        with self._making:
            if self._published is not None and not self._is_old(self._published):
                return self._published
            began = steady_seconds()
            number = 1 + (self._published.number if self._published else 0)
            frame = self._source.frame(number)
            self._published = PublishedFrame(number, frame, self._source.panels(frame), began)
            return self._published

    def _tell(self, event: str, data: bytes) -> None:
        if not self._ending.is_set():
            self._in_reactor(self._tell_all, event, data)

    def _tell_all(self, event: str, data: bytes) -> None:
        for listener in tuple(self._listeners):
            listener(event, data)


def _news(published: PublishedFrame) -> bytes:
    return msgspec.json.encode({"number": published.number, "frame": published.frame, "panels": dict(published.panels)})
