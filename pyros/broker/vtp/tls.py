"""TLS for authors, subscribers and the brokers that we subscribe to, by Twisted's and OpenSSL's means.

Everything that can be wrong with the files is found before a port is opened; `certificates` says until when they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from zope.interface import implementer

from pyros.broker.packet import one_line
from pyros.certificates import Certificate, named
from pyros.config import BROKER, BrokerConfig, Config, Network, RemoteConfig, TlsConfig
from pyros.errors import ConfigError
from pyros.tls_words import of_certificate

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from OpenSSL import SSL, crypto
    from service_identity import CertificateError, VerificationError
    from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
    from twisted.internet import ssl
    from twisted.internet.abstract import isIPAddress, isIPv6Address
    from twisted.protocols.tls import TLSMemoryBIOFactory
except ImportError as missing:  # the extra [tls]
    MISSING = str(missing)
else:
    MISSING = ""

SECTION = f"{BROKER} tls"
_T = TypeVar("_T")


class Tls:
    """The TLS of one configuration."""

    def __init__(self, config: Config) -> None:
        """Read every file that it names; raises ConfigError listing all that is wrong with them."""
        self._path = config.path
        self._problems: list[str] = []
        self.certificates: list[Certificate] = []
        self._server: Any = None
        self._clients: dict[RemoteConfig, Any] = {}
        broker = config.broker or BrokerConfig()
        remotes = [remote for remote in broker.remotes if remote.tls]
        if MISSING and (broker.tls or remotes):
            section = SECTION if broker.tls else remotes[0].section
            raise ConfigError([f"{self._path}: [{section}]: needs: pip install 'pyros-observatory[tls]' ({MISSING})"])
        if broker.tls is not None:
            self._server = self._server_options(broker.tls)
        for remote in remotes:
            self._clients[remote] = self._client_options(remote)
        if self._problems:
            raise ConfigError(self._problems)

    def expiring(self, now: datetime) -> list[str]:
        """Return a line for each certificate that ends soon."""
        return [warning for each in self.certificates if (warning := each.warning(now))]

    def server_factory(self, factory: Guardable, config: TlsConfig) -> Any:
        """Return the factory for the port with TLS: after the handshake its connections are those of ``factory``."""
        return TLSMemoryBIOFactory(self._server, False, _Guarded(factory, config.allow))

    def client_creator(self, remote: RemoteConfig) -> Any:
        """Return what Twisted's ``wrapClientTLS`` takes, for a remote broker with TLS."""
        return self._clients[remote]

    def _server_options(self, config: TlsConfig) -> Any:
        own = self._own(SECTION, config.certificate, config.key)
        trust = self._trust(SECTION, "client_ca", config.client_ca)
        return ssl.CertificateOptions(
            privateKey=own.key,
            certificate=own.chain[0],
            extraCertChain=own.chain[1:],
            trustRoot=trust,
            raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        ) if own else None  # fmt: skip

    def _client_options(self, remote: RemoteConfig) -> Any:
        section = remote.section
        trust = self._trust(section, "ca", remote.ca)
        own = self._own(section, remote.certificate, remote.key) if remote.certificate and remote.key else None
        shown = {"privateKey": own.key, "certificate": own.chain[0], "extraCertChain": own.chain[1:]} if own else {}
        host = remote.server_name or remote.host
        try:
            host.encode("ascii" if isIPv6Address(host) else "idna")
        except UnicodeError as error:
            self._problem(section, "server_name", f"{host!r} is no name of a host ({error})")
            return None
        options = ssl.CertificateOptions(
            trustRoot=trust or ssl.platformTrust(), raiseMinimumTo=ssl.TLSVersion.TLSv1_2, **shown
        )
        return ClientTls(host, options.getContext())

    def _own(self, section: str, certificate: Path, key: Path) -> _Own | None:
        """Load a certificate and its key, which must fit each other."""
        chain = self._authorities(section, "certificate", certificate)
        loaded = self._load(section, "key", key, "no private key without a passphrase", _read_key)
        if not chain or loaded is None:
            return None
        if chain[0].public_key() != loaded.public_key():
            self._problem(section, "key", f"{key} is not the key of {certificate}")
        return _Own([_openssl(each) for each in chain], crypto.PKey.from_cryptography_key(loaded))

    def _trust(self, section: str, key: str, path: Path | None) -> Any:
        found = self._authorities(section, key, path) if path else []
        return ssl.trustRootFromCertificates([ssl.Certificate(_openssl(each)) for each in found]) if found else None

    def _authorities(self, section: str, key: str, path: Path) -> list[Any]:
        """Load the certificates of a file."""
        found = self._load(section, key, path, "no certificate in PEM", x509.load_pem_x509_certificates) or []
        where = f"{self._path}: [{section}] {key}: {path}"
        self.certificates += named(where, found[:1] if key == "certificate" else found)
        return found

    def _load(self, section: str, key: str, path: Path, what: str, load: Callable[[bytes], _T]) -> _T | None:
        try:
            return load(path.read_bytes())
        except OSError as error:
            self._problem(section, key, f"{path} cannot be read: {error.strerror}")
        except Exception:  # OpenSSL and cryptography have many ways to say so
            self._problem(section, key, f"{path} holds {what}")
        return None

    def _problem(self, section: str, key: str, text: str) -> None:
        self._problems.append(f"{self._path}: [{section}] {key}: {text}")


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """Our side of the connections to one remote broker. It knows why a certificate isn't taken."""

    def __init__(self, host: str, context: Any) -> None:
        self._host, self._context = host, context
        self._is_ip = isIPAddress(host) or isIPv6Address(host)
        self.trouble = ""
        """What was wrong with the other's certificate in the last connection."""

    def clientConnectionForTLS(self, _protocol: Any) -> Any:  # noqa: N802  Twisted's name
        """As Twisted asks for it."""
        self.trouble = ""
        connection = SSL.Connection(self._context, None)
        if not self._is_ip:
            connection.set_tlsext_host_name(self._host.encode("idna"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        return connection

    def _verified(self, _connection: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
        """Check a certificate of the chain, for OpenSSL, which calls this for the host's own (depth 0) last.

        Must not raise: OpenSSL could not report it.
        """
        try:
            found = certificate.to_cryptography()
            if not ok:
                self.trouble = of_certificate(found.subject.rfc4514_string(), error)
            elif depth == 0:
                (verify_certificate_ip_address if self._is_ip else verify_certificate_hostname)(found, self._host)
        except (VerificationError, CertificateError):
            self.trouble = f"its certificate is not one of {self._host}: server_name"
        except Exception as unknown:
            self.trouble = f"its certificate cannot be understood: {one_line(unknown)}"
        return not self.trouble


class Guardable(Protocol):
    """A factory that leaves to others who may connect."""

    def build(self, addr: Any, allow: Sequence[Network]) -> Any: ...
    def doStart(self) -> None: ...
    def doStop(self) -> None: ...


class _Guarded(Factory):
    """Another factory's connections, for networks of its own."""

    noisy = False

    def __init__(self, factory: Guardable, allow: Sequence[Network]) -> None:
        self._factory, self._allow = factory, allow

    def buildProtocol(self, addr: Any) -> Any:
        return self._factory.build(addr, self._allow)

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()


class _Own(NamedTuple):
    chain: list[Any]
    key: Any


def _read_key(pem: bytes) -> Any:
    return load_pem_private_key(pem, None)


def _openssl(certificate: Any) -> Any:
    """As Twisted wants it."""
    return crypto.X509.from_cryptography(certificate)
