"""When certificates end. Needs the extra [tls] for reading them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pyros.printable import printable

SOON = timedelta(days=30)
"""A certificate that ends within so long is warned of."""


class Certificate(NamedTuple):
    """One that a configuration names: the key that names it, whose it is, and until when it holds."""

    where: str
    subject: str
    ends: datetime

    def warning(self, now: datetime) -> str:
        """Return what to say of the certificate's end; '' while that is far."""
        if self.ends - now > SOON:
            return ""
        ends = "has ended" if self.ends <= now else "ends"
        return f"{self.where}: the certificate of {self.subject} {ends} on {self.ends:%Y-%m-%d}; get a new one"


def named(where: str, certificates: Iterable[Any]) -> list[Certificate]:
    """Return what is to be known of certificates (cryptography's) that a key of the configuration names."""
    return [Certificate(where, printable(each.subject.rfc4514_string()), each.not_valid_after_utc)
            for each in certificates]  # fmt: skip


def ended(certificates: Iterable[Certificate], now: datetime) -> Iterator[str]:
    """Return a line for each certificate whose time is over."""
    for each in certificates:
        if each.ends <= now:
            yield each.warning(now)


def read(where: str, path: Path, *, first: bool = False) -> list[Certificate]:
    """Read the certificates of a PEM file, or only the first one. Raises ValueError saying why it can't be read."""
    try:
        from cryptography import x509  # noqa: PLC0415  the extra [tls]
    except ImportError:
        raise ValueError("needs: pip install 'pyros-observatory[tls]'") from None
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{where}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{where}: holds no certificate in PEM") from None
    return named(where, found[:1] if first else found)
