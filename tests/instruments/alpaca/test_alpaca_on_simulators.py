"""The driver on the alpaca-simulators, which others wrote: every check of every kind, and what went wrong elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from astropy.io import fits
from twisted.internet.defer import Deferred

from pyros import instruments
from pyros.angles import separation_arcsec
from pyros.errors import CommandAborted, ConnectionLost, DeviceFailed, DeviceRefused
from pyros.instruments.alpaca.address import TYPES, parse_address
from pyros.instruments.alpaca.link import AlpacaLink
from pyros.instruments.conformance import CHECKS, Check, Context, Result, run
from pyros.instruments.fits import ImageFacts, write_image
from pyros.instruments.preview import target_pixel
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.conftest import is_open, wait_until
from tests.instruments.alpaca.conftest import Real, Simulators

SITE = Site.load(Path(__file__).parents[3] / "observatory" / "site.yaml")
TARGET = (150.0, 40.0)
STAR = (150.05, 40.03, 11.5)
"""North-east of the target."""
FAINT = [(149.95, 40.02, 13.5), (150.02, 39.98, 14.0)]
KINDS = sorted(TYPES, key=lambda kind: kind != "camera")
"""The camera first: it gives the same image again while the telescope tracks."""

QUICK = "this device is too quick to be interrupted"
"""Most of the simulators' devices are where they are sent before they have answered."""
LACKS: dict[Any, dict[str, str]] = {
    "telescope": {"a slew takes the place of a park under way": QUICK},
    "camera": {"exposes through each filter of its own wheel": "the camera has no wheel of its own"},
    "filter_wheel": {"a newer turn takes the place of the older, which ends with CommandAborted": QUICK},
    "focuser": {"stop ends a move with CommandAborted": QUICK},
    "dome": {
        "closing reverses an opening, which ends with CommandAborted": QUICK,
        "stop ends an opening with CommandAborted": QUICK,
    },
    "cover": {
        "closing reverses an opening, which ends with CommandAborted": QUICK,
        "stop ends an opening with CommandAborted": QUICK,
    },
    "rotator": {
        "a newer move takes the place of the older, which ends with CommandAborted": QUICK,
        "stop ends a move with CommandAborted": QUICK,
    },
}

CASES = [pytest.param(kind, check, id=f"{kind}: {check}") for kind in KINDS for check in CHECKS[kind]]


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    made = Simulators(tmp_path_factory.mktemp("alpaca"), [STAR, *FAINT])
    made.start()
    wait_until(lambda: is_open(made.port), what="the simulators")
    yield made
    made.kill()


@pytest.fixture
def connected(real: Real) -> Iterator[Callable[[Any], Any]]:
    """Wait until what it is given is connected; disconnect it when the test is over."""
    made: list[Any] = []

    def wait(device: Any) -> Any:
        made.append(device)
        real.until(lambda: device.connected)
        return device

    yield wait
    for each in made:
        real.result(each.disconnect())


@pytest.fixture
def device(simulators: Simulators, real: Real, connected: Callable[[Any], Any]) -> Callable[..., Any]:
    def make(kind: Any, options: str = "", *, conforming: bool = False) -> Any:
        address = f"{simulators.url}/{TYPES[kind]}/0{options}"
        site = SITE if conforming else None
        return connected(instruments.connect(kind, "alpaca", address, real.reactor, real.clock, site=site))

    return make


@pytest.fixture
def link(simulators: Simulators, real: Real, connected: Callable[[Any], Any]) -> Callable[[Any], AlpacaLink]:
    """Make the questions and commands of Alpaca themselves, to a device of a kind."""

    def make(kind: Any) -> AlpacaLink:
        address = f"{simulators.url}/{TYPES[kind]}/0"
        made = AlpacaLink(kind, address, parse_address(kind, address), real.reactor, real.clock)
        made.start()
        return connected(made)  # type: ignore[no-any-return]

    return make


@pytest.mark.parametrize(("kind", "check"), CASES)
def test_the_alpaca_driver_conforms(kind: Any, check: Check, device: Callable[..., Any], real: Real) -> None:
    def place(altitude: float, azimuth: float) -> tuple[float, float]:
        return place_overhead(SITE, real.clock.now(), altitude, azimuth)

    context = Context(real.clock, place, tolerance_arcsec=2.0, tracking=1.0, exposure=0.3, long_exposure=200.0)
    result: Result = real.result(Deferred.fromCoroutine(run(check, device(kind, conforming=True), context)))
    lacks = LACKS.get(kind, {}).get(check.name, "")
    assert (result.outcome, result.reason) == ("not supported" if lacks else "passed", lacks)


def test_an_image_is_the_right_way_round(device: Callable[..., Any], real: Real, tmp_path: Path) -> None:
    """Its brightest star is where the header of the file says."""
    telescope, camera = device("telescope"), device("camera", "?bin=2")
    end = real.result(telescope.slew(*TARGET))
    assert end.error_arcsec < 2
    image = real.result(camera.expose(0.2))
    assert image.pixels.shape == (100, 160)
    assert image.arcsec_per_pixel == pytest.approx(2 * 206264.8 * 10e-6 / 1.5, rel=1e-5)
    assert (image.gain, image.temperature) == (1.0, -20.0)
    path = write_image(tmp_path / "x.fits", image, ImageFacts(object="star", ra=end.ra, dec=end.dec, observation="o"))
    with fits.open(path) as units:
        y, x = np.unravel_index(int(units[0].data.argmax()), units[0].data.shape)
        wanted = target_pixel(units[0].header, *STAR[:2])
    assert wanted is not None
    assert wanted[0] < 60  # east is left
    assert wanted[1] > 60  # north is up
    assert abs(wanted[0] - x) < 2, (wanted, x, y)
    assert abs(wanted[1] - y) < 2, (wanted, x, y)


@pytest.mark.parametrize(
    ("kind", "request_", "parameters", "error"),
    [
        ("camera", "GET gainmax", {}, "UNSUPPORTED: .*0x400"),
        ("switch", "PUT setswitchvalue", {"Id": 2, "Value": 1.0}, "UNSUPPORTED: .*read-only.*0x400"),
        ("filter_wheel", "PUT position", {"Position": 99}, "VALUE: .*out of range.*0x401"),
        ("telescope", "PUT trackingrate", {"TrackingRate": 9}, "VALUE: .*Invalid tracking rate.*0x401"),
        ("telescope", "GET targetdeclination", {}, "VALUE: .*has not been set.*0x402"),
        ("camera", "PUT binx", {"BinX": 99}, "VALUE: .*Invalid binning.*0x402"),
        ("telescope", "PUT moveaxis", {"Axis": 0, "Rate": 1.0}, "STATE: .*parked.*0x408"),
        ("camera", "GET lastexposurestarttime", {}, "STATE: .*No exposure.*0x40B"),
        ("camera", "PUT startexposure", {"Duration": 60.0, "Light": True}, "UNSUPPORTED: .*not idle.*0x40C"),
        ("camera", "GET imagearray", {}, "STATE: .*No image.*0x40D"),
        ("dome", "PUT slewtoazimuth", {}, "VALUE: .*HTTP 422"),
        ("dome", "GET nonsense", {}, "UNSUPPORTED: .*HTTP 404"),
    ],
)
def test_each_of_their_errors_arrives_typed(
    kind: Any, request_: str, parameters: dict[str, Any], error: str, simulators: Simulators,
    link: Callable[[Any], AlpacaLink], real: Real,
) -> None:  # fmt: skip
    """Every error number that the simulators know: 0x400, 0x401, 0x402, 0x408, 0x40B, 0x40C, 0x40D; and HTTP's."""
    with urlopen(f"{simulators.url}/reload") as answer:  # as if just started
        assert answer.status == 200
    asked = link(kind)
    method, member = request_.split()
    if member == "startexposure":
        real.result(Deferred.fromCoroutine(asked.put(member, **parameters)))
    with pytest.raises(DeviceRefused, match=error):
        real.result(Deferred.fromCoroutine(
            asked.get(member, str, **parameters) if method == "GET" else asked.put(member, **parameters)
        ))  # fmt: skip
    if member == "startexposure":
        real.result(Deferred.fromCoroutine(asked.put("abortexposure")))


def test_a_server_that_fails_itself(link: Callable[[Any], AlpacaLink], real: Real) -> None:
    """Its camera's offset is set to no number, which is an error in its program."""
    with pytest.raises(DeviceFailed, match=r"HTTP 500: .*Internal"):
        real.result(Deferred.fromCoroutine(link("camera").get("offset", int)))


def test_a_level_that_is_no_number(
    device: Callable[..., Any], link: Callable[[Any], AlpacaLink], real: Real, simulators: Simulators
) -> None:
    """It gets past the simulators' checks."""
    switch = device("switch")
    real.result(Deferred.fromCoroutine(link("switch").put("setswitchvalue", Id=0, Value=float("nan"))))
    with pytest.raises(DeviceFailed, match="GET getswitchvalue: answered None"):
        real.result(switch.get(0))
    with urlopen(f"{simulators.url}/reload") as answer:
        assert answer.status == 200
    assert real.result(switch.get(0)) >= 0


def test_a_device_that_isnt_there(simulators: Simulators, real: Real) -> None:
    told: list[tuple[bool, str]] = []
    dome = instruments.connect(
        "dome", "alpaca", f"{simulators.url}/dome/7", real.reactor, real.clock,
        on_connection=lambda up, text: told.append((up, text)),
    )  # fmt: skip
    real.until(lambda: told)
    assert told[0][0] is False
    assert "Device dome:7 not found (error 0x400)" in told[0][1]
    real.result(dome.disconnect())


def test_refusals_through_the_interface(device: Callable[..., Any], real: Real) -> None:
    camera = device("camera")
    for command, code in (
        (lambda: camera.expose(1e6), "VALUE"),
        (lambda: camera.cool(-300.0), "VALUE"),
        (lambda: device("telescope").slew(10.0, 95.0), "LIMIT"),
        (lambda: device("telescope").sync(10.0, -95.0), "VALUE"),
    ):
        with pytest.raises(DeviceRefused) as caught:
            real.result(command())
        assert caught.value.code == code


def test_the_image_of_an_aborted_exposure_is_not_taken_for_the_next(device: Callable[..., Any], real: Real) -> None:
    """The simulators go on with an aborted exposure, and show its image when it would have ended."""
    camera = device("camera")
    began = real.clock.monotonic()
    aborted = camera.expose(4.0)
    real.result(Deferred.fromCoroutine(_until_state(camera, real, "exposing")))
    real.result(camera.abort())
    with pytest.raises(CommandAborted):
        real.result(aborted)
    begin = real.clock.monotonic()
    left = max(0.0, began + 4.0 - begin)  # of the aborted one, at least
    image = real.result(camera.expose(3.8))  # would end at the same time
    assert image.seconds == 3.8
    assert real.clock.monotonic() - begin > left + 2  # the aborted one's image came when that had ended


async def _until_state(device: Any, real: Real, wanted: str) -> None:
    while await device.state() != wanted:
        pause: Deferred[None] = Deferred()
        real.reactor.callLater(0.02, pause.callback, None)
        await pause


def test_killed_and_started_again_in_mid_slew(simulators: Simulators, device: Callable[..., Any], real: Real) -> None:
    """A typed failure, and everything works when it is back. The last test: the others' server is not what it was."""
    told: list[bool] = []
    simulators.kill()
    simulators.settings["devices"]["telescope"][0]["slew_rate"] = 1.0
    simulators.start()
    telescope = device("telescope")
    telescope.on_connection = lambda up, _: told.append(up)
    started: list[float] = []
    slew = telescope.slew(*TARGET, "", started.append)
    real.until(lambda: started)
    assert real.result(telescope.state()) == "slewing"
    simulators.kill()
    simulators.settings["devices"]["telescope"][0]["slew_rate"] = 60.0
    with pytest.raises(ConnectionLost):
        real.result(slew)
    assert not telescope.connected
    simulators.start()
    real.until(lambda: telescope.connected)
    assert real.result(telescope.state()) == "parked"  # what it is doing now is asked, not assumed
    end = real.result(telescope.slew(*TARGET))
    assert separation_arcsec(*TARGET, end.ra, end.dec) < 2
    assert (told[0], told[-1], sum(told)) == (False, True, 1)
    simulators.kill()
