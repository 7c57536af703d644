"""A well observatory for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros.health import HealthCheck, observatory
from tests.conftest import PATIENCE
from tests.health.rig import HealthRig

SITE_CHECKS = '''
from pyros.health import HealthCheck, warning

class Room(HealthCheck):
    tags = ("site",)

    def test_heater(self):
        """The heater is on."""
        self.assertNotIn("off", (self.observatory.config.path.parent / "heater").read_text())

    @warning
    def test_light(self):
        """The light is off."""
        self.assertIn("off", (self.observatory.config.path.parent / "light").read_text())
'''


@pytest.fixture
def rig_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(observatory, "ASK_SECONDS", PATIENCE)
    monkeypatch.setattr(HealthCheck, "timeout", PATIENCE)
    (tmp_path / "masters").mkdir()
    (tmp_path / "masters" / "bias.fits").write_bytes(b"")
    (tmp_path / "heater").write_text("on")
    (tmp_path / "light").write_text("off")
    (tmp_path / "site_health.py").write_text(SITE_CHECKS)
    (tmp_path / "telescope_health.py").write_text(
        "from pyros.health import HealthCheck\n"
        "class Mirror(HealthCheck):\n"
        "    def test_clean(self):\n"
        "        self.assertFalse((self.observatory.config.path.parent / 'dust').exists(), 'dust on it')\n"
    )
    return tmp_path


@pytest.fixture
def rig(rig_folder: Path) -> Iterator[HealthRig]:
    made = HealthRig(rig_folder)
    yield made
    made.close()


def make_old(path: Path, days: float) -> None:
    """Let a file be so old."""
    when = path.stat().st_mtime - days * 86400
    os.utime(path, (when, when))
