"""Alerts: what came in, what was decided, and what the observatory tells the world of it."""

from __future__ import annotations

from typing import Literal

from pyros.messages._codec import register
from pyros.messages._payload import NoPayload, Payload
from pyros.messages.observations import Observation

LARGEST_PACKET = 1024 * 1024
"""Bytes of a packet that travels in a message; JSON makes them a third longer, and a frame has 16 MiB at most."""


class AlertReceived(Payload, frozen=True):
    """broker -> alert_manager. ``packet`` are the bytes as they came; ``kept`` is the store's number for them.

    A packet too large for a message (`LARGEST_PACKET`) is left out: the broker's journal has it under its number.
    """

    packet: bytes
    """The bytes as they came; empty where they are too many."""
    source: str
    """Where it came from, such as ``author 10.0.0.1``."""
    received: float
    """When it came, Unix seconds."""
    kept: int | None = None
    """Number of the packet in the broker's store; None for what isn't kept there."""
    topic: str = ""
    """The Kafka topic it came on, if it did."""


class AlertDecided(Payload, frozen=True):
    """alert_manager -> monitoring: what was decided about an alert, and why, in words."""

    alert: str
    """The alert's identifier; '' for a packet that was not understood."""
    event: str
    """Name of the event that the alert belongs to."""
    accepted: bool
    """Whether it is to be observed."""
    reason: str
    """Why, for people."""
    rule: str = ""
    """Name of the rule that decided; '' for none."""
    ra: float | None = None
    """Right ascension, ICRS degrees; None for an alert without a position."""
    dec: float | None = None
    """Declination, ICRS degrees; None for an alert without a position."""
    error_radius: float | None = None
    """How well the position is known, degrees; None when the alert doesn't say."""
    observation: str = ""
    """The id of the observation that is asked for; '' for none."""


class TakenImage(Payload, frozen=True):
    """One image of an observation, as others want to know it."""

    path: str
    """The FITS file."""
    filter: str
    """The filter's name."""
    seconds: float
    """Exposure time, seconds."""
    started: float
    """When the shutter opened, Unix seconds."""


class FollowUp(Payload, frozen=True, kw_only=True):
    """observation_manager -> alert_manager: an observation has begun or ended.

    Said where the observatory publishes, and of fields of sky maps.
    """

    what: Literal["started", "finished", "stopped"]
    """Whether the observation has begun, has ended, or was stopped."""
    request: Observation
    """The observation as it was asked for."""
    time: float
    """When it began or ended, Unix seconds."""
    images: tuple[TakenImage, ...] = ()
    """The images that were taken."""
    reason: str = ""
    """Why it was stopped; '' for one that was not."""


class Publish(Payload, frozen=True):
    """An agent -> broker: a VOEvent of our own, to be kept and sent to the subscribers, not to be followed up."""

    packet: bytes
    """The VOEvent as it is sent."""


class AlertSource(Payload, frozen=True):
    """broker -> monitoring: a service that alerts come from is silent, or is heard (again)."""

    source: str
    """The service's name, such as ``kafka gcn``."""
    text: str
    """What happened, for people."""


ALERT_RECEIVED = register("Alert received", AlertReceived, guarded=True)
ALERT_DECIDED = register("Alert decided", AlertDecided, patient=0.1)
RELOAD_RULES = register("Reload rules", NoPayload, guarded=True)
"""Somebody -> alert_manager: read the file of rules again; it is refused with its mistakes when it has some."""
FOLLOW_UP = register("Follow-up", FollowUp, guarded=True)
PUBLISH = register("Publish", Publish, guarded=True)
ALERTS_SILENT = register("Alerts silent", AlertSource)
ALERTS_HEARD = register("Alerts heard", AlertSource)
