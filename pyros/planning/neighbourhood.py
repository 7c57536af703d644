"""A better plan by large-neighbourhood search (Shaw 1998, CP98, LNCS 1520, 417).

Some lines that follow each other are looked at; some of these are taken out, and all that might go into the span that
they leave is put in again, one after the other, where it gains most; what is in the span moves to its best times
meanwhile. That is exact: F[k][t] is the most that the first k lines are worth when they end by t, B[k][t] the most that
the lines from k on are worth when they begin at t or later, and what a request gains in between is the greatest
``F[k][t] + value[t] + B[k][t + length[t]]``. The random choices are the seed's.

Plain Python and numpy; callable from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.angles import Floats
from pyros.planning.problem import Problem
from pyros.planning.search import Line, worth

_SPAN = (3, 11)
"""How many lines are looked at."""
_MOST_CANDIDATES = 30
"""How many requests are tried in a span: those of the greatest worth less prices."""
_EPSILON = 1e-9
_NEVER = -1e18


@dataclass
class _Moves:
    """What requests are worth in a span of slots, and when they end: a row for each request, a column for each slot."""

    values: Floats
    ends: NDArray[np.int64]


class Neighbourhood:
    """The search for better plans; ``lines`` is the best one so far."""

    def __init__(self, problem: Problem, lines: list[Line], prices: Floats, seed: int) -> None:
        """``prices`` are those of `pyros.planning.search.Multipliers`."""
        self.lines = list(lines)
        self._problem = problem
        self._prices = prices
        self._random = np.random.default_rng(seed)
        self._possible = np.flatnonzero(problem.value.max(axis=1, initial=0.0) > 0)

    def round(self) -> None:
        """Try one change of the plan."""
        problem, random, lines = self._problem, self._random, self.lines
        first = max(0, int(random.integers(0, max(1, len(lines)))) - 4)
        last = min(len(lines), first + int(random.integers(*_SPAN)))
        begin = lines[first - 1][1] + int(problem.length[lines[first - 1]]) if first else 0
        end = lines[last][1] if last < len(lines) else problem.slots
        inside = lines[first:last]
        share = int(random.integers(1, len(inside) + 1)) if inside else 0
        taken_out = {inside[each][0] for each in random.permutation(len(inside))[:share]}
        sequence = [row for row, _ in inside if row not in taken_out]
        placed = {row for row, _ in lines} - taken_out
        candidates = self._candidates(placed, begin, end)
        if not len(candidates):
            return
        rows = np.concatenate([candidates, np.array(sequence, dtype=np.int64)])
        moves = self._moves(rows, begin, end)
        order = self._fill(moves, list(range(len(candidates), len(rows))), len(candidates))
        changed = [(int(rows[each]), begin + slot) for each, slot in _best_times(moves, order)]
        if worth(problem, changed) >= worth(problem, inside) - _EPSILON:
            self.lines = [*lines[:first], *changed, *lines[last:]]

    def _candidates(self, placed: set[int], begin: int, end: int) -> NDArray[np.int64]:
        """Return the requests that may go into a span: the most promising ones, a little at random."""
        rows = np.array([row for row in self._possible if row not in placed], dtype=np.int64)
        values = self._moves(rows, begin, end).values
        best = values.max(axis=1, initial=_NEVER)
        rows, best = rows[best > 0], best[best > 0]
        if len(rows) > _MOST_CANDIDATES:
            promise = best - self._prices[rows]
            promise += self._random.normal(0.0, 0.1 * float(np.abs(promise).mean()) + _EPSILON, len(rows))
            rows = rows[np.argsort(-promise, kind="stable")[:_MOST_CANDIDATES]]
        candidates: NDArray[np.int64] = rows
        return candidates

    def _moves(self, rows: NDArray[np.int64], begin: int, end: int) -> _Moves:
        values = self._problem.value[rows, begin:end]
        ends = np.arange(end - begin) + self._problem.length[rows, begin:end]
        values = np.where((values > 0) & (ends <= end - begin), values, _NEVER)
        return _Moves(values, np.minimum(ends, end - begin))

    def _fill(self, moves: _Moves, sequence: list[int], candidates: int) -> list[int]:
        """Put candidates (the first of the rows) into a sequence, each where it gains most, until none gains."""
        left = np.ones(candidates, dtype=bool)
        shortest = (moves.ends[:candidates] - np.arange(moves.ends.shape[1])).min(axis=1)
        weight = self._random.uniform(0.7, 1.3, candidates) / np.maximum(1, shortest) ** self._random.uniform(0.0, 1.0)
        while left.any():
            before, after = _forward(moves, sequence), _backward(moves, sequence)
            rows = np.flatnonzero(left)
            values, ends = moves.values[rows], moves.ends[rows]
            gains = np.array([
                (before[place][:-1] + values + after[place][ends]).max(axis=1) for place in range(len(sequence) + 1)
            ]) - after[0][0]  # fmt: skip
            scores = np.where(gains > _EPSILON, gains * weight[rows], 0.0)
            place, which = np.unravel_index(int(scores.argmax()), scores.shape)
            if scores[place, which] <= 0:
                break
            sequence = [*sequence[:place], int(rows[which]), *sequence[place:]]
            left[rows[which]] = False
        return sequence


def _forward(moves: _Moves, sequence: list[int]) -> Floats:
    """Return F: the most that the first lines of a sequence are worth when they end by each slot."""
    width = moves.values.shape[1]
    result = np.zeros((len(sequence) + 1, width + 1))
    for place, row in enumerate(sequence):
        here = np.full(width + 1, _NEVER)
        np.maximum.at(here, moves.ends[row], result[place][:-1] + moves.values[row])
        result[place + 1] = np.maximum.accumulate(here)
    return result


def _backward(moves: _Moves, sequence: list[int]) -> Floats:
    """Return B: the most that the last lines of a sequence are worth when they begin at each slot or later."""
    width = moves.values.shape[1]
    result = np.zeros((len(sequence) + 1, width + 1))
    for place in range(len(sequence) - 1, -1, -1):
        row = sequence[place]
        here = np.full(width + 1, _NEVER)
        here[:-1] = moves.values[row] + result[place + 1][moves.ends[row]]
        result[place] = np.maximum.accumulate(here[::-1])[::-1]
    return result


def _best_times(moves: _Moves, sequence: list[int]) -> list[tuple[int, int]]:
    """Return the rows of a sequence with the slots by which they are worth most together."""
    after = _backward(moves, sequence)
    lines, slot = [], 0
    for place, row in enumerate(sequence):
        slot += int((moves.values[row, slot:] + after[place + 1][moves.ends[row, slot:]]).argmax())
        lines.append((row, slot))
        slot = int(moves.ends[row, slot])
    return lines
