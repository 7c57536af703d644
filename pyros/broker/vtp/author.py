"""Send an event to a broker, as an author: the bytes as they are, one connection, one answer."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as NoAnswerInTime
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from pyros.broker.packet import one_line, parse
from pyros.broker.vtp.protocol import MAX_LENGTH, frame, role_of
from pyros.errors import AgentUnreachable, AlertError, DeliveryError, MessageRefused
from pyros.reactor import Reactor

BROKER = "broker"


def send_event(host: str, port: int, packet: bytes, timeout: float = 10.0) -> None:
    """Send a VOEvent and wait for its acknowledgement. Blocks the calling thread; needs no reactor.

    Args:
        host: the broker's address or name, and the ``port`` where it receives.
        packet: the event's XML.
        timeout: seconds for each step: connecting, sending, the answer.

    Raises:
        MessageRefused: the broker refuses the event, with its reason.
        AgentUnreachable: nobody answers there, or what answers is no broker.
    """
    address = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(frame(packet))
            length = int.from_bytes(_read(connection, 4), "big")
            if length > MAX_LENGTH:
                raise AgentUnreachable(BROKER, address, f"an answer of {length} bytes; this is no VOEvent broker")
            answer = _read(connection, length)
    except TimeoutError:
        raise AgentUnreachable(BROKER, address, f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise AgentUnreachable(BROKER, address, error.strerror or str(error)) from None
    refusal = _refusal(address, answer)
    if refusal is not None:
        raise refusal


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise OSError("it closed the connection without an answer")
        data += more
    return data


def _refusal(address: str, answer: bytes) -> DeliveryError | None:
    """Return what is wrong with an answer; None for an acknowledgement."""
    try:
        root = parse(answer)
    except AlertError as error:
        return AgentUnreachable(BROKER, address, f"the answer is {error}; this is no VOEvent broker")
    role = role_of(root)
    if role == "ack":
        return None
    if role == "nak":
        return MessageRefused(BROKER, address, one_line(root.findtext("Meta/Result") or "refused without a reason"))
    return AgentUnreachable(BROKER, address, f"answers with {one_line(root.tag)} {role}; this is no VOEvent receiver")


class _Author(Int32StringReceiver):
    """The author's side of a connection; ``answer`` fires once."""

    MAX_LENGTH = MAX_LENGTH
    transport: Any

    def __init__(self, address: str, packet: bytes) -> None:
        self._address, self._packet = address, packet
        self.answer: Deferred[None] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        self.sendString(self._packet)

    def stringReceived(self, string: bytes) -> None:
        self._finish(_refusal(self._address, string))
        self.transport.loseConnection()

    def lengthLimitExceeded(self, length: int) -> None:
        self._finish(AgentUnreachable(BROKER, self._address, f"an answer of {length} bytes; this is no VOEvent broker"))
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish(AgentUnreachable(BROKER, self._address, "it closed the connection without an answer"))

    def _finish(self, error: DeliveryError | None) -> None:
        if not self.answer.called:
            if error is None:
                self.answer.callback(None)
            else:
                self.answer.errback(error)


async def send_event_async(reactor: Reactor, host: str, port: int, packet: bytes, timeout: float = 10.0) -> None:
    """Do as `send_event` in a reactor's thread; ``timeout`` (seconds) counts for connecting and for the answer."""
    address = f"{host}:{port}"
    endpoint = (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(reactor, host, port, timeout)
    author = _Author(address, packet)
    try:
        await connectProtocol(endpoint, author)
    except ConnectError as error:
        raise AgentUnreachable(BROKER, address, one_line(error)) from None
    try:
        await author.answer.addTimeout(timeout, reactor)
    except NoAnswerInTime:
        raise AgentUnreachable(BROKER, address, f"no answer within {timeout:g} s") from None
