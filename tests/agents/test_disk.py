"""A disk that is nearly full: no images first, then no open dome, and no commit is needed for that."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from pyros.journal import Effects
from tests.agents.dome_rig import TRAVEL, DomeRig


def test_the_dome_closes_when_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [50.0]
    monkeypatch.setattr("pyros.files.free_gigabytes", lambda _: free[0])
    rig = DomeRig(tmp_path)
    rig.start()
    try:
        rig.opened()
        free[0] = 1.1
        rig.kept(20)
        assert rig.shutter == "open"
        free[0] = 0.9
        rig.kept(5 + TRAVEL + 1)
        assert rig.shutter == "closed"
    finally:
        rig.stop()
        rig.close_all()


def test_a_full_disk_is_tried_again_at_its_own_pace(tmp_path: Path) -> None:
    rig = DomeRig(tmp_path)
    rig.start()
    try:
        rig.opened()
        assert rig.host is not None
        tried: list[float] = []
        journal, emptied = rig.host.journal, rig.full_disk()
        full = journal.commit

        def watched(effects: Effects) -> None:
            tried.append(rig.now)
            full(effects)

        journal.commit = watched  # type: ignore[method-assign]
        rig.close()
        assert rig.until(lambda: rig.shutter == "closed", TRAVEL + 1), "closing waits for the disk"
        rig.kept(60)
        pauses = [round(after - before) for before, after in pairwise(tried)]
        assert pauses[:3] == [1, 2, 4]
        assert set(pauses[3:]) == {4}
        emptied()
        rig.run(5)
        assert not rig.host.turns.unstored
    finally:
        rig.stop()
        rig.close_all()
