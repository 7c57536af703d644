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
_SIGMAS = 3.0
_ELSEWHERE = 5.0  # arcseconds; a source that is farther off is another one


class Detections(msgspec.Struct):
    """What was found of one event: what was published last, for each filter, and what was measured since its last light
    curve, and whether all of that was published one by one."""

    told: dict[str, SourceFound] = {}
    measured: list[SourceFound] = []
    all_told: bool = True


def add(detections: Detections, found: SourceFound, change: float) -> bool:
    """Keep a measurement; returns whether it is news. With a change of 0 magnitudes each is."""
    news = _is_news(detections, found, change)
    if news:
        detections.told[found.filter] = found
    detections.all_told = detections.all_told and news
    detections.measured = [*detections.measured, found][-MAX_MEASURED:]
    return news


def take(detections: Detections) -> list[SourceFound]:
    """The light curve, in the order of time; nothing where each of its points was published already."""
    measured = [] if detections.all_told else sorted(detections.measured, key=lambda each: each.time)
    detections.measured, detections.all_told = [], True
    return measured


def _is_news(detections: Detections, found: SourceFound, change: float) -> bool:
    last = detections.told.get(found.filter)
    if last is None or separation_arcsec(last.ra, last.dec, found.ra, found.dec) > _ELSEWHERE:
        return True
    sure = _SIGMAS * hypot(last.magnitude_error or 0.0, found.magnitude_error or 0.0)
    return abs(found.magnitude - last.magnitude) >= (max(change, sure) if change else 0.0)
