from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyros.broker.kafka.offsets import Offsets


def test_commits_up_to_the_first_that_is_not_done() -> None:
    offsets = Offsets("t", 0)
    for offset in (5, 6, 9):
        offsets.took(offset)
    offsets.finished(9)
    offsets.finished(6)
    assert (offsets.to_commit(), len(offsets)) == (None, 1)
    offsets.finished(5)
    assert (offsets.to_commit(), offsets.to_commit(), len(offsets)) == (10, None, 0)


def test_a_failed_commit_is_due_again_unless_a_later_one_is() -> None:
    offsets = Offsets("t", 0)
    offsets.not_committed(3)
    assert offsets.to_commit() == 3
    offsets.took(3)
    offsets.finished(3)
    offsets.not_committed(3)
    assert offsets.to_commit() == 4


@given(st.data())
def test_nothing_is_committed_before_it_is_done(data: st.DataObject) -> None:
    taken = sorted(data.draw(st.sets(st.integers(0, 50), max_size=20)))
    offsets, done = Offsets("t", 0), set()
    for offset in taken:
        offsets.took(offset)
    for offset in data.draw(st.permutations(taken)):
        done.add(offset)
        offsets.finished(offset)
        position = offsets.to_commit()
        assert position is None or {each for each in taken if each < position} <= done
    assert len(offsets) == 0
