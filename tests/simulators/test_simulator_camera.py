from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twisted.internet import error
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyros.simulators.camera.scene import Scene, ShutterOpening
from pyros.simulators.camera.settings import ReadoutModeSettings
from pyros.simulators.celestial import Sky

Rigs = Callable[..., Any]


@pytest.fixture
def camera(rig: Rigs) -> Any:
    return rig("camera", airless=True, speed=10, width=64, height=48, readout=5, seed=7)


# Twisted's test doubles carry no types.
_Transport: Any = StringTransport
_Failure: Any = Failure
_Refused: Any = error.ConnectionRefusedError


class TelescopeEnd:
    """The telescope's end of the connection that a camera has just asked for."""

    def __init__(self, camera: Any) -> None:
        self.host, self.port, self.factory, *_ = camera.reactor.tcpClients.pop()
        assert not camera.reactor.tcpClients

    def connect(self) -> Any:
        transport = _Transport()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(transport)
        return transport

    def say(self, line: str) -> None:
        self.protocol.dataReceived(line.encode())

    def refuse(self) -> None:
        self.factory.clientConnectionFailed(None, _Failure(_Refused()))


def image(client: Any, *, width: int = 64, height: int = 48) -> NDArray[np.uint16]:
    """GET image, read as the grammar says."""
    client.transport.clear()
    client.send("#3 GET image", "GET state")
    data = client.transport.value()
    line, _, rest = data.partition(b"\n")
    size = width * height * 2
    assert line.decode() == f"#3 OK {width} {height} 16 block={size}"
    assert rest[size:].startswith(b"OK ")
    client.transport.clear()
    return np.frombuffer(rest[:size], dtype="<u2").reshape(height, width)


def expected(camera: Any, pointing: Sky | None, seconds: float, throughput: float, count: int) -> NDArray[np.uint16]:
    settings = camera.simulator.description.settings
    moment = ShutterOpening(camera.clock.time(), seconds, settings.temperature, pointing, throughput)
    pixels = Scene(settings).image(moment, (settings.seed, count))
    return np.frombuffer(pixels, "<u2").reshape(settings.height, settings.width)


def test_what_it_is(camera: Any) -> None:
    assert camera.ask("GET id") == 'OK "Demo camera" camera'
    assert camera.ask("GET geometry") == "OK 64 48 16 1.8"
    assert camera.ask("GET filters") == "OK g r i"
    assert camera.ask("GET filter") == "OK g"
    assert camera.ask("GET temperature") == "OK -20"
    assert camera.ask("GET gain") == "OK 1.5"
    assert camera.ask("GET image").startswith("ERR STATE there is no image yet")


def test_an_exposure_from_shutter_to_image(camera: Any) -> None:
    client, other = camera.client(), camera.client()
    assert client.ask("SET filter r") == "OK"
    assert client.ask("DO expose seconds=20 tag=e1") == "BUSY 2.500"
    assert client.read() == ["EVT exposure_started tag=e1"]
    assert client.ask("GET state") == "OK exposing"
    assert client.ask("SET filter g").startswith("ERR BUSY")
    assert client.ask("DO expose seconds=1").startswith("ERR BUSY the camera is exposing")

    telescope = TelescopeEnd(camera)
    assert (telescope.host, telescope.port) == ("127.0.0.1", 6010)
    transport = telescope.connect()
    assert transport.value() == b"GET true_position\n"
    telescope.say("ERR UNKNOWN there is no such property\n")
    assert transport.value().endswith(b"GET position\n")
    telescope.say("EVT slew_finished ra=1 dec=2\nOK 150.25")
    telescope.say("00000 2.5000000\n")
    assert transport.disconnecting

    camera.advance(2.01)
    assert client.read() == ["EVT exposure_finished tag=e1"]
    assert client.ask("GET state") == "OK reading"
    assert client.ask("DO expose seconds=1").startswith("ERR BUSY")
    camera.advance(0.5)
    assert client.read() == ["EVT image_ready tag=e1"]
    assert other.read() == [f"EVT {what} tag=e1" for what in ("exposure_started", "exposure_finished", "image_ready")]
    assert client.ask("GET state") == "OK ready"
    assert np.array_equal(image(client), expected(camera, Sky(150.25, 2.5), 20, 1.0, 1))
    assert camera.timers() == 0


def test_filters_dim_the_sky_and_each_exposure_has_its_own_noise(camera: Any) -> None:
    client = camera.client()
    images = []
    for name in ("g", "r", "r"):
        client.ask(f"SET filter {name}")
        client.ask("DO expose seconds=100")
        telescope = TelescopeEnd(camera)
        telescope.connect()
        telescope.say("OK 150.25 2.5\n")
        camera.advance(20)
        images.append(image(client).astype(float))
    background = [float(np.median(each)) - 1000 for each in images]
    assert background[0] / background[1] == pytest.approx(0.7, rel=0.1)
    assert background[2] == pytest.approx(background[1], rel=0.1)
    assert not np.array_equal(images[1], images[2])


@pytest.mark.parametrize("fault", ["refused", "silent", "closed", "error", "nonsense", "endless", "unreachable"])
def test_without_the_telescopes_position_the_image_is_dark(camera: Any, fault: str) -> None:
    camera.ask("DO expose seconds=20")
    telescope = TelescopeEnd(camera)
    if fault == "refused":
        telescope.refuse()
    elif fault != "unreachable":
        telescope.connect()
    match fault:
        case "closed":
            telescope.protocol.connectionLost(_Failure(ConnectionDone()))
        case "error":
            telescope.say("ERR STATE no\n")
        case "nonsense":
            telescope.say("OK 400 nan\n")
        case "endless":
            telescope.say("x" * 5000)
    for _ in range(100):
        camera.advance(0.1)
    assert camera.read()[-1] == "EVT image_ready"
    assert np.array_equal(image(camera), expected(camera, None, 20, 0.7, 1))


def test_a_late_position_is_waited_for(camera: Any) -> None:
    assert camera.ask("DO expose seconds=0 tag=bias") == "BUSY 0.500"
    telescope = TelescopeEnd(camera)
    camera.advance(1)
    assert camera.ask("GET state") == "OK reading"
    telescope.connect()
    telescope.say("OK 10 20\n")
    assert camera.read()[-1] == "EVT image_ready tag=bias"


@pytest.mark.parametrize("after", [0.0, 1.0, 2.2])
def test_an_abort_ends_it_at_once(camera: Any, after: float) -> None:
    camera.ask("DO expose seconds=20 tag=gone")
    camera.advance(after)
    camera.read()
    assert camera.ask("DO abort") == "OK"
    assert camera.read() == ["EVT exposure_aborted tag=gone"]
    assert camera.ask("GET state") == "OK idle"
    assert camera.timers() == 0
    camera.advance(60)
    assert camera.read() == []
    assert camera.ask("DO abort") == "OK"
    assert camera.read() == []
    assert camera.ask("DO expose seconds=1 tag=next").startswith("BUSY")


def test_the_last_image_stays_until_the_next_is_ready(camera: Any) -> None:
    client = camera.client()
    for count in (1, 2):
        client.ask("DO expose seconds=1")
        TelescopeEnd(camera).refuse()
        if count == 2:
            assert np.array_equal(image(client), expected(camera, None, 1, 0.7, 1))
            client.ask("DO abort")
            assert client.ask("GET state") == "OK ready"
        camera.advance(1)
    assert np.array_equal(image(client), expected(camera, None, 1, 0.7, 1))


def test_an_image_that_cannot_be_made_is_told(
    camera: Any, monkeypatch: pytest.MonkeyPatch, logged_failures: list[str]
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    client = camera.client()
    monkeypatch.setattr(camera.device, "draw", broken)
    client.ask("DO expose seconds=1 tag=x")
    TelescopeEnd(camera).refuse()
    camera.advance(1)
    assert client.read()[-1].startswith("EVT exposure_failed tag=x reason=")
    assert "MemoryError" in logged_failures.pop()
    assert client.ask("GET state") == "OK idle"


@pytest.mark.parametrize("request_", ["DO expose", "DO expose seconds=-1", "DO expose seconds=inf", "SET filter z"])
def test_mistakes(camera: Any, request_: str) -> None:
    assert camera.ask(request_).startswith("ERR VALUE ")
    assert camera.ask("GET state") == "OK idle"


def test_gain_and_binning_are_of_the_exposure_that_is_asked_for(camera: Any) -> None:
    client = camera.client()
    assert client.ask("GET max_binning") == "OK 4"
    assert client.ask("SET gain 3") == "OK"
    assert client.ask("GET gain") == "OK 3"
    for wrong in ("SET gain 0", "SET gain nan", "SET gain", "DO expose seconds=1 binning=5",
                  "DO expose seconds=1 binning=1.5", "DO expose seconds=1 binning=0"):  # fmt: skip
        assert client.ask(wrong).startswith("ERR "), wrong
    sizes = []
    for binning, shape in (("binning=3", (21, 16)), ("", (64, 48))):
        assert client.ask(f"DO expose seconds=1 dark=1 {binning}".strip()).startswith("BUSY")
        client.read()
        assert client.ask("SET gain 1").startswith("ERR BUSY")
        camera.advance(3)
        sizes.append(image(client, width=shape[0], height=shape[1]).shape)
    assert sizes == [(16, 21), (48, 64)]
    assert client.ask("GET geometry") == "OK 64 48 16 1.8"


def test_a_readout_mode_has_its_own_time_and_noise(rig: Rigs) -> None:
    modes = {"Fast mode": ReadoutModeSettings(readout=1, read_noise=400)}
    camera = rig("camera", airless=True, speed=10, width=64, height=48, readout=5, seed=7, readout_modes=modes)
    assert camera.ask("GET readout_modes") == 'OK Normal "Fast mode"'
    noises = []
    for mode, seconds in (("Normal", "0.500"), ('"Fast mode"', "0.100")):
        assert camera.ask(f"SET readout_mode {mode}") == "OK"
        assert camera.ask("GET readout_mode") == f"OK {mode}"
        assert camera.ask("DO expose seconds=0 dark=1") == f"BUSY {seconds}"
        camera.advance(1)
        noises.append(float(image(camera).std()))
    assert noises == [pytest.approx(8 / 1.5, rel=0.1), pytest.approx(400 / 1.5, rel=0.1)]
    assert camera.ask("SET readout_mode Slow").startswith("ERR VALUE")


def test_a_camera_with_one_readout_mode_has_no_word_for_it(camera: Any) -> None:
    assert camera.ask("GET readout_modes").startswith("ERR UNKNOWN")


def test_a_dark_frame_asks_nobody(camera: Any) -> None:
    assert camera.ask("DO expose seconds=20 dark=1").startswith("BUSY")
    assert camera.reactor.tcpClients == []
    camera.advance(3)
    assert np.array_equal(image(camera), expected(camera, None, 20, 1, 1))
    assert camera.ask("DO expose seconds=0 dark=2").startswith("ERR VALUE dark must be 0 or 1")


def test_the_cooler_takes_its_time(camera: Any) -> None:
    assert camera.ask("GET cooling") == "OK temperature=-20 target=-20 power=53"
    assert camera.ask("SET cooler -30") == "OK"  # half a degree a second, ten times faster
    camera.advance(1)
    assert camera.numbers("GET temperature") == [-25]
    camera.read()
    camera.advance(1.01)
    assert camera.read() == ["EVT cooling_finished temperature=-30"]
    assert camera.numbers("GET temperature") == [-30]
    assert camera.ask("SET cooler off") == "OK"
    assert camera.ask("GET cooling") == "OK temperature=-30 power=0"
    camera.advance(2)
    assert camera.numbers("GET temperature") == [-20]
    camera.advance(60)
    assert camera.numbers("GET temperature") == [12]
    assert camera.ask("SET cooler -49").startswith("ERR VALUE cooler must be a number from -48 to 12")
    assert camera.ask("SET cooler").startswith("ERR")


def test_a_transient_flares_up_where_it_is_told(camera: Any) -> None:
    client = camera.client()
    began = camera.clock.time()
    assert client.ask(f"DO transient ra=150.25 dec=2.5 magnitude=9 time={began - 60:.3f} slope=1") == "OK"
    assert client.ask("DO transient ra=150.25 dec=2.5").startswith("ERR VALUE transient takes magnitude=")
    assert client.ask("DO transient ra=150 dec=2 magnitude=9 colour=1").startswith(
        "ERR VALUE transient takes no colour"
    )
    client.ask("DO expose seconds=1")
    telescope = TelescopeEnd(camera)
    telescope.connect()
    telescope.say("OK 150.25 2.5\n")
    camera.advance(1)
    before = expected(camera, Sky(150.25, 2.5), 1, 0.7, 1).astype(float)
    light = (image(client).astype(float) - before)[14:34, 22:42]
    assert light.sum() * 1.5 == pytest.approx(0.7 * 10 ** (0.4 * (22 - 9)), rel=0.05)


class Neighbours:
    """The other ends of all connections that a camera has just asked for, by port."""

    def __init__(self, camera: Any) -> None:
        self.transports: dict[int, Any] = {}
        self.protocols: dict[int, Any] = {}
        for _, port, factory, *_ in camera.reactor.tcpClients:
            self.protocols[port] = factory.buildProtocol(None)
            self.transports[port] = _Transport()
            self.protocols[port].makeConnection(self.transports[port])
        camera.reactor.tcpClients.clear()

    def say(self, port: int, line: str) -> None:
        self.protocols[port].dataReceived(line.encode())


BEAM = {"filter_wheel": "tcp:127.0.0.1:6014", "focuser": "tcp:127.0.0.1:6015", "dome": "tcp:127.0.0.1:6012"}


@pytest.mark.parametrize("dome", ["open", "closed"])
def test_what_stands_in_the_beam_is_asked(rig: Rigs, dome: str) -> None:
    camera = rig("camera", airless=True, speed=10, width=64, height=48, readout=5, seed=7, stars="synthetic", **BEAM)
    assert camera.ask("SET filter r").startswith("ERR UNKNOWN")
    camera.ask("DO expose seconds=20")
    around = Neighbours(camera)
    assert {port: each.value() for port, each in around.transports.items()} == {
        6010: b"GET true_position\n", 6014: b"GET filter\n", 6015: b"GET defocus\n", 6012: b"GET state\n",
    }  # fmt: skip
    around.say(6010, "OK 150.25 2.5\n")
    around.say(6014, "OK i\n")
    around.say(6015, "OK 3.5\n")
    around.say(6012, f"OK {dome}\n")
    camera.advance(3)
    settings = camera.simulator.description.settings
    pointing = Sky(150.25, 2.5) if dome == "open" else None
    moment = ShutterOpening(camera.clock.time(), 20, -20, pointing, 0.8, 3.5)
    pixels = np.frombuffer(Scene(settings).image(moment, (7, 1)), "<u2").reshape(48, 64)
    assert np.array_equal(image(camera), pixels)


def test_neighbours_that_say_nothing_are_not_waited_for(rig: Rigs) -> None:
    camera = rig("camera", airless=True, speed=10, width=64, height=48, readout=5, seed=7, stars="synthetic", **BEAM)
    camera.ask("DO expose seconds=20")
    around = Neighbours(camera)
    around.say(6010, "OK 150.25 2.5\n")
    around.say(6015, "OK -3\n")
    around.say(6012, "ERR STATE no\n")
    camera.advance(6)
    assert camera.read()[-1] == "EVT image_ready"
    assert np.array_equal(image(camera), expected(camera, Sky(150.25, 2.5), 20, 1.0, 1))
