"""How agents, broker and guardian are doing, by what they say themselves: each is asked over TCP, within a time limit.

Blocking, for any thread of a program outside the agents. `pyros status`, `pyros doctor` and the checks ask here.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec

from pyros.clock import Deadline
from pyros.config import BROKER, AgentConfig, BrokerConfig, Config, GuardianConfig
from pyros.errors import AgentUnreachable, ConfigError, DeliveryError, JournalError
from pyros.health.told import ToldByAgent, ToldByBroker, ToldByGuardian, why_not
from pyros.journal.events import EventReader
from pyros.printable import instant
from pyros.sender import ask, open_connection, reachable

LONG_SECONDS = 3.0
"""A handler that takes longer hangs: it should take milliseconds."""
_LONGEST_ANSWER = 1 << 20  # bytes
_NOT_OF_AGENTS = ("events", "missing", "dome")
"""What only broker and guardian say, by which they are told from agents."""


def nobody_listens(reason: str) -> bool:
    """Whether that is why an agent does not answer; otherwise it may run, and hang, start, or be out of reach."""
    return os.strerror(errno.ECONNREFUSED) in reason


def ask_all(config: Config, timeout: float = 2.0) -> list[dict[str, Any]]:
    """Return how every agent, broker and guardian, where there are any, are doing; all are asked at the same time."""
    with ThreadPoolExecutor(max_workers=32) as pool:
        broker = pool.submit(_broker, config, config.broker, timeout) if config.broker else None
        guardians = [
            pool.submit(of_guardian, seen.guardian, timeout, seen.unit) for seen in config.guarded() if seen.guardian
        ]
        found = list(pool.map(lambda section: of_agent(section, timeout), config.agents.values()))
        if broker is not None:
            found.insert(0, broker.result())
        found += [guardian.result() for guardian in guardians]
    return found


def of_agent(section: AgentConfig, timeout: float) -> dict[str, Any]:
    """Ask an agent how it is doing: what it says, with ``up``; or why it doesn't answer, in ``reason``."""
    line: dict[str, Any] = {"agent": section.name, "address": section.where}
    try:
        said = ask(section, "status", timeout)
    except DeliveryError as error:
        return line | {"up": False, "reason": error.reason}
    if reason := why_not(said, ToldByAgent, "an agent"):
        return line | {"up": False, "reason": reason}
    shown = {key: value for key, value in said.items() if key not in _NOT_OF_AGENTS}
    return line | {"up": True} | shown | line | {"up": True}


def of_guardian(section: GuardianConfig, timeout: float, unit: str = "") -> dict[str, Any]:
    """Ask the guardian how it is doing and what it sees of the dome; or why it doesn't answer, in ``reason``."""
    line: dict[str, Any] = {"agent": f"guardian {unit}".strip(), "address": section.where}
    down = line | {"up": False}
    try:
        greeting, answer = _lines_of_guardian(section, timeout)
        if not greeting.startswith(b"GUARDIAN "):
            return down | {"reason": "what listens there is no guardian"}
        said = msgspec.json.decode(answer, type=dict[str, Any])
    except DeliveryError as error:
        return down | {"reason": error.reason}
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        return down | {"reason": getattr(error, "strerror", None) or str(error)}
    if reason := why_not(said, ToldByGuardian, "a guardian"):
        return down | {"reason": reason}
    return line | {"up": True} | said | line | {"up": True}


def _lines_of_guardian(section: GuardianConfig, timeout: float) -> tuple[bytes, bytes]:
    """Return what the guardian says first, and its answer. Raises OSError, and as `open_connection` does."""
    deadline, said = Deadline(timeout), b""
    with open_connection(section.place, max(deadline.left(), 0.001)) as connection:
        connection.sendall(b"STATUS\n")
        while said.count(b"\n") < 2 and len(said) < _LONGEST_ANSWER:
            connection.settimeout(max(deadline.left(), 0.001))
            more = connection.recv(65536)
            if not deadline.left():
                raise TimeoutError("timed out")
            if not more:
                break
            said += more
    greeting, _, rest = said.partition(b"\n")
    return greeting, rest.partition(b"\n")[0]


def _broker(config: Config, section: BrokerConfig, timeout: float) -> dict[str, Any]:
    """Return whether the broker answers, or its ports do, what it says of where alerts come from, and its journal."""
    line: dict[str, Any] = {"agent": "broker", "address": f"{section.ip}:{section.receiver_port}", "up": True}
    said: dict[str, Any] | None = None
    if section.port is not None:
        with suppress(DeliveryError):
            said = of_broker(config, timeout)
            line |= {"since": said["since"], "missing": list(missing(said))}
    if said is None:  # its ports, whose users it would log, are knocked at only then
        for port in (section.receiver_port, section.broadcaster_port):
            try:
                socket.create_connection((reachable(section.ip), port), timeout).close()
            except OSError as error:
                line |= {"up": False, "reason": f"port {port}: {error.strerror or error}"}
    try:
        journal = EventReader(config.journal("broker"))
    except JournalError:  # it has not run here yet, or runs on another machine
        return line
    try:
        line |= {"events": journal.count(), "outbox": journal.waiting()}
    finally:
        journal.close()
    return line


def broker_of(config: Config) -> BrokerConfig:
    """Return the broker's section; raises ConfigError when there is none."""
    if config.broker is None:
        raise ConfigError([f"{config.path}: [broker]: the section is missing; add it, for alerts come in through it"])
    return config.broker


def of_broker(config: Config, timeout: float = 2.0) -> dict[str, Any]:
    """Ask the running broker how it is doing.

    Raises ConfigError when it has no port for that, AgentUnreachable when it doesn't run, or what answers is no broker.
    """
    section = broker_of(config)
    if section.port is None:
        raise ConfigError([f"{config.path}: [broker] port: missing; give one, there the broker answers how it is"])
    peer = config.peer(BROKER)
    said = ask(peer, "status", timeout)
    if reason := why_not(said, ToldByBroker, "a broker"):
        raise AgentUnreachable(BROKER, peer.where, reason)
    return said


def receiving(said: dict[str, Any]) -> bool:
    """Whether everything that the broker subscribes to is there."""
    return not any(missing(said))


def missing(said: dict[str, Any]) -> Iterator[str]:
    """Tell what the broker subscribes to and doesn't get, and since when; in a few words each."""
    for address, remote in said["remotes"].items():
        if not (remote["connected"] and _spoken(remote)):
            yield f"broker {address} {remote_state(remote)}"
    for name, kafka in said.get("kafka", {}).items():
        if kafka["silent"] or not kafka["topics"]:
            yield f"kafka {name} {kafka_state(kafka)}"
        elif kafka["missing"]:
            yield f"kafka {name} has no topic for {' '.join(kafka['missing'])}"
        elif kafka["trouble"]:
            yield f"kafka {name}: {kafka['trouble']}"


def _spoken(remote: dict[str, Any]) -> bool:
    """Whether it has said anything since it was connected to: what takes a connection need not be a broker."""
    return remote["heard"] is not None and remote["heard"] >= remote["since"]


def remote_state(remote: dict[str, Any]) -> str:
    """Return how it is with a broker that ours subscribes to, in a few words."""
    state = "NOT CONNECTED" if not remote["connected"] else "receiving" if _spoken(remote) else "SAYS NOTHING"
    return f"{state} since {instant(remote['since'])}"


def kafka_state(kafka: dict[str, Any]) -> str:
    """Return how it is with a Kafka service, in a few words."""
    state = "SILENT" if kafka["silent"] else "receiving" if kafka["topics"] else "NOT RECEIVING"
    return f"{state} since {instant(kafka['since'])}"
