"""Brokers under measure, each in a process of its own: ``python _alert_servers.py pyros|bare FOLDER [BROADCAST]``.

``pyros`` is PYROS's broker as it is delivered, with its alert manager away, so that every event also waits in the
outbox. ``bare`` is the least that could do an author's work durably on Twisted: it parses once, validates against the
schema, and stores with group commit in one SQLite table; no identity, no limits, no outbox, no subscribers. Each prints
a line of JSON with its ports when it is ready.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

import comet
from pyros import config as configuration
from pyros.broker import Broker
from pyros.broker.vtp.protocol import transport
from pyros.clock import RealClock

reactor: Any = real_reactor
IVO = "ivo://pyros.observatory/bench"


def run_pyros(folder: Path) -> None:
    config = configuration.load(folder / configuration.FILE_NAME)
    broker = Broker(config, reactor, RealClock(reactor))

    async def start() -> None:
        await broker.start()
        print(json.dumps(broker.ports()), flush=True)

    def failed(failure: Failure) -> None:
        print(failure.getErrorMessage(), file=sys.stderr)
        reactor.stop()  # whoever waits for the ports sees the end of the output

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()).addErrback(failed))
    reactor.addSystemEventTrigger("before", "shutdown", broker.stop)


class StoreThread(threading.Thread):
    """Commits what waits, in one transaction, and then tells who waits for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.waiting: queue.SimpleQueue[tuple[str, bytes, Any]] = queue.SimpleQueue()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, ivorn TEXT, packet BLOB)")

    def run(self) -> None:
        while True:
            group = [self.waiting.get()]
            while not self.waiting.empty() and len(group) < 256:
                group.append(self.waiting.get())
            self.db.execute("BEGIN")
            self.db.executemany("INSERT INTO events (ivorn, packet) VALUES (?, ?)", [event[:2] for event in group])
            self.db.execute("COMMIT")
            reactor.callFromThread(self.tell, group)

    def tell(self, group: list[tuple[str, bytes, Any]]) -> None:
        for _, _, acknowledge in group:
            acknowledge()


class Bare(Protocol):
    """One author."""

    transport: Any

    def __init__(self, store: StoreThread, schema: etree.XMLSchema, clock: RealClock) -> None:
        self.store, self.schema, self.clock = store, schema, clock
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        length = int.from_bytes(self.data[:4], "big")
        if len(self.data) < 4 or len(self.data) < 4 + length:
            return
        packet = self.data[4:]
        root = etree.fromstring(packet)
        self.schema.assertValid(root)
        self.ivorn = root.get("ivorn", "")
        self.store.waiting.put((self.ivorn, packet, self.acknowledge))

    def acknowledge(self) -> None:
        answer = transport("ack", self.ivorn, self.clock.now(), response=IVO)
        self.transport.write(len(answer).to_bytes(4, "big") + answer)
        self.transport.loseConnection()


class BareFactory(Factory):
    noisy = False

    def __init__(self, path: Path) -> None:
        self.store, self.clock = StoreThread(path), RealClock(reactor)
        self.store.start()
        self.schema = etree.XMLSchema(etree.parse(Path(comet.__path__[0], "schema", "VOEvent-v2.0.xsd")))

    def buildProtocol(self, addr: Any) -> Bare:
        return Bare(self.store, self.schema, self.clock)


def run_bare(folder: Path) -> None:
    port = reactor.listenTCP(0, BareFactory(folder / "bare.sqlite"), backlog=1024, interface="127.0.0.1")
    reactor.callWhenRunning(lambda: print(json.dumps({"receiver_port": port.getHost().port}), flush=True))


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    with (folder / "server.log").open("w") as log:
        globalLogBeginner.beginLoggingTo([textFileLogObserver(log)], redirectStandardIO=False)
        {"pyros": run_pyros, "bare": run_bare}[what](folder)
        reactor.run()


if __name__ == "__main__":
    main()
