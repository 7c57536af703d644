"""A transport for kombu on one SQLite file: Celery without a server, where a task is lost by no kill -9.

`TRANSPORT` is its name in a broker's URL: ``pyros:////observatory/var/celery/broker.sqlite``. A message that is taken
stays in the file, leased by the worker that took it, until it is acknowledged. It is free again when the worker's lock
is gone (`pyros.jobs.leases`): no time-out can be too short for a long task. Celery's words for what it takes: late
acknowledgement. Queues, bindings and revoked tasks are in the file, too, so that a revoke survives a restart.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import unquote

from kombu.transport import TRANSPORT_ALIASES, virtual

from pyros.clock import steady_seconds, system_time
from pyros.jobs.leases import Lease, SharedDatabase, is_held

TRANSPORT = "pyros"
MAX_DELIVERIES = 5
"""A message whose workers were killed so many times is put aside, in the queue ``dead.QUEUE``: it may kill them."""
_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.02
_REVOKED_DAYS = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, priority INTEGER NOT NULL, task TEXT NOT NULL,
    until REAL, lease TEXT, deliveries INTEGER NOT NULL DEFAULT 0, payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS messages_free ON messages (queue, priority DESC, number) WHERE lease IS NULL;
CREATE INDEX IF NOT EXISTS messages_leased ON messages (lease) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS bindings (
    exchange TEXT NOT NULL, routing_key TEXT NOT NULL, pattern TEXT NOT NULL, queue TEXT NOT NULL,
    PRIMARY KEY (exchange, routing_key, pattern, queue)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queues (
    name TEXT PRIMARY KEY, seconds REAL, passing INTEGER NOT NULL, owner TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revoked (task TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""


class Store:
    """The file: what is done with it, each in one transaction. For any thread."""

    def __init__(self, path: Path) -> None:
        self._db = SharedDatabase(path, _SCHEMA)
        self._process = os.getpid()
        self._leases = path.with_name(f"{path.name}.leases")
        self._lease: Lease | None = None
        self._look_due = 0.0

    def declare(self, queue: str, seconds: float | None, passing: bool) -> None:
        """Enter a queue: its messages are valid for so long, and a passing one goes with the process that reads it."""
        if not self._db.rows("SELECT 1 FROM queues WHERE name = ?", queue):
            with self._db.transaction() as db:
                db.execute("INSERT OR IGNORE INTO queues VALUES (?, ?, ?, NULL)", (queue, seconds, passing))

    def own(self, queue: str) -> None:
        """Note who reads a passing queue."""
        if self._db.rows("SELECT 1 FROM queues WHERE name = ? AND passing AND owner IS NOT ?", queue, self.lease):
            with self._db.transaction() as db:
                db.execute("UPDATE queues SET owner = ? WHERE name = ?", (self.lease, queue))

    def bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Enter a binding."""
        binding = (exchange, routing_key, pattern, queue)
        if binding not in self.table(exchange, with_exchange=True):
            with self._db.transaction() as db:
                db.execute("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?, ?)", binding)

    def table(self, exchange: str, with_exchange: bool = False) -> list[Any]:
        """Return an exchange's bindings: routing key, pattern, queue."""
        rows = self._db.rows("SELECT exchange, routing_key, pattern, queue FROM bindings WHERE exchange = ?", exchange)
        return rows if with_exchange else [row[1:] for row in rows]

    def put(self, queues: list[str], priority: int, task: str, payload: dict[str, Any]) -> None:
        """Add a message to each queue; it is on disk when this returns."""
        text, now = json.dumps(payload), system_time()
        with self._db.transaction() as db:
            for queue in queues:
                [seconds] = db.execute("SELECT seconds FROM queues WHERE name = ?", (queue,)).fetchone() or (None,)
                until = None if seconds is None else now + seconds
                if seconds is not None:  # nobody may be reading there any more
                    db.execute("DELETE FROM messages WHERE queue = ? AND until < ?", (queue, now))
                db.execute(
                    "INSERT INTO messages (queue, priority, task, until, payload) VALUES (?, ?, ?, ?, ?)",
                    (queue, priority, task, until, text),
                )

    def take(self, queue: str, keep: bool) -> dict[str, Any] | None:
        """Return the next message and lease it; with ``keep`` False it is deleted at once. None: there is none."""
        if steady_seconds() >= self._look_due:
            self._look_due = steady_seconds() + _LOOK_SECONDS
            self._free_orphans()
        if not self._db.rows("SELECT 1 FROM messages WHERE queue = ? AND lease IS NULL LIMIT 1", queue):
            return None
        lease, now = self.lease, system_time()
        with self._db.transaction() as db:
            while True:
                row = db.execute(
                    "SELECT number, deliveries, payload, until < ? OR task IN (SELECT task FROM revoked) FROM messages"
                    " WHERE queue = ? AND lease IS NULL ORDER BY priority DESC, number LIMIT 1", (now, queue),
                ).fetchone()  # fmt: skip
                if row is None:
                    return None
                number, deliveries, text, gone = row
                if keep and not gone:
                    db.execute("UPDATE messages SET lease = ? WHERE number = ?", (lease, number))
                else:
                    db.execute("DELETE FROM messages WHERE number = ?", (number,))
                if not gone:
                    break
        payload: dict[str, Any] = json.loads(text)
        payload["properties"]["delivery_tag"] = number
        payload["properties"]["delivery_info"]["redelivered"] = deliveries > 0
        return payload

    def done(self, number: int) -> None:
        """Delete a message that was acknowledged."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM messages WHERE number = ?", (number,))

    def free(self, numbers: list[int], again: bool) -> None:
        """Give messages back; ``again``: their worker failed with them, which counts."""
        if self._process != os.getpid():
            return
        with self._db.transaction() as db:
            for number in numbers:
                db.execute(
                    "UPDATE messages SET lease = NULL, deliveries = deliveries + ? WHERE number = ? AND lease = ?",
                    (again, number, self.lease),
                )
            _put_aside(db)

    def revoke(self, tasks: list[str]) -> list[str]:
        """Keep tasks from beginning, for ever; returns those that were waiting here."""
        with self._db.transaction() as db:
            gone = []
            for task in tasks:
                db.execute("INSERT OR IGNORE INTO revoked VALUES (?, ?)", (task, system_time()))
                deleted = db.execute("DELETE FROM messages WHERE task = ? AND lease IS NULL RETURNING task", (task,))
                gone += [task] * bool(deleted.fetchall())
            db.execute("DELETE FROM revoked WHERE at < ?", (system_time() - _REVOKED_DAYS * 86_400,))
        return gone

    def purge(self, queue: str) -> int:
        """Delete what waits in a queue; returns how many there were."""
        with self._db.transaction() as db:
            return db.execute("DELETE FROM messages WHERE queue = ? AND lease IS NULL", (queue,)).rowcount

    def delete(self, queue: str) -> None:
        """Delete a queue and its bindings."""
        with self._db.transaction() as db:
            _delete_queue(db, queue)

    def size(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        [(count,)] = self._db.rows("SELECT count(*) FROM messages WHERE queue = ? AND lease IS NULL", queue)
        return int(str(count))

    def has(self, queue: str) -> bool:
        """Return whether a queue was declared."""
        return bool(self._db.rows("SELECT 1 FROM queues WHERE name = ?", queue))

    @property
    def lease(self) -> str:
        """This process's lease, taken when it is first needed."""
        if self._lease is None:
            self._lease = Lease(self._leases)
        return self._lease.name

    def close(self) -> None:
        """Give everything back, and close the file; nothing in a forked process, whose parent goes on with it."""
        if self._process != os.getpid():
            return
        if self._lease is not None:
            with self._db.transaction() as db:
                db.execute("UPDATE messages SET lease = NULL WHERE lease = ?", (self._lease.name,))
            self._lease.close()
        self._db.close()

    def _free_orphans(self) -> None:
        """Free what workers have left that live no more, and delete their passing queues."""
        leases = self._db.rows(
            "SELECT DISTINCT lease FROM messages WHERE lease IS NOT NULL"
            " UNION SELECT owner FROM queues WHERE owner IS NOT NULL"
        )
        dead = [str(lease) for (lease,) in leases if not is_held(self._leases, str(lease))]
        if not dead:
            return
        with self._db.transaction() as db:
            for lease in dead:
                db.execute("UPDATE messages SET lease = NULL, deliveries = deliveries + 1 WHERE lease = ?", (lease,))
                for (queue,) in db.execute("SELECT name FROM queues WHERE owner = ?", (lease,)).fetchall():
                    _delete_queue(db, queue)
            _put_aside(db)


def _put_aside(db: Any) -> None:
    db.execute(
        "UPDATE messages SET queue = 'dead.' || queue, deliveries = 0 WHERE deliveries >= ? AND lease IS NULL",
        (MAX_DELIVERIES,),
    )


def _delete_queue(db: Any, queue: str) -> None:
    for table, column in (("messages", "queue"), ("bindings", "queue"), ("queues", "name")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (queue,))


class QoS(virtual.QoS):
    """Acknowledgements go to the file; what was taken and not acknowledged stays leased."""

    def ack(self, delivery_tag: int) -> None:
        self.channel.store.done(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        if requeue:
            self.channel.store.free([delivery_tag], again=True)
        else:
            self.channel.store.done(delivery_tag)
        self._quick_ack(delivery_tag)

    def restore_unacked(self) -> list[Any]:
        self._flush()
        self.channel.store.free(list(self._delivered), again=False)
        self._delivered.clear()
        return []


class SqliteChannel(virtual.Channel):
    """kombu's channel on a `Store`."""

    QoS = QoS
    supports_fanout = True

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.store = Store(Path("/" + unquote(connection.client.virtual_host).lstrip("/")))
        self._unacknowledged: set[str] = set()

    def revoke(self, tasks: list[str]) -> list[str]:
        """Keep tasks from beginning, also those that come later; returns those that were waiting."""
        return self.store.revoke(tasks)

    # From kombu ---------------------------------------------------------------------------------------------------

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        arguments = kwargs.get("arguments") or {}
        milliseconds = arguments.get("x-message-ttl")
        passing = bool(kwargs.get("auto_delete") or kwargs.get("exclusive") or "x-expires" in arguments)
        self.store.declare(queue, None if milliseconds is None else milliseconds / 1e3, passing)

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return self.store.has(queue)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self._put_all([queue], message)

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **_: Any) -> None:
        self._put_all([queue for _, _, queue in self.get_table(exchange)], message)

    def _put_all(self, queues: list[str], message: dict[str, Any]) -> None:
        task = (message.get("headers") or {}).get("id") or ""
        self.store.put(queues, self._get_message_priority(message), str(task), message)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        message = self.store.take(queue, keep=queue not in self._unacknowledged)
        if message is None:
            raise Empty
        return message

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        self.store.bind(exchange, routing_key or "", pattern or "", queue or "")

    def get_table(self, exchange: str) -> list[Any]:
        return self.store.table(exchange)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> None:
        if no_ack:
            self._unacknowledged.add(queue)
        self.store.own(queue)
        super().basic_consume(queue, no_ack, *args, **kwargs)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any) -> None:
        if not (if_empty and self._size(queue)):
            self.store.delete(queue)
            self.state.queue_bindings_delete(queue)

    def _purge(self, queue: str) -> int:
        return self.store.purge(queue)

    def _size(self, queue: str) -> int:
        return self.store.size(queue)

    def close(self) -> None:
        closed = self.closed
        super().close()
        if not closed:
            with suppress(OSError):
                self.store.close()


class Transport(virtual.Transport):
    """kombu's transport on one file."""

    Channel = SqliteChannel
    polling_interval = _POLL_SECONDS
    driver_type = "sqlite"
    driver_name = "pyros"
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(["direct", "topic", "fanout"])
    )

    def driver_version(self) -> str:
        return "1"


def register() -> None:
    """Tell kombu of the transport."""
    TRANSPORT_ALIASES[TRANSPORT] = f"{Transport.__module__}:{Transport.__qualname__}"
