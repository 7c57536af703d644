"""Sky maps through a night: the probability that fields cover in the order in which they are begun, beside the best.

Fifty drawn maps (arcs and ellipses of 20 to 3,000 square degrees, all over the sky) at three sites: the worker chooses
fields, and each time the telescope is free the field of the highest priority that is up is begun, as the scheduler
does. The best is an assignment of all the map's fields to the night's slots by scipy's solver, which no order exceeds;
the greedy one begins, each time, the most probable of all fields that is up, without a bound on their number.
"""

from __future__ import annotations

import math
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench._common import BenchReport, arguments, median
from pyros.alerts.skymaps import FieldOfView, SkyMap, make_tiles, read_skymap
from pyros.alerts.tiling import MapTarget, Tiling
from pyros.angles import separations
from pyros.areas.visible import visible_in_night
from pyros.areas.work import ChooseJob, choose
from pyros.messages import Exposures, Observation
from pyros.planning.night_sky import NightSky, night_of
from pyros.site import Site

SITES = (
    Site("Haute-Provence", 43.93, 5.71, 650.0),
    Site("Paranal", -24.63, -70.40, 2635.0),
    Site("Teide", 28.30, -16.51, 2390.0),
)
WHEN = datetime(2026, 3, 20, 12, tzinfo=UTC)
SLOT = 150.0
ALTITUDE = 25.0


def drawn(random: np.random.Generator) -> bytes:
    """A map: an ellipse or an arc about a random place, as a FITS file."""
    import io

    from astropy.io import fits
    from astropy_healpix import core

    level = 6
    lon, lat = core.healpix_to_lonlat(np.arange(12 * 4**level), 2**level, order="nested")
    ra, dec = random.uniform(0, 360), math.degrees(math.asin(random.uniform(-0.95, 0.95)))
    across = 10 ** random.uniform(0.2, 0.9)
    turn = math.radians(random.uniform(0, 360))
    radius = random.uniform(20, 80)
    pole = (
        (ra + radius * math.cos(math.radians(turn))) % 360,
        max(-89, min(89, dec + radius * math.sin(math.radians(turn)))),
    )
    ring = separations(lon.deg, lat.deg, *pole) - separations(np.array([ra]), np.array([dec]), *pole)[0]
    away = separations(lon.deg, lat.deg, ra, dec)
    density = np.exp(-0.5 * (ring / across) ** 2 - 0.5 * (away / (across * random.uniform(1, 6))) ** 2)
    density /= density.sum() * math.pi / 3 / 4**level
    columns = [fits.Column("UNIQ", "K", array=np.arange(4 * 4**level, 16 * 4**level)),
               fits.Column("PROBDENSITY", "D", array=density)]  # fmt: skip
    table = fits.BinTableHDU.from_columns(columns)
    table.header["ORDERING"] = "NUNIQ"
    stream = io.BytesIO()
    table.writeto(stream)
    return stream.getvalue()


def up(site: Site, begin: float, end: float, places: list[tuple[float, float]]) -> np.ndarray:
    """Whether each place is up from each slot's beginning to its end."""
    sky = NightSky(site, begin, end, SLOT)
    tracks = sky.fixed_tracks(places)
    there = tracks.above & (tracks.sin_altitude >= math.sin(math.radians(ALTITUDE)))
    return np.asarray(there[:, :-1] & there[:, 1:])


def followed(targets: tuple[MapTarget, ...], visible: np.ndarray) -> float:
    """What is covered when the one of the highest priority that is up is begun each time, as the scheduler does."""
    request = Observation("w", "w", (Exposures("r", 60.0),), ra=0.0, dec=0.0, alert="w", requested=1e9)
    asked = Tiling(request=request, targets=targets).observations()
    order = sorted(range(len(asked)), key=lambda row: (-asked[row].priority, asked[row].requested))
    return begun(np.array([each.probability for each in targets]), order, visible)


def begun(values: np.ndarray, order: list[int], visible: np.ndarray) -> float:
    left, covered = list(order), 0.0
    for slot in range(visible.shape[1]):
        row = next((row for row in left if visible[row, slot]), None)
        if row is not None:
            left.remove(row)
            covered += float(values[row])
    return covered


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--fields", type=float, nargs="+", default=[2.0, 4.0], help="degrees across")
    options = parser.parse_args()
    report = BenchReport("skymap_nights", options.json, ("numpy", "scipy", "astropy", "astropy-healpix"))
    random = np.random.default_rng(7)
    maps = [drawn(random) for _ in range(3 if options.quick else 50)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-skymaps-", dir=options.dir) as folder:
        for size in [4.0] if options.quick else options.fields:
            of_greedy, of_best, covered = [], [], []
            taken = time.process_time()
            for number, data in enumerate(maps):
                path = Path(folder) / f"{number}.skymap"
                path.write_bytes(data)
                report.doing(f"{size:g} degrees, map {number + 1} of {len(maps)}")
                for site in SITES:
                    here = night(site, read_skymap(data), str(path), size)
                    if here is not None:
                        ours, greedy, best = here
                        of_greedy.append(ours / greedy)
                        of_best.append(ours / best)
                        covered.append(ours)
            figures = {
                "nights": len(covered), "covered_mean": float(np.mean(covered)),
                "of_greedy_total": sum(covered) / sum(o / r for o, r in zip(covered, of_greedy, strict=True)),
                "of_greedy_median": median(of_greedy), "of_greedy_worst": min(of_greedy),
                "of_best_mean": float(np.mean(of_best)), "of_best_worst": min(of_best),
                "seconds": time.process_time() - taken,
            }  # fmt: skip
            report.figures(f"fields of {size:g} degrees", **figures)
            rows.append((f"{size:g} degrees", str(len(covered)), *(f"{figures[key]:.3f}" for key in (
                "covered_mean", "of_greedy_total", "of_greedy_worst", "of_best_mean", "of_best_worst"))))  # fmt: skip
    columns = (
        "field",
        "nights",
        "covered, mean",
        "of the greedy one's, together",
        "worst",
        "of the best, mean",
        "worst",
    )
    report.table(f"{len(maps)} maps at {len(SITES)} sites, {SLOT:g} s a field", columns, rows)
    report.ends()


def night(site: Site, skymap: SkyMap, path: str, size: float) -> tuple[float, float, float] | None:
    """What the worker's fields cover in the night, what a greedy order of all fields does, and the best assignment."""
    dark = night_of(site, WHEN)
    assert dark is not None
    begin, end = dark[0].timestamp(), dark[1].timestamp()
    job = ChooseJob(
        path=path, site=site, now=begin, until=None, min_altitude=ALTITUDE, width=size, height=size, overlap=0.0,
        share=0.99, limit=300, seconds=SLOT,
    )  # fmt: skip
    targets = choose(job).targets
    mask = visible_in_night(site, begin, ALTITUDE)
    assert mask is not None
    every = make_tiles(skymap, FieldOfView(size, size), share=1.0, limit=100_000, observable=mask)
    if not targets or sum(each.added for each in every) < 0.02:
        return None
    values = np.array([each.added for each in every])
    visible = up(site, begin, end, [(each.ra, each.dec) for each in every])
    greedy = begun(values, list(np.argsort(-values, kind="stable")), visible)
    worth = visible * values[:, None]
    rows, slots = linear_sum_assignment(worth, maximize=True)
    best = float(worth[rows, slots].sum())
    mine = up(site, begin, end, [(each.ra, each.dec) for each in targets])
    return followed(targets, mine), greedy, best


if __name__ == "__main__":
    main()
