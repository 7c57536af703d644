"""What the INDI driver makes of cameras and of what they send for an image, on virtual time."""

from __future__ import annotations

import base64
import io
import math
import zlib
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import (
    CommandAborted,
    ConnectionLost,
    DeviceFailed,
    DeviceRefused,
    NoAnswer,
)
from pyros.instruments.indi.image import decode
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import Make
from tests.instruments.indi.in_memory import MemoryIndiCamera
from tests.instruments.indi.script import ADDRESS, IndiRig, Members, vector

CAMERA = MemoryIndiCamera.VECTORS


def fits_of(pixels: Any, **header: Any) -> bytes:
    unit = fits.PrimaryHDU(np.asarray(pixels))
    for key, value in header.items():
        unit.header[key.replace("_", "-")] = value
    file = io.BytesIO()
    unit.writeto(file)
    return file.getvalue()


def blob_of(data: bytes, form: str = ".fits", size: str = "") -> str:
    text = base64.encodebytes(zlib.compress(data) if form.endswith(".z") else data).decode()
    return vector("set", "BLOB", "CCD1", {"CCD1": text}, more=f'format="{form}" size="{size or len(data)}"')


def image_of(pixels: Any, form: str = ".fits", **header: Any) -> str:
    return blob_of(fits_of(pixels, **header), form)


PIXELS = np.array([[1, 2, 3], [4, 5, 65535]], dtype=np.uint16)


def busy(made: IndiRig) -> None:
    """Let a camera begin its exposures, and end none."""
    made.server.answers["CCD_EXPOSURE"] = lambda told: made.server.set(
        "CCD_EXPOSURE", "Busy", CCD_EXPOSURE_VALUE=(told["CCD_EXPOSURE_VALUE"], 0.01, 3600)
    )


@pytest.fixture
def camera(rig: Make) -> IndiRig:
    made = rig("camera", CAMERA)
    busy(made)
    return made


def tag_of(rig: IndiRig) -> str:
    return str(rig.server.vectors["FITS_HEADER"][1]["FITS_OBJECT"])


def test_an_image_is_unpacked_and_turned_right_side_up(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0, "", "grb 1", camera.started.append), 9.9)
    assert [element.attrib["name"] for element in camera.server.asked if element.tag == "enableBLOB"] == ["CCD1"]
    assert camera.server.changes("UPLOAD_MODE") == [{"UPLOAD_CLIENT": "On"}]
    assert camera.started == [15.0]
    header = {"OBJECT": tag_of(camera), "EXPTIME": 10.0, "CCD_TEMP": -20.5, "EGAIN": 1.25, "ROWORDER": "TOP-DOWN"}
    camera.server.say(
        image_of(PIXELS, ".fits.z", **header), camera.server.set("CCD_EXPOSURE", "Ok", CCD_EXPOSURE_VALUE=0)
    )
    (image,) = outcome
    assert image.pixels.tolist() == PIXELS[::-1].tolist()
    assert (image.seconds, image.temperature, image.gain) == (10.0, -20.5, 1.25)
    assert image.arcsec_per_pixel == pytest.approx(1.0313, abs=1e-3)
    assert world.result(camera.device.state()) == "idle"


def aborted(camera: IndiRig, world: DeviceWorld, seconds: float, after: float) -> None:
    """Abort an exposure so long after its beginning."""
    first = camera.begin(camera.device.expose(seconds, "", "a"), after)
    camera.server.answers["CCD_ABORT_EXPOSURE"] = lambda _: (
        camera.server.set("CCD_ABORT_EXPOSURE") + camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)
    )
    world.result(camera.device.abort())
    assert isinstance(first[0], CommandAborted)


def test_a_late_image_of_an_aborted_exposure_is_passed_over(camera: IndiRig, world: DeviceWorld) -> None:
    aborted(camera, world, 10.0, 9.0)
    old = tag_of(camera)
    second = camera.begin(camera.device.expose(10.0, "", "b"), 1.0)
    assert tag_of(camera) != old
    camera.server.say(image_of(PIXELS * 0, EXPTIME=10.0))  # without a tag, and too early to be of this one
    world.run(9)
    camera.server.say(image_of(PIXELS * 0, OBJECT=old, EXPTIME=10.0))
    assert second == []
    camera.server.say(image_of(PIXELS, OBJECT=tag_of(camera), EXPTIME=10.0))
    assert second[0].pixels.tolist() == PIXELS.tolist()


def test_without_a_tag_the_length_tells_a_late_image(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", {name: each for name, each in CAMERA.items() if name != "FITS_HEADER"})
    busy(camera)
    aborted(camera, world, 2.0, 1.5)
    second = camera.begin(camera.device.expose(10.0), 2.0)
    camera.server.say(image_of(PIXELS * 0, EXPTIME=2.0))
    assert second == []
    world.run(8)
    camera.server.say(image_of(PIXELS, EXPTIME=10.0))
    assert second[0].pixels.tolist() == PIXELS.tolist()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"EXPTIME": 0.3333}, 0.3333), ({"EXPTIME": 25.0}, 25.0), ({"EXPTIME": "0.5"}, 0.5), ({}, 30.0),
     ({"EXPOSURE": 29.0}, 29.0), ({"EXPTIME": -1.0}, 30.0), ({"EXPTIME": 31.0, "OBJECT": "M 31"}, 31.0)],
)  # fmt: skip
def test_the_header_tells_how_long_was_exposed(camera: IndiRig, header: dict[str, Any], seconds: float) -> None:
    outcome = camera.begin(camera.device.expose(30.0), 30.0)
    camera.server.say(image_of(PIXELS, **header))
    assert outcome[0].seconds == seconds


def test_a_bias_takes_the_shortest_time_of_the_camera(rig: Make) -> None:
    types = ("Switch", {"FRAME_LIGHT": True, "FRAME_DARK": False, "FRAME_BIAS": False}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_FRAME_TYPE": types})
    busy(camera)
    outcome = camera.begin(camera.device.expose(0.0, dark=True), 1.0)
    camera.server.say(image_of(PIXELS, EXPTIME=0.01))
    assert outcome[0].seconds == 0.01
    assert camera.server.changes("CCD_EXPOSURE") == [{"CCD_EXPOSURE_VALUE": "0.01"}]
    assert camera.server.changes("CCD_FRAME_TYPE") == [{"FRAME_BIAS": "On"}]


def test_a_dark_is_no_bias(rig: Make) -> None:
    types = ("Switch", {"FRAME_LIGHT": True, "FRAME_DARK": False, "FRAME_BIAS": False}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_FRAME_TYPE": types})
    busy(camera)
    camera.begin(camera.device.expose(0.01, dark=True))
    assert camera.server.changes("CCD_FRAME_TYPE") == [{"FRAME_DARK": "On"}]


def test_a_time_shorter_than_the_shortest_is_refused(camera: IndiRig, world: DeviceWorld) -> None:
    with pytest.raises(DeviceRefused, match=r"VALUE: Dev: exposure: 0.001 s: the shortest exposure is 0.01 s"):
        world.result(camera.device.expose(0.001))


WHOLE = {"X": 0, "Y": 0, "WIDTH": 3, "HEIGHT": 2}


@pytest.mark.parametrize(
    ("part", "bins", "address", "told"),
    [
        (WHOLE, 1, "", ([], [])),
        (WHOLE | {"X": 1, "WIDTH": 1}, 1, "", ([WHOLE], [])),
        (WHOLE, 2, "", ([], [{"HOR_BIN": 1, "VER_BIN": 1}])),
        (WHOLE, 2, "?bin=2", ([], [])),
        (WHOLE, 1, "?bin=2", ([], [{"HOR_BIN": 2, "VER_BIN": 2}])),
    ],
)  # fmt: skip
def test_what_somebody_left_of_the_detector_is_undone(
    rig: Make, part: Members, bins: int, address: str, told: tuple[list[Members], list[Members]]
) -> None:
    vectors = {"CCD_FRAME": ("Number", part, "Ok"), "CCD_BINNING": ("Number", {"HOR_BIN": bins, "VER_BIN": bins}, "Ok")}
    camera = rig("camera", CAMERA | vectors, address=ADDRESS + address)
    busy(camera)
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(image_of(PIXELS))
    assert outcome[0].arcsec_per_pixel == pytest.approx(1.0313 * (2 if address else 1), abs=1e-3)
    changes = [[{name: float(value) for name, value in each.items()} for each in camera.server.changes(vector)]
               for vector in ("CCD_FRAME", "CCD_BINNING")]  # fmt: skip
    assert tuple(changes) == told


def binned(rig: Make, most: int, address: str = "", **vector: Any) -> Any:
    """Make a camera that bins by 1 to ``most``."""
    bins = dict.fromkeys(("HOR_BIN", "VER_BIN"), (1, 1, most))
    vectors = {"CCD_FRAME": ("Number", WHOLE, "Ok"), "CCD_BINNING": ("Number", bins, "Ok")}
    camera = rig("camera", CAMERA | vectors | vector, address=ADDRESS + address)
    busy(camera)
    camera.server.answers["CCD_BINNING"] = lambda told: camera.server.set("CCD_BINNING", **told)
    return camera


@pytest.mark.parametrize(("address", "others"), [("", 1), ("?bin=3", 3)])
def test_a_binning_is_of_the_one_exposure_that_asks_for_it(rig: Make, address: str, others: int) -> None:
    camera = binned(rig, 4, address)
    images = []
    for binning in (2, 1):
        outcome = camera.begin(camera.device.expose(1.0, binning=binning), 1.0)
        camera.server.say(image_of(PIXELS), camera.server.set("CCD_EXPOSURE", CCD_EXPOSURE_VALUE=0))
        images.append(outcome[0])
    told = [float(each["HOR_BIN"]) for each in camera.server.changes("CCD_BINNING")]
    assert told == [2, others]
    assert [each.binning for each in images] == [2, others]
    scales = [each.arcsec_per_pixel for each in images]
    assert scales == [pytest.approx(1.0313 * each, abs=1e-3) for each in (2, others)]


def test_a_binning_that_the_camera_has_not_is_refused_before_the_shutter_opens(rig: Make, world: DeviceWorld) -> None:
    camera = binned(rig, 2)
    assert world.result(camera.device.max_binning()) == 2
    world.fails(DeviceRefused, "VALUE: .*binning 3 is not from 1 to 2", camera.device.expose(1.0, binning=3))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_a_camera_that_cannot_bin_refuses_to(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", CAMERA)
    assert world.result(camera.device.max_binning()) == 1
    world.fails(DeviceRefused, "UNSUPPORTED: .*no binning that can be set", camera.device.expose(1.0, binning=2))


@pytest.mark.parametrize(("vector", "member"), [("CCD_GAIN", "GAIN"), ("CCD_CONTROLS", "Gain")])
def test_gain_is_set_where_the_camera_has_it(rig: Make, world: DeviceWorld, vector: str, member: str) -> None:
    camera = rig("camera", CAMERA | {vector: ("Number", {member: 10.0}, "Ok")})
    camera.server.answers[vector] = lambda told: camera.server.set(vector, **told)
    world.result(camera.device.configure(100.0))
    assert [{name: float(value) for name, value in each.items()} for each in camera.server.changes(vector)] == [
        {member: 100.0}
    ]


@pytest.mark.parametrize(
    ("name", "known", "modes", "chosen", "told"),
    [
        ("READOUT_MODE", ("Switch", {"FAST": True, "SLOW": False}, "Ok"), ("FAST", "SLOW"), "SLOW", {"SLOW": "On"}),
        ("READ_MODE", ("Number", {"MODE": (0.0, 0, 2)}, "Ok"), ("0", "1", "2"), "2", {"MODE": "2.0"}),
    ],
)  # fmt: skip
def test_a_readout_mode_is_set_where_the_camera_has_it(
    rig: Make, world: DeviceWorld, name: str, known: Any, modes: tuple[str, ...], chosen: str, told: dict[str, str]
) -> None:
    camera = rig("camera", CAMERA | {name: known})
    camera.server.answers[name] = lambda told: camera.server.set(name, **told)
    assert world.result(camera.device.readout_modes()) == modes
    world.result(camera.device.configure(None, chosen))
    assert [each.items() >= told.items() for each in camera.server.changes(name)] == [True]
    world.fails(
        DeviceRefused, "no readout mode 'Quick'; there are: " + ", ".join(modes), camera.device.configure(1.0, "Quick")
    )


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("READOUT_MODE", ("Switch", {"NORMAL": True}, "Ok")),
        ("READ_MODE", ("Number", {"MODE": (0.0, 0, 1e9)}, "Ok")),
        ("READ_MODE", ("Text", {"MODE": "fast"}, "Ok")),
    ],
)
def test_what_leaves_no_choice_is_no_readout_mode(rig: Make, world: DeviceWorld, name: str, known: Any) -> None:
    assert world.result(rig("camera", CAMERA | {name: known}).device.readout_modes()) == ()


def test_a_gain_that_the_camera_has_not_is_refused(rig: Make, world: DeviceWorld) -> None:
    world.fails(DeviceRefused, "has no gain that can be set", rig("camera", CAMERA).device.configure(100.0))


def test_a_camera_that_trims_its_frame_is_told_once(rig: Make, world: DeviceWorld) -> None:
    big = {"CCD_INFO": ("Number", {"CCD_MAX_X": 60, "CCD_MAX_Y": 40, "CCD_PIXEL_SIZE": 5.0}, "Ok")}
    trimmed = {"X": 0, "Y": 0, "WIDTH": 56, "HEIGHT": 40}
    camera = rig("camera", CAMERA | big | {"CCD_FRAME": ("Number", trimmed, "Ok")})
    busy(camera)
    camera.server.answers["CCD_FRAME"] = lambda _: camera.server.set("CCD_FRAME")
    for _ in range(2):
        outcome = camera.begin(camera.device.expose(1.0), 1.0)
        camera.server.say(image_of(PIXELS), camera.server.set("CCD_EXPOSURE", CCD_EXPOSURE_VALUE=0))
        assert len(outcome) == 1
    assert len(camera.server.changes("CCD_FRAME")) == 1
    assert world.result(camera.device.geometry()).width == 56


def test_a_subframe_that_stays_is_refused(rig: Make, world: DeviceWorld) -> None:
    camera = rig("camera", CAMERA | {"CCD_FRAME": ("Number", WHOLE | {"WIDTH": 1}, "Ok")})
    camera.server.answers["CCD_FRAME"] = lambda _: camera.server.set("CCD_FRAME", "Alert")
    world.fails(DeviceRefused, "CCD_FRAME is Alert", camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_colour_is_refused_before_the_shutter_opens(rig: Make, world: DeviceWorld) -> None:
    formats = ("Switch", {"INDI_RAW": False, "INDI_RGB": True}, "Ok")
    camera = rig("camera", CAMERA | {"CCD_CAPTURE_FORMAT": formats})
    words = r"UNSUPPORTED: .*colour images, .*\(CCD_CAPTURE_FORMAT\); it also has INDI_RAW"
    world.fails(DeviceRefused, words, camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_a_tag_can_be_a_card_of_the_header(rig: Make) -> None:
    card = {"KEYWORD_NAME": "", "KEYWORD_VALUE": "", "KEYWORD_COMMENT": ""}
    camera = rig("camera", CAMERA | {"FITS_HEADER": ("Text", card, "Ok")})
    busy(camera)
    outcome = camera.begin(camera.device.expose(1.0, "", "a/b"), 1.0)
    (told,) = camera.server.changes("FITS_HEADER")
    assert told == {"KEYWORD_NAME": "OBJECT", "KEYWORD_VALUE": "a_b~1", "KEYWORD_COMMENT": "tag of the exposure"}
    camera.server.say(image_of(PIXELS * 0, OBJECT="a_b~0"))
    assert outcome == []
    camera.server.say(image_of(PIXELS, OBJECT="A_B~1"))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_an_exposure_that_says_idle_before_its_image_is_not_aborted(camera: IndiRig) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0))
    assert outcome == []
    camera.server.say(image_of(PIXELS))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_a_camera_without_an_image_is_told_to_stop(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0), 76.0)
    assert isinstance(outcome[0], NoAnswer)
    world.run()
    assert camera.server.changes("CCD_ABORT_EXPOSURE") == [{"ABORT": "On"}]


def test_an_image_that_never_comes(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(10.0), 11.0)
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Ok", CCD_EXPOSURE_VALUE=0))
    assert world.result(camera.device.state()) == "reading"
    world.run(80)
    assert isinstance(outcome[0], NoAnswer)
    assert "no image within 75 s" in str(outcome[0])
    assert world.result(camera.device.state()) == "idle"


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (image_of(np.zeros((3, 2, 3), np.uint16)), "a colour image of 3 planes; only one plane can be taken"),
        (image_of(np.zeros((5, 2, 3), np.uint16)), "5 x 2 x 3 pixels are not an image of one plane"),
        (blob_of(b"\xff\xd8\xff\xe0", ".jpg"), r"its image cannot be read (format '.jpg'): it is JPEG, not FITS"),
        (vector("set", "BLOB", "CCD1", {"CCD1": "AAAA"}, more='format=".fits"'), "its image cannot be read"),
        (vector("set", "BLOB", "CCD1", {"CCD1": "AAAA"}, more='format=".fits.z"'), "its image cannot be read"),
        (blob_of(fits_of(PIXELS)[:2890]), "its image cannot be read"),  # cut off in the pixels
        (blob_of(fits_of(PIXELS).replace(b"        3 ", b"999999999 ")), "its image cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*truncated")
def test_images_that_are_of_no_use(camera: IndiRig, blob: str, problem: str) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob)
    assert isinstance(outcome[0], DeviceFailed)
    assert problem in str(outcome[0])
    assert camera.device.connected


@pytest.mark.parametrize("size", ["0", "1", "-5", "99999999999999999999", "large"])
def test_what_a_blob_says_of_its_size_is_not_believed(camera: IndiRig, size: str) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob_of(fits_of(PIXELS), size=size))
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.integers(0, 2891), st.integers(0, 255)), max_size=30), st.integers(0, 5760))
def test_any_wrong_bytes_in_an_image(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(fits_of(PIXELS))
    for place, byte in changes:
        data[place] = byte
    try:
        frame = decode(bytes(data[:length]))
    except ValueError:
        return
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.ndim == 2


def test_a_stream_that_ends_anywhere_in_an_image(camera: IndiRig, world: DeviceWorld) -> None:
    blob = image_of(PIXELS)
    for cut in (1, 20, 60, blob.index(">") + 1, len(blob) // 2, len(blob) - 30, len(blob) - 1):
        outcome = camera.begin(camera.device.expose(1.0), 1.0)
        camera.server.say(blob[:cut])
        assert outcome == []
        camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)  # it is heard of with the next connection
        world.drop()
        world.run(3)
        assert isinstance(outcome[0], ConnectionLost)
        assert camera.device.connected
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(blob)
    assert outcome[0].pixels.tolist() == PIXELS.tolist()


def test_a_slow_image_is_waited_for_and_a_byte_now_and_then_is_not(camera: IndiRig, world: DeviceWorld) -> None:
    begin = '<setBLOBVector device="Dev" name="CCD1"><oneBLOB name="CCD1" size="1" format=".fits">'
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(begin)
    for _ in range(300):
        camera.server.say("A" * 2000)
        world.run(1.0)
    assert outcome == []
    camera.server.set("CCD_EXPOSURE", "Idle", CCD_EXPOSURE_VALUE=0)
    world.drop()
    world.run(3)
    assert isinstance(outcome[0], ConnectionLost)
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say(begin)
    for _ in range(150):
        if not outcome:
            camera.server.say("A")
        world.run(1.0)
    assert isinstance(outcome[0], NoAnswer)


def test_an_element_without_end_costs_the_connection_and_little_else(camera: IndiRig, world: DeviceWorld) -> None:
    outcome = camera.begin(camera.device.expose(1.0), 1.0)
    camera.server.say('<setTextVector device="Dev" name="A"><oneText name="B">' + "x" * 100_000)
    world.run(3)
    assert isinstance(outcome[0], ConnectionLost)
    assert "it sent a value of more than 65536 characters" in str(outcome[0])
    assert camera.device.connected


def test_what_a_camera_cannot_do_is_refused_before_the_shutter_opens(camera: IndiRig, world: DeviceWorld) -> None:
    for command, code in (
        (lambda: camera.device.expose(1.0, dark=True), "UNSUPPORTED"),
        (lambda: camera.device.expose(1.0, "r"), "VALUE"),
        (lambda: camera.device.expose(-1.0), "VALUE"),
        (lambda: camera.device.expose(math.inf), "VALUE"),
        (lambda: camera.device.cool(-10.0), "UNSUPPORTED"),
        (lambda: camera.device.cool(None), "UNSUPPORTED"),
    ):
        world.fails(DeviceRefused, code, command())
    camera.server.say(camera.server.set("SCOPE_INFO", FOCAL_LENGTH=0))
    with pytest.raises(DeviceRefused, match="STATE: Dev: exposure: no focal length is set: SCOPE_INFO of the camera"):
        world.result(camera.device.expose(1.0))
    assert camera.server.changes("CCD_EXPOSURE") == []


def test_the_focal_length_may_be_the_mounts_to_tell(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    made.server.say(vector("def", "Number", "TELESCOPE_INFO", {"TELESCOPE_FOCAL_LENGTH": 2000.0}, device="Mount"))
    assert world.result(made.device.geometry()).arcsec_per_pixel == pytest.approx(0.5157, abs=1e-3)


def test_the_mount_may_tell_its_focal_length_a_moment_later(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    outcome = made.begin(made.device.geometry(), 3.0)
    assert outcome == []
    made.server.say(vector("def", "Number", "TELESCOPE_INFO", {"TELESCOPE_FOCAL_LENGTH": 2000.0}, device="Mount"))
    assert outcome[0].arcsec_per_pixel == pytest.approx(0.5157, abs=1e-3)


def test_a_mount_that_never_tells_its_focal_length_is_not_waited_for_without_end(rig: Make, world: DeviceWorld) -> None:
    vectors = CAMERA | {"ACTIVE_DEVICES": ("Text", {"ACTIVE_TELESCOPE": "Mount"}, "Ok")}
    del vectors["SCOPE_INFO"]
    made = rig("camera", vectors)
    world.fails(DeviceRefused, "STATE: Dev: exposure: no focal length is set", made.device.expose(1.0), 15.0)


def test_an_exposure_from_before_is_not_disturbed(camera: IndiRig, world: DeviceWorld) -> None:
    camera.server.say(camera.server.set("CCD_EXPOSURE", "Busy", CCD_EXPOSURE_VALUE=5.0))
    assert world.result(camera.device.state()) == "exposing"
    world.fails(DeviceRefused, "BUSY", camera.device.expose(1.0))
