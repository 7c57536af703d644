"""Authors and subscribers that cost little, so that the broker is what is measured: one loop over epoll for all."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from bench._common import PATIENCE
from tests.builders import voevent

_PARAMS = "".join(
    f'<Param name="Quantity_{number}" value="{number}.25" unit="s" ucd="meta.number"/>\n' for number in range(45)
)
_IVORN = re.compile(rb'<[\w:]*VOEvent [^>]*ivorn="([^"]*)"')


def event(run: str, number: int, size: int = 6_000) -> bytes:
    """A VOEvent like those of the field: some 45 Params, 6 KB."""
    ivorn, author = f"ivo://pyros.observatory/bench#{run}-{number:06d}", "ivo://pyros.observatory/bench"
    plain = voevent(ivorn, role="test", author=author, params=_PARAMS, text="", ra=83.6, dec=22.0, error=0.05)
    return plain.replace(b"<Description>", b"<Description>" + b"x" * max(0, size - len(plain)))


class Sent(NamedTuple):
    """What became of a run: seconds for all, seconds for each answer, and how many were no acknowledgement."""

    seconds: float
    answers: list[float]
    refused: int


def send(port: int, packets: list[bytes], authors: int) -> Sent:
    """Every packet over a connection of its own, as authors do; so many at a time."""
    ready = iter([len(packet).to_bytes(4, "big") + packet for packet in packets])
    answers: list[float] = []
    refused = 0
    with selectors.DefaultSelector() as selector:
        begin = time.perf_counter()
        for _ in range(authors):
            _next(selector, port, ready)
        while selector.get_map():
            happened = selector.select(PATIENCE)
            if not happened:
                raise TimeoutError(f"{len(answers)} of {len(packets)} events were answered")
            for key, events in happened:
                author: AuthorConnection = key.data
                if events & selectors.EVENT_WRITE:
                    author.write(selector)
                    continue
                answer = author.read()
                if answer is None:
                    continue
                answers.append(time.perf_counter() - author.began)
                refused += b'role="ack"' not in answer
                selector.unregister(author.socket)
                author.socket.close()
                _next(selector, port, ready)
        return Sent(time.perf_counter() - begin, answers, refused)


class AuthorConnection:
    def __init__(self, port: int, framed: bytes) -> None:
        self.began = time.perf_counter()
        self.framed, self.answer = framed, b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))

    def write(self, selector: selectors.BaseSelector) -> None:
        self.framed = self.framed[self.socket.send(self.framed) :]
        if not self.framed:
            selector.modify(self.socket, selectors.EVENT_READ, self)

    def read(self) -> bytes | None:
        """The answer when it is complete; b'' when the broker hung up."""
        data = self.socket.recv(65536)
        self.answer += data
        if not data:
            return b""
        complete = len(self.answer) >= 4 and len(self.answer) >= 4 + int.from_bytes(self.answer[:4], "big")
        return self.answer if complete else None


def _next(selector: selectors.BaseSelector, port: int, ready: Iterator[bytes]) -> None:
    framed = next(ready, None)
    if framed is not None:
        author = AuthorConnection(port, framed)
        selector.register(author.socket, selectors.EVENT_WRITE, author)


class AuthorCrowd:
    """Subscribers that count and answer: every event is acknowledged with its own ivorn."""

    def __init__(self, port: int, count: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.buffers: dict[socket.socket, bytearray] = {}
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port))
            one.setblocking(False)
            self.buffers[one] = bytearray()
            self.selector.register(one, selectors.EVENT_READ)

    def deliver(self, port: int, packets: list[bytes], authors: int) -> tuple[int, float]:
        """Send the events, in a thread, until every subscriber has had every one that the broker took.

        How many deliveries that were, and the seconds from the first event sent to the last one received.
        """
        begin = newest = time.perf_counter()
        had = 0
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send, port, packets, authors)
            while not sending.done() or had < (len(packets) - sending.result().refused) * len(self.buffers):
                before = had
                for key, _ in self.selector.select(1.0):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    had += self._read(one)
                if had > before:
                    newest = time.perf_counter()
                elif time.perf_counter() - newest > PATIENCE:  # the broker's iamalives are no deliveries
                    raise TimeoutError(f"{had} of {len(packets) * len(self.buffers)} deliveries")
        return had, newest - begin

    def _read(self, one: socket.socket) -> int:
        buffer = self.buffers[one]
        data = one.recv(1 << 18)
        if not data:
            raise ConnectionError("the broker has cut a subscriber off")
        buffer += data
        had = start = 0
        answers = b""
        while len(buffer) - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
            if len(buffer) < end:
                break
            found = _IVORN.search(buffer, start, min(end, start + 500))
            if found:
                had += 1
                answers += _answer("ack", found[1])
            elif b'role="iamalive"' in buffer[start : min(end, start + 500)]:  # who doesn't answer is cut off
                answers += _answer("iamalive", b"ivo://bench/broker")
            start = end
        del buffer[:start]
        if answers:
            one.sendall(answers)
        return had

    def close(self) -> None:
        self.selector.close()
        for one in self.buffers:
            one.close()


def _answer(role: str, origin: bytes) -> bytes:
    answer = (
        b'<?xml version="1.0"?><trn:Transport xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1"'
        b' role="%s" version="1.0"><Origin>%s</Origin><Response>ivo://bench/subscriber</Response>'
        b"<TimeStamp>2026-01-01T00:00:00Z</TimeStamp></trn:Transport>" % (role.encode(), origin)
    )
    return len(answer).to_bytes(4, "big") + answer


@contextmanager
def subscribed(port: int, count: int) -> Iterator[AuthorCrowd]:
    """So many subscribers, connected and greeted."""
    crowd = AuthorCrowd(port, count)
    try:
        greeted: set[socket.socket] = set()
        while len(greeted) < count:  # the broker's authenticate
            ready = crowd.selector.select(PATIENCE)
            if not ready:
                raise TimeoutError(f"{len(greeted)} of {count} subscribers were greeted")
            for key, _ in ready:
                one = key.fileobj
                assert isinstance(one, socket.socket)
                crowd._read(one)
                greeted.add(one)
        yield crowd
    finally:
        crowd.close()
