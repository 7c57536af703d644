"""Biases and darks: which comes next, and the sets that images make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import msgspec

from pyros.messages import CalibrationOrder, FrameSet

ImageType = Literal["BIAS", "DARK", "FLAT"]
ShotType = Literal["LIGHT", "BIAS", "DARK", "FLAT"]


class CalibrationFrame(msgspec.Struct, frozen=True):
    """An image of a calibration that is on disk."""

    image_type: ImageType
    filter: str
    seconds: float
    """Exposure time, seconds."""
    path: str
    """The FITS file."""
    level: float | None = None
    """Median of its pixels, ADU, above the bias for a flat; None where it could not be measured."""
    temperature: float | None = None
    """The detector's, degrees Celsius."""


@dataclass(frozen=True)
class Shot:
    """One exposure of a calibration."""

    image_type: ShotType
    seconds: float
    filter: str = ""


def shots(order: CalibrationOrder) -> list[Shot]:
    """Return the exposures of biases or darks, in their order: the shortest darks first."""
    if order.kind == "bias":
        return [Shot("BIAS", 0.0)] * order.count
    return [Shot("DARK", seconds) for seconds in sorted(set(order.seconds)) for _ in range(order.count)]


def problem(order: CalibrationOrder) -> str:
    """Why an order of biases or darks cannot be carried out; '' when it can."""
    return "darks need exposure times: seconds is empty" if order.kind == "dark" and not order.seconds else ""


def sets(frames: Sequence[CalibrationFrame]) -> tuple[FrameSet, ...]:
    """Return the sets that images make, in the order of their first ones: by type, filter and darks' exposure time."""
    groups: dict[tuple[str, str, float], list[CalibrationFrame]] = {}
    for frame in frames:
        seconds = 0.0 if frame.image_type == "FLAT" else frame.seconds
        groups.setdefault((frame.image_type, frame.filter, seconds), []).append(frame)
    return tuple(
        FrameSet(
            image_type=group[0].image_type,
            filter=group[0].filter,
            seconds=group[-1].seconds,
            images=tuple(each.path for each in group),
            level=_mean([each.level for each in group]),
            temperature=_mean([each.temperature for each in group]),
        )
        for group in groups.values()
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return fmean(known) if known else None
