"""Which devices an INDI server has: it is asked for all properties, and each driver's DRIVER_INFO says what it is for.

In the reactor's thread. Source: INDI protocol 1.7, ``getProperties``; libindi, ``indidevapi`` (DRIVER_INTERFACE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from pyros.clock import cancel_call
from pyros.errors import ConnectionLost, WireError
from pyros.instruments.drivers.device import deferred
from pyros.instruments.drivers.reconnecting import endpoint_of
from pyros.instruments.indi._device import ANY_INTERFACE
from pyros.instruments.indi.codec import IndiDecoder, Vector, number
from pyros.instruments.interfaces import Kind
from pyros.kinds import KINDS, driver_class
from pyros.reactor import Reactor

PORT = 7624
_MAX_DEVICES = 256


@dataclass(frozen=True, slots=True)
class FoundIndiDevice:
    """A device that a server has: a kind that it is for, its own name, and the address for the configuration."""

    kind: Kind
    name: str
    address: str


class _Listener(Protocol):
    def __init__(self) -> None:
        self.decoder = IndiDecoder()
        self.bits: dict[str, int] = {}

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"<getProperties version='1.7'/>\n")

    def dataReceived(self, data: bytes) -> None:
        try:
            self.decoder.feed(data)
            while (event := self.decoder.next()) is not None:
                if isinstance(event, Vector) and event.name == "DRIVER_INFO" and len(self.bits) < _MAX_DEVICES:
                    texts = {member.name: str(member.value) for member in event.members}
                    bits = number(texts.get("DRIVER_INTERFACE", "0"))
                    self.bits[event.device] = int(bits) if 0 <= bits < 2**32 else 0
        except WireError:
            self.transport.abortConnection()  # type: ignore[union-attr]


def _kind_of_bits() -> dict[int, Kind]:
    """Map each bit of DRIVER_INTERFACE to its kind; a station is found as what tells the weather."""
    kinds: dict[int, Kind] = {}
    for kind in KINDS.values():
        if "indi" in kind.drivers and (bits := driver_class("indi", kind).interface) != ANY_INTERFACE:
            kinds.setdefault(bits, kind.name)
    return kinds


@deferred
async def discover(reactor: Reactor, server: str, seconds: float) -> list[FoundIndiDevice]:
    """Ask the server at ``tcp:HOST:PORT`` and listen for so many seconds: a server does not say when it has told all.

    Fires with a line for each kind that each device is for, sorted. Fails with ConnectionLost when nobody is there, and
    ConfigError where that is no address.
    """
    endpoint = endpoint_of(server, reactor)
    try:
        listener: Any = await endpoint.connect(Factory.forProtocol(_Listener))
    except Exception as error:  # an endpoint fails in many ways
        raise ConnectionLost(f"INDI server at {server}: {error}") from None
    heard: Deferred[None] = Deferred()
    timer = reactor.callLater(seconds, heard.callback, None)
    try:
        await heard
    finally:
        cancel_call(timer)
        listener.transport.abortConnection()
    kinds = _kind_of_bits()
    return sorted(
        (
            FoundIndiDevice(kind, device, f"{server}/{device}")
            for device, bits in listener.bits.items()
            for interface, kind in kinds.items()
            if bits & interface
        ),
        key=lambda found: (found.kind, found.name),
    )
