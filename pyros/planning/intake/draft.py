"""A request as somebody wrote it: what every kind of file becomes before it is checked."""

from __future__ import annotations

import re
from typing import Any

import msgspec

EXPOSURE_KEYS = ("filter", "seconds", "count", "gain", "binning", "dither", "readout_mode")
EXPOSURE_WANTED = (
    "must be FILTER:SECONDS, then xCOUNT and ,gain=N ,binning=N ,dither=ARCSEC ,readout_mode=NAME if wanted"
)
_EXPOSURE = re.compile(
    r"(?P<filter>[^:,;]+?)\s*:\s*(?P<seconds>[^,x\s]+)\s*(?:[x×]\s*(?P<count>[^,\s]+))?\s*(?P<rest>,.*)?"
)


class Draft(msgspec.Struct):
    """One request of a file or a command line, its values as they stand there.

    The keys are those of the YAML file (docs/requests.md); ``exposures`` is a list of mappings with `EXPOSURE_KEYS`.
    """

    where: str
    """For people: file, line and name."""
    values: dict[str, Any]
    words: dict[str, str] = {}
    """What a key is called in the file, with its line, where that isn't the key itself: ``line 4 field position``."""
    notes: list[str] = []
    """What the file says and PYROS does otherwise, for people."""

    def problem(self, key: str, text: str) -> str:
        """Return a problem with a value: where, what it is called there, what is wrong."""
        return f"{self.where} {self.words.get(key, key)}: {text}"


class Drafts(msgspec.Struct):
    """All requests of a file, and what is wrong with it."""

    drafts: list[Draft] = []
    problems: list[str] = []


def exposure(text: str) -> dict[str, Any]:
    """Read one entry of ``--expose`` or of the column ``exposures``: ``R:60x3,gain=100``; raises ValueError."""
    match = _EXPOSURE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{EXPOSURE_WANTED}, such as R:60x3, and ; between several; not {text!r}")
    values: dict[str, Any] = {"filter": match["filter"].strip(), "seconds": match["seconds"]}
    if match["count"] is not None:
        values["count"] = match["count"]
    for word in filter(None, map(str.strip, (match["rest"] or "").split(","))):
        key, equals, value = (each.strip() for each in word.partition("="))
        if not equals or key not in EXPOSURE_KEYS[3:] or key in values:
            raise ValueError(f"{EXPOSURE_WANTED}; not {word!r} in {text!r}")
        values[key] = value
    return values


def exposures(text: str) -> list[dict[str, Any]]:
    """Read a column ``exposures``: entries as for `exposure`, separated by semicolons."""
    return [exposure(each) for each in text.split(";") if each.strip()]
