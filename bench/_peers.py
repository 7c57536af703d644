"""The same work by other means, to compare with: plain sockets that store nothing, and Redis Streams.

Each has a server (in processes of its own) that dispatches every message to a handler by its name, and a client with
``post`` (pipelined), ``flush`` and ``send`` (one at a time).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench._common import PATIENCE, free_ports

NAME = "Frame measured"
PIPELINE = 1_000
Context = multiprocessing.get_context("forkserver")
# Or every process takes a second to begin.
Context.set_forkserver_preload(["bench._peers", "pyros.agents", "pyros.sender"])

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Handled:
    """How many messages the handler has had, and when the last ones were done; read by another process."""

    def __init__(self) -> None:
        self._values = Context.Array("d", 2, lock=False)

    def add(self, count: int) -> None:
        self._values[1] = time.monotonic()
        self._values[0] += count

    def done(self) -> int:
        return int(self._values[0])

    def wait(self, count: int, seconds: float) -> float:
        """When the handler had had that many (monotonic seconds)."""
        end = time.monotonic() + seconds
        while self._values[0] < count:
            if time.monotonic() > end:
                raise TimeoutError(f"handled {self._values[0]:.0f} of {count} messages")
            time.sleep(0.002)
        return float(self._values[1])


class PayloadCounter:
    """What handles the messages: it reads the payload and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.actions: dict[str, Callable[[Any], None]] = {NAME: self.measured}

    def measured(self, payload: Any) -> None:
        self.count += len(payload) > 0


# Plain blocking sockets, frames of JSON with their length before them, nothing stored ------------------------------


class SocketsServer:
    """A process with one thread for each connection."""

    name = "plain sockets"

    def __init__(self) -> None:
        self.handled = Handled()
        (self.address,) = free_ports(1)
        self._process = Context.Process(target=_serve_sockets, args=(self.address, self.handled), daemon=True)
        self._process.start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve_sockets(port: int, handled: Handled) -> None:
    counter, lock = PayloadCounter(), threading.Lock()

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        with connection:
            while data := connection.recv(262_144):
                buffer += data
                start, last, count = 0, 0, 0
                while len(buffer) - start >= 4:
                    end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
                    if len(buffer) < end:
                        break
                    message = _decode(memoryview(buffer)[start + 4 : end])
                    with lock:
                        counter.actions[message["name"]](message["payload"])
                    last, start, count = message["seq"], end, count + 1
                if count:
                    del buffer[:start]
                    with lock:
                        handled.add(count)
                    connection.sendall(_frame({"ack": last}))

    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


def _frame(value: Any) -> bytes:
    body = _encode(value)
    return struct.pack(">I", len(body)) + body


class SocketsClient:
    """Gathers frames for one write, as a pipeline does."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._seq = 0
        self._acknowledged = 0
        self._frames: list[bytes] = []
        self._buffer = bytearray()

    def post(self, payload: dict[str, str]) -> None:
        self._seq += 1
        self._frames.append(_frame({"seq": self._seq, "name": NAME, "sent": time.time(), "payload": payload}))
        if len(self._frames) >= PIPELINE:
            self._write()
            self._wait(self._seq - PIPELINE)

    def flush(self) -> None:
        self._write()
        self._wait(self._seq)

    def send(self, payload: dict[str, str]) -> None:
        self.post(payload)
        self.flush()

    def close(self) -> None:
        self._socket.close()

    def _write(self) -> None:
        self._socket.sendall(b"".join(self._frames))
        self._frames.clear()

    def _wait(self, seq: int) -> None:
        while self._acknowledged < seq:
            self._buffer += self._socket.recv(65_536)
            while len(self._buffer) >= 4 and len(self._buffer) >= (end := 4 + int.from_bytes(self._buffer[:4], "big")):
                self._acknowledged = _decode(self._buffer[4:end])["ack"]
                del self._buffer[:end]


# Redis Streams -----------------------------------------------------------------------------------------------------


class RedisServer:
    """A redis-server of its own that syncs before it answers, and a consumer group of one process."""

    name = "Redis Streams"

    def __init__(self, directory: Path) -> None:
        self.handled = Handled()
        (self.address,) = free_ports(1)
        directory.mkdir(parents=True)
        options = {
            "port": self.address, "bind": "127.0.0.1", "dir": directory, "appendonly": "yes", "appendfsync": "always",
            "save": "", "auto-aof-rewrite-percentage": 0, "daemonize": "no",
        }  # fmt: skip
        command = ["redis-server", *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._client = _redis(self.address)
        self._wait_for_server()
        self._client.xgroup_create("scheduler", "agent", id="0", mkstream=True)
        self._consumer = Context.Process(target=_consume_redis, args=(self.address, self.handled), daemon=True)
        self._consumer.start()

    @staticmethod
    def version() -> str:
        """Of the redis-server that is installed; empty where there is none, or no client for it."""
        if not shutil.which("redis-server"):
            return ""
        try:
            import hiredis  # noqa: F401
            import redis  # noqa: F401
        except ImportError:
            return ""
        words = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()
        return next((word.removeprefix("v=") for word in words if word.startswith("v=")), "?")

    def clear(self) -> None:
        """Forget what was handled, so that its memory does not grow over the rounds."""
        self._client.xtrim("scheduler", maxlen=0)

    def stop(self) -> None:
        self._consumer.terminate()
        self._consumer.join()
        self._server.terminate()
        self._server.wait()

    def _wait_for_server(self) -> None:
        import redis

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(redis.ConnectionError):
                self._client.ping()
                return
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")


def _redis(port: int) -> Any:
    import redis

    return redis.Redis("127.0.0.1", port, protocol=2)


def _consume_redis(port: int, handled: Handled) -> None:
    client, counter = _redis(port), PayloadCounter()
    while True:
        answer = client.xreadgroup("agent", "one", {"scheduler": ">"}, count=PIPELINE, block=1_000)
        for _, entries in answer or []:
            for _, fields in entries:
                counter.actions[fields[b"name"].decode()](_decode(fields[b"payload"]))
            client.xack("scheduler", "agent", *[number for number, _ in entries])
            for reply in [fields[b"reply"] for _, fields in entries if b"reply" in fields]:
                client.rpush(reply, 1)
            handled.add(len(entries))


class RedisClient:
    """XADD in pipelines of 1,000, or one by one: until it is stored, or until the consumer has XACKed it."""

    def __init__(self, port: int) -> None:
        self._client = _redis(port)
        self._pipeline = self._client.pipeline(transaction=False)
        self._count = 0
        self._reply = f"reply-{os.getpid()}"

    def post(self, payload: dict[str, str]) -> None:
        self._pipeline.xadd("scheduler", {"name": NAME, "sent": time.time(), "payload": _encode(payload)})
        self._count += 1
        if self._count >= PIPELINE:
            self.flush()

    def flush(self) -> None:
        self._pipeline.execute()
        self._count = 0

    def send(self, payload: dict[str, str]) -> None:
        self._client.xadd("scheduler", {"name": NAME, "sent": time.time(), "payload": _encode(payload)})

    def send_until_handled(self, payload: dict[str, str]) -> None:
        fields = {"name": NAME, "sent": time.time(), "payload": _encode(payload), "reply": self._reply}
        self._client.xadd("scheduler", fields)
        self._client.blpop([self._reply], timeout=int(PATIENCE))

    def close(self) -> None:
        self._client.close()
