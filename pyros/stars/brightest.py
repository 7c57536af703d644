"""The stars that one sees at once, to magnitude 3.6, for maps of the whole sky: ``brightest.csv``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("brightest.csv")


@cache
def brightest() -> tuple[tuple[float, float, float], ...]:
    """Return (right ascension, declination, V magnitude) of each, ICRS degrees, the brightest first."""
    lines = _FILE.read_text(encoding="ascii").splitlines()
    rows = [line.split(",") for line in lines if line and not line.startswith(("#", "ra"))]
    return tuple((float(ra), float(dec), float(magnitude)) for ra, dec, magnitude in rows)
