"""What can be said of the agents' certificates before anything runs: which miss, which end, where nothing protects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pyros import certificates
from pyros.authority import AUTHORITY, PROGRAM
from pyros.certificates import Certificate
from pyros.config import BROKER, DANGEROUSLY_OFF, AgentConfig, Config, is_here


class CertificateFindings(NamedTuple):
    """What is wrong, and what had better be otherwise; each names file, section and key."""

    problems: list[str]
    warnings: list[str]


def names(config: Config) -> list[str]:
    """Return the names that a certificate may be made for: the agents', the broker's, guardians', that of programs."""
    return [*config.agents, *(each.name for each in _others(config)), PROGRAM]


def _others(config: Config) -> list[AgentConfig]:
    """Return the ports that take what agents say and are none: the broker's and the guardians'."""
    broker = [config.peer(BROKER)] if config.broker is not None and config.broker.port is not None else []
    return broker + [seen.guardian.place for seen in config.guarded() if seen.guardian is not None]


def examine(config: Config, now: datetime) -> CertificateFindings:
    """Look at the certificates of agents; reads their files."""
    where = f"{config.path}: [observatory] tls:"
    if config.dangerous:
        told = f"{where} {DANGEROUSLY_OFF}: who is on the network between two computers reads and changes everything"
        return CertificateFindings([], [told])
    if config.certificates is None:
        return CertificateFindings(list(_unprotected(config)), [])
    found, problems, warnings = list[Certificate](), list[str](), list[str]()
    for name in (AUTHORITY.removesuffix(".pem"), *names(config)):
        path = config.certificates / f"{name}.pem"
        if path.exists():
            try:
                found += certificates.read(f"{where} {path}", path, first=True)
            except ValueError as error:
                problems.append(str(error) if str(path) in str(error) else f"{where} {error}")
        elif path.name == AUTHORITY:
            problems.append(f"{where} {path}: no such file; pyros cert --ca makes an authority")
        elif name == PROGRAM:
            warnings.append(f"{where} {path}: no such file; programs here reach no agent on another computer"
                            f" (pyros cert {name})")  # fmt: skip
        else:
            warnings.append(f"{where} {path}: no such file; if {name} runs here, it and other computers cannot speak"
                            f" (pyros cert {name})")  # fmt: skip
    problems += certificates.ended(found, now)
    warnings += [text for each in found if each.ends > now and (text := each.warning(now))]
    return CertificateFindings(problems, warnings)


def unreachable(config: Config) -> Iterator[str]:
    """Yield what keeps other computers from a port that is said to be for them."""
    for section in (*config.agents.values(), *_others(config)):
        where = f"{config.path}: [{section.name}]"
        here = is_here(section.ip)
        if section.at is not None and here and not (section.at.tls or is_here(section.at.host)):
            yield (f"{where} listen: {section.listens} is for this computer alone, and others look for it at"
                   f" {section.where}: listen = 0.0.0.0:{section.port}, unless something here passes on what"
                   " comes")  # fmt: skip
        elif not here and all(network.is_loopback for network in section.allow):
            yield f"{where} allow: lets this computer in alone, though it listens on {section.listens}: name networks"


def _unprotected(config: Config) -> Iterator[str]:
    """Yield what an observatory on several computers lacks."""
    want = f"that needs TLS: [observatory] tls = FOLDER (pyros cert --help), or tls = {DANGEROUSLY_OFF}"
    for section in (*config.agents.values(), *_others(config)):
        if section.amqp is not None:
            yield f"{config.path}: [{section.name}] at: is reached through RabbitMQ; {want}"
        elif section.encrypted:
            key = "ip" if section.at is None else "at"
            yield f"{config.path}: [{section.name}] {key}: {section.where} is on another computer, or may be; {want}"
        elif not all(network.is_loopback for network in section.allow):
            yield f"{config.path}: [{section.name}] allow: lets other computers in; {want}"
