"""Where an observatory listens, and whether those ports are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pyros.config import Config
from pyros.errors import ConfigError
from pyros.simulators import Description
from pyros.simulators.endpoints import server_endpoint

_SOME = 5
"""So many ports that are taken may each have a story of its own; more are another observatory's."""


class PortPlace(NamedTuple):
    """Who listens where, and the file and key that say so."""

    who: str
    ip: str
    port: int
    file: Path
    key: str


def listening(config: Config, simulators: Iterable[Description]) -> list[PortPlace]:
    """Every port that a whole observatory opens. ``simulators`` are those of the configuration, loaded."""
    places = [
        PortPlace(f"[{agent.name}]", agent.ip, agent.port, config.path, f"[{agent.name}] port")
        for agent in config.agents.values()
    ]
    for seen in config.guarded():
        if (guardian := seen.guardian) is not None:
            name = f"[guardian {seen.unit}".strip() + "]"
            places.append(PortPlace(name, guardian.ip, guardian.port, config.path, f"{name} port"))
    if (console := config.console) is not None and console.run:
        places.append(PortPlace("[console]", console.ip, console.port, config.path, "[console] port"))
    if config.broker is not None:
        places += [
            PortPlace(f"[broker] {key}", config.broker.ip, getattr(config.broker, key), config.path, f"[broker] {key}")
            for key in ("port", "receiver_port", "broadcaster_port")
            if getattr(config.broker, key) is not None
        ]
        if (tls := config.broker.tls) is not None:
            places += [
                PortPlace(f"[broker tls] {key}", tls.ip, getattr(tls, key), config.path, f"[broker tls] {key}")
                for key in ("receiver_port", "broadcaster_port")
                if getattr(tls, key) is not None
            ]
    for simulator in simulators:
        for key, address in simulator.endpoints.items():
            endpoint = server_endpoint(None, address)  # loading has checked it
            ip, port = getattr(endpoint, "_interface", ""), getattr(endpoint, "_port", 0)
            places.append(PortPlace(f"simulator {simulator.name!r}", ip or "0.0.0.0", port, simulator.file, key))
    return places


def check_free(places: list[PortPlace]) -> None:
    """Raise ConfigError naming every port that cannot be opened, and what to do."""
    problems = []
    used = []
    for place in places:
        family = socket.AF_INET6 if ":" in place.ip else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((place.ip, place.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    used.append(str(place.port))
                    why = "is in use"
                else:
                    why = f"cannot be opened ({error.strerror})"
                problems.append(
                    f"{place.file}: {place.key}: port {place.port} on {place.ip} {why};"
                    " stop the program that has it (another observatory?), or choose another port"
                )
    if len(used) > _SOME and len(used) == len(problems):
        problems = [
            f"{places[0].file}: {len(used)} of its {len(places)} ports are in use ({', '.join(used)});"
            " stop the other observatory (or demo) that has them, or choose other ports in a copy of this file"
        ]
    if problems:
        raise ConfigError(problems)
