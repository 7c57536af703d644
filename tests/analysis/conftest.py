"""Images of the demo's camera, with other settings, as its simulator draws them and the agent writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.interfaces import Image
from pyros.simulators import load
from pyros.simulators.camera.scene import Scene, ShutterOpening
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.camera.transients import Transient
from pyros.simulators.celestial import Sky, offset

DEMO = Path(__file__).parents[2] / "observatory" / "simulators"
TIME = 1_774_049_400.0  # 2026-03-20 23:30 UTC
CENTRE = Sky(150.2, 40.1)


class SkyCamera:
    """``error`` is how far (arcseconds east and north) the mount says that it points beside where it does."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        settings = load(DEMO / "camera.yaml").changed(**changed).settings
        assert isinstance(settings, CameraSettings)
        self.settings = settings
        self.scene = Scene(settings)
        self.transients: list[Transient] = []
        self._folder = folder
        self._count = 0

    def __call__(
        self, seconds: float = 20, *, at: float = TIME, pointing: Sky | None = CENTRE, kind: str = "LIGHT",
        filter: str = "r", error: tuple[float, float] = (0, 0), temperature: float = -20,
    ) -> Path:  # fmt: skip
        self._count += 1
        is_ = self.settings
        moment = ShutterOpening(at, seconds, temperature, pointing, 1.0, transients=tuple(self.transients))
        pixels = np.frombuffer(self.scene.image(moment, (5, self._count)), "<u2").reshape(is_.height, is_.width)
        said = offset(pointing, -error[0] / 3600, -error[1] / 3600) if pointing else Sky(0, 0)
        image = Image(pixels, at, seconds, filter, temperature, is_.gain, is_.arcsec_per_pixel)
        facts = ImageFacts(
            "x", said.ra, said.dec, "obs-1", self._count, rotation=is_.rotation, image_type=kind, event="x:1"
        )
        return write_image(self._folder / f"{kind.lower()}_{self._count:03d}.fits", image, facts)


@pytest.fixture
def camera(tmp_path: Path) -> Callable[..., SkyCamera]:
    """Make a camera with some settings changed."""
    return lambda **changed: SkyCamera(tmp_path, **changed)
