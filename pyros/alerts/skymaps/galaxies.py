"""Galaxies in which a gravitational wave may have happened: a catalogue in one indexed file, ranked by a sky map.

The density of probability at a galaxy is that of its cell times the distribution of distances along its line of sight
(Singer et al. 2016, ApJ 829, L15, equation 1: the r**2 of the volume cancels), weighted by the galaxy's mass. What a
catalogue doesn't know is left out: the probabilities are among its galaxies only.

A catalogue is a numpy file of rows sorted by their HEALPix cell of level 29, mapped into memory: a region is some
slices of it, however many million galaxies there are.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pyros.alerts.skymaps.skymap import Floats, Integers, SkyMap, healpix
from pyros.alerts.skymaps.tiles import Mask
from pyros.errors import AlertError
from pyros.files import atomic_write

_LEVEL = 29
_ROW = np.dtype([
    ("cell", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("distance", "<f4"), ("mass", "<f4"), ("name", "S24"),
])  # fmt: skip
_CHUNK = 200_000
_GLADE_COLUMNS = 40
_COLUMNS = {
    "name": ("name", "objname", "galaxy", "id"),
    "ra": ("ra", "ra_deg", "raj2000"),
    "dec": ("dec", "dec_deg", "dej2000", "decj2000"),
    "distance": ("distance", "dist", "distmpc", "d_l", "dl_mpc"),
    "mass": ("mass", "mstar", "weight"),
}
"""How a CSV file calls its columns, in lower case; NED-LVS has objname, ra, dec, DistMpc and Mstar."""
_MAX_DISTANCE = 20_000.0
"""Mpc; what is farther is no galaxy of these catalogues but a mistake."""


class Galaxy(NamedTuple):
    """One row of a catalogue."""

    name: str
    ra: float
    """ICRS degrees."""
    dec: float
    distance: float
    """Luminosity distance, Mpc."""
    mass: float = 1.0
    """Stellar mass in any unit, or another weight."""


class RankedGalaxy(NamedTuple):
    """A galaxy, and how probably it is the event's."""

    name: str
    ra: float
    """ICRS degrees."""
    dec: float
    distance: float
    """Luminosity distance, Mpc."""
    probability: float
    """Among all galaxies of the catalogue in the map's region, 0 to 1."""


class GalaxyCatalogue:
    """An indexed file of galaxies. Read-only; may be shared between threads."""

    def __init__(self, path: Path) -> None:
        """Map the file into memory. Raises AlertError naming it where it is no catalogue."""
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:150]
            raise AlertError(f"{path}: no catalogue of galaxies: {reason}") from None
        if rows.dtype != _ROW or rows.ndim != 1:
            raise AlertError(f"{path}: no catalogue of galaxies; pyros alerts galaxies makes one")
        self.path, self.rows = path, rows

    def __len__(self) -> int:
        return len(self.rows)


def rank_galaxies(
    skymap: SkyMap, catalogue: GalaxyCatalogue, *, share: float = 0.9, limit: int = 5000, observable: Mask | None = None
) -> list[RankedGalaxy]:
    """Return the galaxies in the smallest region with ``share`` of a map, the most probable first, at most ``limit``.

    Only those at ``observable`` positions are returned, but their probabilities are among all in the region. Without
    distances in the map the masses and the cells alone count.
    """
    inside = np.flatnonzero(skymap.region(share))
    shift = 2 * (_LEVEL - skymap.level[inside])
    first = skymap.cell[inside] << shift
    cells = catalogue.rows["cell"]
    starts, ends = np.searchsorted(cells, first), np.searchsorted(cells, first + (np.int64(1) << shift))
    counts = ends - starts
    owner = np.repeat(inside, counts)
    offsets = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = catalogue.rows[np.repeat(starts, counts) + offsets]
    density = skymap.probability[owner] / skymap.areas[owner]
    if skymap.along is not None:
        mu, sigma, norm = (values[owner] for values in skymap.along)
        density = density * norm / sigma * np.exp(-0.5 * ((rows["distance"] - mu) / sigma) ** 2)
    worth: Floats = density * np.where(rows["mass"] > 0, rows["mass"], _typical(rows["mass"]))
    total = float(worth.sum())
    if total <= 0:
        return []
    order: Integers = np.argsort(-worth, kind="stable")
    order = order[worth[order] > 0]
    if observable is not None:
        order = order[observable(np.asarray(rows["ra"])[order], np.asarray(rows["dec"])[order])]
    return [
        RankedGalaxy(row["name"].decode(), float(row["ra"]), float(row["dec"]), float(row["distance"]), probability)
        for row, probability in zip(rows[order[:limit]], (worth[order[:limit]] / total).tolist(), strict=True)
    ]


def _typical(masses: Floats) -> float:
    """Return the median of the known masses, for galaxies whose mass isn't known; 1 where none is."""
    known = masses[masses > 0]
    return float(np.median(known)) if len(known) else 1.0


# Making one ----------------------------------------------------------------------------------------------------------


def write_catalogue(galaxies: Iterable[Galaxy], path: Path) -> int:
    """Write an indexed file, all of it or nothing, and return how many galaxies it has."""
    chunks: list[Any] = []
    chunk: list[tuple[Any, ...]] = []
    for galaxy in galaxies:
        name = galaxy.name.encode("ascii", "replace")[:24]
        chunk.append((0, galaxy.ra, galaxy.dec, galaxy.distance, galaxy.mass, name))
        if len(chunk) == _CHUNK:
            chunks.append(_indexed(chunk))
            chunk = []
    chunks.append(_indexed(chunk))
    rows = np.concatenate(chunks)
    rows = rows[np.argsort(rows["cell"], kind="stable")]
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return len(rows)


def _indexed(chunk: list[tuple[Any, ...]]) -> Any:
    from astropy import units  # noqa: PLC0415  slow to load

    rows = np.array(chunk, dtype=_ROW)
    if len(rows):
        rows["cell"] = healpix().lonlat_to_healpix(
            rows["ra"] * units.deg, rows["dec"] * units.deg, 2**_LEVEL, order="nested"
        )
    return rows


def read_galaxies(path: Path) -> Iterator[Galaxy]:
    """Read galaxies of GLADE+ (its text file of 40 columns), of NED-LVS or of another CSV file with a header.

    Rows without a position or a distance are left out.

    Raises:
        AlertError: the file cannot be read, or is neither; it names the file, and the column that it misses.
    """
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline()
            file.seek(0)
            if len(first.split()) == _GLADE_COLUMNS and "," not in first:
                yield from filter(None, map(_of_glade, file))
            else:
                yield from _of_csv(path, file)
    except OSError as error:
        raise AlertError(f"{path}: cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise AlertError(f"{path}: no CSV: {error}") from None


def _of_glade(line: str) -> Galaxy | None:
    """Read a line of GLADE+ (Dalya et al. 2022, MNRAS 514, 1403): names in 1 to 7, place 9 and 10, d_L 33, M* 36."""
    words = line.split()
    if len(words) != _GLADE_COLUMNS:
        return None
    name = next((word for word in words[2:7] if word != "null"), f"GLADE {words[0]}")
    return _galaxy(name, words[8], words[9], words[32], words[35])


def _of_csv(path: Path, file: Iterable[str]) -> Iterator[Galaxy]:
    rows = csv.reader(file)
    header = [name.strip().lstrip("\ufeff#").strip().lower() for name in next(rows, [])]
    places = {
        what: next((header.index(name) for name in names if name in header), -1) for what, names in _COLUMNS.items()
    }
    for what in ("ra", "dec", "distance"):
        if places[what] < 0:
            raise AlertError(f"{path}: no column for {what}; it may be called {', '.join(_COLUMNS[what])}")
    for number, row in enumerate(rows, 2):
        if len(row) == len(header):
            words = {what: row[place] if place >= 0 else "" for what, place in places.items()}
            name = words["name"].strip() or f"{path.stem} {number}"
            galaxy = _galaxy(name, words["ra"], words["dec"], words["distance"], words["mass"])
            if galaxy is not None:
                yield galaxy


def _galaxy(name: str, ra: str, dec: str, distance: str, mass: str) -> Galaxy | None:
    values = [_number(text) for text in (ra, dec, distance)]
    good = 0 <= values[0] <= 360 and -90 <= values[1] <= 90 and 0 < values[2] <= _MAX_DISTANCE
    weight = _number(mass)
    return Galaxy(name, values[0] % 360, values[1], values[2], weight if weight > 0 else 0.0) if good else None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
