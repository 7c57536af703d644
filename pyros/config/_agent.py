"""Where an agent is, and who may connect to it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import msgspec

Network = IPv4Network | IPv6Network
LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
"""What a line of the log weighs, from everything on."""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))


class Address(msgspec.Struct, frozen=True):
    """Where something is found from other computers."""

    host: str
    """Name or IP address; a name is looked up at each attempt to connect."""
    port: int
    """TCP port; 0 for the one that it listens on."""
    tls: bool = False
    """Whether TLS is spoken there, though the address be one of this computer."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class AmqpConfig(msgspec.Struct, frozen=True):
    """``[observatory] amqp``: the RabbitMQ by which agents are reached whose section says ``at = amqp``."""

    nodes: tuple[Address, ...]
    """Where it is: the nodes of a cluster, any of which will do."""
    vhost: str = "/"
    """The virtual host: one for each observatory."""
    user: str = "guest"
    """Who we are there."""
    tls: bool = False
    """Whether the connection to it is encrypted (``amqps``); what agents say to each other is in any case."""
    password: Path | None = None
    """The file of the password; None: RabbitMQ's guest."""
    authority: Path | None = None
    """Who has signed its certificate, PEM; None: those that this computer trusts."""

    @property
    def where(self) -> str:
        """``host:port`` of each node, for people."""
        return ", ".join(map(str, self.nodes))


def is_here(host: str) -> bool:
    """Return whether an address is certainly this computer's own."""
    try:
        return ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return host == "localhost"


class AgentConfig(msgspec.Struct, frozen=True):
    """Where an agent listens, what runs it, who may connect, and the values of its own keys."""

    name: str
    """The section's name, which is the agent's."""
    ip: str
    """Address that it listens on."""
    port: int
    """TCP port that it listens on."""
    app: str
    """The module of its class; '' for an agent that a program of its own runs."""
    allow: tuple[Network, ...] = LOOPBACK
    """Networks that may connect."""
    driver: str = ""
    """An instrument's: the driver's name; '' for what has none."""
    address: str = ""
    """An instrument's: where its device is, as its driver writes addresses."""
    roof: bool = False
    """A dome's: a roof that would hit the telescope, so that the mount must be parked before it closes."""
    open_air: bool = False
    """A telescope's: it stands in the open, and no dome of ours is above it."""
    log: str = "debug"
    """The level of the log from which on it writes lines: one of `LOG_LEVELS`."""
    options: Mapping[str, str] = {}
    """The ``option_...`` keys of the section, without that beginning; for agents of one's own."""
    at: Address | None = None
    """Where the others find it; None: where it listens."""
    certificates: Path | None = None
    """Folder of the certificates with which agents on other computers are spoken to; None: there is none."""
    amqp: AmqpConfig | None = None
    """``at = amqp``: the RabbitMQ by which the other agents reach it; programs go where it listens."""
    dangerous: bool = False
    """Plain text is spoken with other computers."""
    of_kind: str = ""
    """What it is, such as ``telescope``, where its name says more; '' where that is its name."""
    unit: str = ""
    """The unit that it belongs to; '' for the whole observatory's."""

    @property
    def kind(self) -> str:
        """What it is, such as ``telescope``; for an agent of one's own its name."""
        return self.of_kind or self.name

    @property
    def destination(self) -> Address:
        """Where to connect to."""
        if self.at is not None:
            return Address(self.at.host, self.at.port or self.port, self.at.tls)
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.ip, self.ip), self.port)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken when somebody connects to it there."""
        destination = self.destination
        return destination.tls or not (self.dangerous or is_here(destination.host))

    @property
    def where(self) -> str:
        """Where the others find it, for people."""
        return str(self.destination) if self.at is not None else self.listens

    @property
    def reached(self) -> str:
        """Where the other agents find it, for people."""
        return self.where if self.amqp is None else f"RabbitMQ at {self.amqp.where}"

    @property
    def listens(self) -> str:
        """``ip:port`` that it listens on, for people."""
        return str(Address(self.ip, self.port))
