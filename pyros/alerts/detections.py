"""Which of the sources found are news for others. Plain functions, for any thread.

A source is measured in every image; whoever subscribes wants to know that it is there, how bright it is in each filter,
when that changes, and in the end its light curve (decision 0032).
"""

from __future__ import annotations

from math import hypot

import msgspec

from pyros.angles import separation_arcsec
from pyros.messages import SourceFound

CHANGE = 0.3
"""Magnitudes by which a source must have changed to be news again, if nobody says otherwise."""
MAX_MEASURED = 200
"""Measurements in a light curve: VTP carries 99,999 bytes."""
_CHANGE_SIGMAS = 3.0
_SAME_SOURCE_ARCSEC = 5.0
"""A source that is farther off is another one."""


class Detections(msgspec.Struct):
    """The measurements of one event's source."""

    told: dict[str, SourceFound] = {}
    """The measurement that was published last, by filter."""
    measured: list[SourceFound] = []
    """The measurements since the last published light curve."""
    all_told: bool = True
    """Whether each of them was published by itself."""


def add(detections: Detections, found: SourceFound, change: float) -> bool:
    """Keep a measurement and tell whether it is news. With a change of 0 magnitudes each is."""
    news = _is_news(detections, found, change)
    if news:
        detections.told[found.filter] = found
    detections.all_told = detections.all_told and news
    detections.measured = [*detections.measured, found][-MAX_MEASURED:]
    return news


def take(detections: Detections) -> list[SourceFound]:
    """Take out the light curve in order of time; empty when each of its points was published already."""
    measured = [] if detections.all_told else sorted(detections.measured, key=lambda each: each.time)
    detections.measured, detections.all_told = [], True
    return measured


def _is_news(detections: Detections, found: SourceFound, change: float) -> bool:
    last = detections.told.get(found.filter)
    if last is None or separation_arcsec(last.ra, last.dec, found.ra, found.dec) > _SAME_SOURCE_ARCSEC:
        return True
    sure = _CHANGE_SIGMAS * hypot(last.magnitude_error or 0.0, found.magnitude_error or 0.0)
    return abs(found.magnitude - last.magnitude) >= (max(change, sure) if change else 0.0)
