"""From the broker's journal into the archive: after the commit, in small groups, never in the way of an author.

The journal is what is true; the archive notes with each group how far it has read, in the same transaction. Whatever is
killed, and whenever, the next start goes on there: every event that was acknowledged gets into the archive, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyros.broker.store import EventStore
from pyros.clock import cancel_call
from pyros.errors import JournalError
from pyros.journal.events import EventReader
from pyros.reactor import Reactor

if TYPE_CHECKING:
    from pyros.alerts.archive.archive import Archive

AFTER = 1.0
"""Seconds that an event waits: first the telescope is told, then it is archived."""
GROUP = 64
FEW = 8
"""The same while events come in: what understands packets holds up who takes them, so it does so for 20 ms at most."""
SHARE = 0.05
"""How much of the time is spent on archiving while events come in; when none do, it catches up."""
_PATIENCE = 30.0  # seconds before the archive is tried again when it fails

_ORIGINS = {"broker": False, "broker, refused": True}
"""The names of the archive's cursors, and whether they are in the packets that were rejected or in the events."""

log = Logger(namespace="pyros.archive")


class _Done(NamedTuple):
    """What one step has done: how many packets, in how many seconds."""

    packets: int
    seconds: float


class Archiving:
    """Fills the archive from a broker's store. Every method is for the reactor's thread."""

    def __init__(self, reactor: Reactor, store: EventStore, archive: Path | str) -> None:
        """Nothing is opened before the first step, which runs in the reactor's thread pool."""
        self._reactor, self._store = reactor, store
        self._filler = ArchiveFiller(store.journal.path, store.journal.epoch, archive)
        self._call: Any = None
        self._running: Deferred[None] | None = None
        self._poked = False
        self._limit = GROUP
        self._stopping = False
        self._failing = ""

    def poke(self) -> None:
        """There may be something to archive. Called at the start too: the last process may have left something."""
        self._poked = True
        if self._running is None and (self._call is None or not self._call.active()):
            self._later(AFTER)

    def stop(self) -> Deferred[None]:
        """Stop archiving; fires when the step that runs has ended and the archive is closed.

        What is not archived yet waits in the journal.
        """
        self._stopping = True
        self._filler.hurry()
        cancel_call(self._call)
        waited = self._running or succeed(None)
        return waited.addCallback(lambda _: self._filler.close())

    def _later(self, seconds: float) -> None:
        if not self._stopping:
            self._call = self._reactor.callLater(seconds, self._step)

    def _step(self) -> None:
        self._limit = FEW if self._poked else GROUP
        self._poked = False
        pool, clock = self._reactor.getThreadPool(), self._reactor.seconds
        self._running = Deferred()  # before the step, which in a rehearsal has ended when this returns
        deferToThreadPool(self._reactor, pool, self._filler.step, clock, self._limit).addCallbacks(
            self._stepped, self._failed
        )

    def _stepped(self, done: _Done) -> None:
        self._failing = ""
        if self._poked:  # events come in: they go first
            self._later(max(AFTER, done.seconds / SHARE) if done.packets < self._limit else done.seconds / SHARE)
        elif done.packets:
            self._later(0)
        self._ended()

    def _failed(self, failure: Failure) -> None:
        """Log once why the archive cannot be written, and try again later: no alert depends on it."""
        reason = str(failure.value)
        if not isinstance(failure.value, JournalError):
            log.failure("alerts could not be archived; it is tried again", failure)
        elif reason != self._failing and not self._stopping:
            log.error("alerts wait to be archived, and none is lost: {reason}", reason=reason)
        self._failing = reason
        self._later(_PATIENCE)
        self._ended()

    def _ended(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.callback(None)


class ArchiveFiller:
    """The part that blocks; its steps run one after the other, each in any thread."""

    def __init__(self, journal: Path, epoch: str, where: Path | str) -> None:
        self._journal, self._epoch, self._where = journal, epoch, where
        self._archive: Archive | None = None
        self._reader: EventReader | None = None
        self._at: dict[str, int] = {}
        self._hurrying = False

    def step(self, seconds: Any, limit: int) -> _Done:
        """Archive so many packets of each table. Raises JournalError; then the same group is taken again."""
        from pyros.alerts.archive import healpix  # noqa: PLC0415  slow to load: not while starting
        from pyros.alerts.archive.archive import Archive, Cursor, Packet  # noqa: PLC0415

        if self._reader is None:
            self._reader = EventReader(self._journal)
        if self._archive is None:
            self._archive = Archive(self._where, self._older)
            healpix.cell(0.0, 0.0)  # loads what takes a second to load: now, not beside the first alert
        began, count = seconds(), 0
        for origin, rejected in _ORIGINS.items():
            if origin not in self._at:
                cursor = self._archive.cursor(origin)
                self._at[origin] = cursor.number if cursor.epoch == self._epoch else 0
            rows = self._reader.archivable(self._at[origin], limit, rejected=rejected)
            if rows:
                group = [
                    Packet(row.packet, row.source, row.received, topic=row.topic, refused=row.refused) for row in rows
                ]
                self._archive.store(group, Cursor(origin, self._epoch, rows[-1].number))
                self._at[origin] = rows[-1].number
                count += len(rows)
        return _Done(count, seconds() - began)

    def hurry(self) -> None:
        """End a migration of the archive that is under way, so that a broker that stops need not wait for it."""
        self._hurrying = True

    def _older(self, done: int, of: int) -> None:
        if self._hurrying:
            raise JournalError("the broker stops; the archive is brought up to date at its next start")
        log.info("bringing the archive up to date: {done} of {of} packets are done", done=done, of=of)

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
        if self._reader is not None:
            self._reader.close()
