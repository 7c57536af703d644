"""A port's side of TLS: a connection that begins with its handshake goes on encrypted, at the same port.

What comes from another computer must; what comes from this one may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from pyros.config import AgentConfig, is_here
from pyros.errors import WireError
from pyros.sender.tls import FIRST_BYTE, AgentTls, TlsSide
from pyros.tls_words import of_failure

_MAX_TOLD = 100


class PortTls:
    """What a port asks of its connections. Every method is for the reactor's thread."""

    def __init__(self, section: AgentConfig) -> None:
        self.name = section.name
        self.dangerous = section.dangerous
        self.encrypted = section.encrypted
        self.tls = AgentTls(section.certificates)
        self._told: set[str] = set()

    def is_news(self, trouble: str) -> bool:
        """Whether this trouble was not told yet, or long ago: whoever is refused comes again every few seconds."""
        if len(self._told) >= _MAX_TOLD:
            self._told.clear()
        known = trouble in self._told
        self._told.add(trouble)
        return not known


class InboundTls:
    """The TLS of one connection."""

    def __init__(self, port: PortTls) -> None:
        self._port = port
        self._side: TlsSide | None = None
        self._begun = False
        self._host = ""

    @property
    def certified(self) -> str | None:
        """The name in the certificate that was shown; None without TLS."""
        return self._side.name if self._side is not None else None

    def is_expected(self, transport: Any) -> bool:
        """Return whether whoever has connected is to begin with TLS, so that nothing may be said before."""
        return not self._port.dangerous and (self._port.encrypted or not _is_here(transport))

    def takes(self, transport: Any, data: bytes, on_raw: Callable[[], None] = lambda: None) -> bool:
        """Look at what comes first; return whether it was the beginning of TLS, which has then been taken.

        ``on_raw()`` is called whenever something comes from then on, be it no more than a piece of a record, of which
        one is two seconds long at 64 kbit/s.

        Raises WireError: it is not, and comes from another computer; or we have no certificate.
        """
        if self._begun or not data:
            return False
        self._begun = True
        self._host = getattr(transport.getPeer(), "host", "?")
        if data[0] == FIRST_BYTE:
            self._side = self._port.tls.server(self._port.name)
            transport.startTLS(self._side)
            decrypt = transport.protocol.dataReceived

            def take(raw: bytes) -> None:
                on_raw()
                decrypt(raw)

            transport.protocol.dataReceived = take
            take(data)  # what has come belongs to the handshake
            return True
        if not (self._port.dangerous or _is_here(transport)):
            raise WireError(
                "from another computer nothing is taken without TLS: [observatory] tls on both sides names a folder of"
                " certificates (pyros cert)"
            )
        return False

    def trouble(self, reason: Failure) -> str:
        """Return whose connection has ended since TLS failed, and why; '' otherwise, and where that was told before."""
        why = "" if self._side is None else self._side.trouble or of_failure(reason)
        text = f"a connection from {self._host} was refused: {why}"
        return text if why and self._port.is_news(text) else ""


def _is_here(transport: Any) -> bool:
    """Whether the other end is on this computer; so is one in memory."""
    peer, host = getattr(transport.getPeer(), "host", ""), getattr(transport.getHost(), "host", "")
    return not peer or peer == host or is_here(peer)
