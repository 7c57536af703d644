"""The archive: every packet's raw bytes, when and from where it came, what it says, and the event it belongs to.

SQLite through SQLAlchemy Core; PostgreSQL can take its place (nothing here is SQLite's own but what `Words` and
`_Exclusive` hide). It is no place of truth: what fills it keeps its own durable store, and the archive remembers with
each group of packets how far it has read there. So a group is there once, or not yet, whatever is killed.
"""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from pyros.alerts.alert import Alert
from pyros.alerts.archive import healpix, migrations
from pyros.alerts.archive.tables import FORMAT, citations, cursors, meta, metadata, names, packets, raw
from pyros.alerts.archive.text_index import PostgresqlTextIndex, SqliteTextIndex, TextIndex, add_to_index, words_of
from pyros.alerts.formats import event_keys
from pyros.alerts.identity import links
from pyros.alerts.parse import parse
from pyros.errors import AlertError, JournalError
from pyros.files import read_only_database

MAX_PARAMETERS = 500
"""Values in one IN (...)."""
_COMPRESSION = 3


class Packet(msgspec.Struct, frozen=True):
    """A packet to be archived. ``received`` is Unix seconds; None: when its author wrote it, else ``otherwise``.

    Where ``otherwise``, a file's time, is over a day after the event, it is that of a copy: the event's stands for it.
    """

    packet: bytes
    """The bytes as they came."""
    source: str
    """Where it came from, such as ``author 10.0.0.1``."""
    received: float | None = None
    """When it came, Unix seconds; None when that isn't known."""
    otherwise: float = 0.0
    """When it came, Unix seconds, where it doesn't say itself when it was written."""
    topic: str = ""
    """The Kafka topic it came on."""
    refused: str = ""
    """Why it was not taken for an alert when it came."""


class Cursor(msgspec.Struct, frozen=True):
    """The place up to which an origin's own store (of that ``epoch``) has been read."""

    origin: str
    """Whose store it is."""
    epoch: str
    """Id of that store."""
    number: int
    """Number of the last packet that was read."""


class ArchiveResult(msgspec.Struct, frozen=True):
    """The result of archiving a group of packets."""

    new: int = 0
    """Packets that are new."""
    known: int = 0
    """Packets that were there already."""
    not_understood: int = 0
    """Of the new ones; or those that were left out."""


class Archive:
    """The writing side of an archive. For one thread at a time; several processes may write to one archive in turn."""

    def __init__(self, where: Path | str, older: Callable[[int, int], None] = lambda _done, _of: None) -> None:
        """Open or make an archive; one of an older format is brought up to date, in one transaction.

        Args:
            where: an SQLite file, or a database URL as SQLAlchemy takes it (``postgresql+psycopg://...``).
            older: while it is brought up to date, told of how many packets of how many that is done; what it raises
                ends it, and then nothing has happened.

        Raises:
            JournalError: it cannot be opened or made, or is of another format.
        """
        self.where = shown(where)
        self._older = older
        self._engine = engine(where)
        self._words = text_index_for(self._engine)
        self._exclusive = _Exclusive(self._engine)
        try:
            self._make()
        except JournalError:
            self.close()
            raise

    def _make(self) -> None:
        with self.writing() as connection:
            metadata.create_all(connection)
            found = connection.execute(sa.select(meta.c.format)).scalar()
            if found is None:
                connection.execute(meta.insert().values(format=FORMAT))
                return
            if found == 1:
                migrations.from_format_1(connection, self._words, self._older)
            if found in {1, 2}:
                migrations.from_format_2(connection, self._older)
            elif found != FORMAT:
                raise JournalError(f"{self.where}: an archive of format {found}, this PYROS has {FORMAT}")

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction as the only writer; raises JournalError when it fails, and then nothing is written."""
        try:
            with self._exclusive.held(), self._engine.begin() as connection:
                self._exclusive.lock(connection)
                yield connection
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise unusable(self.where, error) from None

    def cursor(self, origin: str) -> Cursor:
        """Return how far that origin has been read; number 0 of epoch '' if never."""
        try:
            with self._engine.connect() as connection:
                row = connection.execute(sa.select(cursors).where(cursors.c.origin == origin)).first()
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None
        return Cursor(*row) if row else Cursor(origin, "", 0)

    def store(
        self, group: Sequence[Packet], cursor: Cursor | None = None, *, only_alerts: bool = False
    ) -> ArchiveResult:
        """Archive packets, and note how far their origin has been read, in one transaction.

        Bytes that are there already are left out; with ``only_alerts`` also what cannot be understood. Raises
        JournalError, and then nothing has happened.
        """
        with_digests = [(packet, sha256(packet.packet).digest()) for packet in group]
        there = self._known([digest for _, digest in with_digests])  # not to be understood once more
        read = [_Row(packet, digest) for packet, digest in with_digests if digest not in there]
        before = len(group) - len(read)
        bad = sum(row.alert is None for row in read) if only_alerts else 0
        if bad:
            read = [row for row in read if row.alert is not None]
        with self.writing() as connection:
            digests = [row.sha256 for row in read]
            known = set(_among(connection, packets.c.sha256, digests, packets.c.sha256))  # another may have written
            new: list[_Row] = []
            number = connection.execute(sa.select(sa.func.max(packets.c.number))).scalar() or 0
            for row in read:
                if row.sha256 not in known:
                    known.add(row.sha256)
                    number += 1
                    row.number = number
                    new.append(row)
            if new:
                self._insert(connection, new)
            if cursor is not None:
                connection.execute(cursors.delete().where(cursors.c.origin == cursor.origin))
                connection.execute(cursors.insert().values(**msgspec.structs.asdict(cursor)))
        return ArchiveResult(len(new), before + len(read) - len(new), bad or sum(row.alert is None for row in new))

    def _known(self, digests: list[bytes]) -> set[bytes]:
        try:
            with self._engine.connect() as connection:
                return set(_among(connection, packets.c.sha256, digests, packets.c.sha256))
        except sa.exc.SQLAlchemyError as error:
            raise unusable(self.where, error) from None

    def _insert(self, connection: sa.Connection, new: list[_Row]) -> None:
        connection.execute(packets.insert(), [row.columns() for row in new])
        compressed = [{"number": row.number, "packet": zlib.compress(row.packet.packet, _COMPRESSION)} for row in new]
        connection.execute(raw.insert(), compressed)
        cited = [{"packet": row.number, "cited": ivorn} for row in new for ivorn in row.cited]
        if cited:
            connection.execute(citations.insert(), cited)
        add_to_index(connection, self._words, [(row.number, row.received, row.words()) for row in new])
        _join(connection, [row for row in new if row.alert is not None and not row.packet.refused])

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._engine.dispose()
        self._exclusive.close()


class _Row:
    """A packet, understood as far as it can be."""

    def __init__(self, packet: Packet, digest: bytes) -> None:
        self.packet = packet
        self.number = 0
        self.sha256 = digest
        self.alert: Alert | None = None
        self.error: str | None = None
        try:
            self.alert = parse(packet.packet, topic=packet.topic)
        except AlertError as error:
            self.error = str(error)
        self.error = packet.refused or self.error
        alert = self.alert
        self.identity = alert.id if alert else f"sha256:{self.sha256.hex()}"
        self.key = alert.event if alert else self.identity
        found = links(alert.event, alert.role, alert.citations, alert.names, alert.related) if alert else ()
        named = {event_keys.packet_of_ivorn(ivorn) for ivorn, _ in alert.citations} if alert else set()
        self.cited = [link for link in found if link in named]
        self.keys = {self.key, *map(event_keys.event_of_ivorn, self.cited), *(set(found) - named)}
        self.received = _written(alert, packet.otherwise) if packet.received is None else packet.received

    def columns(self) -> dict[str, Any]:
        alert, packet = self.alert, self.packet
        target = alert.target if alert else None
        return {
            "number": self.number,
            "identity": self.identity,
            "sha256": self.sha256,
            "source": packet.source,
            "topic": packet.topic,
            "received": self.received,
            "size": len(packet.packet),
            "stream": alert.stream if alert else "",
            "role": alert.role if alert else "",
            "kind": alert.kind if alert else "",
            "key": self.key,
            "time": alert.time.timestamp() if alert and alert.time else None,
            "ra": target[0] if target else None,
            "dec": target[1] if target else None,
            "cell": healpix.cell(*target) if target else None,
            "alert": msgspec.json.encode(alert) if alert else None,
            "error": self.error,
        }

    def words(self) -> list[str]:
        alert = self.alert
        more = (alert.stream, alert.event, alert.notice_type, alert.id) if alert else ()
        return words_of(self.packet.packet, *more)


def _join(connection: sa.Connection, new: list[_Row]) -> None:
    """Give the packets' keys their events, and make one event of those that citations connect, in either direction."""
    ids = {row.identity for row in new}
    cited = {ivorn for row in new for ivorn in row.cited}
    keys_of = {row.identity: {row.key} for row in new}
    for identity, key in _among(connection, packets.c.identity, cited, packets.c.identity, packets.c.key):
        keys_of.setdefault(identity, set()).add(key)
    related = {row.number: set(row.keys) for row in new}
    for row in new:
        for ivorn in row.cited:
            related[row.number] |= keys_of.get(ivorn, set())
    citing: dict[str, set[str]] = {}
    both = citations.join(packets, packets.c.number == citations.c.packet)
    for ivorn, key in _among(connection, citations.c.cited, ids, citations.c.cited, packets.c.key, source=both):
        citing.setdefault(ivorn, set()).add(key)
    for row in new:
        related[row.number] |= citing.get(row.identity, set())
    every = set().union(*related.values()) if related else set()
    events: dict[str, str] = dict(_among(connection, names.c.key, every, names.c.key, names.c.event))
    before = dict(events)
    for row in new:
        mine = related[row.number]
        known = sorted({events[key] for key in mine if key in events})
        name = events.get(row.key) or (known[0] if known else row.key)
        for key in [key for key, event in events.items() if event in known]:
            events[key] = name
        events |= dict.fromkeys(mine, name)
        for other in known:
            if other != name:  # keys that are not in this group
                connection.execute(names.update().where(names.c.event == other).values(event=name))
    fresh = [{"key": key, "event": event} for key, event in events.items() if key not in before]
    if fresh:
        connection.execute(names.insert(), fresh)


def _among(
    connection: sa.Connection, column: Any, wanted: Iterable[Any], *columns: Any, source: Any = None
) -> list[Any]:
    """Select the rows whose column has one of many values; single values where one column is asked for."""
    values = list(wanted)
    found: list[Any] = []
    for start in range(0, len(values), MAX_PARAMETERS):
        query = sa.select(*columns).where(column.in_(values[start : start + MAX_PARAMETERS]))
        if source is not None:
            query = query.select_from(source)
        found += connection.execute(query).all()
    return [row[0] for row in found] if len(columns) == 1 else [tuple(row) for row in found]


class _Exclusive:
    """A lock that lets one process write at a time.

    SQLite below 3.51.3 can corrupt a WAL file when two connections write or checkpoint at the same moment, so there a
    lock file goes around the whole transaction with its checkpoint.
    """

    def __init__(self, engine_: sa.Engine) -> None:
        self._file = None
        self._postgresql = engine_.dialect.name == "postgresql"
        if engine_.dialect.name == "sqlite" and engine_.url.database not in {None, "", ":memory:"}:
            path = Path(str(engine_.url.database))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.with_suffix(".lock").open("ab")
            except OSError as error:
                raise unusable(str(path), error) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def lock(self, connection: sa.Connection) -> None:
        if self._postgresql:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(79879283)"))  # any number of our own

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def engine(where: Path | str, *, read_only: bool = False) -> sa.Engine:
    """Make the engine of a file or URL; raises JournalError for a wrong URL, or one whose driver isn't installed."""
    try:
        if "://" in str(where):
            made = sa.create_engine(str(where))
        elif read_only:
            made = sa.create_engine(f"sqlite:///{read_only_database(Path(where))}&uri=true")
        else:
            made = sa.create_engine(sa.URL.create("sqlite", database=str(Path(where).absolute())))
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise unusable(shown(where), error) from None
    if made.dialect.name == "sqlite" and not read_only:
        sa.event.listen(made, "connect", _prepare)
    return made


def shown(where: Path | str) -> str:
    """Return an archive's place for people: the URL of a database without its password."""
    try:
        return sa.make_url(str(where)).render_as_string() if "://" in str(where) else str(where)
    except sa.exc.SQLAlchemyError:
        return str(where).partition("://")[0] + "://..."


def text_index_for(engine_: sa.Engine) -> TextIndex:
    """Return the text index for that kind of database; raises JournalError for other kinds than the two."""
    match engine_.dialect.name:
        case "sqlite":
            return SqliteTextIndex()
        case "postgresql":
            return PostgresqlTextIndex()
        case other:
            raise JournalError(f"the archive can be in SQLite or PostgreSQL, not in {other}")


def unusable(where: str, error: Exception) -> JournalError:
    """Return the error to raise when the database fails: one line."""
    reason = getattr(error, "orig", None) or error
    return JournalError(f"{where}: the archive cannot be used: {' '.join(str(reason).split())[:300]}")


def _prepare(connection: Any, _record: Any) -> None:
    # Not FULL: after a power cut the last groups may be gone together with their cursor, and are read again.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _written(alert: Alert | None, otherwise: float) -> float:
    """Estimate when a packet came whose arrival is not known, Unix seconds."""
    if alert is not None and alert.sent is not None:
        return alert.sent.timestamp()
    if alert is not None and alert.time is not None and otherwise > alert.time.timestamp() + 86_400:
        return alert.time.timestamp()
    return otherwise
