"""What OpenSSL says of a handshake that failed, in words that help. Needs neither it nor the extra ``tls``."""

from __future__ import annotations

from twisted.python.failure import Failure

from pyros.printable import printable

_WORDS = {
    "alert certificate required": "it wants a certificate, and we showed none that it takes: certificate, key",
    "alert handshake failure": "it breaks off; does it want a certificate? certificate, key",
    "alert unknown ca": "it does not know who has signed our certificate",
    "alert certificate expired": "it says that our certificate has expired",
    "alert bad certificate": "it does not take our certificate",
    "alert certificate unknown": "it does not take our certificate",
    "alert unsupported certificate": "it does not take our certificate",
    "alert internal error": "it does not take our certificate",
    "did not return a certificate": "it showed no certificate",
    "certificate verify failed": "its certificate has expired, or is signed by none of those whom we trust",
    "wrong version number": "it does not speak TLS",
    "http request": "it does not speak TLS",
    "record layer failure": "it does not speak TLS",
    "packet length too long": "it does not speak TLS",
    "unsupported protocol": "it only speaks a TLS that is too old",
    "no shared cipher": "we have no cipher in common",
}
_CERTIFICATE = {
    9: "does not hold yet",
    10: "has expired",
    **dict.fromkeys((2, 18, 19, 20, 21), "is signed by none of those whom we trust: ca"),
    23: "was revoked",
}
"""By the numbers of OpenSSL's x509_vfy.h."""


def _one_line(said: object) -> str:
    return " ".join(printable(str(said)).split())[:300]


def of_certificate(subject: str, error: int) -> str:
    """Why a certificate is not taken."""
    return (
        f"its certificate ({_one_line(subject)}) {_CERTIFICATE.get(error, f'is not valid (error {error} of OpenSSL)')}"
    )


def of_failure(reason: Failure) -> str:
    """Why a handshake failed; '' where a connection ended for another reason."""
    if not reason.type.__module__.startswith("OpenSSL"):
        return ""
    said = _one_line(reason.value)
    return next((words for part, words in _WORDS.items() if part in said.lower()), said)
