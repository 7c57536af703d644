"""Dense nights break no rule, and observe."""

from __future__ import annotations

from multiprocessing import resource_tracker

import pytest

from pyros.rehearsal.plan import NightResult
from pyros.rehearsal.rehearse import plans, rehearse, rehearse_night
from tests.rehearsal.dense import DENSE

resource_tracker.ensure_running()  # Python's own, beside a pool of processes: it ends with this one


def broken(results: list[NightResult]) -> list[str]:
    return [f"seed {each.seed}: {violation}" for each in results for violation in each.violations]


def test_a_few_dense_nights_observe_and_break_no_rule() -> None:
    results = [rehearse_night(plan) for plan in plans(DENSE, 4)]
    assert broken(results) == []
    assert sum(each.counts["exposures"] > 0 for each in results) >= 3


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_fifty_dense_nights_observe_and_break_no_rule() -> None:
    results = list(rehearse(plans(DENSE, 50), 2))
    assert broken(results) == []
    assert sum(each.counts["exposures"] > 0 for each in results) >= 30
    print(f"{sum(each.cpu for each in results):.0f} s of processors")
