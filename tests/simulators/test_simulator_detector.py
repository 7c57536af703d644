from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyros.simulators.camera.detector import Detector, Electronics

PLAIN = Electronics(
    width=300, height=200, gain=1.5, read_noise=8, bias=1000, saturation=65535, dark_current=0.02, temperature=-20
)


def read(
    light: float | None, seconds: float = 10, temperature: float = -20, noise: int = 1, **changed: Any
) -> NDArray[np.float64]:
    is_ = dataclasses.replace(PLAIN, **changed)
    mean = None if light is None else np.full((is_.height, is_.width), light, dtype=np.float32)
    pixels = Detector(is_).read(mean, seconds, temperature, (9, noise))
    return np.frombuffer(pixels, "<u2").reshape(is_.height, is_.width).astype(float)


@pytest.mark.parametrize("electrons", [0.5, 9.5, 10.5, 180, 30_000])
def test_light_and_its_noise(electrons: float) -> None:
    image = read(electrons, dark_current=0)
    sigma = math.sqrt(electrons + 64) / 1.5
    assert image.mean() == pytest.approx(1000 + electrons / 1.5, abs=5 * sigma / math.sqrt(image.size))
    assert image.std() == pytest.approx(math.hypot(sigma, 0.29), rel=0.02)


def test_few_photons_are_counted() -> None:
    image = read(0.5, dark_current=0, read_noise=0, gain=1)
    share = [(image == 1000 + count).mean() for count in range(3)]
    assert share == pytest.approx([0.6065, 0.3033, 0.0758], abs=0.01)  # Poisson's law


def test_the_dark_current_doubles_with_the_temperature() -> None:
    dark = {t: read(None, 1000, t).mean() - 1000 for t in (-26, -20, -14)}
    assert [dark[t] for t in (-26, -20, -14)] == pytest.approx([10 / 1.5, 20 / 1.5, 40 / 1.5], rel=0.03)
    assert read(None, 0).mean() == pytest.approx(1000, abs=0.2)


def test_patterns_stay_and_noise_changes() -> None:
    flaws: dict[str, Any] = {
        "bias_columns": 20.0,
        "pixel_response": 0.05,
        "vignetting": 0.4,
        "hot_pixels": 0.001,
        "read_noise": 0.0,
    }
    first, second = (read(20_000, noise=noise, **flaws) for noise in (1, 2))
    assert np.array_equal(first, read(20_000, **flaws))
    assert not np.array_equal(first, second)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.95
    other = read(20_000, seed=5, **flaws)
    assert np.corrcoef(first[80:120, 130:170].ravel(), other[80:120, 130:170].ravel())[0, 1] < 0.2


def test_the_corners_are_darker() -> None:
    image = read(30_000, vignetting=0.4) - 1000
    middle, corner = np.median(image[90:110, 140:160]), np.median(image[:10, :10])
    assert corner / middle == pytest.approx(0.63, abs=0.01)
    assert read(None, vignetting=0.4, pixel_response=0.1).std() == pytest.approx(8 / 1.5, rel=0.02)


def test_columns_of_the_bias() -> None:
    columns = read(None, 0, bias_columns=20).mean(axis=0)
    assert columns.std() == pytest.approx(20, rel=0.15)
    assert columns.mean() == pytest.approx(1000, abs=5)


def test_hot_pixels_are_as_many_and_as_hot_as_said() -> None:
    image = read(None, 100, hot_pixels=0.01, hot_current=50)
    hot = image > 1100
    assert hot.sum() == pytest.approx(600 * math.exp(-150 / 5000), rel=0.05)
    cold = read(None, 100, -80, hot_pixels=0.01, hot_current=50)
    assert (cold > 1100).sum() < 10


def test_cosmic_rays_come_with_time() -> None:
    assert (read(None, 60, cosmic_rays=30) > 1060).sum() > 30
    assert (read(None, 0, cosmic_rays=100_000) > 1060).sum() == 0
    once = (read(None, 60, cosmic_rays=30) > 1060) & (read(None, 60, cosmic_rays=30, noise=2) > 1060)
    assert once.sum() < 5


def test_saturation_by_the_converter_and_by_the_well() -> None:
    assert (read(1e6) == 65535).all()
    assert (read(1e6, saturation=20_000) == 20_000).all()
    well = read(1e6, full_well=50_000)
    assert well.mean() == pytest.approx(1000 + 50_000 / 1.5, rel=0.01)
    assert well.std() == pytest.approx(math.hypot(8 / 1.5, 0.29), rel=0.05), "a full pixel has no photon noise"


def test_binned_pixels_have_the_light_of_all_and_the_read_noise_of_one() -> None:
    is_ = dataclasses.replace(PLAIN, dark_current=0, width=301, height=203)
    for light, noise in ((100.0, math.sqrt(9 * 100 + 64)), (None, 8.0)):
        mean = None if light is None else np.full((is_.height, is_.width), light, dtype=np.float32)
        pixels = Detector(is_).read(mean, 10, -20, (9, 1), binning=3, gain=3.0)
        image = np.frombuffer(pixels, "<u2").reshape(203 // 3, 301 // 3).astype(float)
        assert image.mean() == pytest.approx(1000 + 9 * (light or 0) / 3, abs=1)
        assert image.std() == pytest.approx(noise / 3, rel=0.03)


def test_columns_and_hot_pixels_are_binned_in_their_place() -> None:
    flaws: dict[str, Any] = {"read_noise": 0.0, "dark_current": 0.0, "hot_pixels": 0.001, "bias_columns": 20.0}
    whole = read(None, 10, **flaws)
    is_ = dataclasses.replace(PLAIN, **flaws)
    binned = np.frombuffer(Detector(is_).read(None, 10, -20, (9, 1), binning=2), "<u2").reshape(100, 150)
    columns = Detector(is_).columns
    added = (whole - np.rint(columns)).reshape(100, 2, 150, 2).sum(axis=(1, 3))
    expected = added + columns.reshape(150, 2).mean(axis=1)
    quiet = added == 0
    assert np.abs(binned - expected)[quiet].max() < 4
    assert np.corrcoef(binned[~quiet], expected[~quiet])[0, 1] > 0.9, "hot pixels are where they were"
