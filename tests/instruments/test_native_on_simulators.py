"""The native driver and the simulators of the demo, each with its own codec of the grammar, on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import CommandAborted, DeviceRefused
from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.preview import write_preview
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.simulators import Simulator, load
from tests.instruments.conftest import World

OBSERVATORY = Path(__file__).parents[2] / "observatory"
PORTS = {
    "telescope": 6010,
    "camera": 6011,
    "dome": 6012,
    "weather": 6013,
    "filter_wheel": 6014,
    "focuser": 6015,
    "safety": 6016,
    "switch": 6017,
}

Connect = Callable[..., Any]


@pytest.fixture(params=[1 << 20, 7], ids=["whole", "in pieces of 7 bytes"])
def connect(request: pytest.FixtureRequest, world: World, clock: VirtualClock) -> Iterator[Connect]:
    """Start the demo's simulator of a kind, and connect the driver to it."""
    devices: list[Any] = []
    simulators: list[Simulator] = []

    def make(kind: Any, **changed: Any) -> Any:
        # A large image in pieces of 7 bytes takes too long.
        world.cut = 1 << 20 if changed.get("width", 0) > 128 else request.param
        description = load(OBSERVATORY / "simulators" / f"{kind}.yaml")
        alone = {"filter_wheel": ""} if kind == "camera" else {}
        simulators.append(Simulator(description.changed(**alone | changed), world, clock))
        world.result(simulators[-1].start())
        devices.append(instruments.connect(kind, "native", f"tcp:127.0.0.1:{PORTS[kind]}", world, clock))
        world.run()
        return devices[-1]

    yield make
    for device in devices:
        world.result(device.disconnect())
    for simulator in simulators:
        world.result(simulator.stop())


@pytest.fixture
def target(clock: VirtualClock) -> tuple[float, float]:
    return place_overhead(Site.load(OBSERVATORY / "site.yaml"), clock.now())


def test_a_telescope_slews_tracks_stops_and_parks(connect: Connect, world: World, target: tuple[float, float]) -> None:
    telescope = connect("telescope")
    started: list[float] = []
    assert telescope.name == "Demo telescope"
    assert world.result(telescope.state()) == "parked"
    pointing = world.result(telescope.slew(*target, "grb", started.append), 20)
    assert 0 < pointing.error_arcsec < 30
    assert len(started) == 1
    assert 0 < started[0] < 10
    assert world.result(telescope.state()) == "tracking"
    world.run(60)
    position = world.result(telescope.position())
    assert (position.ra, position.dec) == (pointing.ra, pointing.dec)

    old = telescope.slew(target[0] + 20, target[1])
    aborted = old.addErrback(lambda failure: failure.value)
    assert world.result(telescope.slew(*target), 20).error_arcsec < 30
    assert isinstance(world.result(aborted), CommandAborted)

    with pytest.raises(DeviceRefused, match="LIMIT: the target is at altitude -"):
        world.result(telescope.slew((target[0] + 180) % 360, -target[1]))

    parking = telescope.park().addErrback(lambda failure: failure.value)
    world.run(0.1)
    assert world.result(telescope.state()) == "parking"
    assert world.result(telescope.slew(*target), 20).error_arcsec < 30
    assert isinstance(world.result(parking), CommandAborted)
    world.result(telescope.park(), 20)
    assert world.result(telescope.state()) == "parked"
    world.result(telescope.unpark())
    assert world.result(telescope.state()) == "idle"


def test_a_mount_that_points_badly_is_found_out(connect: Connect, world: World, target: tuple[float, float]) -> None:
    telescope = connect("telescope", pointing_noise=3000.0)
    world.fails(Exception, r"arcsec from the target after two slews \(at most 30\)", telescope.slew(*target), 60)


def test_a_camera_takes_an_image_where_the_telescope_points(
    connect: Connect, world: World, clock: VirtualClock, target: tuple[float, float], tmp_path: Path
) -> None:
    telescope = connect("telescope")
    camera = connect("camera", width=96, height=64)
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


def test_an_exposure_is_aborted_or_refused(connect: Connect, world: World) -> None:
    camera = connect("camera", width=16, height=16)
    world.fails(DeviceRefused, "VALUE: filter must be one of g, r, i, not ", camera.expose(30.0, "z"))
    exposure = camera.expose(300.0, "r").addErrback(lambda failure: failure.value)
    world.run(1)
    assert world.result(camera.state()) == "exposing"
    world.fails(DeviceRefused, "BUSY", camera.expose(1.0, "r"))
    world.result(camera.abort())
    assert isinstance(world.result(exposure), CommandAborted)
    assert world.result(camera.state()) == "idle"


def test_a_dome_opens_reverses_and_closes(connect: Connect, world: World) -> None:
    dome = connect("dome")
    started: list[float] = []
    assert world.result(dome.state()) == "closed"
    opening = dome.open(started.append).addErrback(lambda failure: failure.value)
    world.run(1)
    assert started == [2.0]
    closing = dome.close()
    assert isinstance(world.result(opening), CommandAborted)
    assert world.result(closing, 3) is None
    assert world.result(dome.state()) == "closed"
    world.result(dome.open(), 3)
    world.result(dome.open())
    assert world.result(dome.state()) == "open"
    world.result(dome.close(), 3)


def test_a_slit_turns_and_a_roof_says_that_it_has_none(connect: Connect, world: World) -> None:
    dome = connect("dome", rotation_rate=5.0)
    started: list[float] = []
    assert world.result(dome.azimuth()) == 0.0
    assert world.result(dome.rotate(350.0, started.append), 1) == 350.0
    assert started == [0.2]
    turning = dome.rotate(180.0).addErrback(lambda failure: failure.value)
    world.run(1)
    world.result(dome.stop())
    assert isinstance(world.result(turning), CommandAborted)


def test_a_roof_has_no_azimuth(connect: Connect, world: World) -> None:
    roof = connect("dome")
    assert world.result(roof.azimuth()) is None
    world.fails(DeviceRefused, "UNSUPPORTED: Demo dome is a roof", roof.rotate(20.0))


def test_a_filter_wheel_turns(connect: Connect, world: World) -> None:
    wheel = connect("filter_wheel")
    started: list[float] = []
    assert world.result(wheel.filters()) == ("g", "r", "i")
    assert world.result(wheel.filter()) == "g"
    assert world.result(wheel.select("r", started.append), 1) == "r"
    assert started == [0.2]
    assert world.result(wheel.select("r", started.append)) == "r"
    assert started == [0.2], "it was there already"
    old = wheel.select("i").addErrback(lambda failure: failure.value)
    world.run(0.1)
    assert world.result(wheel.filter()) == ""
    assert world.result(wheel.state()) == "moving"
    assert world.result(wheel.select("g"), 1) == "g"
    assert isinstance(world.result(old), CommandAborted)
    world.fails(DeviceRefused, "VALUE: filter must be one of g, r, i", wheel.select("H alpha"))
    assert world.result(wheel.state()) == "idle"


def test_a_focuser_moves(connect: Connect, world: World) -> None:
    focuser = connect("focuser")
    started: list[float] = []
    assert world.result(focuser.limits()) == instruments.FocuserLimits(0, 50000)
    assert world.result(focuser.move(26000, started.append), 1) == 26000
    assert started == [0.2]
    assert world.result(focuser.position()) == 26000
    assert 10 < world.result(focuser.temperature()) < 12
    moving = focuser.move(20000).addErrback(lambda failure: failure.value)
    world.run(0.1)
    assert world.result(focuser.state()) == "moving"
    world.result(focuser.stop())
    assert isinstance(world.result(moving), CommandAborted)
    assert 25000 < world.result(focuser.position()) < 26000
    world.fails(DeviceRefused, "LIMIT: position 50001 is beyond the limits of 0 to 50000", focuser.move(50001))


def test_a_focuser_without_a_sensor(connect: Connect, world: World) -> None:
    assert world.result(connect("focuser", temperature=None).temperature()) is None


def test_a_safety_monitor_is_read(connect: Connect, world: World) -> None:
    monitor = connect("safety")
    assert world.result(monitor.read()) == instruments.Safety(True)


def test_an_unsafe_monitor_says_why(connect: Connect, world: World) -> None:
    monitor = connect("safety", safe=False, reason="smoke in the valley")
    assert world.result(monitor.read()) == instruments.Safety(False, "smoke in the valley")


def test_a_switch_switches(connect: Connect, world: World) -> None:
    switch = connect("switch")
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


def test_the_weather_is_read(connect: Connect, world: World) -> None:
    reading = world.result(connect("weather").read())
    assert -10 < reading.temperature < 30
    assert 0 <= reading.cloud <= 1
    assert reading.rain is False
    assert reading.pressure == pytest.approx(940, abs=5)
    assert reading.dew_point < reading.temperature
    assert reading.sky_brightness == pytest.approx(21.5, abs=0.5)


def test_the_headers_say_where_the_stars_are(
    connect: Connect, world: World, target: tuple[float, float], tmp_path: Path
) -> None:
    """A star found in one image stands where the header of another, taken beside it, says it must."""
    telescope, camera = connect("telescope"), connect("camera", width=256, height=256)
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
    connect: Connect, world: World, target: tuple[float, float]
) -> None:
    """The best focus moves by 60 steps for a degree, and 100 steps beside it blur by an arcsecond."""
    beam = {"focuser": "tcp:127.0.0.1:6015", "filter_wheel": "tcp:127.0.0.1:6014"}
    still = {"backlash": 0, "temperature_noise": 0.0, "temperature_drift": 0.0}
    telescope, wheel = connect("telescope"), connect("filter_wheel")
    focuser = connect("focuser", **still, temperature=21)
    camera = connect("camera", width=256, height=256, stars="synthetic", seeing=4.0, **beam)
    world.result(telescope.slew(*target), 20)
    world.result(wheel.select("r"), 5)
    widths = {}
    for position in (24400, 25200):
        world.result(focuser.move(position), 5)
        widths[position] = _fwhm(world.result(camera.expose(2.0, ""), 20).pixels) * 1.8
    assert widths[24400] == pytest.approx(4.0, rel=0.15), "ten degrees warmer, the best focus is 600 steps inwards"
    assert widths[25200] == pytest.approx(np.hypot(4.0, 8.0), rel=0.15)
