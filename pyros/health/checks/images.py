"""The images are good: the last one was measured, its stars are small, and the masters are not old."""

from __future__ import annotations

from pathlib import Path

from pyros.clock import system_time
from pyros.health.check import HealthCheck

_MAX_FWHM = 8.0
_MAX_MASTER_DAYS = 60.0


class ImagesCheck(HealthCheck):
    """What the last image showed."""

    group = "images"
    each = "analyzer"
    level = "warning"
    tags = ("images",)

    def setUp(self) -> None:
        if "analyzer" not in self.observatory.config.agents:
            self.skipTest("there is no analyzer")

    def test_measured(self) -> None:
        """It could be measured, and there are stars in it."""
        image = self.observatory.monitoring.last_image
        if image is None:
            self.skipTest("there is no image yet")
        if image.problem:
            self.fail(f"{image.path}: {image.problem}")
        if not image.sources:
            self.fail(f"{image.path}: no star is found")

    def test_sharp(self) -> None:
        """Its stars are smaller than eight arcseconds."""
        image = self.observatory.monitoring.last_image
        if image is None or image.fwhm is None:
            self.skipTest("no image with stars yet")
        if image.fwhm > _MAX_FWHM:
            self.fail(f"{image.path}: the stars have {image.fwhm:.1f} arcseconds: look at the focus")

    def test_kept(self) -> None:
        """The file of the last image is still there."""
        image = self.observatory.monitoring.last_image
        if image is None or not Path(image.path).is_absolute():
            self.skipTest("there is no image yet")
        if not Path(image.path).exists():
            self.fail(f"{image.path}: is gone")


class MastersCheck(HealthCheck):
    """The master frames."""

    group = "masters"
    each = "analyzer"
    level = "warning"
    tags = ("images",)

    def test_young(self) -> None:
        """The newest is younger than two months, where there are any."""
        config = self.observatory.config
        section = config.agents.get("analyzer")
        if section is None:
            self.skipTest("there is no analyzer")
        named = section.options.get("masters", "")
        folder = config.path.parent / named if named else config.data / "masters"
        ages = [system_time() - path.stat().st_mtime for path in folder.glob("*.fits")] if folder.is_dir() else []
        if not ages:
            if named:
                self.fail(f"{folder}: there are no masters: pyros image masters makes them")
            self.skipTest("there are none")
        days = min(ages) / 86400
        if days > _MAX_MASTER_DAYS:
            self.fail(f"{folder}: the newest master is {days:.0f} days old: pyros image masters makes new ones")
