"""The moment at which a rule is asked: the site's sky, and what is known of the event beside the packet."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, Self

import msgspec

from pyros.alerts import identity
from pyros.alerts.alert import Alert
from pyros.alerts.events import Followed, MapFacts


class LocalSky(Protocol):
    """A site's answers about a position (ICRS degrees) at a moment; the caller of the rules gives it."""

    def altitude(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees above the horizon."""

    def time_up(self, ra: float, dec: float, when: datetime, min_altitude: float) -> float:
        """Return seconds until the position sinks below that altitude in degrees: 0 if it isn't up, a day if never."""

    def moon_distance(self, ra: float, dec: float, when: datetime) -> float:
        """Return degrees from the Moon, which may be below the horizon."""

    def moon_light(self, when: datetime) -> float:
        """Return how much of the Moon's disc is lit, 0 to 1; 0 while the Moon is below the horizon."""

    def sun_altitude(self, when: datetime) -> float:
        """Return the Sun's degrees above the horizon, negative at night."""


class EventFacts(msgspec.Struct, frozen=True):
    """What is known of an event from all of its packets that stand."""

    alert: Alert
    """The packet at hand with the event's best position, and the newest value of everything that packets tell."""
    packets: int = 1
    """Packets so far."""
    missions: tuple[str, ...] = ()
    """Missions whose packets are of this event: the part of their keys before the colon."""
    coincident: tuple[str, ...] = ()
    """Missions that saw something else at the same time and place, or that the packets say did."""
    map: MapFacts | None = None
    """The event's newest sky map; None while none has been measured."""

    @classmethod
    def of(cls, alert: Alert, followed: Followed, coincident: tuple[str, ...] = ()) -> Self:
        """Put together what is known of a packet's event, the packet itself included."""
        event = followed.event
        if len(event.packets) == 1:  # it says what its packet says
            return cls(alert, 1, identity.missions(event), coincident, followed.map)
        best = identity.believe(event).best
        said = identity.said_together(event)
        if best is not None:
            said |= {"ra": best.ra, "dec": best.dec, "error_radius": best.error_radius, "pointing": False}
        whole = msgspec.structs.replace(alert, **said)
        return cls(whole, len(event.packets), identity.missions(event), coincident, followed.map)


class Circumstances(msgspec.Struct, frozen=True):
    """The moment and the place at which a rule is asked."""

    now: datetime
    """The moment, UTC."""
    sky: LocalSky | None = None
    """The sky over the site; None where no site is named."""
    min_altitude: float = 0.0
    """The rule's own, degrees."""
    event: EventFacts | None = None
    """The event as a whole; None where only the packet is known."""


def age(alert: Alert, now: datetime) -> float | None:
    """Return the seconds since the event, or since the packet was written where the event's time isn't told."""
    moment = alert.time or alert.sent
    return (now - moment).total_seconds() if moment else None
