"""What programs send to the API beside the orders, described as OpenAPI has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_TEXT = {"type": "string", "maxLength": 1000}
_OPTIONAL = {"type": ["string", "null"], "maxLength": 1000}
_PLACE = {"type": ["number", "string", "null"], "description": "ICRS: degrees, or sexagesimal as a text"}
_MOMENT = {"type": ["string", "null"], "description": "ISO 8601, UTC where it says no zone"}
_DURATION = {"type": ["number", "string"], "description": "seconds, or with a unit: 3 d, 90 min"}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200, "description": "the id of the request"}
_NOTE = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "maxLength": 400}, "text": {"type": "string", "maxLength": 4000},
        "tags": {"type": "array", "maxItems": 10, "items": {"type": "string", "pattern": r"^[\w.+-]{1,40}$"}},
    },
    "required": ["event"],
}  # fmt: skip
_EXPOSURES = {
    "type": "object", "required": ["filter", "seconds"], "additionalProperties": False,
    "properties": {
        "filter": _TEXT, "seconds": _DURATION, "count": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "gain": {"type": "number", "minimum": 0}, "binning": {"type": "integer", "minimum": 1, "maximum": 16},
        "dither": {"type": "number", "minimum": 0, "maximum": 3600, "description": "arcseconds"},
        "readout_mode": _TEXT,
    },
}  # fmt: skip
_WINDOW = {
    "type": "object", "additionalProperties": False, "properties": {"from": _MOMENT, "until": _MOMENT},
}  # fmt: skip
_VALUES: dict[str, Any] = {
    "target": _TEXT, "position": _OPTIONAL, "ra": _PLACE, "dec": _PLACE,
    "orbit": {"type": ["object", "null"], "description": "e, i, node, peri, with q and T, or a, M and epoch"},
    "exposures": {"oneOf": [
        {"type": "string", "description": "FILTER:SECONDSxCOUNT, several separated by ;"},
        {"type": "array", "minItems": 1, "maxItems": 100, "items": _EXPOSURES},
    ]},
    "priority": {"type": "integer", "minimum": -100, "maximum": 1000},
    "min_altitude": {"type": ["number", "null"], "minimum": 0, "maximum": 89, "description": "degrees"},
    "max_airmass": {"type": ["number", "null"], "minimum": 1, "maximum": 40},
    "moon_distance": {"type": ["number", "string", "null"], "description": "degrees"},
    "moon_illumination": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "sun_altitude": {"type": ["number", "null"], "minimum": -90, "maximum": 0, "description": "degrees"},
    "from": _MOMENT, "until": _MOMENT, "windows": {"type": ["array", "null"], "items": _WINDOW},
    "cadence": {
        "type": ["object", "null"], "required": ["every"], "additionalProperties": False,
        "properties": {"every": _DURATION, "tolerance": _DURATION, "start": _MOMENT,
                       "count": {"type": "integer", "minimum": 1}},
    },
    "interruptible": {"type": "boolean"}, "proposal": _OPTIONAL, "telescope": _OPTIONAL, "comment": _OPTIONAL,
    "check": {"type": "boolean", "description": "look at it alone; nothing is sent"},
}  # fmt: skip
"""The keys of `pyros.planning.intake.validation.KEYS`, without the owner, who is who asks."""

_DESK = "pyros.console.answers.requesting_by_api"


class Posted(msgspec.Struct, frozen=True):
    """What one of the API's changes takes and answers."""

    summary: str
    """What it does."""
    body: dict[str, Any]
    """The schema of what is sent."""
    answer: str
    """``module:class`` of the answer."""
    made: Mapping[int, str]
    """The codes with which it is answered, and what each means."""
    once: bool = False
    """Whether it takes an ``Idempotency-Key``."""


POSTED = {
    "add note by API": Posted(
        "Write a note about an event, or tags", _NOTE, "pyros.console.answers.noting:NoteLine", {201: "the note"}
    ),
    "make request by API": Posted(
        "Ask for an observation: checked, sent to the scheduler, and told when it is up next",
        {"type": "object", "additionalProperties": False, "required": ["target", "exposures"],
         "properties": {"id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"}} | _VALUES},
        f"{_DESK}:Asked", {200: "it was checked alone", 201: "the scheduler has it"}, once=True,
    ),
    "change request by API": Posted(
        "Give some values of a request anew, null for none; the others stay",
        {"type": "object", "additionalProperties": False, "required": ["key"],
         "properties": {"key": _NAME} | _VALUES},
        f"{_DESK}:Asked", {200: "the scheduler has it, or it was checked alone"},
    ),
    "cancel request by API": Posted(
        "Withdraw a request",
        {"type": "object", "additionalProperties": False, "required": ["key"],
         "properties": {"key": _NAME, "why": {"type": "string", "maxLength": 200}}},
        f"{_DESK}:Withdrawn", {200: "the scheduler was told"},
    ),
}  # fmt: skip
"""By the names of `pyros.console.actions`."""
