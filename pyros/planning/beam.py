"""A plan by a beam search along the prices of `Multipliers`.

It goes through the slots with the best beginnings of plans, each with what it has observed: none observes anything
twice, as the dynamic program's path may. Beginnings that end at the same slot differ in their worth and in what they
have used up: one is held to be as good as its worth less the prices of what it has used and others could still observe.
A beginning of which even the bound for the rest of the night makes no better plan than the known one is given up.

Plain Python and numpy; callable from any thread.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyros.angles import Floats
from pyros.planning.search import Line, Multipliers

WIDTH = 20
"""How many beginnings are followed from each slot."""
_BEST_CELLS = 8
"""How many observations may begin in a slot: those on the dynamic program's best paths."""
_EPSILON = 1e-9


@dataclass(frozen=True)
class _Beginnings:
    """Beginnings of plans that end at one slot: a row for each."""

    worths: Floats
    used: NDArray[np.bool_]
    """Which requests are observed."""
    marks: NDArray[np.int64]
    """The same in one number, by which equal ones are known."""
    names: NDArray[np.int64]
    """Where each stands in the list of all."""

    def chosen(self, which: NDArray[np.int64]) -> _Beginnings:
        return _Beginnings(self.worths[which], self.used[which], self.marks[which], self.names[which])

    @staticmethod
    def joined(parts: list[_Beginnings]) -> _Beginnings:
        return _Beginnings(
            np.concatenate([each.worths for each in parts]), np.concatenate([each.used for each in parts]),
            np.concatenate([each.marks for each in parts]), np.concatenate([each.names for each in parts]),
        )  # fmt: skip


def search_beam(multipliers: Multipliers, width: int = WIDTH) -> list[Line]:
    """Return the best plan that is found, or the known one when none is better."""
    cells = multipliers.paths.fitting(multipliers.prices, multipliers.bound - multipliers.worth).best(_BEST_CELLS)
    ahead = cells.ahead
    rows, local = np.unique(cells.rows, return_inverse=True)
    prices = multipliers.prices[rows]
    last = np.zeros(len(rows), dtype=np.int64)
    np.maximum.at(last, local, cells.slots)
    marks = np.random.default_rng(0).integers(0, 2**62, len(rows))
    first = np.searchsorted(cells.slots, np.arange(multipliers.problem.slots + 1))

    best, best_name = multipliers.worth, 0
    history: list[tuple[int, Line]] = [(0, (-1, -1))]
    """For each beginning the one that it continues, and its last line."""
    nothing = np.zeros(1, dtype=np.int64)
    current = _Beginnings(np.zeros(1), np.zeros((1, len(rows)), dtype=bool), nothing, nothing)
    coming: defaultdict[int, list[_Beginnings]] = defaultdict(list)
    for slot in range(multipliers.problem.slots + 1):
        if arrived := coming.pop(slot, None):
            current = _Beginnings.joined([current, *arrived])
            left = np.where(last >= slot, prices, 0.0)
            keys = current.worths - (current.used * left).sum(axis=1)
            hopeful = keys + (ahead[slot] + left.sum()) > best + _EPSILON
            top = int(current.worths.argmax())
            if current.worths[top] > best + _EPSILON:
                best, best_name = float(current.worths[top]), int(current.names[top])
            order = np.argsort(-keys, kind="stable")
            order = order[hopeful[order]]
            order = order[np.sort(np.unique(current.marks[order], return_index=True)[1])]
            current = current.chosen(order[:width])
        if slot == multipliers.problem.slots:
            break
        for cell in range(first[slot], first[slot + 1]):
            free = np.flatnonzero(~current.used[:, local[cell]])
            if not len(free):
                continue
            names = np.arange(len(history), len(history) + len(free))
            line = (int(cells.rows[cell]), slot)
            history += [(int(name), line) for name in current.names[free]]
            used = current.used[free]
            used[:, local[cell]] = True
            after = _Beginnings(
                current.worths[free] + cells.values[cell], used, current.marks[free] ^ marks[local[cell]], names
            )
            coming[int(cells.ends[cell])].append(after)
    if best_name == 0:
        return multipliers.lines
    lines: list[Line] = []
    while best_name:
        best_name, line = history[best_name]
        lines.append(line)
    return lines[::-1]
