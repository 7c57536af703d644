"""The sections of agents, and how computers speak with each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from pyros.config._agent import LOG_LEVELS, LOOPBACK, AgentConfig, AmqpConfig
from pyros.config._section import Section
from pyros.config._units import CENTRAL_SCHEDULER
from pyros.config._values import INSTRUMENTS, STANDARD_AGENTS
from pyros.config._words import address, choice, ip_and_port, ip_word, networks, port_number, yes

DANGEROUSLY_OFF = "DANGEROUSLY_OFF"
"""The word for plain text between computers: anybody on the way may read and change what is said."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*( [A-Za-z0-9_]+)*")
_MAX_NAME = 64


class TlsOption(NamedTuple):
    """What ``[observatory] tls`` says: a folder of certificates, or that plain text is spoken."""

    certificates: Path | None = None
    dangerous: bool = False


def tls_word(path: Callable[[str], Path]) -> Callable[[str], TlsOption]:
    """Return what reads a folder, by ``path``, or `DANGEROUSLY_OFF`."""

    def convert(text: str) -> TlsOption:
        if text == DANGEROUSLY_OFF:
            return TlsOption(dangerous=True)
        if text.lower() in ("no", "off", "none", "") or text.upper() == DANGEROUSLY_OFF:
            raise ValueError(f"is neither a folder of certificates nor {DANGEROUSLY_OFF}")
        return TlsOption(path(text))

    return convert


AMQP = "amqp"
"""The word of ``at`` for agents that are reached by RabbitMQ."""


def _unit(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+( [A-Za-z0-9_]+)*", text):
        raise ValueError("is no unit: letters, digits and _, and a blank where it lies within another one")
    return text


def listening(section: Section) -> tuple[str, int]:
    """Take the address and port that a section listens on: ``listen``, or ``ip`` and ``port``."""
    listen = section.optional("listen", ip_and_port)
    if "listen" not in section.given:
        return section.take("ip", ip_word, "127.0.0.1"), section.take("port", port_number)
    for key in ("ip", "port"):
        if section.optional(key, str) is not None:
            section.problem(key, "listen says that already; give one of them")
    return listen or ("", 0)


def read_agent(section: Section, tls: TlsOption, amqp: AmqpConfig | None) -> AgentConfig:
    """Return what an agent's section says; every mistake becomes a problem of the section."""
    name = section.name
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        told = "an agent's name is a letter, then letters, digits and _; its unit follows after a blank (64 at most)"
        section.problem("section", told)
    first, _, rest = name.partition(" ")
    kind = section.take("kind", choice(*STANDARD_AGENTS), first) or first
    unit = section.take("unit", _unit, rest)
    if "app" not in section.values and kind not in STANDARD_AGENTS:
        meant = get_close_matches(kind, STANDARD_AGENTS, 1, 0.8)
        if meant:
            section.problem("app", f"missing: name the module of this agent, unless [{meant[0]}] is meant")
    instrument = kind in INSTRUMENTS and "app" not in section.values
    app = STANDARD_AGENTS.get(kind, "")
    if name == CENTRAL_SCHEDULER:
        kind = "scheduler"  # the whole's: where there are several, a request goes to it
    options = {
        key.removeprefix("option_"): section.values.pop(key)
        for key in list(section.values)
        if key.startswith("option_")
    }
    by_amqp = section.values.get("at") == AMQP
    at = section.optional("at", lambda text: None if by_amqp else address(text))
    if by_amqp and amqp is None:
        section.problem("at", f"{AMQP} needs [observatory] amqp = amqps://USER@HOST/VHOST")
    ip, port = listening(section)
    config = AgentConfig(
        name=name,
        ip=ip,
        port=port,
        app=section.take("app", str, app),
        allow=section.take("allow", networks, LOOPBACK),
        driver=section.take("driver", str, None if instrument else ""),
        address=section.take("address", str, None if instrument else ""),
        roof=section.take("roof", yes, False) if kind == "dome" else False,
        open_air=section.take("open_air", yes, False) if kind == "telescope" else False,
        log=section.take("log", choice(*LOG_LEVELS), "debug"),
        options=options,
        at=at,
        amqp=amqp if by_amqp else None,
        certificates=tls.certificates,
        dangerous=tls.dangerous,
        of_kind="" if kind == name else kind,
        unit=unit,
    )
    section.rest("option_...")
    return config
