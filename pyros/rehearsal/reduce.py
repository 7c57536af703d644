"""From a night that fails to the shortest fault script with which it still fails, by leaving lines out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from pyros.rehearsal.night import RehearsedNight
from pyros.rehearsal.plan import NightPlan, NightResult
from pyros.rehearsal.script import Fault, parse, write

_T = TypeVar("_T")
_LATER_SECONDS = 900.0
"""How much later than at first a rule may be broken with fewer lines."""
_NEAR_SECONDS = (600.0, 3600.0)
"""How long before what must not be its causes often are."""


def shortest(items: Sequence[_T], fails: Callable[[Sequence[_T]], bool], known: int = 0) -> list[_T]:
    """Return a part of ``items``, in their order, that fails, and of which no single item can be left out.

    It is Zeller's delta debugging (Zeller and Hildebrandt, IEEE TSE 28, 183, 2002), by complements only. ``items``
    fail themselves. ``known`` is the number of parts to begin with; 0 for two.
    """
    kept = list(items)
    parts = max(2, known)
    while kept:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if fails(fewer):
                kept, parts = fewer, max(2, parts - 1)
                break
        else:
            if size <= 1:
                break
            parts = min(len(kept), 2 * parts)
    return kept


def reduce_night(
    plan: NightPlan,
    result: NightResult,
    make: Callable[[NightPlan], RehearsedNight],
    on_try: Callable[[int, int], None],
) -> NightPlan:
    """Return the plan of the same night with the shortest script that breaks the same rule.

    ``make`` makes a night of a plan, in a folder of its own. ``on_try(tries, lines)`` hears of each try. Raises
    ValueError when the night breaks no rule.
    """
    if not result.violations:
        raise ValueError("this night breaks no rule")
    first = result.violations[0]
    tries = 0
    seen: dict[str, bool] = {}

    def fails(faults: Sequence[Fault]) -> bool:
        nonlocal tries
        script = write(faults)
        if script not in seen:
            tries += 1
            on_try(tries, len(faults))
            night = make(msgspec.structs.replace(plan, script=script))
            latest = first.time + _LATER_SECONDS if first.time < night.seconds else math.inf
            seen[script] = any(each.rule == first.rule for each in night.run((first.rule,), latest).violations)
        return seen[script]

    faults = [fault for fault in parse(result.script, "the script") if fault.time <= first.time]
    for seconds in _NEAR_SECONDS:
        near = [fault for fault in faults if first.time - fault.time <= seconds]
        if len(near) < len(faults) and fails(near):
            faults = near
            break
    return msgspec.structs.replace(plan, script=write(shortest(faults, fails)))
