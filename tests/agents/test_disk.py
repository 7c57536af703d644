"""A disk that is nearly full: no images first, then no open dome, and no commit is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyros.agents import dome as dome_module
from tests.agents.dome_rig import TRAVEL, DomeRig


def test_the_dome_closes_when_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [50.0]
    monkeypatch.setattr(dome_module, "free_gigabytes", lambda _: free[0])
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
