"""What is done about an event's sky map: whose map counts, what is asked for, and what was observed of it.

Which map counts follows from the event's packets alone: the last one in their authors' order that has a map and still
stands. So maps, retractions and updates may come in any order, and end alike. Plain values, for any thread.
"""

from __future__ import annotations

import math

import msgspec

from pyros.alerts import identity
from pyros.alerts.alert import Alert
from pyros.alerts.identity import Event
from pyros.messages import Observation

_MAX_SOURCES = 20
_LEAST_PRIORITY = -60


class MapSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where one packet's map is."""

    alert: Alert
    """The packet, understood."""
    kept: int | None = None
    """The packet's number in the broker's store, for a map within it; None for what isn't kept there."""
    topic: str = ""
    """The Kafka topic the packet came on, if it did."""
    attempts: int = 0
    """How often the map could not be read."""
    problem: str = ""
    """Why the map is given up; '' for one that isn't."""

    @property
    def url(self) -> str:
        """Where the map is; '' for one within its packet."""
        url = self.alert.skymap or ""
        return "" if url == "embedded" else url

    @property
    def is_circle(self) -> bool:
        """Whether it has no map, but a position whose error is wider than the telescope's field."""
        return self.alert.skymap is None


class MapTarget(msgspec.Struct, frozen=True, array_like=True):
    """One field, or one galaxy."""

    key: str
    """What tells it from the others of its event, the same in every map: the field's place, or the galaxy's name."""
    name: str
    """For people."""
    ra: float
    """Centre, ICRS degrees."""
    dec: float
    """Declination of the centre, ICRS degrees."""
    probability: float
    """Of the map, what lies here and in no target before; of galaxies the share among those of the catalogue."""


class ObservedField(msgspec.Struct, frozen=True, array_like=True):
    """A field of the sky that was observed for the event, whatever map it was of."""

    key: str
    """The target's."""
    ra: float
    """Centre, ICRS degrees."""
    dec: float
    """Declination of the centre, ICRS degrees."""
    width: float
    """Degrees along right ascension, at its declination."""
    height: float
    """Degrees along declination."""
    ended: float
    """When its last image was taken, Unix seconds."""
    images: int = 0
    """How many there are."""


class Tiling(msgspec.Struct, omit_defaults=True):
    """The map of one event, and what is observed of it."""

    sources: dict[str, MapSource] = {}
    """By the packets' identifiers."""
    read: str = ""
    """The packet whose map counts now and has been read; '' for none."""
    file: str = ""
    """Name of the last such map's file among the maps."""
    request: Observation | None = None
    """What each target is asked for with; its id is the beginning of theirs. None where the rules want none of it."""
    targets: tuple[MapTarget, ...] = ()
    """What is asked for, the most probable first; observed ones stay in it."""
    observed: tuple[ObservedField, ...] = ()
    """What was observed, in that order."""
    covered: float | None = 0.0
    """The probability that the observed fields have of the map that counts, 0 to 1; None until a new map is looked at.
    """
    most: float = 0.0
    """The greatest probability of one target that was asked for of the map that counts."""
    again: float = 0.0
    """When fields are chosen anew, after the night, Unix seconds; 0 for never."""

    def add(self, source: MapSource) -> None:
        """Take note of a packet's map."""
        self.sources[source.alert.id] = source
        while len(self.sources) > _MAX_SOURCES:
            del self.sources[next(iter(self.sources))]

    def newest(self, event: Event) -> MapSource | None:
        """Return the map that counts by all packets of the event; None where none stands, or none can be read.

        A circle counts where there is no map, as long as no better position is known.
        """
        dead = identity.retracted_ids(event)
        standing = [
            source
            for packet in reversed(event.packets)
            if (source := self.sources.get(packet.id)) is not None
            and packet.real and packet.id not in dead and not source.problem
        ]  # fmt: skip
        found = next((source for source in standing if not source.is_circle), None)
        if found is not None or not standing:
            return found
        best = identity.believe(event).best
        return next((source for source in standing if best is not None and source.alert.id == best.id), None)

    def is_awaited(self, event: Event) -> bool:
        """Tell whether the map that counts is being read for the first time."""
        source = self.newest(event)
        return source is not None and not source.is_circle and source.alert.id != self.read and not source.attempts

    def forget(self) -> None:
        """Ask for nothing any more; what was observed stays, and of which map."""
        self.read, self.most = "", 0.0
        self.request, self.targets = None, ()

    def observations(self) -> tuple[Observation, ...]:
        """Return the requests for the targets that were not observed.

        Their priorities make the worth of a minute proportional to the probability: ten less for half of it. Of one
        priority the more probable goes first, asked for a millisecond before the next.
        """
        request = self.request
        if request is None or not self.targets:
            return ()
        done = {each.key for each in self.observed}
        most = max(self.most, *(each.probability for each in self.targets))
        return tuple(
            msgspec.structs.replace(
                request, id=f"{request.id}-{each.key}", target=f"{request.target} {each.name}", ra=each.ra,
                dec=each.dec, priority=request.priority + _less(each.probability, most),
                probability=round(each.probability, 9), requested=request.requested + number / 1000,
            )
            for number, each in enumerate(self.targets)
            if each.key not in done
        )  # fmt: skip

    def observed_ids(self) -> tuple[str, ...]:
        """Return the ids of the requests for what was observed."""
        begin = self.request.id if self.request is not None else ""
        return tuple(f"{begin}-{each.key}" for each in self.observed)

    def ids_of(self, request: str) -> tuple[str, ...]:
        """Return the ids of the fields or galaxies that were asked for, or observed, under a request's id."""
        keys = [*(each.key for each in self.targets), *(each.key for each in self.observed)]
        begin = f"{request}-"
        return tuple(dict.fromkeys(key if key.startswith(begin) else begin + key for key in keys))


def _less(probability: float, most: float) -> int:
    if probability <= 0:
        return _LEAST_PRIORITY
    return max(_LEAST_PRIORITY, round(10 * math.log2(probability / most)))
