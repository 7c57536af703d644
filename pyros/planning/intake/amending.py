"""A request that there is, with some of its values given anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pyros.messages import Observation

_PLACE = ("ra", "dec", "orbit")
_FIELDS: dict[str, tuple[str, ...]] = {
    "target": ("target",), "position": _PLACE, "ra": _PLACE, "dec": _PLACE, "orbit": _PLACE,
    "priority": ("priority",), "exposures": ("exposures",), "min_altitude": ("min_altitude",),
    "from": ("windows",), "until": ("windows",), "windows": ("windows",), "cadence": ("cadence",),
    "interruptible": ("interruptible",), "proposal": ("proposal",), "telescope": ("telescope",),
    "comment": ("reason",),
}  # fmt: skip
"""What each key of the intake sets, of a request; the keys of its constraints are named as theirs."""
_CONSTRAINTS = ("max_airmass", "moon_distance", "moon_illumination", "sun_altitude")

AMENDABLE = (*_FIELDS, *_CONSTRAINTS)
"""The keys that can be given anew: all but its id and its owner."""


def amended(known: Observation, found: Observation, keys: Iterable[str]) -> Observation:
    """Return a known request with what some keys of the intake said; ``found`` was made of them.

    ``from`` and ``until`` are one window together; a position takes an orbit's place.
    """
    keys = tuple(keys)
    values: dict[str, Any] = {
        field: getattr(found, field) for key in keys if key in _FIELDS for field in _FIELDS[key]
    }  # fmt: skip
    limits = {key: getattr(found.constraints, key) for key in keys if key in _CONSTRAINTS}
    constraints = msgspec.structs.replace(known.constraints, **limits)
    return msgspec.structs.replace(known, constraints=constraints, **values)
