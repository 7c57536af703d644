"""The root of all payload types, and the numbers that many of them carry."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Degrees = Annotated[float, msgspec.Meta(ge=0, lt=360)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of all payload types."""


class Target(Payload, frozen=True, kw_only=True):
    """A place to observe and the alert that asks for it, which a request, an exposure and an image carry.

    They inherit these fields, so that their JSON is flat.
    """

    ra: Degrees
    """Right ascension, ICRS degrees."""
    dec: Latitude
    """Declination, ICRS degrees."""
    alert: str = ""
    """The alert's identifier; '' for what no alert asks for."""
    event: str = ""
    """Name of the event that the alert belongs to."""
    error_radius: float | None = None
    """How well the position is known, degrees; None when the alert doesn't say."""
    event_time: float | None = None
    """When it happened in the sky, Unix seconds; None when the alert doesn't say."""

    def target_fields(self) -> dict[str, Any]:
        """Return these fields alone, by name, for the next payload about the same target."""
        return {name: getattr(self, name) for name in Target.__struct_fields__}


class NoPayload(Payload, frozen=True):
    """A message whose name says it all."""
