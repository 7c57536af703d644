"""The best plan of a small night, by HiGHS: what the planner's plans are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, vstack

from pyros.angles import Floats
from pyros.planning.problem import Problem
from pyros.planning.search import Cells, Multipliers


@dataclass(frozen=True)
class Optimum:
    """What the solver found."""

    worth: float
    """Of the best plan that is known."""
    bound: float
    """No plan is worth more."""
    cells: int
    """Observations that the program chooses from."""


def optimum(problem: Problem, multipliers: Multipliers, known: float, seconds: float) -> Optimum:
    """Solve the time-indexed program within some seconds of the wall clock.

    ``known`` is the worth of a plan: what cannot be part of a better one, by the prices' bound, is left out.
    """
    gap = multipliers.bound - known
    cells = _through(multipliers.paths.fitting(multipliers.prices, gap), multipliers.prices, gap)
    count = len(cells.rows)
    if not count:
        return Optimum(known, known, 0)
    lengths = cells.ends - cells.slots
    place = np.repeat(cells.slots - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
    columns = np.repeat(np.arange(count), lengths)
    slots = csr_matrix((np.ones(len(columns)), (place, columns)), shape=(problem.slots, count))
    slots = slots[np.unique(cells.slots)]  # two that overlap do so where the later one begins
    once = csr_matrix((np.ones(count), (cells.rows, np.arange(count))), shape=(len(problem.requests), count))
    result = milp(
        -cells.values,
        constraints=LinearConstraint(vstack([slots, once]), -np.inf, 1),
        integrality=np.ones(count),
        bounds=Bounds(0, 1),
        options={"time_limit": seconds, "mip_rel_gap": 1e-6},
    )
    found = known if result.fun is None else max(known, -float(result.fun))
    dual = result.mip_dual_bound
    bound = multipliers.bound if dual is None else min(multipliers.bound, max(-float(dual), found))
    return Optimum(found, bound, count)


def _through(cells: Cells, prices: Floats, gap: float) -> Cells:
    """Leave out the observations through which no path is worth at most ``gap`` less than the best."""
    before = np.zeros(len(cells.ahead))
    gains = cells.values - prices[cells.rows]
    first = np.searchsorted(cells.slots, np.arange(len(before) + 1))
    for slot in range(len(before) - 1):
        here = slice(first[slot], first[slot + 1])
        np.maximum.at(before, cells.ends[here], before[slot] + gains[here])
        before[slot + 1] = max(before[slot + 1], before[slot])
    slack = cells.ahead[0] - (before[cells.slots] + gains + cells.ahead[cells.ends])
    kept = np.flatnonzero(slack <= gap + 1e-9)
    return Cells(
        cells.slots[kept], cells.rows[kept], cells.ends[kept], cells.values[kept], cells.slack[kept], cells.ahead
    )
