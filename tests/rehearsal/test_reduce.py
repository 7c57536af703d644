"""The shortest part of a script that still fails."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pyros.rehearsal.reduce import shortest


@given(st.sets(st.integers(0, 60), max_size=5), st.integers(0, 60))
def test_just_what_it_takes_is_left(needed: set[int], more: int) -> None:
    items = range(max([*needed, more]) + 1)
    tries = 0

    def fails(some: Sequence[int]) -> bool:
        nonlocal tries
        tries += 1
        return needed <= set(some)

    assert shortest(items, fails) == sorted(needed)
    assert tries < 40 * (len(needed) + 1)


@given(st.integers(1, 40))
def test_no_single_item_can_be_left_out(least: int) -> None:
    found = shortest(range(50), lambda some: len(some) >= least)
    assert len(found) == least
