"""The page Elsewhere: what SIMBAD, TNS and GCN's circulars know of an event."""

from __future__ import annotations

import msgspec
from django.conf import settings
from django.http import HttpRequest

from pyros.console.elsewhere import Answered
from pyros.console.outside import About
from pyros.views.event import EventDetail, event


class ElsewhereAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an event elsewhere."""

    event: str
    """The event's name."""
    services: tuple[Answered, ...]
    """Each with what it has answered."""
    radius: float
    """Within how many arcseconds of the event's position neighbours were looked for."""

    @property
    def asking(self) -> bool:
        """Whether some have not answered yet."""
        return any(each.state == "asking" for each in self.services)


def elsewhere(request: HttpRequest, key: str = "") -> ElsewhereAnswer | None:
    """Return what is known by now; None for no such event."""
    console = settings.CONSOLE
    found = event(console.observed, key)
    if found is None:
        return None
    about = about_of(found)
    return ElsewhereAnswer(event=found.event.name, services=console.elsewhere.look(about), radius=about.radius)


def about_of(found: EventDetail) -> About:
    """Return what services are asked about for an event."""
    line = found.event
    times = [each.step.packet.time for each in found.packets if each.step.packet.time is not None]
    return About(names=(line.name, *found.names), ra=line.ra, dec=line.dec, error_radius=line.error_radius,
                 time=found.event_time or (times[0] if times else line.came))  # fmt: skip
