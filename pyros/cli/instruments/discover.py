"""``pyros instruments discover``: devices in the network, as sections for the configuration."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer
from twisted.internet.defer import Deferred

from pyros.cli.common import out
from pyros.errors import PyrosError

_INDI_PORT = 7624
_FIRST_PORT = 5020


class FoundDevice(NamedTuple):
    """A device that has answered, in the words of the configuration."""

    kind: str
    driver: str
    name: str
    address: str


def discover(
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long to listen for answers.")
    ] = 2.0,
    indi: Annotated[
        list[str] | None,
        typer.Option(
            "--indi", metavar="HOST[:PORT]", help="Ask this INDI server, too (they don't announce themselves)."
        ),
    ] = None,
    alpaca: Annotated[bool, typer.Option(help="Ask the network for Alpaca devices, by UDP.")] = True,
    alpaca_port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="The UDP port of Alpaca's discovery.")
    ] = 32227,
) -> None:
    """Look for devices, and print a section for the configuration for each.

    Alpaca devices answer a question to everybody in the network; INDI servers
    are asked at the hosts you name. Where there are several of a kind, choose
    one: an observatory has one section of each kind.
    The exit code is 1 when nothing was found.

    Examples:
      pyros instruments discover
      pyros instruments discover --indi 192.168.1.20 --indi localhost:7625
    """
    servers = [indi_server(word) for word in indi or []]
    found = ask_devices(seconds, servers, alpaca_port if alpaca else None)
    for number, device in enumerate(found):
        out.print(f"; {device.name}")
        out.print(f"[{device.kind}]")
        out.print(f"port = {_FIRST_PORT + number}")
        out.print(f"driver = {device.driver}")
        out.print(f"address = {device.address}\n")
    if not found:
        raise PyrosError(
            "no device answered; a firewall may keep UDP port 32227 closed, and INDI servers must be named: --indi HOST"
        )


def indi_server(word: str) -> str:
    """Return where an INDI server is (``tcp:HOST:PORT``) from HOST or HOST:PORT; raises BadParameter."""
    host, colon, port = word.rpartition(":")
    if not colon:
        host, port = word, str(_INDI_PORT)
    if not (host and port.isdigit() and 0 < int(port) < 65536):
        raise typer.BadParameter(f"{word} is not a server; write --indi HOST or --indi HOST:PORT")
    return f"tcp:{host}:{port}"


def ask_devices(seconds: float, servers: list[str], alpaca_port: int | None) -> list[FoundDevice]:
    """Ask INDI servers (``tcp:HOST:PORT``) and, on that UDP port, every Alpaca server, all at the same time.

    Raises InstrumentError for an INDI server that isn't there.
    """
    from pyros.agents.runtime.program import background_reactor  # noqa: PLC0415  Twisted takes a moment
    from pyros.cli.instruments.device import given, result_of  # noqa: PLC0415
    from pyros.instruments.alpaca.discovery import discover as ask_alpaca  # noqa: PLC0415
    from pyros.instruments.indi.discovery import discover as ask_indi  # noqa: PLC0415

    reactor = background_reactor()

    async def ask() -> list[FoundDevice]:
        asked: list[tuple[str, Deferred[Any]]] = []
        if alpaca_port is not None:
            asked.append(("alpaca", ask_alpaca(reactor, seconds, port=alpaca_port)))
        asked += [("indi", ask_indi(reactor, server, seconds)) for server in servers]
        found = []
        for driver, answers in asked:
            found += [FoundDevice(each.kind, driver, each.name, each.address) for each in await answers]
        return found

    devices: list[FoundDevice] = result_of(given(reactor, lambda: Deferred.fromCoroutine(ask())))
    return devices
