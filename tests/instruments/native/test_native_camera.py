"""The native driver against a scripted camera: what it asks, and every way in which an exposure can end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from pyros import instruments
from pyros.errors import (
    CommandAborted,
    DeviceFailed,
    DeviceRefused,
    InstrumentError,
    NoAnswer,
)
from tests.instruments.conftest import MIDNIGHT
from tests.instruments.native.conftest import NativeRig


def test_an_exposure_ends_with_its_image(camera: NativeRig) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r", "o1", camera.started.append))
    assert camera.script.asked[-2] == "SET filter r"
    assert camera.script.asked[-1].startswith("DO expose seconds=5 tag=o1~")
    assert camera.started == []
    camera.world.run(0.5)
    camera.script.say("EVT exposure_started tag={tag}")
    camera.world.run(5)
    assert camera.started == [6.0]
    camera.script.say("EVT exposure_finished tag={tag}", "EVT image_ready tag=another")
    camera.world.run(1)
    assert not exposure.results
    assert camera.events == ["image_ready"]
    camera.say("EVT image_ready tag={tag}")
    image = exposure.result
    assert image.pixels.tolist() == [[1, 2, 3], [4, 5, 65535]]
    assert image.pixels.dtype == np.uint16
    assert datetime.fromtimestamp(image.started, UTC) == MIDNIGHT.replace(microsecond=500_000)
    assert (image.seconds, image.filter, image.temperature, image.gain) == (5.0, "r", -20.5, 1.5)
    assert image.arcsec_per_pixel == 1.8


@pytest.mark.parametrize("state", ["exposing", "reading"])
def test_the_filter_of_an_exposure_under_way_is_not_touched(camera: NativeRig, state: str) -> None:
    camera.answers["GET state"] = f"OK {state}"
    refusal = camera.begin(camera.device.expose(5.0, "r")).result
    assert isinstance(refusal, DeviceRefused)
    assert refusal.code == "BUSY"
    camera.answers["GET state"] = "OK ready"
    running = camera.begin(camera.device.expose(5.0, "r"))
    assert camera.begin(camera.device.expose(5.0, "g")).result.code == "BUSY"
    assert [line for line in camera.script.asked if line.startswith("SET")] == ["SET filter r"]
    assert not running.results


@pytest.mark.parametrize(
    ("event", "error"), [("exposure_aborted", CommandAborted), ("exposure_failed reason=dark", DeviceFailed)]
)
def test_an_exposure_that_ends_without_an_image(camera: NativeRig, event: str, error: type[InstrumentError]) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    camera.say(f"EVT {event} tag={{tag}}")
    assert isinstance(exposure.result, error)


def test_abort(camera: NativeRig) -> None:
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    assert camera.begin(camera.device.abort()).result is None
    assert isinstance(exposure.result, CommandAborted)
    again = camera.begin(camera.device.expose(5.0, "r"))
    assert not again.results
    assert camera.script.count("DO expose") == 2


@pytest.mark.parametrize("name", ['r"; \\x', "é=1"])
def test_a_filter_is_quoted_and_a_wrong_one_refused(camera: NativeRig, name: str) -> None:
    camera.answers["SET filter"] = "ERR VALUE filter must be one of g, r, i"
    refusal = camera.begin(camera.device.expose(5.0, name)).result
    assert str(refusal) == "VALUE: filter must be one of g, r, i"
    assert camera.script.count("DO expose") == 0


def test_what_no_line_can_carry_is_refused_unsent(camera: NativeRig) -> None:
    for name in ("r\nDO abort", "x" * 5000, "\udc80"):
        assert isinstance(camera.begin(camera.device.expose(5.0, name)).result, DeviceRefused)
    assert camera.script.count("SET filter") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "OK 3 2 16",
        ["OK 3 2 12 block=6", b"123456"],
        ["OK 3 3 16 block=12", b"123456789012"],
        ["OK block=2", b"12"],
    ],
)
def test_an_image_that_is_none(camera: NativeRig, answer: Any) -> None:
    camera.answers["GET image"] = answer
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    assert isinstance(camera.begin(camera.device.expose(5.0, "r")).result, DeviceFailed)
    assert camera.device.connected


@pytest.mark.parametrize(
    ("bits", "kind", "kept"),
    [
        ("8", "u1", [0, 1, 255]), ("16", "<u2", [0, 1, 65535]), ("32", "<u4", [0, 1, 65535]),
        ("-32", "<f4", [0, 1, 65535]), ("-64", "<f8", [0, 1, 65535]),
    ],
)  # fmt: skip
def test_an_image_is_taken_by_what_is_in_it(camera: NativeRig, bits: str, kind: str, kept: list[int]) -> None:
    values = np.array([[0, 1, 255 if bits == "8" else 65535 if bits == "16" else 70000]], kind)
    camera.answers["GET image"] = [f"OK 3 1 {bits} seconds=4.98 block={values.nbytes}", values.tobytes()]
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    image = camera.begin(camera.device.expose(5.0, "r")).result
    assert image.pixels.tolist() == [kept]
    assert image.seconds == 4.98


@pytest.mark.parametrize("answer", ["ERR STATE no sensor", "OK", "OK cold", "OK nan", "BUSY 3", "OK -300", "OK 1 2"])
def test_an_image_is_kept_whatever_the_thermometer_says(camera: NativeRig, answer: str) -> None:
    camera.answers |= {"GET temperature": answer, "GET gain": answer}
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    image = camera.begin(camera.device.expose(5.0, "r")).result
    assert (image.temperature, image.gain, image.pixels[0, 0]) == (None, None, 1)


def test_an_image_is_kept_though_the_thermometer_is_silent(camera: NativeRig) -> None:
    camera.answers |= {"GET temperature": [], "GET gain": []}
    camera.answers["DO expose"] = ["BUSY 1", "EVT exposure_started tag={tag}", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    camera.world.run(20)
    assert (exposure.result.temperature, exposure.result.gain) == (None, None)


def test_a_large_image_may_take_long_but_not_stand_still(camera: NativeRig) -> None:
    camera.answers["GET image"] = ["OK 300 200 16 block=120000"]
    camera.answers["DO expose"] = ["BUSY 1", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    for _ in range(6):
        camera.world.run(4.0)
        camera.script.lines[-1].send(b"x" * 5000)
    camera.world.run()
    assert not exposure.results
    camera.world.run(40.0)
    assert isinstance(exposure.result, NoAnswer)


def test_an_image_of_a_byte_now_and_then_has_an_end(camera: NativeRig) -> None:
    camera.answers["GET image"] = ["OK 300 200 16 block=120000"]
    camera.answers["DO expose"] = ["BUSY 1", "EVT image_ready tag={tag}"]
    exposure = camera.begin(camera.device.expose(5.0, "r"))
    for _ in range(15):
        camera.world.run(1.0)
        if not exposure.results:
            camera.script.lines[-1].send(b"x")
    assert isinstance(exposure.result, NoAnswer)


def test_what_the_camera_is(camera: NativeRig) -> None:
    assert camera.begin(camera.device.filters()).result == ("g", "r", "'i")
    assert camera.begin(camera.device.geometry()).result == instruments.Geometry(3, 2, 16, 1.8)
    assert camera.begin(camera.device.state()).result == "idle"


def test_gain_and_binning_are_told_in_the_grammars_words(camera: NativeRig) -> None:
    camera.answers |= {"SET gain": "OK", "GET max_binning": "OK 3"}
    camera.begin(camera.device.configure(2.5))
    assert camera.script.asked[-1] == "SET gain 2.5"
    assert camera.begin(camera.device.max_binning()).result == 3
    exposure = camera.begin(camera.device.expose(5.0, "r", "o1", binning=2))
    assert camera.script.asked[-1].endswith(" binning=2")
    camera.say("EVT exposure_started tag={tag}", "EVT exposure_finished tag={tag}", "EVT image_ready tag={tag}")
    assert (exposure.result.binning, exposure.result.arcsec_per_pixel) == (2, 3.6)


@pytest.mark.parametrize(
    ("answer", "modes"), [('OK Normal "Low noise"', ("Normal", "Low noise")), ("ERR UNKNOWN there is none", ())]
)
def test_readout_modes_are_those_that_the_camera_tells(camera: NativeRig, answer: str, modes: tuple[str, ...]) -> None:
    camera.answers |= {"GET readout_modes": answer, "SET readout_mode": "OK"}
    assert camera.begin(camera.device.readout_modes()).result == modes
    refusal = camera.begin(camera.device.configure(5.0, "Fast")).result
    assert (type(refusal), refusal.code) == (DeviceRefused, "UNSUPPORTED")
    assert camera.script.count("SET gain") == 0, "nothing is set then"
    if modes:
        camera.begin(camera.device.configure(None, "Low noise"))
        assert camera.script.asked[-1] == 'SET readout_mode "Low noise"'


@pytest.mark.parametrize(
    "answer", ["ERR UNKNOWN there is no such property", "ERR SYNTAX what", "OK 0", "OK 99999", "OK -3", "OK 2.9"]
)
def test_what_a_camera_says_of_binning_is_within_bounds(camera: NativeRig, answer: str) -> None:
    camera.answers["GET max_binning"] = answer
    assert camera.begin(camera.device.max_binning()).result == (2 if answer == "OK 2.9" else 1)
