"""Which Alpaca devices there are in the network: a question by UDP, then each server's list.

ASCOM Alpaca API reference, "Alpaca discovery protocol" and "Alpaca management API". In the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from pyros.clock import RealClock, cancel_call
from pyros.errors import ConfigError, InstrumentError
from pyros.instruments.alpaca.address import TYPES, parse_address
from pyros.instruments.alpaca.client import AlpacaClient
from pyros.instruments.alpaca.replies import in_words, typed, value_of
from pyros.instruments.drivers.device import deferred
from pyros.instruments.interfaces import Kind
from pyros.prepared import prepared
from pyros.reactor import Reactor, SystemReactor

PORT = 32227
QUESTION = b"alpacadiscovery1"
IPV4 = ("255.255.255.255", "127.255.255.255", "127.0.0.1")
"""Everybody in the network, and on this computer."""
IPV6 = ("ff12::a1:9aca", "::1")
_MAX_SERVERS = 64
_MAX_DEVICES = 256
_MAX_ANSWER_BYTES = 1024
_DATAGRAM_BYTES = 8192
_KINDS: dict[str, Kind] = {name: kind for kind, name in TYPES.items()}


@dataclass(frozen=True, slots=True)
class FoundAlpacaDevice:
    """A device that answered: its kind, its own name, and the address for the configuration."""

    kind: Kind
    name: str
    address: str


class _Port(msgspec.Struct):
    AlpacaPort: int


class _ConfiguredDevice(msgspec.Struct):
    DeviceType: str
    DeviceNumber: int
    DeviceName: str = ""
    UniqueID: str = ""


@deferred
async def discover(
    reactor: SystemReactor, seconds: float, *, port: int = PORT, ipv4: Sequence[str] = IPV4, ipv6: Sequence[str] = IPV6
) -> list[FoundAlpacaDevice]:
    """Ask the network for Alpaca devices, and wait so many seconds for answers.

    Fires with those of the kinds that PYROS drives, sorted; never fails: what answers with nonsense, or doesn't answer
    when it is asked for its devices, is left out. It may take ten seconds more than ``seconds``.
    """
    servers: dict[str, None] = {}
    asked = [_ask(reactor, interface, targets, port, servers) for interface, targets in (("", ipv4), ("::", ipv6))]
    waited: Deferred[None] = Deferred()
    timer = reactor.callLater(max(0.0, seconds), waited.callback, None)
    try:
        await waited
    finally:
        cancel_call(timer)
        await DeferredList([each.stopListening() for each in asked if each is not None])
    lists: Any = await DeferredList([Deferred.fromCoroutine(_devices_of(server, reactor)) for server in servers])
    found: dict[str, FoundAlpacaDevice] = {}
    for _, devices in lists:
        for identity, device in devices:
            found.setdefault(identity, device)  # a server answers at each address of its computer
    return sorted(found.values(), key=lambda device: (device.kind, device.address))


class AnswerListener(DatagramProtocol):
    def __init__(self, servers: dict[str, None]) -> None:
        self._servers = servers

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:  # noqa: N802  Twisted's name
        host = str(addr[0])
        if len(datagram) > _MAX_ANSWER_BYTES or len(self._servers) >= _MAX_SERVERS or "%" in host:
            return  # a link-local address means nothing without the name of the interface
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            port = msgspec.json.decode(datagram, type=prepared(_Port)).AlpacaPort
            if 0 < port < 65536:
                self._servers[f"http://{f'[{host}]' if ':' in host else host}:{port}"] = None


def _ask(reactor: SystemReactor, interface: str, targets: Sequence[str], port: int, servers: dict[str, None]) -> Any:
    """Ask these addresses; returns the UDP port where the answers come, or None where there is no such network."""
    if not targets:
        return None
    try:
        listening: Any = reactor.listenUDP(0, AnswerListener(servers), interface, _DATAGRAM_BYTES)
    except (CannotListenError, OSError):
        return None
    if not interface:
        listening.setBroadcastAllowed(True)
    for target in targets:
        with suppress(OSError):  # no way there
            listening.write(QUESTION, (target, port))
    return listening


async def _devices_of(server: str, reactor: Reactor) -> list[tuple[str, FoundAlpacaDevice]]:
    """Return a server's devices, each with its identity among all servers."""
    client = AlpacaClient(server, reactor, RealClock(reactor))
    what = f"{server}: GET configureddevices"
    try:
        _, body = await client.request("GET", "/management/v1/configureddevices", what)
        devices = typed(value_of(body, what), list[_ConfiguredDevice], what)
    except InstrumentError:
        return []
    finally:
        await client.close()
    found = []
    for device in devices[:_MAX_DEVICES]:
        kind = _KINDS.get(device.DeviceType.lower())
        if kind is None:
            continue
        address = f"{server}/{TYPES[kind]}/{device.DeviceNumber}"
        with suppress(ConfigError):
            parse_address(kind, address)
            found.append((device.UniqueID or address, FoundAlpacaDevice(kind, in_words(device.DeviceName), address)))
    return found
