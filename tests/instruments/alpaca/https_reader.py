"""A program: serves a device over TLS on loopback, looks for it with the driver, and prints what it was told.

``https_reader.py NAME...`` takes NAME.key and NAME.certificate for each. Twisted's TLS takes its
timers from the one reactor of a process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from OpenSSL import crypto
from twisted.internet import reactor as _reactor
from twisted.internet import ssl
from twisted.internet.defer import Deferred

from pyros.clock import RealClock
from pyros.instruments import connect
from tests.instruments.alpaca.conftest import AlpacaServer

reactor: Any = _reactor


class Listening:
    """What the scripted server takes for a network."""

    def __init__(self, key: bytes, certificate: bytes) -> None:
        self.options = ssl.CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key),
            certificate=crypto.load_certificate(crypto.FILETYPE_PEM, certificate),
        )
        self.port = 0

    def listenTCP(self, _: int, factory: Any) -> None:
        self.port = reactor.listenSSL(0, factory, self.options, interface="127.0.0.1").getHost().port


async def read(name: str) -> None:
    listening: Any = Listening(*(Path(f"{name}.{part}").read_bytes() for part in ("key", "certificate")))
    AlpacaServer(listening, issafe=True)
    address = f"https://localhost:{listening.port}/safetymonitor/0"
    told: Deferred[tuple[bool, str]] = Deferred()
    safety = connect(
        "safety", "alpaca", address, reactor, RealClock(reactor),
        on_connection=lambda up, text: None if told.called else told.callback((up, text)),
    )  # fmt: skip
    print(*(await told))
    await safety.disconnect()


async def read_all() -> None:
    for name in sys.argv[1:]:
        await read(name)


def main() -> None:
    Deferred.fromCoroutine(read_all()).addErrback(lambda failure: failure.printTraceback()).addBoth(
        lambda _: reactor.stop()
    )


if __name__ == "__main__":
    reactor.callWhenRunning(main)
    reactor.run()
