"""The internet between some places, each of which has a TUN device: a process that forwards IP packets.

    python -m bench._internet NAME=DEVICE,INSIDE[,OUTSIDE,PORT] ...

It makes the devices; who starts it puts each into a network namespace, where ``INSIDE`` is the computer's address. With
``OUTSIDE`` the place stands behind a router of that address, which translates addresses as those of homes do, leads TCP
to ``PORT`` inside, and drops without a word what belongs to no connection that it knows. A server of names (UDP, at
`NAMES`) says where ``NAME.example.net`` is now; who asks it needs the network.

It takes commands on its standard input, one a line, each answered by ``ok``. Without places they are for all:

* ``delay S [PLACE ...]``: seconds from there to the middle
* ``loss P [PLACE ...]``: such a share of the packets that come from there is lost
* ``rate B [PLACE ...]``: bytes a second there, in each direction
* ``room B [PLACE ...]``: bytes that wait for a narrow line before it drops what comes, 64 KiB in the beginning
* ``outage [PLACE ...]``: nothing passes there, also of what is under way
* ``part A B``: nothing passes between these two
* ``heal``: everything passes again
* ``forget [PLACE]``: the routers forget every connection
* ``keep S [PLACE ...]``: they forget each that was silent for so many seconds
* ``loose yes [PLACE ...]``: they take a packet in the midst of a connection for a new one, under another port
* ``move PLACE ADDRESS``: its outer address is another one from now on, and the router knows no connection
* ``inside PLACE ADDRESS``: so does the computer behind it
* ``reset``: everything is as in the beginning, but for addresses
* ``count``: answers how many TCP connections were accepted, instead of ``ok``
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import ipaddress
import itertools
import os
import selectors
import struct
import sys
import time
from collections.abc import Callable
from random import Random

NAMES = "203.0.113.53"
DOMAIN = "example.net"
ROOM = 64 * 1024
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10
_MORE_FRAGMENTS_OR_OFFSET = 0x3FFF
_HIGH_PORTS = range(40_000, 60_000)

Flow = tuple[int, int, int, int]
"""Protocol, port on our side, the other's address and port."""


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _adjusted(checksum: int, old: int, new: int) -> int:
    """Return a checksum of a packet in which 16 bits are others now (RFC 1624)."""
    total = (~checksum & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class IpPacket:
    """An IPv4 packet of TCP or UDP whose addresses and ports can be changed."""

    SOURCE, TARGET = 0, 1

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.header = (data[0] & 0x0F) * 4
        self.protocol = data[9]

    @property
    def translatable(self) -> bool:
        return (
            self.protocol in (_TCP, _UDP)
            and not struct.unpack_from("!H", self.data, 6)[0] & _MORE_FRAGMENTS_OR_OFFSET
            and len(self.data) >= self.header + 8
        )

    def address(self, side: int) -> int:
        number: int = struct.unpack_from("!I", self.data, 12 + 4 * side)[0]
        return number

    def port(self, side: int) -> int:
        number: int = struct.unpack_from("!H", self.data, self.header + 2 * side)[0]
        return number

    @property
    def flags(self) -> int:
        return self.data[self.header + 13] if self.protocol == _TCP else 0

    @property
    def begins(self) -> bool:
        """Whether it may be the first packet of something."""
        return self.protocol == _UDP or self.flags & (_SYN | _ACK) == _SYN

    def change(self, side: int, address: int, port: int) -> None:
        for shift in (16, 0):
            old, new = self.address(side) >> shift & 0xFFFF, address >> shift & 0xFFFF
            self._count(10, old, new)
            self._count(self._checksum_at, old, new)
        self._count(self._checksum_at, self.port(side), port)
        struct.pack_into("!I", self.data, 12 + 4 * side, address)
        struct.pack_into("!H", self.data, self.header + 2 * side, port)

    @property
    def _checksum_at(self) -> int:
        return self.header + (16 if self.protocol == _TCP else 6)

    def _count(self, at: int, old: int, new: int) -> None:
        (checksum,) = struct.unpack_from("!H", self.data, at)
        if checksum or self.protocol == _TCP or at == 10:  # 0: it has none
            struct.pack_into("!H", self.data, at, _adjusted(checksum, old, new))


class InternetLine:
    """One direction of a place's line: when what is sent on it now has gone through."""

    def __init__(self) -> None:
        self.rate = float("inf")
        self.room: float = ROOM
        self._free = 0.0

    def through(self, size: int, now: float) -> float | None:
        """Take so many bytes' time of it; None: there is no room, and they are lost."""
        free = max(self._free, now)
        if (free - now) * self.rate > self.room:
            return None
        self._free = free + size / self.rate
        return self._free


class Router:
    """A place's router, which translates addresses and knows the connections that go through it."""

    def __init__(self, inside: int, outside: int, port: int) -> None:
        self.inside, self.outside, self._lead = inside, outside, port
        self.keep = float("inf")
        self.loose = False
        self._out: dict[Flow, int] = {}
        self._in: dict[Flow, int] = {}
        self._used: dict[Flow, float] = {}
        self._ports = itertools.cycle(_HIGH_PORTS)

    def forget(self) -> None:
        self._out.clear()
        self._in.clear()

    def goes_out(self, packet: IpPacket, now: float) -> bool:
        """Translate what a computer inside sends; False: it is dropped."""
        if not packet.translatable or packet.address(IpPacket.SOURCE) != self.inside:
            return False
        there = packet.address(IpPacket.TARGET), packet.port(IpPacket.TARGET)
        flow = (packet.protocol, packet.port(IpPacket.SOURCE), *there)
        port = self._known(self._out, flow, now)
        if port is None:
            if not packet.begins and not self.loose:
                return False
            port = flow[1] if packet.begins else next(self._ports)
            while (packet.protocol, port, *there) in self._in:
                port = next(self._ports)
            self._learn(flow, (packet.protocol, port, *there), now)
        packet.change(IpPacket.SOURCE, self.outside, port)
        return True

    def comes_in(self, packet: IpPacket, now: float) -> bool:
        """Translate what comes from outside; False: it is dropped."""
        if not packet.translatable:
            return False
        there = packet.address(IpPacket.SOURCE), packet.port(IpPacket.SOURCE)
        outer = (packet.protocol, packet.port(IpPacket.TARGET), *there)
        port = self._known(self._in, outer, now)
        if port is None:
            known = packet.begins or self.loose
            if packet.protocol != _TCP or packet.port(IpPacket.TARGET) != self._lead or not known:
                return False
            port = self._lead
            self._learn(outer, outer, now)
        packet.change(IpPacket.TARGET, self.inside, port)
        return True

    def _known(self, table: dict[Flow, int], flow: Flow, now: float) -> int | None:
        port = table.get(flow)
        if port is None:
            return None
        inner = flow if table is self._out else (flow[0], port, *flow[2:])
        if now - self._used[inner] > self.keep:
            self._in.pop((flow[0], self._out.pop(inner), *flow[2:]), None)
            return None
        self._used[inner] = now
        return port

    def _learn(self, inner: Flow, outer: Flow, now: float) -> None:
        self._out[inner], self._in[outer], self._used[inner] = outer[1], inner[1], now


class InternetPlace:
    """A computer, its line, and perhaps its router."""

    def __init__(self, name: str, device: str, inside: str, outside: str = "", port: str = "0") -> None:
        self.name = name
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
        self.inside = _number(inside)
        self.router = Router(self.inside, _number(outside), int(port)) if outside else None
        self.reset()

    def reset(self) -> None:
        self.up, self.down = InternetLine(), InternetLine()
        self.delay = self.loss = 0.0
        self.broken = False
        if self.router is not None:
            self.router.keep, self.router.loose = float("inf"), False

    @property
    def address(self) -> int:
        """Where the others find it."""
        return self.inside if self.router is None else self.router.outside


class Internet:
    """All places, and what is under way between them."""

    def __init__(self, places: list[InternetPlace]) -> None:
        self._places = {place.name: place for place in places}
        self._parted: set[frozenset[str]] = set()
        self._accepted: set[bytes] = set()
        self._random = Random(1)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        for place in places:
            self._selector.register(place.tun, selectors.EVENT_READ, place)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        os.set_blocking(sys.stdin.fileno(), False)

    def run(self) -> None:
        """Forward, until the standard input ends."""
        rest = b""
        while True:
            pause = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(pause):
                if key.data is not None:
                    self._read(key.data)
                    continue
                said = os.read(sys.stdin.fileno(), 65536)
                if not said:
                    return
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    print(self._obey(*line.decode().split()), flush=True)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()

    def _obey(self, word: str, *words: str) -> str:
        value, *names = words or ("",)
        if word == "count":
            return str(len(self._accepted))
        if word == "part":
            self._parted.add(frozenset(words))
        elif word in ("heal", "reset"):
            self._heal()
            for place in self._places.values() if word == "reset" else ():
                place.reset()
        elif word in ("forget", "keep", "loose", "move", "inside"):
            self._change_routers(word, value, names)
        else:
            self._change_lines(word, value, names)
        return "ok"

    def _change_lines(self, word: str, value: str, names: list[str]) -> None:
        if word == "outage":
            for place in self._named(*filter(None, (value, *names))):
                place.broken = True
            return
        for place in self._named(*names):
            for changed in [place] if word in ("delay", "loss") else [place.up, place.down]:
                setattr(changed, word, float(value))

    def _change_routers(self, word: str, value: str, names: list[str]) -> None:
        if word in ("keep", "loose"):
            for router in self._routers(*names):
                setattr(router, word, float(value) if word == "keep" else value == "yes")
            return
        for router in self._routers(*filter(None, (value,))):
            router.forget()
            if word != "forget":
                setattr(router, {"move": "outside", "inside": "inside"}[word], _number(names[0]))

    def _named(self, *names: str) -> list[InternetPlace]:
        return [place for name, place in self._places.items() if name in names or not names]

    def _routers(self, *names: str) -> list[Router]:
        return [place.router for place in self._named(*names) if place.router is not None]

    def _heal(self) -> None:
        self._parted.clear()
        for place in self._places.values():
            place.broken = False

    def _read(self, place: InternetPlace) -> None:
        while True:
            try:
                data = os.read(place.tun, 65536)
            except BlockingIOError:
                return
            if len(data) >= 28 and data[0] >> 4 == 4:
                self._sent(place, IpPacket(data))

    def _sent(self, place: InternetPlace, packet: IpPacket) -> None:
        """Take what a place's computer sends."""
        now = time.monotonic()
        if place.router is not None and not place.router.goes_out(packet, now):
            return
        through = place.up.through(len(packet.data), now)
        if through is None or place.broken or self._random.random() < place.loss:
            return
        if packet.address(IpPacket.TARGET) == _number(NAMES):
            self._at(through + place.delay, lambda: self._answer(place, packet))
            return
        target = packet.address(IpPacket.TARGET)
        other = next((each for each in self._places.values() if each.address == target), None)
        if other is not None:
            self._at(through + place.delay, lambda: self._reaches(place, other, packet))

    def _reaches(self, place: InternetPlace, other: InternetPlace, packet: IpPacket) -> None:
        """Let a packet come to a place's line."""
        broken = place.broken or frozenset((place.name, other.name)) in self._parted
        through = None if broken else other.down.through(len(packet.data), time.monotonic())
        if through is not None:
            self._at(through, lambda: self._arrives(other, packet))

    def _arrives(self, place: InternetPlace, packet: IpPacket) -> None:
        if place.broken or (place.router is not None and not place.router.comes_in(packet, time.monotonic())):
            return
        if packet.flags & (_SYN | _ACK) == _SYN | _ACK:
            self._accepted.add(bytes(packet.data[12:20] + packet.data[packet.header : packet.header + 12]))
        with contextlib.suppress(OSError):  # the device's queue is full, or nobody has opened it
            os.write(place.tun, packet.data)

    def _at(self, due: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (due, next(self._numbers), call))

    def _answer(self, place: InternetPlace, asked: IpPacket) -> None:
        """Say where a name is."""
        if asked.protocol != _UDP or place.broken:
            return
        query = bytes(asked.data[asked.header + 8 :])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        found = self._places.get(labels[0]) if ".".join(labels[1:]) == DOMAIN else None
        wants_address = question[-4:-2] == b"\0\1"
        answers = [struct.pack("!HHHIHI", 0xC00C, 1, 1, 0, 4, found.address)] if found and wants_address else []
        head = query[:2] + struct.pack("!HHHHH", 0x8180 if found else 0x8183, 1, len(answers), 0, 0)
        data = head + question + b"".join(answers)
        packet = IpPacket(_datagram(_number(NAMES), 53, asked.address(0), asked.port(0), data))
        through = place.down.through(len(packet.data), time.monotonic())
        if through is not None:
            self._at(through, lambda: self._arrives(place, packet))


def _datagram(source: int, source_port: int, target: int, target_port: int, data: bytes) -> bytes:
    """Return a packet of UDP, which has no checksum of its own."""
    size = 28 + len(data)
    head = struct.pack("!BBHHHBBHII", 0x45, 0, size, 0, 0, 64, _UDP, 0, source, target)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return head + struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


if __name__ == "__main__":
    described = [word.partition("=") for word in sys.argv[1:]]
    internet = Internet([InternetPlace(name, *rest.split(",")) for name, _, rest in described])
    print("ready", flush=True)
    internet.run()
