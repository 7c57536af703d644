"""Plans of a `Problem`, and how good a plan can be at all.

A plan is lines: which request (row) begins with which slot, as in the time-indexed integer program by which Las Cumbres
Observatory plans (Lampoudi, Saunders and Eastman 2015, arXiv:1503.07170). The first one is by insertion: the requests
in the order of their worth per slot, each where it is worth most of what is still free; then each request that was left
over takes the place of what is worth less.

`Multipliers` is the Lagrangian relaxation of "each request once" (Fisher 1981, Management Science 27, 1): each request
has a price, and a dynamic program through the night finds the path of observations of the greatest worth less prices,
where one may come more than once. Path and prices together are worth at least as much as any plan: that is the bound.
The prices follow the subgradient, more for what comes twice and less for what doesn't come, with Polyak's steps,
deflected by the last direction (Camerini, Fratta and Maffioli 1975, Mathematical Programming Study 3, 26). Each path,
less what comes twice and with insertions, is a plan; the best one is kept.

Plain Python and numpy; the same numbers give the same plan on every machine. Callable from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.angles import Floats
from pyros.planning.problem import Problem

Line = tuple[int, int]
"""The row of a request and the slot with which it begins."""
_EPSILON = 1e-9
_DEFLECTION = 0.7
_PATIENCE = 8
_SHRINK = 0.5
_LEAST_STEP = 1e-3


def worth(problem: Problem, lines: Iterable[Line]) -> float:
    """Return the sum of what lines are worth."""
    return math.fsum(problem.value[row, slot] for row, slot in lines)


def insert(problem: Problem, order: Iterable[int], lines: Iterable[Line] = ()) -> list[Line]:
    """Add requests to a plan, one after the other, each in the free slots where it is worth most.

    What is in the plan stays where it is; what finds no room is left out. Returns lines by their slots.
    """
    plan = list(lines)
    there = {row for row, _ in plan}
    free = np.ones(problem.slots, dtype=bool)
    for row, slot in plan:
        free[slot : slot + problem.length[row, slot]] = False
    room = _room(free)
    for row in order:
        if row in there:
            continue
        fits = np.where(problem.length[row] <= room, problem.value[row], 0.0)
        slot = int(fits.argmax())
        if fits[slot] > 0:
            plan.append((row, slot))
            there.add(row)
            free[slot : slot + problem.length[row, slot]] = False
            room = _room(free)
    return sorted(plan, key=lambda line: line[1])


def _room(free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each slot how many free ones follow each other from there."""
    columns = np.arange(len(free))
    taken = np.where(free, len(free), columns)
    room: NDArray[np.int64] = np.minimum.accumulate(taken[::-1])[::-1] - columns
    return room


def by_worth(problem: Problem) -> list[int]:
    """Return the rows by what a slot of each is worth, the best first; without those that can't be made."""
    worths = np.where(problem.value > 0, problem.value / problem.length, 0.0).max(axis=1, initial=0.0)
    return [int(row) for row in np.argsort(-worths, kind="stable") if worths[row] > 0]


def displaced(problem: Problem, lines: list[Line]) -> Floats:
    """Return for each request and each slot the worth of the lines that it would displace by beginning there."""
    begins, ends = np.zeros(problem.slots + 1), np.zeros(problem.slots + 1)
    for row, slot in lines:
        begins[slot] += problem.value[row, slot]
        ends[slot + problem.length[row, slot]] += problem.value[row, slot]
    begun = np.concatenate([[0.0], np.cumsum(begins)])  # before each slot
    ended = np.cumsum(ends)  # until each slot
    last = np.minimum(np.arange(problem.slots) + problem.length, problem.slots)
    result: Floats = begun[last] - ended[:-1]
    return result


def exchange(problem: Problem, lines: list[Line]) -> list[Line]:
    """Let requests that are left over take the place of lines that are worth less together, while there are such.

    What is displaced is inserted elsewhere where there is room. In the end no request that is left over is worth more
    than the lines that it would displace, wherever it begins.
    """
    order = by_worth(problem)
    lines = insert(problem, order, lines)
    possible = problem.value > 0
    for _ in range(10 * len(order) + 10):
        gain = np.where(possible, problem.value - displaced(problem, lines), -np.inf)
        gain[[row for row, _ in lines]] = -np.inf
        if not gain.size or gain.max() <= 1e-6:
            break
        row, slot = (int(each) for each in np.unravel_index(gain.argmax(), gain.shape))
        end = slot + problem.length[row, slot]
        kept = [each for each in lines if each[1] >= end or each[1] + problem.length[each] <= slot]
        lines = insert(problem, order, [*kept, (row, slot)])
    return lines


def first_plan(problem: Problem) -> list[Line]:
    """Return a plan within milliseconds."""
    return exchange(problem, [])


@dataclass(frozen=True)
class Cells:
    """Some of the observations that are possible, by their slots."""

    slots: NDArray[np.int64]
    """With which each begins."""
    rows: NDArray[np.int64]
    """The request of each."""
    ends: NDArray[np.int64]
    """The slot after each."""
    values: Floats
    """What each is worth."""
    slack: Floats
    """How much less than the best path from its slot on one with it is worth."""
    ahead: Floats
    """What can still be gained from each slot on, less prices."""

    def best(self, most: int) -> Cells:
        """Return those with the least slack, at most so many from each slot."""
        order = np.lexsort((self.slack, self.slots))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(self.slots, self.slots)[order]
        kept = np.flatnonzero(rank < most)
        return Cells(
            self.slots[kept], self.rows[kept], self.ends[kept], self.values[kept], self.slack[kept], self.ahead
        )


class Paths:
    """The dynamic program: the best path through the night at given prices, where a request may come more than once."""

    def __init__(self, problem: Problem) -> None:
        slots, rows = np.nonzero(problem.value.T > 0)
        self._rows = rows
        self._values = problem.value[rows, slots]
        lengths = problem.length[rows, slots]
        self._ends = slots + lengths
        self._slots = problem.slots
        self._first = np.searchsorted(slots, np.arange(problem.slots + 1))
        """Where the cells of each slot begin."""
        # No observation ends within as many slots as the shortest takes: so many can be looked at together.
        self._together = int(lengths.min()) if len(lengths) else max(1, problem.slots)
        self._blocks: list[tuple[int, int, int, int, NDArray[np.int64], NDArray[np.bool_]]] = []
        for begin in range((problem.slots - 1) // self._together * self._together, -1, -self._together):
            end = min(begin + self._together, problem.slots)
            first = self._first[begin : end + 1]
            filled = first[:-1] < first[1:]
            self._blocks.append((begin, end, int(first[0]), int(first[-1]), first[:-1][filled] - first[0], filled))

    def best(self, prices: Floats) -> tuple[float, list[Line]]:
        """Return the worth of the best path less the prices of what it makes, and the path."""
        gains = self._values - prices[self._rows]
        ahead = self._ahead(gains)
        return float(ahead[0]), self._follow(gains, ahead)

    def _ahead(self, gains: Floats) -> Floats:
        """Return what can still be gained from each slot on."""
        ahead = np.zeros(self._slots + 1)
        for begin, end, low, high, starts, filled in self._blocks:
            if low == high:
                ahead[begin:end] = ahead[end]
                continue
            here = np.full(end - begin, ahead[end])
            here[filled] = np.maximum.reduceat(gains[low:high] + ahead[self._ends[low:high]], starts)
            here[-1] = max(here[-1], ahead[end])
            ahead[begin:end] = np.maximum.accumulate(here[::-1])[::-1]
        return ahead

    def _follow(self, gains: Floats, ahead: Floats) -> list[Line]:
        path: list[Line] = []
        slot = 0
        while ahead[slot] > 0:
            # Nothing begins until the slot after which less can be gained.
            slot = int(np.searchsorted(-ahead, -ahead[slot], side="right")) - 1
            low, high = self._first[slot], self._first[slot + 1]
            best = low + int((gains[low:high] + ahead[self._ends[low:high]]).argmax())
            path.append((int(self._rows[best]), slot))
            slot = int(self._ends[best])
        return path

    def fitting(self, prices: Floats, gap: float) -> Cells:
        """Return the observations on paths that are worth at most ``gap`` less than the best.

        With the gap between a plan and its bound, no other observation is part of a better plan.
        """
        gains = self._values - prices[self._rows]
        ahead = self._ahead(gains)
        slots = np.repeat(np.arange(self._slots), np.diff(self._first))
        slack = ahead[slots] - (gains + ahead[self._ends])
        kept = np.flatnonzero(slack <= gap + _EPSILON)
        return Cells(slots[kept], self._rows[kept], self._ends[kept], self._values[kept], slack[kept], ahead)


class Multipliers:
    """Prices of requests, which come nearer to the best ones with each round; the bound and a plan that follow."""

    def __init__(self, problem: Problem, lines: list[Line]) -> None:
        """``lines`` is a plan to begin with."""
        self.problem = problem
        self.lines = lines
        """The best plan."""
        self.bound = float("inf")
        """No plan is worth more."""
        self.paths = Paths(problem)
        self.worth = worth(problem, lines)
        self._order = by_worth(problem)
        self._step = 1.0
        self._patience = _PATIENCE
        self._direction: Floats = np.zeros(len(problem.requests))
        self.prices: Floats = self._direction
        """Those of the bound."""
        self._current: Floats = self._begin()

    def _begin(self) -> Floats:
        """Return what each request is worth above a common price of a slot, the price that gives the lowest bound."""
        top, length = self.problem.value.max(axis=1, initial=0.0), self.problem.length.min(axis=1, initial=1)
        possible = top > 0
        common = np.quantile(top[possible] / length[possible], np.linspace(0, 0.9, 11)) if possible.any() else []
        for each in [0.0, *common, np.inf]:
            prices = np.maximum(0.0, top - min(each, 1e300) * length)
            gained, _ = self.paths.best(prices)
            self._look(prices, gained)
        return self.prices

    def _look(self, prices: Floats, gained: float) -> float:
        bound = gained + float(prices.sum())
        if bound < self.bound:
            if bound < self.bound * (1 - 1e-4):
                self._patience = _PATIENCE
            self.bound, self.prices = bound, prices
        return bound

    def round(self, plan: bool) -> bool:
        """Follow the subgradient by one step, and make a ``plan`` of the path; return False at the end."""
        prices = self._current
        gained, path = self.paths.best(prices)
        self._patience -= 1
        bound = self._look(prices, gained)
        if plan:
            self._keep(self._repaired(path))
        if self.bound - self.worth <= 1e-6 * self.bound or self._step < _LEAST_STEP:
            return False
        slope = 1.0 - np.bincount([row for row, _ in path], minlength=len(prices))
        self._direction = np.add((1 - _DEFLECTION) * slope, _DEFLECTION * self._direction, dtype=np.float64)
        if self._patience <= 0:
            self._step *= _SHRINK
            self._patience = _PATIENCE
            prices, self._direction = self.prices, slope.astype(np.float64)
        direction: Floats = np.where((prices <= 0) & (self._direction > 0), 0.0, self._direction)
        norm = float((direction * direction).sum())
        if norm == 0:
            return False
        prices = np.maximum(0.0, prices - self._step * (bound - self.worth) / norm * direction)
        self._current = prices
        return True

    def _keep(self, lines: list[Line]) -> None:
        value = worth(self.problem, lines)
        if value > self.worth + _EPSILON:
            self.lines, self.worth = lines, value

    def _repaired(self, path: list[Line]) -> list[Line]:
        """Return a path with each request once, where it is worth most, and with insertions."""
        best: dict[int, int] = {}
        for row, slot in path:
            if row not in best or self.problem.value[row, slot] > self.problem.value[row, best[row]]:
                best[row] = slot
        return insert(self.problem, self._order, best.items())
