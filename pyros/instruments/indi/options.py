"""Options of INDI devices alone in their addresses; those of all drivers are in `pyros.instruments.options`."""

from __future__ import annotations

from pyros.instruments.interfaces import Kind
from pyros.instruments.options import Option


def _binning(text: str) -> int:
    if not 1 <= int(text) <= 16:
        raise ValueError
    return int(text)


OPTIONS: dict[Kind, dict[str, Option]] = {
    "camera": {"bin": Option(_binning, "1 to 16 pixels a side")},
}
"""The options of each kind."""
