"""Messages through a quorum queue of RabbitMQ, as its users send them: confirmed and acknowledged.

The sender keeps some thousand unconfirmed ones on their way, and sends those again whose confirmation it has not got
when its connection breaks; the receiver acknowledges what it has handled. Both are processes of their own.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import Any

import pika

QUEUE = "bench"
WINDOW = 4096
PREFETCH = 1000
HEARTBEAT = 5

logging.getLogger("pika").addHandler(logging.NullHandler())
logging.getLogger("pika").propagate = False


def _parameters(port: int) -> pika.ConnectionParameters:
    return pika.ConnectionParameters("127.0.0.1", port, heartbeat=HEARTBEAT)


def declare(port: int) -> None:
    """Make the queue."""
    connection = pika.BlockingConnection(_parameters(port))
    connection.channel().queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    connection.close()


def consume(port: int, heard: Any) -> None:
    """Note what comes: its number, and when."""
    connection = pika.BlockingConnection(_parameters(port))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=PREFETCH)
    for method, _, body in channel.consume(QUEUE):
        heard.put(("rabbit", int(body[:10]), time.monotonic()))
        channel.basic_ack(method.delivery_tag)


class _Sender:
    """Sends so many messages, over as many connections as it takes."""

    def __init__(self, port: int, first: int, count: int, size: int, heard: Any) -> None:
        self._heard = heard
        self._port = port
        self._waiting = list(range(first, first + count))
        self._waiting.reverse()
        self._unconfirmed: dict[int, int] = {}
        self._tag = 0
        self._size = size

    def run(self) -> None:
        while self._waiting or self._unconfirmed:
            connection = pika.SelectConnection(
                _parameters(self._port), self._opened, lambda connection, _: connection.ioloop.stop(), self._closed
            )
            connection.ioloop.start()
            if self._waiting or self._unconfirmed:
                time.sleep(0.2)

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._begin)

    def _begin(self, channel: Any) -> None:
        self._tag = 0
        self._channel = channel
        channel.confirm_delivery(self._confirmed, lambda _: self._start(channel))

    def _start(self, channel: Any) -> None:
        self._heard.put(("begin", -1, time.monotonic()))
        self._send(channel)

    def _send(self, channel: Any) -> None:
        properties = pika.BasicProperties(delivery_mode=2)
        while self._waiting and len(self._unconfirmed) < WINDOW:
            number = self._waiting.pop()
            self._tag += 1
            self._unconfirmed[self._tag] = number
            channel.basic_publish("", QUEUE, b"%010d" % number + b"x" * self._size, properties)
        if not self._waiting and not self._unconfirmed:
            channel.connection.close()

    def _confirmed(self, frame: Any) -> None:
        tags = [frame.method.delivery_tag]
        if frame.method.multiple:
            tags = list(itertools.takewhile(lambda each: each <= tags[0], self._unconfirmed))  # they are in order
        numbers = [self._unconfirmed.pop(tag) for tag in tags]
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._waiting += reversed(numbers)
        self._send(self._channel)

    def _closed(self, connection: Any, _: Any) -> None:
        self._waiting += sorted(self._unconfirmed.values(), reverse=True)
        self._unconfirmed.clear()
        connection.ioloop.stop()


def send(port: int, first: int, count: int, size: int, heard: Any) -> None:
    """Send messages numbered from ``first`` on, until all of them are confirmed; notes when it begins."""
    _Sender(port, first, count, size, heard).run()
