from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from pyros.analysis.masters import Masters, make_masters
from pyros.cli.app import app
from pyros.errors import ImageError
from pyros.instruments.fits import read_image
from pyros.simulators.camera.scene import Scene
from pyros.simulators.camera.settings import CameraSettings
from pyros.simulators.celestial import Sky

Cameras = Callable[..., Any]
FLAWS = {
    "width": 200, "height": 160, "bias_columns": 15.0, "hot_pixels": 0.002, "hot_current": 20.0, "vignetting": 0.4,
    "pixel_response": 0.03, "dark_current": 0.5, "cosmic_rays": 5.0,
}  # fmt: skip
NOWHERE = Sky(10, 10)


@pytest.fixture
def flawed(camera: Cameras) -> Any:
    return camera(**FLAWS)


@pytest.fixture
def frames(flawed: Any) -> list[Path]:
    biases = [flawed(0, pointing=None, kind="BIAS") for _ in range(9)]
    darks = [flawed(100, pointing=None, kind="DARK") for _ in range(9)]
    by_night, flawed.scene = flawed.scene, Scene(_twilight(flawed))
    flats = [flawed(5, pointing=NOWHERE, kind="FLAT") for _ in range(9)]
    flawed.scene = by_night
    return [*biases, *darks, *flats]


def _twilight(camera: Any) -> CameraSettings:
    """Return a camera's settings with a twilight sky: 6000 ADU a second, beside which no star is seen."""
    changed: CameraSettings = msgspec.structs.replace(camera.settings, sky_background=6000.0)
    return changed


def test_an_image_is_flat_and_dark_after_its_masters(flawed: Any, frames: list[Path], tmp_path: Path) -> None:
    written = make_masters(frames, tmp_path / "masters")
    names = ["master_bias_200x160.fits", "master_dark_200x160_100s_-20C.fits", "master_flat_200x160_r.fits"]
    assert [path.name for path in written] == names
    masters = Masters.load(tmp_path / "masters")
    raw = read_image(flawed(30, pointing=NOWHERE))
    pixels, used = masters.calibrate(raw)
    assert used == ("bias", "dark", "flat")
    corner, middle = np.median(raw.pixels[:25, :25]) - 1000, np.median(raw.pixels[70:90, 90:110]) - 1000
    assert corner / middle < 0.85
    assert np.median(pixels[:25, :25]) == pytest.approx(np.median(pixels[70:90, 90:110]), rel=0.05)
    hot = np.argsort(flawed.scene.detector.hot[1])[-10:]
    places = flawed.scene.detector.hot[0][hot]
    noise = 1.48 * float(np.median(np.abs(pixels - np.median(pixels))))
    assert np.median(raw.pixels.ravel()[places]) > np.median(raw.pixels) + 20 * noise
    assert abs(np.median(pixels.ravel()[places]) - np.median(pixels)) < 5 * noise
    for path in written:
        with fits.open(path, checksum=True) as units:
            units.verify("exception")
            assert units[0].header["NCOMBINE"] == 9


def test_masters_fit_or_are_not_used(flawed: Any, frames: list[Path], tmp_path: Path) -> None:
    make_masters(frames, tmp_path / "masters")
    masters = Masters.load(tmp_path / "masters")
    assert masters.calibrate(read_image(flawed(30, pointing=NOWHERE, filter="g")))[1] == ("bias", "dark")
    assert masters.calibrate(read_image(flawed(30, pointing=NOWHERE, temperature=-10)))[1] == ("bias", "flat")
    shape = (160, 200)
    assert masters.dark(shape, 30, -20) is not None
    assert masters.bias((200, 160)) is None
    assert Masters.load(tmp_path / "nowhere").frames == []
    assert Masters().calibrate(read_image(flawed(30)))[1] == ()


def test_flats_of_tonight_need_no_new_bias(frames: list[Path], tmp_path: Path) -> None:
    make_masters(frames[:9], tmp_path / "masters")
    assert [path.name for path in make_masters(frames[18:], tmp_path / "masters")] == ["master_flat_200x160_r.fits"]


def test_what_is_missing_is_told(flawed: Any, frames: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"dark_010\.fits: a dark needs a master bias"):
        make_masters(frames[9:18], tmp_path / "masters")
    with pytest.raises(ImageError, match=r"flat_019\.fits: a flat needs a master bias"):
        make_masters(frames[18:], tmp_path / "masters")
    with pytest.raises(ImageError, match="none of the files is a bias"):
        make_masters([flawed(1)], tmp_path / "masters")
    unlit = flawed(0, pointing=None, kind="FLAT")
    with pytest.raises(ImageError, match="is a flat without light"):
        make_masters([*frames[:9], unlit], tmp_path / "masters")


def test_from_the_command_line(frames: list[Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["image", "masters", *map(str, frames), "--to", str(tmp_path / "m")])
    assert done.exit_code == 0, done.output
    assert done.output.count("master   ") == 3
    done = CliRunner().invoke(app, ["image", "masters", str(tmp_path / "no.fits"), "--to", str(tmp_path / "m")])
    assert done.exit_code == 1
    assert "cannot be read" in done.output
