"""Alerts: what came in, what was decided, and what the observatory tells the world of it."""

from __future__ import annotations

from typing import Literal

from pyros.messages._codec import register
from pyros.messages._payload import Payload
from pyros.messages.observations import Observation

LARGEST_PACKET = 1024 * 1024
"""Bytes of a packet that travels in a message; JSON makes them a third longer, and a frame has 16 MiB at most."""


class AlertReceived(Payload, frozen=True):
    """broker -> alert_manager. ``packet`` are the bytes as they came; ``kept`` is the store's number for them.

    A packet too large for a message (`LARGEST_PACKET`) is left out: the broker's journal has it under its number.
    """

    packet: bytes
    source: str
    received: float
    kept: int | None = None
    topic: str = ""
    """The Kafka topic it came on, if it did."""


class AlertDecided(Payload, frozen=True):
    """alert_manager -> monitoring: what was decided about an alert, and why, in words."""

    alert: str
    event: str
    accepted: bool
    reason: str
    rule: str = ""
    ra: float | None = None
    dec: float | None = None
    error_radius: float | None = None
    observation: str = ""


class TakenImage(Payload, frozen=True):
    """One image of an observation, as others want to know it."""

    path: str
    filter: str
    seconds: float
    started: float


class FollowUp(Payload, frozen=True, kw_only=True):
    """observation_manager -> alert_manager, where the observatory publishes: an observation has begun or ended."""

    what: Literal["started", "finished", "stopped"]
    request: Observation
    time: float
    images: tuple[TakenImage, ...] = ()
    reason: str = ""


class Publish(Payload, frozen=True):
    """An agent -> broker: a VOEvent of our own, to be kept and sent to the subscribers, not to be followed up."""

    packet: bytes


class AlertSource(Payload, frozen=True):
    """broker -> monitoring: a service that alerts come from is silent, or is heard (again)."""

    source: str
    text: str


ALERT_RECEIVED = register("Alert received", AlertReceived, guarded=True)
ALERT_DECIDED = register("Alert decided", AlertDecided)
FOLLOW_UP = register("Follow-up", FollowUp, guarded=True)
PUBLISH = register("Publish", Publish, guarded=True)
ALERTS_SILENT = register("Alerts silent", AlertSource)
ALERTS_HEARD = register("Alerts heard", AlertSource)
