"""The INDI driver against INDI's own simulators under a real indiserver: the conformance suite, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twisted.internet import threads
from twisted.internet.defer import Deferred, DeferredList, succeed

from pyros import instruments
from pyros.clock import RealClock
from pyros.errors import CommandAborted, ConnectionLost
from pyros.instruments.conformance import CHECKS, Check, Context, Result, run
from pyros.instruments.fits import ImageFacts, write_image
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.conftest import wait_until
from tests.instruments.indi.server import IndiServer, needs_indi

pytestmark = needs_indi
blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never

SITE = Site("Haute-Provence", 43.9308, 5.7133, 650.0)
DEVICES: dict[Any, str] = {
    "telescope": "Telescope Simulator",
    "camera": "CCD Simulator",
    "filter_wheel": "Filter Simulator",
    "focuser": "Focuser Simulator",
    "dome": "Dome Simulator",
    "roof": "Roof",
    "switch": "Light Panel Simulator?FLAT_LIGHT_CONTROL,FLAT_LIGHT_INTENSITY",
    "cover": "Flat Panel",
    "rotator": "Rotator Simulator",
    "weather": "Weather Simulator?without=humidity,cloud",
    "safety": "Weather Simulator",
}
ROOF = "it is a roof: its slit does not turn"
LACKS = {
    "focuser": {"stop ends a move with CommandAborted": "this device is too quick to be interrupted"},
    "cover": {
        name: f"DeviceRefused: UNSUPPORTED: Flat Panel: {action}: it has no cover"
        for name, action in (
            ("closes, and a closed one closes too", "close"),
            ("opens and closes", "open"),
            ("closing reverses an opening, which ends with CommandAborted", "close"),
            ("stop ends an opening with CommandAborted", "close"),
        )
    },
    "rotator": {
        "a sync tells it where it is, and moves nothing": (
            "DeviceRefused: UNSUPPORTED: Rotator Simulator: sync: it still says that it is at 0 degrees"
        )
    },
    "switch": {"a channel that only tells refuses to be set": "all of its channels can be set"},
    "roof": {
        "turns its slit and back, and measures it": ROOF,
        "a newer turn takes the place of the older, which ends with CommandAborted": ROOF,
        "stop ends a turn with CommandAborted": ROOF,
        "an azimuth beyond 360 degrees is refused, or taken round the circle": ROOF,
    },
}
"""INDI's focuser does nothing else while it moves, and says so when it is there."""


def checks_of(kind: Any) -> tuple[Check, ...]:
    return CHECKS["dome" if kind == "roof" else kind]


CASES = [pytest.param(kind, check, id=f"{kind}: {check}") for kind in DEVICES for check in checks_of(kind)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndiServer]:
    server = IndiServer(tmp_path_factory.mktemp("indi"))
    try:
        # A park position beside what the checks look at: the simulated mount makes 6 degrees a second.
        server.connect("Telescope Simulator")
        server.set("Telescope Simulator.TELESCOPE_PARK_POSITION.PARK_HA;PARK_DEC", "-2", "40")
        yield server
    finally:
        server.kill()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[IndiServer]:
    """Run a server with a telescope only, to be killed."""
    server = IndiServer(tmp_path, "Telescope Simulator")
    yield server
    server.kill()


Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(reactor: Any) -> Ask:
    """Call in the reactor's thread, and wait for the Deferred."""
    return lambda function, *arguments: blockingCallFromThread(reactor, function, *arguments)


Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def connect(reactor: Any, server: IndiServer, ask: Ask) -> Iterator[Connect]:
    devices: list[Any] = []

    def make(kind: Any, device: str | None = None, port: int = server.port, **named: Any) -> Any:
        address = f"tcp:127.0.0.1:{port}/{DEVICES[kind] if device is None else device}".rstrip("/")

        def begin() -> Any:
            return instruments.connect(kind, "indi", address, reactor, RealClock(reactor), site=SITE, **named)

        devices.append(ask(begin))
        return devices[-1]

    yield make
    for device in devices:
        ask(device.disconnect)
    assert ask(reactor.getDelayedCalls) == []


def overhead(reactor: Any, altitude: float = 70.0, azimuth: float = 95.0) -> tuple[float, float]:
    return place_overhead(SITE, RealClock(reactor).now(), altitude, azimuth)


@pytest.fixture(scope="module")
def results(reactor: Any, server: IndiServer, connect: Connect, ask: Ask) -> dict[tuple[str, str], Result]:
    """How every check of every kind ended; the devices are tried at the same time."""
    clock = RealClock(reactor)
    context = Context(
        clock, lambda altitude, azimuth: overhead(reactor, altitude, azimuth),
        tolerance_arcsec=2.0, tracking=2.0, exposure=0.2, limit=200.0,
    )  # fmt: skip
    found: dict[tuple[str, str], Result] = {}

    async def try_device(kind: Any, device: Any, checks: Sequence[Check]) -> None:
        if kind == "telescope":
            await device.sync(*overhead(reactor))  # it is there at once: not half a minute for the first slew
        for check in checks:
            found[kind, check.name] = await run(check, device, context)

    server.start_driver("Light Panel Simulator")
    server.start_driver("Light Panel Simulator", "Flat Panel")
    server.start_driver("Rotator Simulator")
    tries = [(kind, connect(kind), CHECKS[kind]) for kind in DEVICES if kind not in ("dome", "roof")]
    server.start_driver("Dome Simulator", "Other Dome")  # a shutter takes five seconds: the checks share two domes
    tries += [
        ("dome", connect("dome"), CHECKS["dome"][:3]),
        ("dome", connect("dome", "Other Dome"), CHECKS["dome"][3:]),
    ]
    for number, checks in enumerate((CHECKS["dome"][:2], CHECKS["dome"][2:3], CHECKS["dome"][3:])):
        server.start_driver("Roof", f"Roof {number}")  # ten seconds a movement
        tries.append(("roof", connect("dome", f"Roof {number}"), checks))
    ended = ask(lambda: DeferredList([Deferred.fromCoroutine(try_device(*each)) for each in tries]))
    assert all(success for success, _ in ended), ended
    return found


@pytest.mark.parametrize(("kind", "check"), CASES)
def test_the_indi_driver_conforms(kind: str, check: Check, results: dict[tuple[str, str], Result]) -> None:
    result = results[kind, check.name]
    lacks = LACKS.get(kind, {}).get(check.name, "")
    assert (result.outcome, result.reason) == ("not supported" if lacks else "passed", lacks)


def outcome_of(command: Callable[[], Deferred[Any]], reactor: Any) -> list[Any]:
    """Begin a command in the reactor's thread; a list that holds its outcome once it has ended."""
    outcome: list[Any] = []

    def begin() -> None:
        command().addBoth(lambda end: outcome.append(getattr(end, "value", end)))

    reactor.callFromThread(begin)
    return outcome


def test_an_image_comes_as_pixels_and_is_written_as_fits(connect: Connect, ask: Ask, tmp_path: Path) -> None:
    camera = connect("camera")
    filters = ask(camera.filters)
    image = ask(lambda: camera.expose(0.2, filters[2], "grb"))
    assert image.pixels.shape == (1024, 1280)
    assert image.pixels.dtype == np.uint16
    assert (image.filter, image.seconds, image.gain) == (filters[2], 0.2, None)
    assert image.arcsec_per_pixel == pytest.approx(1.1918, abs=0.001)
    path = write_image(tmp_path / "a.fits", image, ImageFacts("GRB", 10.0, 20.0, "o1", instrument=camera.name))
    assert path.stat().st_size > 2 * 1024 * 1280


def test_an_exposure_is_aborted_in_the_middle_and_the_next_image_is_its_own(
    connect: Connect, ask: Ask, reactor: Any
) -> None:
    camera = connect("camera")
    started: list[float] = []
    outcome = outcome_of(lambda: camera.expose(60.0, "", "first", started.append), reactor)
    wait_until(lambda: started)
    assert ask(camera.state) == "exposing"
    ask(camera.abort)
    assert isinstance(wait_until(lambda: outcome)[0], CommandAborted)
    assert ask(lambda: camera.expose(0.1)).seconds == 0.1


def test_the_weather_gets_dangerous_and_good_again(connect: Connect, ask: Ask, server: IndiServer) -> None:
    safety, weather = connect("safety"), connect("weather")
    try:
        server.set("Weather Simulator.WEATHER_CONTROL.Wind", "72")
        server.set("Weather Simulator.WEATHER_REFRESH.REFRESH", "On")
        unsafe = wait_until(lambda: (told := ask(safety.read)).safe is False and told)
        assert unsafe.reason == "Wind (kph): danger"
        reading = ask(weather.read)
        assert reading.wind == pytest.approx(20.0)
        assert (reading.temperature, reading.rain, reading.humidity) == (15.0, False, None)
    finally:
        server.set("Weather Simulator.WEATHER_CONTROL.Wind", "5")
        server.set("Weather Simulator.WEATHER_REFRESH.REFRESH", "On")
    wait_until(lambda: ask(safety.read).safe)


@pytest.mark.parametrize(
    ("kind", "device", "problem"),
    [
        ("telescope", "Dome Simulator", "'Dome Simulator' is no telescope: its DRIVER_INTERFACE is 32"),
        ("telescope", "No Such Mount", "the server knows no device 'No Such Mount'"),
    ],
)
def test_a_wrong_device_says_what_is_wrong(kind: Any, device: str, problem: str, connect: Connect, ask: Ask) -> None:
    told: list[tuple[bool, str]] = []
    wrong = connect(kind, device, on_connection=lambda up, text: told.append((up, text)))
    (first,) = wait_until(lambda: told[:1])
    assert first[0] is False
    assert first[1].endswith(problem)
    ask(wrong.disconnect)


def test_without_a_name_it_is_the_first_of_that_kind(connect: Connect, ask: Ask) -> None:
    dome = connect("dome", "")
    assert ask(dome.state) in ("open", "closed", "stopped")
    assert dome.name in ("Dome Simulator", "Other Dome", "Roof 0", "Roof 1", "Roof 2")


def _slew_in_the_middle(telescope: Any, reactor: Any, ask: Ask) -> list[Any]:
    """Begin a slew of 40 degrees; its outcome, once it is there."""
    ask(lambda: telescope.sync(*overhead(reactor)))
    started: list[float] = []
    outcome = outcome_of(lambda: telescope.slew(*overhead(reactor, 30.0), "lost", started.append), reactor)
    wait_until(lambda: started or outcome)
    assert not outcome
    return outcome


def test_a_driver_dies_in_the_middle_of_a_slew_and_returns(
    connect: Connect, ask: Ask, reactor: Any, server: IndiServer
) -> None:
    told: list[bool] = []
    telescope = connect("telescope", on_connection=lambda up, text: told.append(up))
    outcome = _slew_in_the_middle(telescope, reactor, ask)
    server.stop_driver("Telescope Simulator")
    assert isinstance(wait_until(lambda: outcome)[0], ConnectionLost)
    assert "knows no device" in str(outcome[0])
    assert not ask(lambda: succeed(telescope.connected))
    server.start_driver("Telescope Simulator")
    wait_until(lambda: told[-1])
    assert ask(telescope.state) in ("idle", "tracking")
    ask(lambda: telescope.sync(*overhead(reactor)))
    assert ask(lambda: telescope.slew(*overhead(reactor, 68.0))).error_arcsec < 2
    assert told == [True, False, True]


def test_the_server_is_killed_in_the_middle_of_a_slew_and_returns(
    connect: Connect, ask: Ask, reactor: Any, mortal: IndiServer
) -> None:
    told: list[bool] = []
    telescope = connect("telescope", port=mortal.port, on_connection=lambda up, text: told.append(up))
    outcome = _slew_in_the_middle(telescope, reactor, ask)
    mortal.kill()
    assert isinstance(wait_until(lambda: outcome)[0], ConnectionLost)
    mortal.start()
    wait_until(lambda: told[-1])
    ask(lambda: telescope.sync(*overhead(reactor)))
    assert ask(lambda: telescope.slew(*overhead(reactor, 68.0))).error_arcsec < 2
    assert told == [True, False, True]
