"""The native driver and the simulators of the demo: what the conformance suite doesn't ask, on virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import DeviceRefused
from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.preview import write_preview
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.instruments.conftest import OBSERVATORY, DeviceWorld, Simulate


@pytest.fixture
def target(clock: VirtualClock) -> tuple[float, float]:
    return place_overhead(Site.load(OBSERVATORY / "site.yaml"), clock.now())


def test_a_mount_that_points_badly_is_found_out(
    simulate: Simulate, world: DeviceWorld, target: tuple[float, float]
) -> None:
    telescope = simulate("telescope", pointing_noise=3000.0)
    world.fails(Exception, r"arcsec from the target after two slews \(at most 30\)", telescope.slew(*target), 60)


def test_a_camera_takes_an_image_where_the_telescope_points(
    simulate: Simulate, world: DeviceWorld, clock: VirtualClock, target: tuple[float, float], tmp_path: Path
) -> None:
    telescope = simulate("telescope")
    camera = simulate("camera", filter_wheel="", width=96, height=64)
    pointing = world.result(telescope.slew(*target), 20)
    assert world.result(camera.filters()) == ("g", "r", "i")
    assert world.result(camera.geometry()) == instruments.Geometry(96, 64, 16, 1.8)
    started: list[float] = []
    begin = clock.time()
    image = world.result(camera.expose(30.0, "r", "o 1", started.append), 20)
    assert image.pixels.shape == (64, 96)
    assert image.pixels.dtype == np.uint16
    assert 1000 < np.median(image.pixels) < 1300  # bias and sky
    assert started == [3.5]
    assert begin <= image.started < begin + 0.1
    assert (image.seconds, image.filter, image.temperature, image.gain) == (30.0, "r", -20.0, 1.5)
    facts = ImageFacts("GRB", pointing.ra, pointing.dec, "o1", instrument=camera.name)
    path = write_image(tmp_path / "a.fits", image, facts)
    assert fits.getheader(path)["INSTRUME"] == "Demo camera"
    assert write_preview(path, tmp_path / "a.png", *target).stat().st_size > 0


def test_a_focuser_without_a_sensor(simulate: Simulate, world: DeviceWorld) -> None:
    assert world.result(simulate("focuser", temperature=None).temperature()) is None


def test_an_unsafe_monitor_says_why(simulate: Simulate, world: DeviceWorld) -> None:
    monitor = simulate("safety", safe=False, reason="smoke in the valley")
    assert world.result(monitor.read()) == instruments.Safety(False, "smoke in the valley")


def test_a_switch_switches(simulate: Simulate, world: DeviceWorld) -> None:
    switch = simulate("switch")
    channels = world.result(switch.channels())
    assert [channel.name for channel in channels] == ["mount_power", "camera_power", "flat_lamp", "mains"]
    assert channels[0] == instruments.Channel("mount_power")
    assert channels[2] == instruments.Channel("flat_lamp", most=100.0, step=5.0)
    assert not channels[3].writable
    assert world.result(switch.get(0)) == 1.0
    assert world.result(switch.set(0, 0)) == 0.0
    assert world.result(switch.set(2, 35)) == 35.0
    world.fails(DeviceRefused, "VALUE: flat_lamp must be 0 to 100 in steps of 5, not 36", switch.set(2, 36))
    world.fails(DeviceRefused, "UNSUPPORTED: mains can only be read", switch.set(3, 0))
    for channel in (-1, 4):
        world.fails(DeviceRefused, f"VALUE: Demo power switch has no channel {channel}", switch.get(channel))
        world.fails(DeviceRefused, f"VALUE: Demo power switch has no channel {channel}", switch.set(channel, 1))


def test_the_weather_is_read(simulate: Simulate, world: DeviceWorld) -> None:
    reading = world.result(simulate("weather").read())
    assert -10 < reading.temperature < 30
    assert 0 <= reading.cloud <= 1
    assert reading.rain is False
    assert reading.pressure == pytest.approx(940, abs=5)
    assert reading.dew_point < reading.temperature
    assert reading.sky_brightness == pytest.approx(21.5, abs=0.5)


def test_the_headers_say_where_the_stars_are(
    simulate: Simulate, world: DeviceWorld, target: tuple[float, float], tmp_path: Path
) -> None:
    """A star found in one image stands where the header of another, taken beside it, says it must."""
    telescope, camera = simulate("telescope"), simulate("camera", filter_wheel="", width=256, height=256)
    headers, skies = [], []
    for number, (ra, dec) in enumerate([target, (target[0] + 0.03, target[1] + 0.02)]):
        pointing = world.result(telescope.slew(ra, dec), 20)
        image = world.result(camera.expose(30.0, "r"), 20)
        path = write_image(tmp_path / f"{number}.fits", image, ImageFacts("X", pointing.ra, pointing.dec, "o", number))
        headers.append(fits.getheader(path))
        skies.append(image.pixels.astype(float) - np.median(image.pixels))
    inner = skies[0][80:176, 80:176]
    row, column = np.unravel_index(np.argmax(inner), inner.shape)
    star = WCS(headers[0]).pixel_to_world(column + 80, row + 80)
    x, y = (round(float(value)) for value in WCS(headers[1]).world_to_pixel(star))
    assert abs(x - column - 80) > 20
    assert abs(y - row - 80) > 20
    assert skies[1][y - 1 : y + 2, x - 1 : x + 2].max() > 0.8 * inner.max()


def _fwhm(pixels: np.ndarray[Any, Any]) -> float:
    """Full width at half maximum of the brightest star, in pixels, from the area above half of its maximum."""
    sky = pixels.astype(float) - np.median(pixels)
    row, column = np.unravel_index(np.argmax(sky[20:-20, 20:-20]), (sky.shape[0] - 40, sky.shape[1] - 40))
    star = sky[row + 5 : row + 36, column + 5 : column + 36]
    return float(2 * np.sqrt(np.count_nonzero(star > star.max() / 2) / np.pi))


def test_the_focus_and_the_filter_are_seen_in_the_image(
    simulate: Simulate, world: DeviceWorld, target: tuple[float, float]
) -> None:
    """The best focus moves by 60 steps for a degree, and 100 steps beside it blur by an arcsecond."""
    beam = {"focuser": "tcp:127.0.0.1:6015", "filter_wheel": "tcp:127.0.0.1:6014"}
    still = {"backlash": 0, "temperature_noise": 0.0, "temperature_drift": 0.0}
    telescope, wheel = simulate("telescope"), simulate("filter_wheel")
    focuser = simulate("focuser", **still, temperature=21)
    camera = simulate("camera", width=256, height=256, stars="synthetic", seeing=4.0, **beam)
    world.result(telescope.slew(*target), 20)
    world.result(wheel.select("r"), 5)
    widths = {}
    for position in (24400, 25200):
        world.result(focuser.move(position), 5)
        widths[position] = _fwhm(world.result(camera.expose(2.0, ""), 20).pixels) * 1.8
    assert widths[24400] == pytest.approx(4.0, rel=0.15), "ten degrees warmer, the best focus is 600 steps inwards"
    assert widths[25200] == pytest.approx(np.hypot(4.0, 8.0), rel=0.15)
