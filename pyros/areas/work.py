"""The work with sky maps that the alert manager leaves to a worker process: to read one, and to choose what to observe.

A map is kept as it came, in a folder of the observatory's data, and read from there again. No Twisted here.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from pyros import outgoing
from pyros.alerts.events import MapFacts
from pyros.alerts.skymaps import (
    FieldOfView,
    GalaxyCatalogue,
    RankedGalaxy,
    SkyMap,
    circle_map,
    make_tiles,
    place_of,
    rank_galaxies,
    read_skymap,
)
from pyros.alerts.skymaps.coverage import inside_any, probability_in
from pyros.alerts.skymaps.embedded import embedded_skymap
from pyros.alerts.skymaps.galaxies import read_galaxies, write_catalogue
from pyros.alerts.skymaps.skymap import Floats
from pyros.alerts.skymaps.tiles import Mask
from pyros.alerts.tiling import MapTarget, ObservedField
from pyros.areas.visible import up_in_slots, visible_in_night
from pyros.errors import AlertError
from pyros.files import atomic_write
from pyros.site import Site

MAPS_FOLDER = "maps"
"""Of the observatory's data: the maps' files, as they came."""
FETCH_SECONDS = 120.0
LARGEST_MAP = 256 << 20
"""Bytes of a map that is fetched; a flat one of NSIDE 1024 with distances has 50 million, compressed."""
MAX_KEPT_MAPS = 100
_MAX_RANKED = 5000
_MAX_TILES = 3000
"""Fields among which those are chosen that are asked for."""
_MAX_AIMS = 500
"""Galaxies, the same."""
_remembered: OrderedDict[str, SkyMap] = OrderedDict()
"""The maps read last, by their files: this process chooses of a map what it has just read."""


class ReadJob(msgspec.Struct, frozen=True):
    """A map to read."""

    folder: str
    """Where maps are kept."""
    name: str
    """What the map is known by: its address, or its packet's identifier."""
    url: str = ""
    """Where to fetch it; '' for one within the packet that comes along."""
    circle: tuple[float, float, float, float] | None = None
    """Of an alert without a map its position and error radius (ICRS degrees), and what probability that contains."""
    private: bool = False
    """Whether it may be fetched from this computer and the networks that only we see."""


class MapReading(msgspec.Struct, frozen=True):
    """What a map says."""

    file: str
    """Its file's name in the folder."""
    facts: MapFacts
    """Areas and distance."""
    ra: float
    """The most probable place, ICRS degrees."""
    dec: float
    """Its declination, ICRS degrees."""


class ChooseJob(msgspec.Struct, frozen=True, kw_only=True):
    """A map of which targets are to be chosen."""

    path: str
    """The map's file."""
    site: Site
    """Where the telescope is."""
    now: float
    """Unix seconds."""
    until: float | None
    """When it must have begun, Unix seconds; None for any time."""
    min_altitude: float
    """Degrees."""
    width: float
    """The telescope's field, degrees along right ascension."""
    height: float
    """Degrees along declination."""
    overlap: float
    """Degrees that neighbouring fields share."""
    share: float
    """The share of what can be observed at which there are enough."""
    limit: int
    """The most targets."""
    seconds: float
    """How long one takes."""
    galaxies: str = ""
    """A file of galaxies to point at instead of fields, where the map has distances; '' for none."""
    observed: tuple[ObservedField, ...] = ()
    """What needs no observation any more."""


class Choice(msgspec.Struct, frozen=True):
    """What is to be observed of a map."""

    targets: tuple[MapTarget, ...]
    """The most probable first."""
    observable: float
    """The map's probability in what can be observed tonight, 0 to 1."""
    covered: float
    """The map's probability in what was observed already, 0 to 1."""
    known: int
    """How many fields were observed when that was asked for."""
    kind: str
    """What the targets are, for people: ``fields`` or ``galaxies``."""


def read_map(job: ReadJob, packet: memoryview) -> MapReading:
    """Read a map from where it is kept, else from its address or its packet, and keep it.

    Raises:
        AlertError: the packet has none, or what is there is no map.
        OSError: it cannot be fetched; the text is for people.
    """
    folder = Path(job.folder)
    file = hashlib.sha256(job.name.encode()).hexdigest()[:32] + ".skymap"
    path = folder / file
    skymap: SkyMap | None = None
    if path.exists():
        with suppress(AlertError, OSError):  # then it comes anew
            skymap = kept_map(path)
    if skymap is None:
        if job.circle is not None:
            data = circle_map(*job.circle)
        else:
            data = _fetched(job) if job.url else _within(bytes(packet))
        skymap = read_skymap(data)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, shared=True) as partial:
            partial.write_bytes(data)
        _remember(path, skymap)
        _forget_oldest(folder)
    ra, dec = skymap.most_probable
    mean, error = skymap.distance or (None, None)
    facts = MapFacts(skymap.area(0.5), skymap.area(0.9), mean, error, place_of(skymap))
    return MapReading(file, facts, ra, dec)


def choose(job: ChooseJob) -> Choice:
    """Choose fields or galaxies of a map, of what can be observed tonight and was not observed already.

    Raises AlertError or OSError where the map or the catalogue cannot be read.
    """
    skymap = kept_map(Path(job.path))
    covered = probability_in(skymap, job.observed)
    visible = visible_in_night(job.site, job.now, job.min_altitude, _until(job))
    if visible is None:
        return Choice((), 0.0, covered, len(job.observed), "fields")
    observable = float(skymap.probability[visible(*skymap.centres)].sum())

    def wanted(ra: Floats, dec: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.asarray(visible(ra, dec) & ~inside_any(job.observed, ra, dec))

    if job.galaxies and skymap.along is not None:
        return Choice(_galaxies(job, skymap, wanted), observable, covered, len(job.observed), "galaxies")
    field = FieldOfView(job.width, job.height, job.overlap)
    tiles = make_tiles(skymap, field, share=job.share, limit=max(job.limit, _MAX_TILES), observable=wanted)
    places = [(each.ra, each.dec) for each in tiles]
    targets = tuple(_named(tiles[row].ra, tiles[row].dec, tiles[row].added) for row in _in_time(job, places))
    return Choice(targets, observable, covered, len(job.observed), "fields")


def _until(job: ChooseJob) -> float:
    return float("inf") if job.until is None else job.until


def _in_time(job: ChooseJob, places: list[tuple[float, float]]) -> list[int]:
    """Choose as many of the places, the most probable of which stand first, as are wanted; return their rows in order.

    Where there are more, those come first that a telescope begins which takes, each time it is free, the most probable
    one that is up: the most probable of all may set together, soon.
    """
    if len(places) <= job.limit:
        return list(range(len(places)))
    up = up_in_slots(job.site, job.now, job.min_altitude, _until(job), job.seconds, places)
    chosen: list[int] = []
    for slot in range(up.shape[1]):
        row = int(np.argmax(up[:, slot]))
        if up[row, slot]:
            up[row] = False
            chosen.append(row)
            if len(chosen) == job.limit:
                break
    begun = set(chosen)
    chosen += [row for row in range(len(places)) if row not in begun][: job.limit - len(chosen)]
    return sorted(chosen)


def kept_map(path: Path) -> SkyMap:
    """Read a map's file, unless it is one of the last two that were; raises AlertError or OSError."""
    skymap = _remembered.get(str(path))
    return skymap if skymap is not None else _remember(path, read_skymap(path.read_bytes()))


def _remember(path: Path, skymap: SkyMap) -> SkyMap:
    _remembered[str(path)] = skymap
    while len(_remembered) > 2:
        _remembered.popitem(last=False)
    return skymap


def _named(ra: float, dec: float, probability: float) -> MapTarget:
    return MapTarget(f"f{ra:.3f}{dec:+.3f}", f"field {ra:.2f} {dec:+.2f}", ra, dec, probability)


def _galaxies(job: ChooseJob, skymap: SkyMap, wanted: Mask) -> tuple[MapTarget, ...]:
    """Choose the most probable galaxies; those that lie in a chosen one's field are observed with it."""
    left = rank_galaxies(
        skymap, _catalogue(Path(job.galaxies), Path(job.path).parent), share=0.99, limit=_MAX_RANKED, observable=wanted
    )
    ra, dec = np.array([each.ra for each in left]), np.array([each.dec for each in left])
    chance = np.array([each.probability for each in left])
    goal = job.share * float(chance.sum())
    free = np.ones(len(left), dtype=bool)
    chosen: list[tuple[RankedGalaxy, float]] = []
    reached = 0.0
    for index, galaxy in enumerate(left):
        if reached >= goal or len(chosen) >= max(job.limit, _MAX_AIMS):
            break
        if free[index]:
            field = ObservedField("", galaxy.ra, galaxy.dec, job.width, job.height, 0.0)
            inside = free & inside_any([field], ra, dec)
            inside[index] = True
            free &= ~inside
            chosen.append((galaxy, float(chance[inside].sum())))
            reached += chosen[-1][1]
    chosen.sort(key=lambda each: -each[1])
    rows = _in_time(job, [(galaxy.ra, galaxy.dec) for galaxy, _ in chosen])
    return tuple(
        MapTarget(_key(galaxy), galaxy.name, galaxy.ra, galaxy.dec, probability)
        for galaxy, probability in (chosen[row] for row in rows)
    )


def _key(galaxy: RankedGalaxy) -> str:
    return "g" + re.sub(r"[^A-Za-z0-9.+-]+", "-", galaxy.name)[:30] + f"-{galaxy.ra:.3f}{galaxy.dec:+.3f}"


def _catalogue(path: Path, folder: Path) -> GalaxyCatalogue:
    """Open a catalogue; of a text file the index is made in the maps' folder, where that is older or missing."""
    if path.suffix == ".npy":
        return GalaxyCatalogue(path)
    indexed = folder / f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.npy"
    if not indexed.exists() or indexed.stat().st_mtime < path.stat().st_mtime:
        write_catalogue(read_galaxies(path), indexed)
    return GalaxyCatalogue(indexed)


def _within(packet: bytes) -> bytes:
    data = embedded_skymap(packet)
    if data is None:
        raise AlertError("the packet has no sky map in it")
    return data


def _fetched(job: ReadJob) -> bytes:
    parts = urlsplit(job.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AlertError(f"no address of a sky map: {job.url[:200]!r}")
    try:
        return outgoing.get(job.url, seconds=FETCH_SECONDS, largest=LARGEST_MAP, public=not job.private)
    except OSError as error:
        raise OSError(f"{parts.hostname} {error}") from None


def _forget_oldest(folder: Path) -> None:
    """Keep the newest files of maps; they come anew when they are wanted again."""
    try:
        files = sorted(folder.glob("*.skymap"), key=lambda each: each.stat().st_mtime_ns)
        for each in files[:-MAX_KEPT_MAPS]:
            each.unlink()
    except OSError:
        return
