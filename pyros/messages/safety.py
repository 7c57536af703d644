"""What makes the observatory safe by a person's word, and what tells that it may not be: holds and alarms."""

from __future__ import annotations

from pyros.messages._codec import register
from pyros.messages._payload import NoPayload, Payload, Positive


class HoldOrder(Payload, frozen=True, kw_only=True):
    """A person -> every agent: nothing opens, slews or exposes for the automation until *Release*."""

    why: str
    """Why, for people."""
    who: str = ""
    """The person, as the command line knows them."""


class ReleaseOrder(Payload, frozen=True, kw_only=True):
    """A person -> every agent: the hold, or the service, is over."""

    who: str = ""
    """The person, as the command line knows them."""


class ServiceOrder(Payload, frozen=True, kw_only=True):
    """A person -> every agent: a hold under which persons move the devices, the dome by day too; it ends by itself."""

    why: str
    """Why, for people."""
    minutes: Positive
    """How long it lasts, minutes."""
    who: str = ""
    """The person, as the command line knows them."""


class AlarmRaised(Payload, frozen=True, kw_only=True):
    """Any agent or the guardian -> monitoring: a person is needed. The same ``key`` again is the same alarm."""

    source: str
    """The agent that raises it."""
    key: str
    """What it is about, in a few words that never change: ``dome does not close``."""
    text: str
    """A sentence for a person at 3 a.m.: subject, verb, number, unit, what to do."""


class AlarmEnded(Payload, frozen=True, kw_only=True):
    """The one who raised it -> monitoring: that alarm is over."""

    source: str
    """The agent that raised it."""
    key: str = ""
    """'' for every alarm of that source: it has begun anew, and raises again what still is."""


class DomeReport(Payload, frozen=True, kw_only=True):
    """dome -> majordome: the acknowledgement of every *Keep open*, without which nobody observes."""

    state: str
    """The shutter's, as in `pyros.instruments.interfaces`; ``unknown`` while the device is away."""
    may_open: str = ""
    """Why the dome may not be open now; '' when it may."""


HOLD = register("Hold", HoldOrder)
RELEASE = register("Release", ReleaseOrder, guarded=True)
STOP = register("Stop", HoldOrder, guarded=True)
SERVICE = register("Service", ServiceOrder, guarded=True)
RELOAD_SITE = register("Reload site", NoPayload, guarded=True)
"""Somebody -> every agent: read the file of the site again; it is refused with its mistakes when it has some."""
ALARM = register("Alarm", AlarmRaised)
ALARM_OVER = register("Alarm over", AlarmEnded, guarded=True)
TELL_ALARM = register("Tell alarm", AlarmRaised, guarded=True)
TELL_ALARM_OVER = register("Tell alarm over", AlarmEnded, guarded=True)
"""An agent -> itself, so that monitoring hears of its alarms; of monitoring's own nothing else is in its journal."""
KEPT_OPEN = register("Kept open", DomeReport, guarded=True, fleeting=True)
