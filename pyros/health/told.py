"""What agents, broker and guardian must say about themselves, where they say it, so that it can be shown.

Any program may listen at their ports while they are down, and say anything.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from pyros.hold import Hold
from pyros.prepared import prepared
from pyros.printable import printable

Time = Annotated[float, msgspec.Meta(ge=0, lt=1e11)]
"""Unix seconds that have a date."""


class Handling(msgspec.Struct):
    """What an agent's thread is doing."""

    message: str
    seconds: float


class SaidAlarm(msgspec.Struct):
    """An alarm as the agent that has raised it says it."""

    key: str
    text: str
    since: float


class ToldByAgent(msgspec.Struct):
    """What an agent says."""

    agent: str
    since: Time
    taken: int = 0
    failed: int = 0
    refused: int = 0
    waiting: int = 0
    hold: Hold | None = None
    alarms: list[SaidAlarm] = []
    outbox: dict[str, int] = {}
    handling: Handling | None = None
    forgotten: dict[str, int] = {}
    failed_commands: int = 0
    last_failure: str = ""


class ToldByGuardian(msgspec.Struct):
    """What the guardian says."""

    since: Time
    dome: str
    beats: int
    beat: float
    closing: bool
    told: str = ""
    alarms: list[SaidAlarm] = []


class ToldOfRemote(msgspec.Struct):
    """What the broker says of one that it subscribes to."""

    connected: bool
    since: Time
    heard: Time | None
    received: int
    filters: list[str]
    tls: bool
    trouble: str


class ToldOfKafka(msgspec.Struct):
    """What the broker says of a Kafka service."""

    servers: str
    subscribed: list[str]
    topics: list[str]
    since: Time
    missing: list[str]
    taken: int
    lag: int | None
    heard: Time | None
    silent: bool
    trouble: str


class ToldOfSubscriber(msgspec.Struct):
    """What the broker says of one of its subscribers."""

    peer: str
    ivo: str
    since: Time
    filters: list[str]
    refused_filters: list[str]
    sent: int
    unacknowledged: int


class ToldOfFolder(msgspec.Struct):
    """What the broker says of the folder that it watches."""

    path: str
    taken: int
    refused: int


class ToldOfConflict(msgspec.Struct):
    """What the broker says of a packet that came under another one's name."""

    ivorn: str
    of: int
    source: str
    received: Time


class ToldByBroker(msgspec.Struct):
    """What the broker says."""

    since: Time
    received: int
    duplicates: int
    refused: int
    failed: int
    events: int
    waiting: int
    authors: int
    subscribers: list[ToldOfSubscriber]
    remotes: dict[str, ToldOfRemote]
    conflicts: list[ToldOfConflict]
    folder: ToldOfFolder | None = None
    kafka: dict[str, ToldOfKafka] = {}


def why_not(said: dict[str, Any], kind: type[msgspec.Struct], who: str) -> str:
    """Return why what answers there cannot be ``who`` ("an agent"), by what it says; '' where it may be."""
    try:
        msgspec.convert(said, prepared(kind))
    except (msgspec.ValidationError, RecursionError) as error:
        return f"what answers there is not {who}: {printable(str(error))}"
    return ""
