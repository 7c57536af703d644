"""What the driver makes of cameras that are slow, stuck, wrong or old, on virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused
from pyros.instruments.alpaca.image import HEADER
from tests.instruments.alpaca.conftest import AlpacaError, AlpacaRig, Http, Raw


class Cam:
    """A camera of 3 x 2 pixels; what it shows is the number of the exposure."""

    def __init__(self, server: AlpacaRig, **values: Any) -> None:
        self.world, self.number, self.end, self.ready = server.world, 0, 0.0, False
        self.camera_state = lambda: 2 if self.world.seconds() < self.end else 0
        self.image: Any = lambda: Http(200, self.pixels(), "application/imagebytes")
        server.answers |= {
            "GET camerastate": lambda _: self.camera_state(),
            "GET imageready": lambda _: self.ready or bool(self.number and self.camera_state() == 0 and self.end),
            "GET imagearray": lambda _: self.image(),
            "PUT startexposure": self.start,
            "PUT abortexposure": lambda _: setattr(self, "end", 0.0),
        }
        server.set(**{"cameraxsize": 3, "cameraysize": 2, "pixelsizex": 9.0, "maxadu": 4095, "canabortexposure": True,
                      "hasshutter": True, "focallength": 1.0, "ccdtemperature": -10.5, "electronsperadu": 1.3,
                      **values})  # fmt: skip

    def start(self, parameters: dict[str, str]) -> None:
        self.number += 1
        self.end = self.world.seconds() + float(parameters["Duration"]) + 0.7

    def pixels(self) -> bytes:
        return HEADER.pack(1, 0, 1, 2, 44, 2, 8, 2, 3, 2, 0) + np.full((3, 2), self.number, "<u2").tobytes()


class LateCam(Cam):
    """A camera that is idle once told to abort, and still shows that image when the exposure would have ended."""

    def __init__(self, server: AlpacaRig) -> None:
        super().__init__(server)
        self.state, self.started, self.number = 0, 0, 0
        self.camera_state = lambda: self.state
        server.answers |= {
            "GET imageready": lambda _: bool(self.number),
            "GET imagearray": lambda _: self.fetch(),
            "PUT abortexposure": lambda _: self.show(0),
        }

    def start(self, parameters: dict[str, str]) -> None:
        self.show(0, state=2)
        self.started += 1
        self.world.callLater(float(parameters["Duration"]) + 0.7, self.show, self.started)

    def show(self, number: int, state: int = 0) -> None:
        self.number, self.state = number, state

    def fetch(self) -> Http:
        image = Http(200, self.pixels(), "application/imagebytes")
        self.number = 0
        return image


def test_an_exposure(server: AlpacaRig) -> None:
    Cam(server)
    camera, begin = server.device("camera"), server.clock.time()
    started: list[float] = []
    image = server.result(camera.expose(10.0, "", "x", started.append), 20)
    assert image.pixels.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert image.started == pytest.approx(begin, abs=0.1)
    assert (image.seconds, image.filter, image.temperature, image.gain) == (10.0, "", -10.5, 1.3)
    assert image.arcsec_per_pixel == pytest.approx(206265 * 9e-6, rel=1e-5)
    assert started == [12.0]
    assert server.last("PUT startexposure") == {"Duration": "10.0", "Light": "True"}
    assert server.result(camera.state()) == "idle"  # though the camera still shows the image, it was fetched
    geometry = server.result(camera.geometry())
    assert (geometry.width, geometry.height, geometry.bits) == (3, 2, 12)
    server.result(camera.expose(1.0, dark=True), 20)
    assert server.last("PUT startexposure")["Light"] == "False"


def test_gain_and_readout_mode_are_set_by_their_names(server: AlpacaRig) -> None:
    Cam(server, readoutmodes=["Fast", "Low noise"])
    camera = server.device("camera")
    server.result(camera.configure(100.0, "Low noise"), 5)
    assert server.last("PUT gain") == {"Gain": "100"}
    assert server.last("PUT readoutmode") == {"ReadoutMode": "1"}
    server.fails(DeviceRefused, "no readout mode 'Slow'; there are: Fast, Low noise", camera.configure(5.0, "Slow"), 5)
    assert server.last("PUT gain") == {"Gain": "100"}, "nothing is set"


def test_an_image_as_json(server: AlpacaRig) -> None:
    cam = Cam(server)
    cam.image = lambda: Http(
        200, json.dumps({"Rank": 2, "Value": [[4, 1], [5, 2], [6, 3]]}).encode(), "application/json"
    )
    assert server.result(server.device("camera").expose(1.0), 20).pixels.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (lambda: Http(200, b"short", "application/imagebytes"), DeviceFailed, "has no header"),
        (lambda: Http(200, b"x" * 3_000_000, "application/imagebytes"), DeviceFailed, "an answer of more than 1048720"),
        (lambda: Http(500, b"out of memory"), DeviceFailed, "HTTP 500: out of memory"),
        (lambda: AlpacaError(0x40B, "no image"), DeviceRefused, "STATE"),
        (lambda: Http(200, HEADER.pack(1, 0, 1, 2, 44, 2, 8, 3, 3, 2, 3) + b"x" * 36, "application/imagebytes"),
         DeviceRefused, "a colour image"),
    ],
)  # fmt: skip
def test_wrong_images(image: Any, error: type[Exception], words: str, server: AlpacaRig) -> None:
    cam = Cam(server)
    cam.image = image
    server.fails(error, words, server.device("camera").expose(1.0), 20)


@pytest.mark.parametrize(
    ("options", "scale"),
    [("", 206265 * 9e-6 / 1.0), ("?arcsec_per_pixel=0.5", 0.5), ("?focal_length=2000", 206265 * 9e-6 / 2.0)],
)
def test_the_size_of_a_pixel(options: str, scale: float, server: AlpacaRig) -> None:
    Cam(server)
    assert server.result(server.device("camera", options).geometry()).arcsec_per_pixel == pytest.approx(scale, rel=1e-5)


def test_binning(server: AlpacaRig) -> None:
    cam = Cam(server, cameraxsize=6, cameraysize=5, binx=1, biny=1, numx=6, numy=5, startx=1, starty=0)
    camera = server.device("camera", "?bin=2")
    geometry = server.result(camera.geometry())
    assert (geometry.width, geometry.height) == (3, 2)
    assert geometry.arcsec_per_pixel == pytest.approx(2 * 206265 * 9e-6, rel=1e-5)
    server.result(camera.expose(1.0), 20)
    for name, value in {"BinX": 2, "BinY": 2, "NumX": 3, "NumY": 2, "StartX": 0}.items():
        assert server.last(f"PUT {name.lower()}") == {name: str(value)}
    assert server.count("PUT starty") == 0
    assert cam.number == 1


def test_a_binning_is_of_the_one_exposure_that_asks_for_it(server: AlpacaRig) -> None:
    Cam(server, cameraxsize=6, cameraysize=4, binx=1, biny=1, numx=6, numy=4, startx=0, starty=0,
        maxbinx=2, maxbiny=3)  # fmt: skip
    camera = server.device("camera")
    assert server.result(camera.max_binning()) == 2
    image = server.result(camera.expose(1.0, binning=2), 20)
    assert image.binning == 2
    assert image.arcsec_per_pixel == pytest.approx(2 * 206265 * 9e-6, rel=1e-5)
    assert server.last("PUT binx") == {"BinX": "2"}
    server.set(binx=2, biny=2, numx=3, numy=2)
    assert server.result(camera.expose(1.0), 20).binning == 1
    assert server.last("PUT binx") == {"BinX": "1"}
    assert server.last("PUT numx") == {"NumX": "6"}
    server.fails(DeviceRefused, "VALUE: .*binning 3 is not from 1 to 2", camera.expose(1.0, binning=3), 5)
    assert server.count("PUT startexposure") == 2


def test_nobody_knows_the_size_of_a_pixel(server: AlpacaRig) -> None:
    """It fails before the exposure, not after."""
    Cam(server, focallength=AlpacaError(0x400))
    camera = server.device("camera")
    server.fails(DeviceFailed, r"say so in its address: \?arcsec_per_pixel=0.62", camera.expose(1.0), 5)
    assert server.count("PUT startexposure") == 0


def test_an_abort(server: AlpacaRig) -> None:
    cam, camera = Cam(server), server.device("camera")
    exposure = camera.expose(100.0)
    server.run(5)
    assert server.result(camera.state()) == "exposing"
    server.fails(DeviceRefused, "BUSY", camera.expose(1.0))
    server.result(camera.abort())
    server.fails(CommandAborted, "", exposure)
    assert server.result(camera.expose(1.0), 20).pixels[0, 0] == cam.number == 2


def test_an_exposure_from_before_a_restart_is_not_disturbed(server: AlpacaRig) -> None:
    cam, camera = Cam(server), server.device("camera")
    cam.start({"Duration": "50"})
    server.fails(DeviceRefused, "BUSY", camera.expose(1.0), 5)
    server.run(60)
    assert server.result(camera.state()) == "ready"


def test_an_image_left_by_an_aborted_exposure(server: AlpacaRig) -> None:
    """When it comes in the middle of another exposure it is thrown away."""
    cam, camera = Cam(server), server.device("camera")
    exposure = camera.expose(20.0)
    server.run(5)
    cam.ready = True  # of an exposure before

    def fetch() -> Http:
        cam.ready = False
        return Http(200, cam.pixels(), "application/imagebytes")

    cam.image = fetch
    server.result(exposure, 20)
    assert server.count("GET imagearray") == 2


def test_an_exposure_aborted_while_its_image_comes_is_aborted(server: AlpacaRig) -> None:
    cam, camera = Cam(server), server.device("camera")
    pixels = cam.image

    def image() -> Any:
        camera.abort()
        server.run(1)
        return pixels()

    cam.image = image
    server.fails(CommandAborted, "aborted", camera.expose(1.0), 20)


def test_an_exposure_aborted_while_it_is_begun_was_never_begun(server: AlpacaRig) -> None:
    cam, camera, began = Cam(server), server.device("camera"), list[float]()
    start = cam.start

    def aborted(parameters: dict[str, str]) -> None:
        start(parameters)
        camera.abort()

    server.answers["PUT startexposure"] = aborted
    server.fails(CommandAborted, "aborted", camera.expose(1.0, started=began.append), 20)
    assert began == []


def test_an_aborted_exposure_that_ends_late_leaves_the_newer_one_noted(server: AlpacaRig) -> None:
    Cam(server)
    camera = server.device("camera")
    first = camera.expose(10.0)
    server.run(2)
    camera.abort()
    second = camera.expose(1.0)
    server.fails(CommandAborted, "aborted", first)
    asked = len(server.asked)
    server.fails(DeviceRefused, "an exposure is under way", camera.expose(1.0))
    assert len(server.asked) == asked, "it needs not ask the camera"
    server.result(second, 60)


@pytest.mark.parametrize("end", ["aborted", "aborted while a question is not answered", "failed"])
def test_an_image_that_an_exposure_leaves_late_is_not_taken_for_the_next(end: str, server: AlpacaRig) -> None:
    cam, camera = LateCam(server), server.device("camera")
    first, following = camera.expose(10.0), []
    server.run(3.5)

    def asked() -> int:
        cam.camera_state = lambda: cam.state
        if end == "failed":
            cam.state = 5
            return 5
        camera.abort()
        if end != "aborted":
            following.append(camera.expose(6.5))
            server.run(2.0)
        return 2

    cam.camera_state = asked
    server.fails(DeviceFailed if end == "failed" else CommandAborted, "", first, 5)
    following = following or [camera.expose(6.5)]  # which would end half a second after the first
    assert server.result(following[0], 30).pixels[0, 0] == cam.started == 2


def test_the_late_images_of_several_aborted_exposures_are_not_taken(server: AlpacaRig) -> None:
    cam, camera = LateCam(server), server.device("camera")
    for seconds in (20.0, 5.0):
        aborted = camera.expose(seconds)
        server.run(2.5)
        server.result(camera.abort())
        server.fails(CommandAborted, "", aborted)
    assert server.result(camera.expose(15.5), 30).pixels[0, 0] == cam.started == 3  # it would end just after the first


def test_a_camera_in_error(server: AlpacaRig) -> None:
    cam, camera = Cam(server), server.device("camera")
    exposure, state = camera.expose(10.0), cam.camera_state
    server.run(3)
    cam.camera_state = lambda: 5
    server.fails(DeviceFailed, "the camera reports an error", exposure, 5)
    server.fails(DeviceFailed, "the camera reports an error", camera.state())
    server.answers["PUT abortexposure"] = lambda _: setattr(cam, "camera_state", state)
    cam.end = 0.0
    assert server.result(camera.expose(1.0), 20).pixels[0, 0] == 2


def test_an_image_that_never_comes(server: AlpacaRig) -> None:
    Cam(server)
    server.set(imageready=False)
    server.fails(DeviceFailed, r"exposure: no end after 12. s", server.device("camera").expose(1.0), 130)


BROKEN = [
    AlpacaError(0x500, "USB"), AlpacaError(0x407), AlpacaError(0x40B), AlpacaError(-2147467259), Http(500, b"x"),
    Raw(b"no HTTP"), None, Http(200, b'{"Value":NaN}', "application/json"), "cold", -300.0,
]  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN)
def test_an_image_is_kept_whatever_the_thermometer_says(answer: Any, server: AlpacaRig) -> None:
    cam, camera = Cam(server, cooleron=True), server.device("camera")
    server.result(camera.geometry())
    server.set(ccdtemperature=answer, electronsperadu=answer, lastexposureduration=answer, setccdtemperature=answer)
    image = server.result(camera.expose(1.0), 60)
    assert (image.pixels[0, 0], image.temperature, image.gain, image.seconds) == (cam.number, None, None, 1.0)
    server.run(5)
    cooling = server.result(camera.cooling(), 60)
    assert cooling.temperature in (None, -300.0)


@pytest.mark.parametrize(("exposed", "seconds"), [(9.97, 9.97), (0.0, 0.0), (-1.0, 10.0), (1e6, 10.0)])
def test_the_exposure_time_is_the_cameras_own(exposed: float, seconds: float, server: AlpacaRig) -> None:
    Cam(server, lastexposureduration=exposed)
    assert server.result(server.device("camera").expose(10.0), 30).seconds == seconds


@pytest.mark.parametrize("request_", ["camerastate", "imageready", "imagearray"])
def test_an_image_is_kept_though_a_question_fails_now_and_then(request_: str, server: AlpacaRig) -> None:
    cam, asked = Cam(server), [0]
    usual = server.answers[f"GET {request_}"]

    def sometimes(parameters: dict[str, str]) -> Any:
        asked[0] += 1
        return usual(parameters) if asked[0] % 3 == 0 else AlpacaError(0x500, "USB")

    camera = server.device("camera")
    server.result(camera.geometry())
    exposing = camera.expose(10.0)
    server.run(2)
    server.answers[f"GET {request_}"] = sometimes
    assert server.result(exposing, 30).pixels[0, 0] == cam.number == 1


def test_an_image_that_is_here_is_kept_though_the_camera_goes_away(server: AlpacaRig) -> None:
    cam, camera = Cam(server), server.device("camera")
    exposing = camera.expose(1.0)
    pixels = cam.image

    def last() -> Any:
        server.world.callLater(0, server.world.callLater, 0, server.away)
        server.world.callLater(2, server.back)
        return pixels()

    cam.image = last
    image = server.result(exposing, 60)
    assert (image.pixels[0, 0], image.gain) == (1, 1.3)


def test_a_bias_is_as_short_as_can_be(server: AlpacaRig) -> None:
    Cam(server, exposuremin=0.001)
    image = server.result(server.device("camera").expose(0.0, dark=True), 30)
    assert server.last("PUT startexposure") == {"Duration": "0.001", "Light": "False"}
    assert image.seconds == 0.001


def test_a_subframe_of_somebody_else_is_undone_before_each_exposure(server: AlpacaRig) -> None:
    frame = {"binx": 1, "biny": 1, "startx": 0, "starty": 0, "numx": 3, "numy": 2}
    camera = server.device("camera")
    Cam(server, **frame)

    def put(name: str) -> Callable[[dict[str, str]], None]:
        return lambda given: server.set(**{name: int(next(t for key, t in given.items() if key.lower() == name))})

    server.answers |= {f"PUT {name}": put(name) for name in frame}
    for left in ({"binx": 2, "biny": 2}, {"startx": 1, "numx": 1}, {"numy": 1}):
        server.set(**left)
        server.result(camera.expose(1.0), 30)
        assert {name: server.answers[f"GET {name}"] for name in frame} == frame


def test_an_image_of_half_the_size_is_one_of_larger_pixels(server: AlpacaRig) -> None:
    cam = Cam(server, cameraxsize=6, cameraysize=4)
    camera = server.device("camera", "?arcsec_per_pixel=1")
    image = server.result(camera.expose(1.0), 20)
    assert image.pixels.shape == (2, 3)
    assert image.arcsec_per_pixel == 2.0
    assert cam.number == 1


def test_what_a_camera_lacks(server: AlpacaRig) -> None:
    Cam(server, hasshutter=False, ccdtemperature=AlpacaError(0x400), electronsperadu=AlpacaError(0x400))
    camera = server.device("camera")
    server.fails(DeviceRefused, "UNSUPPORTED: Old device has no filter wheel of its own", camera.expose(1.0, "r"), 5)
    server.fails(DeviceRefused, "UNSUPPORTED: Old device has no shutter", camera.expose(1.0, dark=True), 5)
    server.fails(DeviceRefused, "UNSUPPORTED: Old device cannot be cooled", camera.cool(-10.0), 5)
    cooling = server.result(camera.cooling(), 5)
    assert (cooling.temperature, cooling.target, cooling.power) == (None, None, None)
    image = server.result(camera.expose(1.0), 20)
    assert (image.temperature, image.gain) == (None, None)


def test_a_colour_camera_is_refused(server: AlpacaRig) -> None:
    Cam(server, sensortype=1)
    server.fails(DeviceRefused, "a colour image", server.device("camera").expose(1.0), 5)


def test_cooling(server: AlpacaRig) -> None:
    Cam(server, cansetccdtemperature=True, cooleron=True, setccdtemperature=-30.0, coolerpower=45.0)
    camera = server.device("camera")
    server.result(camera.cool(-30.0), 5)
    assert server.last("PUT setccdtemperature") == {"SetCCDTemperature": "-30.0"}
    assert server.last("PUT cooleron") == {"CoolerOn": "True"}
    cooling = server.result(camera.cooling())
    assert (cooling.temperature, cooling.target, cooling.power) == (-10.5, -30.0, 45.0)
    server.result(camera.cool(None))
    assert server.last("PUT cooleron") == {"CoolerOn": "False"}
