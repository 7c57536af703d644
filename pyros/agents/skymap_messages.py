"""What the alert manager says to itself about sky maps."""

from __future__ import annotations

from pyros import messages
from pyros.areas.work import Choice, MapReading
from pyros.messages import Payload

MAP_READ = "Sky map read"
FIELDS_CHOSEN = "Fields chosen"
READ_MAP_AGAIN = "Read sky map again"
CHOOSE_AGAIN = "Choose fields again"


class MapRead(Payload, frozen=True):
    """The alert manager to itself: the map of a packet was read, or could not be."""

    alert: str
    """The packet's identifier."""
    reading: MapReading | None = None
    """What it says; None where it could not be read."""
    problem: str = ""
    """Why not, for people."""
    again: bool = True
    """Whether it may be there later."""


class FieldsChosen(Payload, frozen=True):
    """The alert manager to itself: what is to be observed of a packet's map."""

    alert: str
    """The packet's identifier."""
    choice: Choice | None = None
    """What was chosen; None where that failed."""
    problem: str = ""
    """Why, for people."""


class MapAgain(Payload, frozen=True):
    """The alert manager to itself: it is time to read a map again, or to choose of it anew."""

    alert: str
    """The packet's identifier."""


messages.register(MAP_READ, MapRead, guarded=True)
messages.register(FIELDS_CHOSEN, FieldsChosen, guarded=True)
messages.register(READ_MAP_AGAIN, MapAgain, guarded=True)
messages.register(CHOOSE_AGAIN, MapAgain, guarded=True)
