"""How good the night's plans are, and what they cost: nights of 50, 200 and 500 requests.

The share is of the bound that the planner proves with each plan; at 50 requests of HiGHS's, which is nearer (of what it
has proved within its time: a night that it doesn't solve counts the less for the planner). Beside it stand dispatch by
priority (whatever is up and has the highest priority is made next) and, on a few nights, astroplan's schedulers.

Seconds are of the processor, of all threads.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench._common import BenchReport, arguments
from pyros.messages import Constraints, Exposures, Observation, Window
from pyros.planning.night_sky import NightSky, night_of
from pyros.planning.planner import ROUNDS, plan_night
from pyros.planning.problem import DEFAULT_OVERHEADS, Problem, make_problem
from pyros.planning.search import Line, Multipliers, first_plan, worth
from pyros.site import Site

SITE = Site(
    "Haute-Provence", 43.9308, 5.7133, 650.0, horizon=((0.0, 10.0), (90.0, 25.0), (180.0, 8.0), (270.0, 8.0))
)  # fmt: skip
STEP = 30.0


@dataclass(frozen=True)
class PlannedNight:
    """Requests for one night, and the problem that they are."""

    requests: list[Observation]
    begin: float
    end: float
    problem: Problem


def make_night(size: int, number: int) -> PlannedNight:
    """One of the nights, through the year: targets all over the sky, three minutes to forty, priorities from 0 to 30.

    A tenth have a window of one to three hours, a twentieth are alerts that arrive in the evening.
    """
    random = np.random.default_rng([size, number])
    night = night_of(SITE, datetime(2026, 1, 5, 12, tzinfo=UTC) + timedelta(days=18 * number))
    assert night is not None
    begin, end = (each.timestamp() for each in night)
    requests = [_request(f"r{each:03}", random, begin, end) for each in range(size)]
    slew = DEFAULT_OVERHEADS.mean_slew_seconds([(each.ra, each.dec) for each in requests])
    problem = make_problem(requests, NightSky(SITE, begin, end, STEP), DEFAULT_OVERHEADS, slew)
    return PlannedNight(requests, begin, end, problem)


def _request(name: str, random: np.random.Generator, begin: float, end: float) -> Observation:
    seconds = float(random.choice([30, 60, 120, 180, 300]))
    images = max(1, round(float(np.exp(random.uniform(np.log(180), np.log(2400)))) / seconds))
    filters = int(random.integers(1, 4))
    fields: dict[str, Any] = {}
    constraints = Constraints(
        max_airmass=float(random.choice([1.5, 2.0, 2.5])),
        moon_distance=float(random.choice([0, 20, 40])),
        moon_illumination=float(random.choice([1, 1, 1, 0.5])),
    )
    kind = random.uniform()
    if kind < 0.1:
        start = random.uniform(begin, end - 3600)
        fields["windows"] = (Window(start, start + random.uniform(3600, 10800)),)
    elif kind < 0.15:
        arrival = float(random.uniform(begin - 3600, begin + 7200))
        fields |= {"alert": "ivo://bench/alert", "requested": arrival, "not_before": arrival}
    return Observation(
        name, name, tuple(Exposures(each, seconds, max(1, images // filters)) for each in "gri"[:filters]),
        int(random.integers(0, 31)),
        ra=float(random.uniform(0, 360)), dec=float(np.degrees(np.arcsin(random.uniform(-0.35, 1)))),
        constraints=constraints, **fields,
    )  # fmt: skip


def dispatched(problem: Problem) -> list[Line]:
    """What the highest priority of all that is up makes of the night."""
    rows = sorted(range(len(problem.requests)), key=lambda row: (-problem.requests[row].priority, row))
    lines: list[Line] = []
    slot = 0
    while slot < problem.slots:
        row = next((each for each in rows if problem.value[each, slot] > 0), None)
        if row is None:
            slot += 1
            continue
        rows.remove(row)
        lines.append((row, slot))
        slot += int(problem.length[row, slot])
    return lines


def astroplanned(night: PlannedNight, scheduler: str) -> float:
    """The worth of what one of astroplan's schedulers makes of the night, with the same constraints."""
    import astroplan
    import astropy.units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    place = EarthLocation.from_geodetic(SITE.longitude * u.deg, SITE.latitude * u.deg, SITE.elevation * u.m)
    blocks = []
    problem = night.problem
    for row, request in enumerate(problem.requests):
        asked = request.constraints
        constraints = [
            astroplan.AltitudeConstraint(min=request.min_altitude * u.deg),
            astroplan.AirmassConstraint(max=asked.max_airmass, boolean_constraint=False),
        ]
        if asked.moon_distance:
            constraints.append(astroplan.MoonSeparationConstraint(min=asked.moon_distance * u.deg))
        if asked.moon_illumination < 1:
            constraints.append(astroplan.MoonIlluminationConstraint(max=asked.moon_illumination))
        for window in request.windows:
            span = Time(window.begin, format="unix"), Time(window.end, format="unix")
            constraints.append(astroplan.TimeConstraint(*span))
        if request.not_before is not None:
            span = Time(request.not_before, format="unix"), Time(night.end, format="unix")
            constraints.append(astroplan.TimeConstraint(*span))
        target = astroplan.FixedTarget(SkyCoord(request.ra * u.deg, request.dec * u.deg), name=request.id)
        length = (float(problem.seconds[row]) + problem.slew) * u.s
        blocks.append(astroplan.ObservingBlock(target, length, 30 - request.priority, constraints=constraints))
    kind = getattr(astroplan, scheduler)(
        constraints=[astroplan.AtNightConstraint.twilight_nautical()],
        observer=astroplan.Observer(location=place),
        transitioner=astroplan.Transitioner(),
        time_resolution=2 * u.min,
    )
    schedule = astroplan.Schedule(Time(night.begin, format="unix"), Time(night.end, format="unix"))
    kind(blocks, schedule)
    rows = {each.id: row for row, each in enumerate(problem.requests)}
    total = 0.0
    for block in schedule.observing_blocks:
        slot = round((block.start_time.unix - night.begin) / STEP)
        nearby = problem.value[rows[block.target.name], max(0, slot - 2) : slot + 3]  # its own limits are a minute off
        total += float(nearby.max(initial=0.0))
    return total


@dataclass
class Method:
    """What one way of planning has reached."""

    shares: list[float]
    seconds: list[float]

    def add(self, share: float, seconds: float) -> None:
        self.shares.append(share)
        self.seconds.append(seconds)


def measured(work: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """What something returns, and the processor's seconds."""
    begin = time.process_time()
    result = work(*arguments, **options)
    return result, time.process_time() - begin


def measure(
    report: BenchReport,
    size: int,
    nights: int,
    milp_seconds: float = 0.0,
    astroplan_nights: int = 0,
    schedulers: Sequence[str] = ("SequentialScheduler", "PriorityScheduler"),
) -> None:
    """Plan some nights of so many requests in every way."""
    methods: dict[str, Method] = {}
    unsolved = 0

    def add(name: str, share: float, seconds: float) -> None:
        methods.setdefault(name, Method([], [])).add(share, seconds)

    for number in range(nights):
        report.doing(f"night {number + 1} of {nights} with {size} requests")
        night = make_night(size, number)
        requests, begin, problem = night.requests, night.begin, night.problem
        first, first_seconds = measured(plan_night, requests, SITE, begin, reasons=False)
        plan, seconds = measured(plan_night, requests, SITE, begin, rounds=ROUNDS)
        assert plan.bound is not None
        bound = plan.bound
        if milp_seconds and find_spec("scipy"):
            from bench._milp import optimum

            multipliers = Multipliers(problem, first_plan(problem))
            for _ in range(ROUNDS):
                if not multipliers.round(plan=False):
                    break
            best, solver_seconds = measured(optimum, problem, multipliers, plan.value, milp_seconds)
            unsolved += best.bound - best.worth > 1e-4 * best.bound
            bound = min(bound, best.bound)
            add("HiGHS", best.worth / bound, solver_seconds)
            add("the planner's own bound", plan.bound / bound, seconds)
        lines, dispatch_seconds = measured(dispatched, problem)
        add("by priority", worth(problem, lines) / bound, dispatch_seconds)
        add("first plan, by insertion", first.value / bound, first_seconds)
        add("planner", plan.value / bound, seconds)
        if number < astroplan_nights and find_spec("astroplan"):
            for scheduler in schedulers:
                reached, seconds = measured(astroplanned, night, scheduler)
                add(f"astroplan {scheduler.removesuffix('Scheduler')}", reached / bound, seconds)

    for name, method in methods.items():
        report.figures(
            "share of the bound", method=name, requests=size, nights=len(method.shares),
            mean=round(float(np.mean(method.shares)), 4), worst=round(min(method.shares), 4),
            cpu_seconds=round(float(np.mean(method.seconds)), 4), most_cpu_seconds=round(max(method.seconds), 4),
        )  # fmt: skip
    report.table(
        f"{nights} nights of {size} requests",
        ["", "share, mean", "worst", "CPU s, mean", "most"],
        [
            [
                f"{name}, {len(each.shares)} nights" if len(each.shares) < nights else name,
                f"{np.mean(each.shares):.2%}", f"{min(each.shares):.2%}",
                f"{np.mean(each.seconds):.3f}", f"{max(each.seconds):.3f}",
            ]
            for name, each in methods.items()
        ],
    )  # fmt: skip
    if unsolved:
        report.note(f"HiGHS had not proved its optimum within {milp_seconds:g} s on {unsolved} of {nights} nights.")


def main() -> None:
    """Measure, and print."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--nights", type=int, default=20, help="of each size")
    parser.add_argument(
        "--milp-seconds", type=float, default=60.0, help="of the wall clock, for HiGHS on each night of 50"
    )
    parser.add_argument("--astroplan-nights", type=int, default=2, help="of 50 requests")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # astroplan's, of positions below the horizon
    from astropy.utils import iers

    iers.conf.auto_download, iers.conf.auto_max_age = False, None
    plan_night(make_night(10, 0).requests, SITE, make_night(10, 0).begin)  # the tables are loaded once
    report = BenchReport("planning", options.json, ["numpy", "scipy", "astroplan"])
    if options.quick:
        measure(report, 8, 1, 10.0, 1, ["PriorityScheduler"])
        measure(report, 200, 1)
    else:
        measure(report, 50, options.nights, options.milp_seconds, options.astroplan_nights)
        measure(report, 200, options.nights)
        measure(report, 500, options.nights)
    report.ends()


if __name__ == "__main__":
    main()
