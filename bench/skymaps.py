"""Sky maps: from the bytes of a multi-order map to ranked fields, and to ranked galaxies.

    python bench/skymaps.py                    an arc across the sky with distances, of as many cells as LVK's real maps
    python bench/skymaps.py --map FILE.fits    another map

What is ranked is what a site sees tonight, and the night's sky is computed too. ligo.skymap, mhealpy and mocpy are
measured in the same run where they are installed. The figures are processor time, so that a computer which others use
measures the same; the limits are those of docs/performance.md.
"""

from __future__ import annotations

import io
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy_healpix import core

from bench._common import BenchReport, arguments, median
from pyros.alerts.skymaps import (
    FieldOfView,
    Galaxy,
    GalaxyCatalogue,
    make_tiles,
    rank_galaxies,
    read_skymap,
    write_catalogue,
)
from pyros.angles import separations
from pyros.areas.visible import visible_in_night
from pyros.site import Site

SITE = Site("Haute-Provence", 43.93, 5.71, 650.0)
WHEN = datetime(2026, 3, 20, 12, tzinfo=UTC).timestamp()
ALTITUDE = 25.0
COARSE, FINE = 3, 7
CELLS = 21_504
GALAXIES = 2_000_000


def drawn() -> bytes:
    """A map of `CELLS` cells, fine where it is probable: an arc 12 degrees wide, half around a pole of its own."""
    cells = np.arange(12 * 4**FINE)
    lon, lat = core.healpix_to_lonlat(cells, 2**FINE, order="nested")
    ring = separations(lon.deg, lat.deg, 130.0, 25.0) - 70.0
    along = np.abs((lon.deg - 210.0 + 180.0) % 360.0 - 180.0)
    density = np.exp(-0.5 * (ring / 6.0) ** 2 - 0.5 * (along / 50.0) ** 2) + 1e-9
    of_coarse = density.reshape(-1, 4 ** (FINE - COARSE))
    count = (CELLS - 12 * 4**COARSE) // (4 ** (FINE - COARSE) - 1)
    fine = np.sort(np.argsort(-of_coarse.sum(axis=1))[:count])
    coarse = np.setdiff1d(np.arange(12 * 4**COARSE), fine)
    below = (fine[:, None] * 4 ** (FINE - COARSE) + np.arange(4 ** (FINE - COARSE))).ravel()
    uniq = np.concatenate([core.level_ipix_to_uniq(COARSE, coarse), core.level_ipix_to_uniq(FINE, below)])
    values = np.concatenate([of_coarse[coarse].mean(axis=1), density[below]])
    areas = np.concatenate([np.full(len(coarse), math.pi / 3 / 4**COARSE), np.full(len(below), math.pi / 3 / 4**FINE)])
    values /= float((values * areas).sum())
    columns = {
        "UNIQ": uniq, "PROBDENSITY": values, "DISTMU": np.full(len(uniq), 150.0),
        "DISTSIGMA": np.full(len(uniq), 40.0), "DISTNORM": np.full(len(uniq), 4e-5),
    }  # fmt: skip
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, "K" if name == "UNIQ" else "D", array=each) for name, each in columns.items()]
    )
    table.header.update({
        "PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "COORDSYS": "C", "INDXSCHM": "EXPLICIT", "MOCORDER": FINE,
    })  # fmt: skip
    stream = io.BytesIO()
    table.writeto(stream)
    return stream.getvalue()


def catalogue(path: Path, count: int) -> GalaxyCatalogue:
    """So many galaxies all over the sky, out to 400 Mpc; the same every time."""
    random = np.random.default_rng(42)
    ra, dec = random.uniform(0, 360, count), np.degrees(np.arcsin(random.uniform(-1, 1, count)))
    distance, mass = 400 * random.random(count) ** (1 / 3), random.lognormal(0, 1, count)
    rows = zip(ra.tolist(), dec.tolist(), distance.tolist(), mass.tolist(), strict=True)
    write_catalogue((Galaxy(f"G{number}", *row) for number, row in enumerate(rows)), path)
    return GalaxyCatalogue(path)


def timed(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and worst of the milliseconds of processor time; a first run, which loads what it needs, doesn't count."""
    work()
    taken = []
    for _ in range(times):
        begin = time.process_time()
        work()
        taken.append((time.process_time() - begin) * 1e3)
    return median(taken), max(taken)


def peers(path: Path, data: bytes, galaxies: GalaxyCatalogue) -> Iterator[tuple[str, Callable[[], object]]]:
    """What others need for the same, where they are installed: the 90 % region of a file, the order of galaxies."""
    path.write_bytes(data)
    try:
        from astropy import units
        from astropy.coordinates import SkyCoord
        from ligo.skymap.io import read_sky_map
        from ligo.skymap.postprocess import crossmatch
    except ImportError:
        pass
    else:
        ra, dec, distance = (np.array(galaxies.rows[name]) for name in ("ra", "dec", "distance"))
        places = SkyCoord(ra * units.deg, dec * units.deg, distance * units.Mpc)

        def ligo() -> float:
            whole = read_sky_map(str(path), moc=True)
            areas = np.array([math.pi / 3 / 4**level for level in core.uniq_to_level_ipix(whole["UNIQ"])[0]])
            order = np.argsort(-np.asarray(whole["PROBDENSITY"]))
            shares = np.cumsum(np.asarray(whole["PROBDENSITY"])[order] * areas[order])
            return float(areas[order][: int(np.searchsorted(shares, 0.9 * shares[-1])) + 1].sum())

        yield "read with the 90 % area, by ligo.skymap", ligo
        yield (
            "5,000 galaxies, by ligo.skymap",
            lambda: np.argsort(-crossmatch(read_sky_map(str(path), moc=True), places).searched_prob_vol)[:5000],
        )
    try:
        from mhealpy import HealpixMap
    except ImportError:
        pass
    else:

        def mhealpy() -> float:
            whole = HealpixMap.read_map(str(path), density=True)
            areas = np.array([math.pi / 3 / 4**level for level in core.uniq_to_level_ipix(whole.uniq)[0]])
            order = np.argsort(-np.asarray(whole.data))
            shares = np.cumsum(np.asarray(whole.data)[order] * areas[order])
            return float(areas[order][: int(np.searchsorted(shares, 0.9 * shares[-1])) + 1].sum())

        yield "read, by mhealpy", mhealpy
    try:
        from mocpy import MOC
    except ImportError:
        return

    def mocpy() -> float:
        return float(MOC.from_multiordermap_fits_file(str(path), cumul_to=0.9).sky_fraction)

    yield "the 90 % region, by mocpy", mocpy


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--map", type=Path, metavar="FILE", help="a multi-order map instead of the drawn one")
    options = parser.parse_args()
    report = BenchReport(
        "skymaps", options.json, ("numpy", "astropy", "astropy-healpix", "ligo.skymap", "mhealpy", "mocpy")
    )
    times = 3 if options.quick else 15
    folder = Path(tempfile.mkdtemp(prefix="bench-skymaps-", dir=options.dir))
    try:
        data = options.map.read_bytes() if options.map else drawn()
        skymap = read_skymap(data)
        report.doing("a catalogue is made")
        galaxies = catalogue(folder / "galaxies.npy", GALAXIES // (20 if options.quick else 1))

        def fields(size: float) -> int:
            visible = visible_in_night(SITE, WHEN, ALTITUDE)
            return len(make_tiles(read_skymap(data), FieldOfView(size, size), limit=1000, observable=visible))

        def ranked() -> int:
            return len(rank_galaxies(read_skymap(data), galaxies, share=0.9999, limit=5000))

        measures: dict[str, Callable[[], object]] = {
            "read with the 90 % area": lambda: read_skymap(data).area(0.9),
            f"to {fields(10)} visible fields of 10 degrees": lambda: fields(10),
            f"to {fields(1)} visible fields of 1 degree": lambda: fields(1),
            f"to {ranked()} galaxies": ranked,
        }
        rows = []
        for name, work in measures.items():
            report.doing(name)
            middle, worst = timed(work, times)
            report.figures(name, median_ms=middle, worst_ms=worst, cells=len(skymap.cell), galaxies=len(galaxies))
            rows.append((name, f"{middle:.1f}", f"{worst:.1f}"))
        for name, work in peers(folder / "map.fits", data, galaxies):
            report.doing(name)
            middle, worst = timed(work, min(times, 3))
            report.figures(name, median_ms=middle, worst_ms=worst, cells=len(skymap.cell))
            rows.append((name, f"{middle:.1f}", f"{worst:.1f}"))
        title = f"A map of {len(skymap.cell)} cells, {len(galaxies)} galaxies"
        report.table(title, ("", "median, ms", "worst, ms"), rows)
        report.ends()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
