"""TLS between agents on different computers: both show a certificate of the observatory's authority, with their name.

Twisted's side, for links and ports; what a plain program does is in `pyros.sender.client_tls`. The files are read again
when they have changed, so that a new certificate counts from the next connection on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from pyros.authority import AUTHORITY
from pyros.errors import WireError
from pyros.printable import printable
from pyros.tls_words import of_certificate

FIRST_BYTE = 0x16
"""How a handshake of TLS begins; neither a frame nor a line does."""


class AgentTls:
    """The certificates of one process's agents and links. Every method is for the reactor's thread."""

    def __init__(self, folder: Path | None) -> None:
        """``folder`` is None where none is configured: then nothing can be encrypted."""
        self.folder = folder
        self._contexts: dict[str, tuple[tuple[int, int], Any]] = {}

    def server(self, name: str) -> TlsSide:
        """Return our side of a connection to an agent of ours. Raises WireError as `context` does."""
        return TlsSide(self.context(name), "")

    def client(self, name: str, to: str) -> TlsSide:
        """Return our side of a connection to another agent, which must show ``to``. Raises WireError as `context`."""
        return TlsSide(self.context(name), to)

    def context(self, name: str) -> Any:
        """Return OpenSSL's context for one of our names. Raises WireError: what is missing, and how it is made."""
        if self.folder is None:
            raise WireError(
                "it is on another computer, and nothing is said there without TLS: [observatory] tls names no folder of"
                " certificates (pyros cert)"
            )
        try:
            from OpenSSL import SSL  # noqa: PLC0415  the extra [tls]
        except ImportError:
            raise WireError("TLS needs: pip install 'pyros-observatory[tls]'") from None
        own, authority = self.folder / f"{name}.pem", self.folder / AUTHORITY
        try:
            stamp = own.stat().st_mtime_ns, authority.stat().st_mtime_ns
            known = self._contexts.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.use_certificate_chain_file(str(own))
            context.use_privatekey_file(str(own))
            context.check_privatekey()
            context.load_verify_locations(str(authority))
        except FileNotFoundError as error:
            what = "--ca" if error.filename == str(authority) else name
            raise WireError(f"{error.filename}: no such file; pyros cert {what} makes it") from None
        except OSError as error:
            raise WireError(f"{error.filename}: cannot be read: {error.strerror}") from None
        except SSL.Error:
            raise WireError(f"{own} or {authority} is no certificate with its key, or cannot be read") from None
        self._contexts[name] = stamp, context
        return context


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class TlsSide:
    """One side of one connection; it knows whose certificate the other side showed, or what is wrong with it."""

    def __init__(self, context: Any, wanted: str) -> None:
        """``wanted`` is the name that the certificate must have; '' for any."""
        self._context, self._wanted = context, wanted
        self.name = ""
        """The name in the other side's certificate, once that was taken."""
        self.trouble = ""
        """What was wrong with the other side's certificate."""

    def clientConnectionForTLS(self, _protocol: Any) -> Any:  # noqa: N802  Twisted's name
        """As Twisted asks for it."""
        return self._connection()

    def serverConnectionForTLS(self, _protocol: Any) -> Any:  # noqa: N802  Twisted's name
        """As Twisted asks for it."""
        return self._connection()

    def _connection(self) -> Any:
        from OpenSSL import SSL  # noqa: PLC0415  the extra [tls]

        connection = SSL.Connection(self._context, None)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def _verified(self, _connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
        """Check a certificate of the chain, for OpenSSL, which calls this for the other side's own (depth 0) last.

        Must not raise: OpenSSL could not report it.
        """
        from cryptography.x509 import NameOID  # noqa: PLC0415  the extra [tls]

        try:
            names = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            name = printable(str(names[0].value))[:80] if len(names) == 1 else ""
            if not ok:
                self.trouble = self.trouble or of_certificate(f"CN={name}", error)
            elif depth == 0 and self._wanted and name != self._wanted:
                self.trouble = f"its certificate is of {name!r}, and not of {self._wanted!r}"
            elif depth == 0:
                self.name = name
        except Exception as unknown:
            self.trouble = f"its certificate cannot be understood: {printable(str(unknown))[:200]}"
        return not self.trouble
