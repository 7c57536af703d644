"""What every driver of a cover and flat panel offers; how its methods end stands in `pyros.instruments.interfaces`."""

from __future__ import annotations

from typing import Literal, Protocol

from twisted.internet.defer import Deferred

from pyros.instruments.interfaces import Instrument, Started

CoverState = Literal["absent", "closed", "moving", "open", "stopped"]
"""``absent`` is a flat panel without a cover; ``stopped`` is a cover that stands elsewhere, or doesn't know where."""


class Cover(Instrument, Protocol):
    """A cover in front of the telescope, a lamp that lights flat fields, or both in one.

    Without a cover, what moves one is refused (UNSUPPORTED); without a lamp, what lights it.
    """

    def open(self, started: Started | None = None) -> Deferred[None]:
        """Open; fires when it is open. A movement under way ends with `CommandAborted`."""
        ...

    def close(self, started: Started | None = None) -> Deferred[None]:
        """Close; fires when it is closed. A movement under way ends with `CommandAborted`."""
        ...

    def stop(self) -> Deferred[None]:
        """Stop the cover where it is; a movement under way ends with `CommandAborted`."""
        ...

    def state(self) -> Deferred[CoverState]:
        """Return the cover's state."""
        ...

    def lamp_on(self, brightness: int, started: Started | None = None) -> Deferred[int]:
        """Light the lamp; fires, when its light is steady, with the brightness that the device then tells.

        Refused (VALUE) for a brightness that is not 1 to `max_brightness`. A lighting under way ends with
        `CommandAborted`.
        """
        ...

    def lamp_off(self) -> Deferred[None]:
        """Put the lamp out; a lighting under way ends with `CommandAborted`."""
        ...

    def brightness(self) -> Deferred[int]:
        """In steps of the lamp's own, up to `max_brightness`; 0 when it is off, or there is none."""
        ...

    def max_brightness(self) -> Deferred[int]:
        """Return the brightness of the lamp fully on; 0 without one, 1 for one that is only on or off."""
        ...
