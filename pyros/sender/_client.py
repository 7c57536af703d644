"""A plain program's blocking connection to one agent. Agents themselves send through their outbox (outbound.py)."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pyros import wire
from pyros.clock import Deadline, steady_seconds, system_time
from pyros.config import AgentConfig
from pyros.errors import AgentUnreachable, MessageRefused, WireError
from pyros.journal import PROGRAM
from pyros.keys import find_key
from pyros.messages import encode_payload
from pyros.printable import printable
from pyros.sender.client_tls import encrypt
from pyros.sender.handshake import SenderHandshake
from pyros.sender.tcp import bound_silence_of
from pyros.unique import new_name

_WINDOW = 8192
_WINDOW_BYTES = 4 * 1024 * 1024
_FRAME_MESSAGES = 512
_FRAME_BYTES = 128 * 1024


class AgentClient:
    """Sends messages to one agent, in order and each exactly once, from any one thread at a time.

    `post` pipelines; `flush` returns when the agent has committed everything posted. A connection that breaks is made
    again and goes on after the last message that was committed.
    """

    def __init__(self, agent: AgentConfig, timeout: float = 10.0, key_file: Path | None = None) -> None:
        """``timeout`` (seconds) bounds every wait for the agent. Connects at the first message.

        ``key_file`` has the observatory's key; without it, or when it is not there or not this user's to read, the
        agent takes nothing that moves a device or says that it is safe.
        """
        self.agent = agent
        self.timeout = timeout
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self._key_file = key_file
        self._epoch = new_name()
        program = Path(sys.argv[0] or "python").name[:40]
        self._name = f"{PROGRAM}{program}-{self.pid}-{self._epoch[:6]}"
        self._seq = 0
        self._acknowledged = 0
        self._pending: list[wire.Entry] = []  # not yet put on the wire
        self._pending_bytes = 0
        self._flying: deque[tuple[list[wire.Entry], int]] = deque()  # what was put on the wire, and its bytes
        self._flying_count = 0
        self._flying_bytes = 0
        self._refused: list[wire.Refusal] = []
        self._socket: socket.socket | None = None
        self._handshake: SenderHandshake | None = None
        self._bound = -1.0  # seconds for which the kernel lets the socket wait
        self._decoder = wire.Decoder(frames=True)

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def send(self, name: str, payload: Any = None) -> str:
        """Send one message and wait until the agent has committed it; returns its id. Raises as `flush` does."""
        message_id = self.post(name, payload)
        self.flush()
        return message_id

    def post(self, name: str, payload: Any = None) -> str:
        """Queue a message, put it on the wire when enough have gathered; returns its id.

        Raises ValueError for a name or payload that cannot be sent, and what `flush` raises when the window is full.
        """
        if not wire.valid_name(name):
            raise ValueError("a message's name has 1 to 200 printable characters and no blank at its ends")
        json = encode_payload(name, payload)
        if len(json) > wire.MAX_FRAME - 1024:
            raise ValueError(f"payload of {len(json)} bytes; a frame holds {wire.MAX_FRAME}")
        self._seq += 1
        message_id, sent, said = f"{self._epoch[:8]}-{self._seq}", system_time(), steady_seconds()
        entry = wire.Entry(self._seq, message_id, name, sent, msgspec.Raw(json), said)
        if self._pending_bytes + len(json) > _FRAME_BYTES:
            self._transmit()
        self._pending.append(entry)
        self._pending_bytes += len(json)
        if len(self._pending) >= _FRAME_MESSAGES:
            self._transmit()
        return entry.id

    def flush(self) -> None:
        """Return when everything posted is committed.

        Raises AgentUnreachable (nobody there, or no answer in time; `flush` may be called again and sends nothing
        twice) or MessageRefused (the agent answered and will not take a message; the others were committed).
        """
        self._transmit()
        self._await(0, 0)
        if self._refused:
            refused, self._refused = self._refused, []
            raise MessageRefused(self.agent.name, self.agent.where, refused[0].reason)

    def close(self) -> None:
        """Close the socket; what was not acknowledged is sent again by the next `flush`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def abandon(self) -> None:
        """Forget what was not acknowledged, so that it cannot be delivered later, and begin anew."""
        self.close()
        self._epoch = new_name()
        self._seq = self._acknowledged = 0
        self._pending, self._pending_bytes = [], 0
        self._flying.clear()
        self._flying_count = self._flying_bytes = 0
        self._refused = []

    def _transmit(self) -> None:
        entries, self._pending = self._pending, []
        size, self._pending_bytes = self._pending_bytes, 0
        if not entries and not self._flying:
            return
        fresh = self._socket is None
        if entries:
            self._flying.append((entries, size))
            self._flying_count += len(entries)
            self._flying_bytes += size
        if fresh:
            self._reconnect(Deadline(self.timeout), first=True)
        else:
            self._write(entries)
        self._await(_WINDOW, _WINDOW_BYTES)

    def _write(self, entries: list[wire.Entry]) -> None:
        if not entries:
            return
        try:
            assert self._socket is not None
            self._bound_waits()
            self._socket.sendall(wire.encode_frame(wire.Frame(messages=entries)))
        except OSError:
            self._reconnect(Deadline(self.timeout))

    def _await(self, count: int, size: int) -> None:
        """Read acknowledgements until at most so many messages and bytes are under way."""
        deadline = Deadline(self.timeout)
        while self._flying_count > count or (self._flying and self._flying_bytes > size > 0):
            before = self._acknowledged
            try:
                for frame in self._read(deadline):
                    self._take(frame)
            except (OSError, WireError):
                self._reconnect(deadline)
            if self._acknowledged > before:
                deadline = Deadline(self.timeout)

    def _read(self, deadline: Deadline) -> list[wire.Frame]:
        """Return the agent's next frame. Raises AgentUnreachable after the deadline, ConnectionError at the end."""
        assert self._socket is not None
        self._bound_waits()
        try:
            data = self._socket.recv(65536)
        except (BlockingIOError, TimeoutError):
            data = b""
            deadline = Deadline(0)
        if not deadline.left():
            self.close()
            raise self._unreachable(f"no answer within {self.timeout:g} s")
        if not data:
            raise ConnectionError("closed by the agent")
        return [event for event in self._decoder.feed(data) if isinstance(event, wire.Frame)]

    def _bound_waits(self) -> None:
        """Let the kernel bound each wait. Python's ``settimeout`` costs three system calls more a message."""
        if self._bound != self.timeout:
            assert self._socket is not None
            seconds = max(Deadline(self.timeout).left(), 0.001)
            if self.agent.encrypted:
                self._socket.settimeout(seconds)
                self._bound = self.timeout
                return
            self._socket.settimeout(None)
            bound = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
            self._bound = self.timeout

    def _take(self, frame: wire.Frame) -> None:
        self._raise_error(frame)
        if frame.challenge is not None and self._socket is not None and self._handshake is not None:
            self._socket.sendall(wire.encode_frame(self._handshake.prove(frame.challenge, steady_seconds())))
        if frame.ack is not None:
            self._forget(frame.ack)
            self._refused += frame.refused or []

    def _forget(self, seq: int) -> None:
        self._acknowledged = max(self._acknowledged, seq)
        while self._flying and self._flying[0][0][-1].seq <= seq:
            entries, size = self._flying.popleft()
            self._flying_count -= len(entries)
            self._flying_bytes -= size

    def _reconnect(self, deadline: Deadline, first: bool = False) -> None:
        """Connect, say hello, and send again what was not committed.

        An agent that was there a moment ago may be starting again: then this tries until the deadline.
        """
        while True:
            try:
                last = self._greet(deadline)
                break
            except (OSError, WireError) as error:
                self.close()
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                if first or not deadline.left():
                    raise self._unreachable(f"{reason} (is it running?)") from None
                deadline.pause(0.05)
        self._forget(last)
        entries = [entry for entries, _ in self._flying for entry in entries if entry.seq > last]
        assert self._socket is not None
        # An agent whose journal is an old copy has forgotten what it had acknowledged, and so have we.
        after = entries[0].seq - 1 if entries and entries[0].seq > last + 1 else None
        for begin in range(0, len(entries), _FRAME_MESSAGES):
            for chunk in _by_size(entries[begin : begin + _FRAME_MESSAGES]):
                try:
                    self._socket.sendall(wire.encode_frame(wire.Frame(messages=chunk, after=after)))
                    after = None
                except OSError:
                    return  # the next read finds the end and comes back here

    def _greet(self, deadline: Deadline) -> int:
        self.close()
        self._decoder = wire.Decoder(frames=True)
        self._socket = open_connection(self.agent, max(deadline.left(), 0.001))
        self._bound = -1.0
        key = find_key(self._key_file) if self._key_file is not None else None
        handshake = self._handshake = SenderHandshake(self._name, self.agent.name, self._epoch, key)
        with suppress(ConnectionError):  # a port that will not have us has said why before it closed: read that
            self._socket.sendall(wire.encode_frame(wire.Frame(hello=handshake.hello)))
        while True:
            for frame in self._read(deadline):
                self._raise_error(frame)
                if frame.challenge is not None:
                    self._socket.sendall(wire.encode_frame(handshake.prove(frame.challenge, steady_seconds())))
                if frame.welcome is not None:
                    try:
                        handshake.check(frame.welcome)
                    except WireError as error:  # asking it again makes no other answer
                        self._raise_error(wire.Frame(error=str(error)))
                    return frame.welcome.last_seq

    def _raise_error(self, frame: wire.Frame) -> None:
        if frame.error is not None:
            self.close()
            raise MessageRefused(self.agent.name, self.agent.where, frame.error)

    def _unreachable(self, reason: str) -> AgentUnreachable:
        return AgentUnreachable(self.agent.name, self.agent.where, reason)


def ask(agent: AgentConfig, query: str, timeout: float = 2.0) -> dict[str, Any]:
    """Ask a running agent something that needs no message ("status"); raises AgentUnreachable or MessageRefused."""
    decoder = wire.Decoder(frames=True)
    deadline = Deadline(timeout)
    try:
        with open_connection(agent, max(deadline.left(), 0.001)) as connection:
            connection.sendall(wire.encode_frame(wire.Frame(query=query)))
            while True:
                connection.settimeout(max(deadline.left(), 0.001))
                data = connection.recv(65536)
                if not deadline.left():  # whoever says something for ever is asked no longer than the silent
                    raise TimeoutError("timed out")
                if not data:
                    raise AgentUnreachable(agent.name, agent.where, "the connection was closed without an answer")
                for frame in decoder.feed(data):
                    if isinstance(frame, wire.Frame) and frame.status is not None:
                        status: dict[str, Any] = _printable(frame.status)
                        return status
                    if isinstance(frame, wire.Frame) and frame.error is not None:
                        raise MessageRefused(agent.name, agent.where, frame.error)
    except (OSError, WireError) as error:
        raise AgentUnreachable(agent.name, agent.where, getattr(error, "strerror", None) or str(error)) from None
    except RecursionError:
        raise AgentUnreachable(agent.name, agent.where, "its answer is nested too deeply") from None


def open_connection(agent: AgentConfig, timeout: float) -> socket.socket:
    """Return a connection to the agent, encrypted where that is due. Raises OSError, and as `encrypt` does."""
    destination = agent.destination
    connection = socket.create_connection((destination.host, destination.port), timeout=timeout)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound_silence_of(connection)
        return encrypt(connection, agent) if agent.encrypted else connection
    except BaseException:
        connection.close()
        raise


def _printable(said: Any) -> Any:
    """Return what another program has said, with texts that may be shown."""
    if isinstance(said, str):
        return printable(said)
    if isinstance(said, dict):
        return {_printable(key): _printable(value) for key, value in said.items()}
    return [_printable(each) for each in said] if isinstance(said, list) else said


def reachable(ip: str) -> str:
    """Return the address to connect to for an address to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)


def _by_size(entries: list[wire.Entry]) -> list[list[wire.Entry]]:
    """Split entries into chunks that fit a frame."""
    chunks: list[list[wire.Entry]] = [[]]
    size = 0
    for entry in entries:
        length = entry.size + 512
        if chunks[-1] and size + length > _FRAME_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(entry)
        size += length
    return chunks
