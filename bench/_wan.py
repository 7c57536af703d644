"""A wide-area network of one TCP port, in a process of its own: slow, narrow, broken, or forgetting a connection.

    python -m bench._wan LISTEN TARGET

It forwards connections from one port of 127.0.0.1 to another, and takes commands on its standard input, one a line,
each answered by ``ok``:

* ``delay S``: seconds in each direction
* ``rate B``: bytes a second in each direction, shared by all connections
* ``room B``: bytes of a direction of a connection that wait in it at most, 64 KiB in the beginning; then it reads no
  more. It is what the kernels' buffers are for a real path, which let them grow to some megabytes
* ``loss P``: such a share of the packets (1,400 bytes) is lost: the rest of its connection waits for as long as there
  and back take
* ``outage``: nothing passes until ``heal``. What was under way comes then by TCP's own doubled pauses, as it does after
  packets were lost: up to as late again as it was away
* ``forget``: the connections that are open are dead for good, and nobody hears of it: a router has forgotten them
* ``cut``: they all end
* ``break WAY BYTES``: they all end when so many further bytes have arrived, ``there`` or ``back``
* ``breaks``: answers whether that is still to come, ``yes`` or ``no``
* ``heal``: everything passes again
* ``reset``: it is as in the beginning
* ``count``: answers how many connections were made, instead of ``ok``
"""

from __future__ import annotations

import sys
from collections import deque
from random import Random
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

ROOM = 64 * 1024
FIRST_RETRY = 0.2
CHUNK = 1400

reactor: Any = the_reactor


class Way:
    """One direction of the network: when what is sent on it now arrives."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.rate = float("inf")
        self.loss = 0.0
        self.room: float = ROOM
        self.left: int | None = None
        """So many bytes arrive before all connections end; None: they don't."""
        self._free = 0.0

    def arrival(self, size: int) -> float:
        """Take ``size`` bytes' time of the way; return when they arrive."""
        self._free = max(self._free, reactor.seconds()) + size / self.rate
        return self._free + self.delay


class WanNetwork:
    """The state of the network, and what goes through it."""

    def __init__(self) -> None:
        self.ways = (Way(), Way())
        self.down_since: float | None = None
        self.pipes: dict[Pipe, None] = {}
        self.made = 0
        self.random = Random(1)

    def obey(self, line: str) -> str:
        word, _, value = line.partition(" ")
        match word:
            case "delay" | "rate" | "loss" | "room":
                for way in self.ways:
                    setattr(way, word, float(value))
            case "outage":
                self.down_since = reactor.seconds()
            case "heal":
                self.down_since = None
                for pipe in list(self.pipes):
                    pipe.heal()
            case "forget":
                for pipe in self.pipes:
                    pipe.dead = True
            case "cut":
                self.cut()
            case "break":
                direction, _, count = value.partition(" ")
                self.ways[direction == "back"].left = int(count)
            case "breaks":
                return "no" if self.ways[0].left is None and self.ways[1].left is None else "yes"
            case "reset":
                self.down_since = None
                self.ways = (Way(), Way())
                self.cut()
            case "count":
                return str(self.made)
        return "ok"

    def cut(self) -> None:
        """End all connections."""
        for pipe in list(self.pipes):
            pipe.near.transport.abortConnection()


class Pipe:
    """One direction of one connection."""

    def __init__(self, network: WanNetwork, way: Way, near: WanEnd) -> None:
        self.network, self.way, self.near = network, way, near
        self.dead = False
        self._held: deque[tuple[float, bytes]] = deque()
        self._under_way: deque[bytes] = deque()
        self._waiting = 0
        self._last = 0.0
        """When what was sent last arrives."""
        network.pipes[self] = None

    def send(self, data: bytes) -> None:
        if self.dead:
            return
        first = not self._held
        for begin in range(0, len(data), CHUNK):
            self._waiting += len(data[begin : begin + CHUNK])
            self._held.append((reactor.seconds(), data[begin : begin + CHUNK]))
        if first:
            self._forward()
        if self._waiting > self.way.room:
            self.near.transport.pauseProducing()

    def heal(self) -> None:
        """Go on with what was held, when TCP would have tried again."""
        if self._held and not self.dead:
            pause = FIRST_RETRY
            due = self._held[0][0]
            while due < reactor.seconds():
                due += pause
                pause *= 2
            reactor.callLater(due - reactor.seconds(), self._forward)

    def _forward(self) -> None:
        while self._held and self.network.down_since is None:
            data = self._held.popleft()[1]
            self._under_way.append(data)
            arrival = self.way.arrival(len(data))
            if self.network.random.random() < self.way.loss:
                arrival += 2 * self.way.delay
            self._last = max(self._last, arrival)
            reactor.callLater(max(0.0, self._last - reactor.seconds()), self._arrive)

    def _arrive(self) -> None:
        data = self._under_way.popleft()
        self._waiting -= len(data)
        far = self.near.far
        if self.dead or far is None:
            return
        if self.way.left is not None:
            data = data[: self.way.left]
            self.way.left -= len(data)
        far.transport.write(data)
        if self.way.left == 0:
            self.way.left = None
            self.network.cut()
        if self._waiting <= self.way.room and self.near.connected:
            self.near.transport.resumeProducing()


class WanEnd(Protocol):
    """One end of a connection; ``far`` is the other one, once it is there."""

    transport: Any

    def __init__(self, network: WanNetwork, way: Way, far: WanEnd | None = None) -> None:
        self.far = far
        self.pipe = Pipe(network, way, self)

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if self.far is None:
            self.pipe.network.made += 1
            self.transport.pauseProducing()
            target = TCP4ClientEndpoint(reactor, "127.0.0.1", int(sys.argv[2]))
            network = self.pipe.network
            making = target.connect(Factory.forProtocol(lambda: WanEnd(network, network.ways[1], self)))
            making.addErrback(lambda _: self.transport.abortConnection())
        else:
            self.far.far = self
            self.far.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self.pipe.send(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.pipe.network.pipes.pop(self.pipe, None)
        if self.far is not None and not self.pipe.dead and self.pipe.network.down_since is None:
            self.far.transport.loseConnection()


class WanCommands(LineOnlyReceiver):
    """The standard input."""

    delimiter = b"\n"

    def __init__(self, network: WanNetwork) -> None:
        self._network = network

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(self._network.obey(line.decode()).encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reactor.running:
            reactor.stop()


if __name__ == "__main__":
    state = WanNetwork()
    reactor.listenTCP(
        int(sys.argv[1]), Factory.forProtocol(lambda: WanEnd(state, state.ways[0])), interface="127.0.0.1"
    )
    StandardIO(WanCommands(state))
    reactor.run()
