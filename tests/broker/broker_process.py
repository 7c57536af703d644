"""A broker under a real reactor, for the tests: ``python broker_process.py CONFIG``.

Prints its ports as one line of JSON when they are open, then its log. SIGUSR1 makes every write to a file fail from now
on (as on a full disk), SIGUSR2 lets them work again, SIGTERM stops it cleanly, after which it prints the names of the
threads that are left and of the delayed calls.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner, textFileLogObserver

from pyros import config as configuration
from pyros.broker import Broker
from pyros.clock import RealClock
from pyros.errors import PyrosError
from pyros.journal.events import EventReader

reactor: Any = real_reactor
UNLIMITED = resource.RLIM_INFINITY


def kept(journal: Path) -> int:
    """Return how many events are on disk."""
    if not journal.exists():
        return 0
    with closing(EventReader(journal)) as reader:
        return reader.last_number()


def main() -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    config = configuration.load(sys.argv[1])
    ports = {"receiver_port": 0, "broadcaster_port": 0} if "--any-port" in sys.argv else {}
    assert config.broker is not None
    tls = config.broker.tls
    if tls is not None and ports:
        tls = msgspec.structs.replace(tls, **ports)
    config = msgspec.structs.replace(config, broker=msgspec.structs.replace(config.broker, tls=tls, **ports))
    broker = Broker(config, reactor, RealClock(reactor))

    journal = config.journal("broker")
    before = kept(journal)

    async def run() -> None:
        try:
            await broker.start()
        except PyrosError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            reactor.stop()
        else:
            print(json.dumps(broker.ports()), flush=True)

    async def stop() -> None:
        disk = kept(journal) - before
        while (now := broker.status())["up"] and now["received"] < disk:
            await deferLater(reactor, 0.01)  # what a test saw on disk may not be counted yet
        print(json.dumps(now), flush=True)
        await broker.stop()
        await deferLater(reactor, 0)  # Twisted's begin of a connection that was given up is still called, for nothing
        threads = sorted(thread.name for thread in threading.enumerate() if "journal" in thread.name)
        print(json.dumps({"threads": threads, "calls": [str(call) for call in reactor.getDelayedCalls()]}), flush=True)
        reactor.stop()

    def limit(number: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, UNLIMITED))

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
    signal.signal(signal.SIGUSR1, lambda *_: limit(1))
    signal.signal(signal.SIGUSR2, lambda *_: limit(UNLIMITED))
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(Deferred.fromCoroutine, stop()))
    reactor.run(installSignalHandlers=False)


main()
