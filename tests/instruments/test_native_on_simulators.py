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
PORTS = {"telescope": 6010, "camera": 6011, "dome": 6012, "weather": 6013}

Connect = Callable[..., Any]


@pytest.fixture(params=[1 << 20, 7], ids=["whole", "in pieces of 7 bytes"])
def connect(request: pytest.FixtureRequest, world: World, clock: VirtualClock) -> Iterator[Connect]:
    """Starts the demo's simulator of a kind, and connects the driver to it."""
    devices: list[Any] = []
    simulators: list[Simulator] = []

    def make(kind: Any, **changed: Any) -> Any:
        # A large image in pieces of 7 bytes takes too long.
        world.cut = 1 << 20 if changed.get("width", 0) > 128 else request.param
        description = load(OBSERVATORY / "simulators" / f"{kind}.yaml")
        simulators.append(Simulator(description.changed(**changed), world, clock))
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
    with pytest.raises(Exception, match=r"arcsec from the target after two slews \(at most 30\)"):
        world.result(telescope.slew(*target), 60)


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
    with pytest.raises(DeviceRefused, match="VALUE: filter must be one of g, r, i, not "):
        world.result(camera.expose(30.0, "z"))
    exposure = camera.expose(300.0, "r").addErrback(lambda failure: failure.value)
    world.run(1)
    assert world.result(camera.state()) == "exposing"
    with pytest.raises(DeviceRefused, match="BUSY"):
        world.result(camera.expose(1.0, "r"))
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


def test_the_weather_is_read(connect: Connect, world: World) -> None:
    reading = world.result(connect("weather").read())
    assert -10 < reading.temperature < 30
    assert 0 <= reading.cloud <= 1
    assert reading.rain is False


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
