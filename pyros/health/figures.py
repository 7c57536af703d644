"""What is counted over time for Prometheus: alerts decided, how quickly the telescope was told, images by filter.

A counter begins with its process, at 0, as Prometheus expects it: nothing old is counted, and a look costs what has
come since the last one.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from pyros import messages
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.prepared import prepared
from pyros.views import Observed

SLEW_BUCKETS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""Seconds."""
_AT_ONCE = 1000
_MAX_STREAMS = 50
_MAX_FILTERS = 50
_MAX_AWAITED = 100
_OTHER = "other"


class _Filter(msgspec.Struct):
    """What is read of an order to expose."""

    filter: str = ""


class _Awaited(msgspec.Struct):
    """An observation whose slew is waited for."""

    came: float
    """When its alert came, Unix seconds."""
    decided: float
    """When it was decided, Unix seconds."""


class Figures:
    """Counts from the journals. Any thread."""

    def __init__(self, observed: Observed) -> None:
        """Begin at what there is now."""
        self._observed = observed
        self._lock = threading.Lock()
        self.alerts: Counter[tuple[str, str]] = Counter()
        """By stream and decision (accepted or rejected)."""
        self.images: Counter[str] = Counter()
        """By filter."""
        self.slews = [0] * (len(SLEW_BUCKETS) + 1)
        """How many slews were commanded within each of `SLEW_BUCKETS`, and later than the last."""
        self.slew_seconds = 0.0
        """Their sum."""
        self._awaited: dict[str, _Awaited] = {}
        self._decision = 0
        with observed.journal("alert_manager") as journal:
            self._decision = decisions.newest(journal) if journal is not None else 0
        self._telescopes = observed.telescopes or (observed,)
        self._messages = [0] * len(self._telescopes)
        """The last message of each one's camera that was looked at."""
        for index, telescope in enumerate(self._telescopes):
            with telescope.journal("camera") as journal:
                self._messages[index] = journal.newest() if journal is not None else 0

    def catch_up(self) -> None:
        """Count what has come since."""
        with self._lock:
            for record in self._decisions():
                self._decided(record)
            for observation in tuple(self._awaited):
                self._look_for_slew(observation)
            self._exposures()

    def families(self) -> Iterator[Any]:
        """Count, and yield the metrics of prometheus-client."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415

        self.catch_up()
        alerts = CounterMetricFamily("pyros_alerts", "Alerts that were decided about.", labels=("stream", "decision"))
        for labels, count in sorted(self.alerts.items()):
            alerts.add_metric(labels, count)
        yield alerts
        images = CounterMetricFamily("pyros_images", "Images that were ordered of the camera.", labels=("filter",))
        for name, count in sorted(self.images.items()):
            images.add_metric((name,), count)
        yield images
        slews = HistogramMetricFamily("pyros_alert_to_slew_seconds", "From an alert's arrival to the order to slew.")
        total, buckets = 0, []
        for edge, count in zip((*map(str, SLEW_BUCKETS), "+Inf"), self.slews, strict=True):
            total += count
            buckets.append((edge, float(total)))
        slews.add_metric((), buckets, self.slew_seconds)
        yield slews

    def _decisions(self) -> list[DecisionRecord]:
        rows: list[tuple[int, DecisionRecord]] = []
        with self._observed.journal("alert_manager") as journal:
            rows = decisions.following(journal, self._decision, _AT_ONCE) if journal is not None else []
        if rows:
            self._decision = rows[-1][0]
        return [record for _, record in rows]

    def _decided(self, record: DecisionRecord) -> None:
        stream = str(record.looked_at.get("stream", "")) or _OTHER
        key = (stream, "accepted" if record.accepted else "rejected")
        if key not in self.alerts and len({known for known, _ in self.alerts}) >= _MAX_STREAMS:
            key = (_OTHER, key[1])
        self.alerts[key] += 1
        if record.outcome == "requested" and record.observation:
            came = record.decided
            with self._observed.events() as journal:
                arrival = journal.arrival(record.alert) if journal is not None else None
                came = arrival[0] if arrival is not None else came
            self._awaited[record.observation] = _Awaited(came, record.decided)
            while len(self._awaited) > _MAX_AWAITED:
                self._awaited.pop(next(iter(self._awaited)))

    def _look_for_slew(self, observation: str) -> None:
        awaited = self._awaited[observation]
        told: list[float] = []
        for telescope in self._telescopes:
            with telescope.journal("telescope") as journal:
                if journal is not None:
                    after = journal.since(awaited.decided - 1.0)
                    told += [row[1] for row in journal.received_about(observation, messages.SLEW, after=after)[-1:]]
        if told:
            seconds = max(0.0, min(told) - awaited.came)
            self.slews[bisect_left(SLEW_BUCKETS, seconds)] += 1
            self.slew_seconds += seconds
            del self._awaited[observation]
        if observation in self._awaited and self._observed.time() - awaited.decided > SLEW_BUCKETS[-1]:
            del self._awaited[observation]

    def _exposures(self) -> None:
        for index, telescope in enumerate(self._telescopes):
            after = self._messages[index]
            with telescope.journal("camera") as journal:
                for number, received in journal.received(after=after, last=_AT_ONCE) if journal is not None else ():
                    self._messages[index] = max(self._messages[index], number)
                    if received.name == messages.EXPOSE and received.error is None:
                        self._count_image(received.payload)

    def _count_image(self, payload: bytes) -> None:
        try:
            name = msgspec.json.decode(payload, type=prepared(_Filter)).filter or _OTHER
        except msgspec.DecodeError:
            return
        if name not in self.images and len(self.images) >= _MAX_FILTERS:
            name = _OTHER
        self.images[name] += 1
