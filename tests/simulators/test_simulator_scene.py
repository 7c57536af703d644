from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pyros.simulators.camera.scene import Scene, ShutterOpening
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.celestial import SiteCoordinates, Sky
from pyros.simulators.description import load

CAMERA = Path(__file__).parents[2] / "observatory" / "simulators" / "camera.yaml"
SITE = SiteCoordinates(43.9, 5.7)
FULL_MOON = datetime(2026, 3, 3, 23, 30, tzinfo=UTC).timestamp()
NEW_MOON = datetime(2026, 3, 18, 23, 30, tzinfo=UTC).timestamp()
_NORTH = Sky(150, 40)


@pytest.fixture
def settings() -> CameraSettings:
    loaded = load(CAMERA).changed(stars="synthetic", vignetting=0.0, cosmic_rays=0.0).settings
    assert isinstance(loaded, CameraSettings)
    return loaded


def background(scene: Scene, opened: float, pointing: Sky = _NORTH) -> float:
    pixels = np.frombuffer(scene.image(ShutterOpening(opened, 20, -20, pointing, 1.0), (1,)), "<u2")
    return float(np.median(pixels)) - 1000


def test_the_moon_brightens_the_sky_above_a_site(settings: CameraSettings) -> None:
    dark = background(Scene(settings), FULL_MOON)
    assert dark == pytest.approx(3 * 20, rel=0.05)
    assert background(Scene(settings, SITE), NEW_MOON) == pytest.approx(dark, rel=0.05)
    assert background(Scene(settings, SITE), FULL_MOON) > 4 * dark


def test_air_dims_the_stars(settings: CameraSettings) -> None:
    quiet = msgspec.structs.replace(settings, sky_background=0.0, extinction=0.5)
    light = []
    for site in (None, SITE):
        moment = ShutterOpening(NEW_MOON, 20, -60, Sky(150, 40), 1.0)
        pixels = np.frombuffer(Scene(quiet, site).image(moment, (1,)), "<u2").astype(float)
        light.append((pixels - np.median(pixels))[pixels > 1200].sum())
    altitude = SITE.ground(Sky(150, 40), NEW_MOON).alt
    expected = 10 ** (-0.4 * 0.5 / np.sin(np.radians(altitude)))
    assert light[1] / light[0] == pytest.approx(expected, rel=0.05)
