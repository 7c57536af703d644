"""Events of different missions at the same time and place: which pairs count, and how often chance makes such a pair.

Two such events are related, not one: each keeps its packets and its retractions. Everything is computed from what is
known of both, and so it does not matter which came first.

Time. `PAIRS` has for each two kinds of event from when to when the second may come, counted from the first. Those of
gravitational waves are the windows in which LVK itself looks for bursts and neutrinos (Public Alerts User Guide,
"Coincidence with External Events"), that of neutrinos is 500 s to both sides (Baret et al. 2011, Astropart. Phys.
35, 1), that of two satellites covers their distance in light time and their different trigger scales.

Place. The distance is held against both radii together, scaled from 90 % to 99 % of a Gaussian in two dimensions
(a factor of sqrt(2)), with the systematic error that some missions leave out of theirs. Of what has a sky map instead
the region of 99 % must come so near to the other's position, or to its map. What has neither is related by its time
alone, and said so.

Chance. Events of the other mission come at its rate; within the window and the circle of the distance that would still
count (or the map's region, made wider by the other's radius), 1 - exp(-rate * window * share of the sky) is the
probability that at least one comes by chance. Plain functions, for any thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import msgspec

from pyros.alerts import identity
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.map_places import MapPlace
from pyros.angles import separation

SECONDS_PER_YEAR = 365.25 * 86_400
_TO_99 = math.sqrt(2.0)
"""From the radius of 90 % to that of 99 %: sqrt(ln 0.01 / ln 0.1)."""
_LEAST_RADIUS = 1 / 60
"""Degrees within which two positions are the same, however precise they say they are."""


class Mission(msgspec.Struct, frozen=True):
    """What is known of a mission's events."""

    kind: str
    """``burst``, ``wave``, ``neutrino``, ``radio``, ``x-ray`` or ``supernova``."""
    rate: float
    """Events a year, by which chance is judged."""
    systematic: float = 0.0
    """Degrees at 90 % that its error radii leave out."""


MISSIONS = {
    "swift": Mission("burst", 92.0),  # Lien et al. 2016, ApJ 829, 7
    "fermi": Mission(
        "burst", 236.0, 5.6
    ),  # von Kienlin et al. 2020, ApJ 893, 46; Connaughton et al. 2015, ApJS 216, 32
    "integral": Mission("burst", 8.0),  # Mereghetti et al. 2003, A&A 411, L291
    "svom": Mission("burst", 70.0),  # Wei et al. 2016, arXiv:1610.06892
    "gecam": Mission("burst", 80.0, 3.0),
    "calet": Mission("burst", 45.0),
    "konus": Mission("burst", 130.0),
    "agile": Mission("burst", 40.0),
    "burstcube": Mission("burst", 20.0, 5.0),
    "einstein_probe": Mission("x-ray", 100.0),
    "maxi": Mission("x-ray", 60.0),
    "lvc": Mission("wave", 100.0),
    "icecube": Mission("neutrino", 28.0),  # gold and bronze: Abbasi et al. 2023, ApJS 269, 25
    "km3net": Mission("neutrino", 12.0),
    "antares": Mission("neutrino", 12.0),
    "amon": Mission("neutrino", 10.0),
    "hawc": Mission("burst", 5.0),
    "chime": Mission("radio", 600.0),
    "dsa110": Mission("radio", 50.0),
    "snews": Mission("supernova", 0.05),
    "sk_sn": Mission("supernova", 0.05),
}
"""The missions whose events are looked for in each other's; surveys' detections are no events in time."""

PAIRS = {
    ("burst", "burst"): (-60.0, 60.0),
    ("burst", "x-ray"): (-1000.0, 1000.0),
    ("x-ray", "x-ray"): (-1000.0, 1000.0),
    ("wave", "burst"): (-60.0, 600.0),
    ("wave", "x-ray"): (-60.0, 1000.0),
    ("wave", "neutrino"): (-500.0, 500.0),
    ("wave", "radio"): (-10.0, 7200.0),
    ("wave", "supernova"): (-10.0, 10.0),
    ("neutrino", "burst"): (-500.0, 500.0),
    ("neutrino", "x-ray"): (-1000.0, 1000.0),
    ("neutrino", "neutrino"): (-100.0, 100.0),
    ("burst", "radio"): (-10.0, 600.0),
    ("supernova", "supernova"): (-60.0, 60.0),
}
"""For two kinds of event: seconds from the first to the second, at least and at most. In one order only."""


class Occurrence(msgspec.Struct, frozen=True):
    """When and where an event was, as far as it is told."""

    mission: str
    """Its mission."""
    time: float
    """Unix seconds."""
    ra: float | None = None
    """ICRS degrees; None without a position."""
    dec: float | None = None
    """Declination, ICRS degrees; None without a position."""
    radius: float | None = None
    """Error radius at 90 %, degrees; None where it isn't told."""
    place: MapPlace | None = None
    """Where its sky map puts it; None with a position, or while no map has been read."""


class Coincidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that another one agrees with in time and place."""

    name: str
    """The other event's name."""
    mission: str
    """Its mission."""
    seconds: float
    """How much later it was."""
    separation: float | None = None
    """Degrees between the two positions; None where one has none."""
    chance: float = 1.0
    """The probability of such a coincidence by chance."""
    share: float | None = None
    """The share (0 to 1) of the smallest region of the sky map that comes as near as that; None without a map."""

    def __str__(self) -> str:
        after = f"{abs(self.seconds):.3g} s {'after' if self.seconds >= 0 else 'before'}"
        place = "by time alone" if self.separation is None else f"{self.separation:.3g} deg apart"
        if self.share is not None:
            place = f"in the region of {self.share:.0%} of the sky map"
        return f"{self.name} {after}, {place}, by chance {self.chance:.2g}"


def moment_of(event: Event, place: MapPlace | None = None) -> Occurrence | None:
    """Return when and where an event was by all of its real packets, also those that are taken back.

    ``place`` is what its sky map says, which counts where there is no position. None for tests, for missions that no
    pair has, and without a time. The time is that of the packet written first: later ones may tell when another
    instrument looked. The position is the best one that stands, or that stood.
    """
    real = _said(event)
    mission = _mission(real)
    if not mission:
        return None
    time = next((each.time for each in real if each.time is not None), None)
    if time is None or any("/counterpart:" in each.key for each in real):
        return None
    best = identity.believe(event).best or _most_precise(real)
    if best is None:
        return Occurrence(mission, time, place=place)
    return Occurrence(mission, time, best.ra, best.dec, None if math.isinf(best.radius) else best.radius)


def mission_of(event: Event) -> str:
    """Return whose event it is among others that may coincide with it; '' for tests and for missions no pair has."""
    return _mission(_said(event))


def _mission(packets: Iterable[PacketRecord]) -> str:
    missions = (each.key.partition(":")[0] for each in packets)
    return next((each for each in missions if each in MISSIONS), "")


def _said(event: Event) -> list[PacketRecord]:
    return [each for each in event.packets if each.real and each.kind != "retraction"]


def _most_precise(packets: Iterable[PacketRecord]) -> PacketRecord | None:
    placed = (each for each in packets if each.ra is not None)
    return min(placed, key=lambda each: (each.radius, each.id), default=None)


def window(one: str, other: str) -> tuple[float, float] | None:
    """Return from when to when (seconds) an event of another mission may come after one; None where none counts."""
    first, second = MISSIONS.get(one), MISSIONS.get(other)
    if first is None or second is None or one == other:
        return None
    if (found := PAIRS.get((first.kind, second.kind))) is not None:
        return found
    turned = PAIRS.get((second.kind, first.kind))
    return (-turned[1], -turned[0]) if turned is not None else None


@cache
def horizon(mission: str) -> tuple[float, float]:
    """Return between how many seconds before and after an event of that mission others may coincide with it."""
    found = [times for other in MISSIONS if (times := window(mission, other)) is not None]
    return min((first for first, _ in found), default=0.0), max((last for _, last in found), default=0.0)


def reach(one: Occurrence, other: Occurrence) -> float | None:
    """Return the distance in degrees up to which two events are at the same place; None where that cannot be told."""
    if None in (one.ra, other.ra, one.radius, other.radius):
        return None
    sizes = (one.radius, other.radius, MISSIONS[one.mission].systematic, MISSIONS[other.mission].systematic)
    return max(_LEAST_RADIUS, _TO_99 * math.sqrt(math.fsum((size or 0.0) ** 2 for size in sizes)))


def _size(moment: Occurrence) -> float:
    """Return the radius at 99 % of a position, with what its mission leaves out, in degrees."""
    return max(_LEAST_RADIUS, _TO_99 * math.hypot(moment.radius or 0.0, MISSIONS[moment.mission].systematic))


def _with_map(one: Occurrence, other: Occurrence) -> tuple[bool, float | None]:
    """Tell whether a sky map decides about the place, and the share of it that does; None where they are apart."""
    if one.place is not None and other.place is not None:
        return True, one.place.share_with(other.place)
    for mapped, placed in ((one, other), (other, one)):
        if mapped.place is not None and placed.ra is not None and placed.dec is not None:
            return True, mapped.place.share_at(placed.ra, placed.dec, _size(placed))
    return False, None


def _share_of_sky(one: Occurrence, other: Occurrence) -> float:
    """Return the share of the sky in which the other's place would agree with one's."""
    if one.place is not None and other.place is not None:
        return one.place.chance(other.place.area)
    for mapped, placed in ((one, other), (other, one)):
        if mapped.place is not None and placed.ra is not None:
            return mapped.place.chance(math.pi * _size(placed) ** 2)
    limit = reach(one, other)
    return 1.0 if limit is None else (1 - math.cos(math.radians(min(limit, 180.0)))) / 2


def chance(one: Occurrence, other: Occurrence) -> float:
    """Return how probable it is that an event of the other's mission agrees with one by chance."""
    times = window(one.mission, other.mission)
    if times is None:
        return 0.0
    expected = MISSIONS[other.mission].rate / SECONDS_PER_YEAR * (times[1] - times[0]) * _share_of_sky(one, other)
    return -math.expm1(-expected)


def coincide(one: Occurrence, other: Occurrence, name: str) -> Coincidence | None:
    """Tell whether another event, of that name, agrees with one in time and place."""
    times = window(one.mission, other.mission)
    seconds = other.time - one.time
    if times is None or not times[0] <= seconds <= times[1]:
        return None
    limit, apart = reach(one, other), None
    if limit is not None:
        apart = separation(one.ra or 0.0, one.dec or 0.0, other.ra or 0.0, other.dec or 0.0)
        if apart > limit:
            return None
    mapped, share = _with_map(one, other)
    if mapped and share is None:
        return None
    return Coincidence(name, other.mission, round(seconds, 6), apart, chance(one, other), share)
