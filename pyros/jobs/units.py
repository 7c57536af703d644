"""Durations and sizes as people write them: ``90 s``, ``2 h``, ``4 GB``."""

from __future__ import annotations

import re

_SECONDS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}
_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]*)")


def duration(text: str) -> float:
    """Return seconds; raises ValueError for what is not like ``90 s``, ``5 min``, ``2 h``, ``7d`` or ``1 w``."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2] not in _SECONDS or not float(found[1]):
        raise ValueError("is not a time like 90 s, 5 min, 2 h, 7 d or 1 w")
    return float(found[1]) * _SECONDS[found[2]]


def size(text: str) -> int:
    """Return bytes; raises ValueError for what is not like ``500 MB`` or ``4 GB`` (of 1024 each)."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2].lower() not in _BYTES or not float(found[1]):
        raise ValueError("is not a size like 500 MB or 4 GB")
    return int(float(found[1]) * _BYTES[found[2].lower()])
