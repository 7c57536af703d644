"""The root of all payload types, and the numbers that many of them carry."""

from __future__ import annotations

from typing import Annotated

import msgspec

Degrees = Annotated[float, msgspec.Meta(ge=0, lt=360)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of all payload types."""


class NoPayload(Payload, frozen=True):
    """A message whose name says it all."""
