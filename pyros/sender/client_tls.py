"""TLS of a plain program's connection to an agent on another computer, by Python's own means."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from pyros.authority import AUTHORITY, PROGRAM
from pyros.config import AgentConfig
from pyros.errors import AgentUnreachable, MessageRefused
from pyros.printable import printable


def encrypt(connection: socket.socket, agent: AgentConfig) -> socket.socket:
    """Return the connection after TLS's handshake, within its own time-out.

    Raises AgentUnreachable: we have no certificate to show; MessageRefused: who answers is not that agent; OSError.
    """
    context = _context(agent)
    try:
        encrypted = context.wrap_socket(connection)
    except ssl.SSLCertVerificationError as error:
        told = f"its certificate is not taken: {error.verify_message}"
        raise MessageRefused(agent.name, agent.where, told) from None
    except ssl.SSLError as error:
        raise MessageRefused(agent.name, agent.where, f"no TLS with it: {error.reason or error}") from None
    found = encrypted.getpeercert() or {}
    names = [item[1] for part in found.get("subject", ()) for item in part if item[0] == "commonName"]
    if names != [agent.name]:
        encrypted.close()
        shown = printable(str(names[0]))[:80] if names else ""
        raise MessageRefused(agent.name, agent.where, f"its certificate is of {shown!r}, and not of {agent.name!r}")
    return encrypted


def _context(agent: AgentConfig) -> ssl.SSLContext:
    folder = agent.certificates
    if folder is None:
        raise AgentUnreachable(
            agent.name, agent.where,
            "it is on another computer, and nothing is said there without TLS: [observatory] tls names no folder of"
            " certificates (pyros cert)",
        )  # fmt: skip
    own, authority = folder / f"{PROGRAM}.pem", folder / AUTHORITY
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the certificate's name is the agent's, wherever it is
    try:
        _load(context, own, authority)
    except OSError as error:  # ssl.SSLError is one
        why = "no certificate with its key" if isinstance(error, ssl.SSLError) else error.strerror
        told = f"programs need {own} and {authority.name} there: {why} (pyros cert {PROGRAM})"
        raise AgentUnreachable(agent.name, agent.where, told) from None
    return context


def _load(context: ssl.SSLContext, own: Path, authority: Path) -> None:
    context.load_cert_chain(own)
    context.load_verify_locations(authority)
