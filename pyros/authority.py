"""The observatory's own authority, and certificates that it signs, each with an agent's name. Needs the extra [tls].

A folder has ``ca.pem`` (which every computer needs), ``ca.key`` (which only whoever makes certificates needs), and for
each name a file ``NAME.pem`` with certificate and private key.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyros.errors import PyrosError
from pyros.files import atomic_write

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"
PROGRAM = "program"
"""The name in the certificate of programs that are no agents, such as the command line."""
AUTHORITY_DAYS = 20 * 365
CERTIFICATE_DAYS = 3 * 365
_EARLY = timedelta(days=1)
"""A certificate holds from so long before it was made: the clocks of computers differ."""


def make_authority(folder: Path, observatory: str, now: datetime) -> Path:
    """Make an authority; returns the file of its certificate.

    Raises PyrosError: there is one already, or it cannot be written.
    """
    x509, hashes, ec, serialization = _cryptography()
    if (folder / AUTHORITY).exists() or (folder / AUTHORITY_KEY).exists():
        raise PyrosError(
            f"{folder / AUTHORITY} is there already: every certificate that it has signed would be worth nothing;"
            " move the folder away if that is meant"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"authority of {observatory}"[:64])])
    certificate = (
        _begin(x509, name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(x509, sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        _write(folder / AUTHORITY_KEY, _private(serialization, key))
        _write(folder / AUTHORITY, certificate.public_bytes(pem), 0o644)
    except OSError as error:
        raise PyrosError(f"{folder}: cannot be written: {error.strerror}") from None
    return folder / AUTHORITY


def make_certificate(folder: Path, name: str, now: datetime) -> Path:
    """Make a certificate of this name and its key; returns their file, in place of what was there.

    Raises PyrosError: there is no authority in the folder, or it cannot be read or written.
    """
    x509, hashes, ec, serialization = _cryptography()
    try:
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        authority_key = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
    except FileNotFoundError as error:
        raise PyrosError(f"{error.filename}: no such file; pyros cert --ca makes an authority") from None
    except OSError as error:
        raise PyrosError(f"{error.filename}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise PyrosError(f"{folder / AUTHORITY} or {AUTHORITY_KEY} is damaged") from None
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        _begin(x509, subject, authority.subject, key.public_key(), now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(x509, sign=False), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    try:
        _write(path, certificate.public_bytes(serialization.Encoding.PEM) + _private(serialization, key))
    except OSError as error:
        raise PyrosError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _begin(x509: Any, subject: Any, issuer: Any, public_key: Any, now: datetime, days: int) -> Any:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(x509: Any, *, sign: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _private(serialization: Any, key: Any) -> bytes:
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


def _write(path: Path, pem: bytes, mode: int = 0o600) -> None:
    with atomic_write(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)


def _cryptography() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509  # noqa: PLC0415  the extra [tls]
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    except ImportError:
        raise PyrosError("certificates need: pip install 'pyros-observatory[tls]'") from None
    return x509, hashes, ec, serialization
