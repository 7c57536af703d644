"""Images: every element type, axes and rows, and whatever else a camera may send."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import DeviceFailed, DeviceRefused, InstrumentError
from pyros.instruments.alpaca.image import ELEMENTS, HEADER, image_bytes, image_of, json_image

ROWS = np.array([[1, 2, 3], [4, 5, 6]])
"""Three wide, two high; the row of 1 is the lower one, as in FITS."""
COLUMNS = [[4, 1], [5, 2], [6, 3]]
"""The same as ASCOM has it: [x][y], y downwards."""


def packed(pixels: Any, element: int, rank: int = 2, shape: tuple[int, ...] = (3, 2, 0), **other: int) -> bytes:
    said = {"version": 1, "error": 0, "start": HEADER.size} | other
    data = np.asarray(pixels, ELEMENTS[element]).tobytes()
    return HEADER.pack(said["version"], said["error"], 1, 2, said["start"], 2, element, rank, *shape) + data


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_element_type(element: int) -> None:
    pixels = image_bytes(packed(COLUMNS, element), 6, "camera")
    assert pixels.dtype == np.uint16
    assert pixels.flags.c_contiguous
    assert pixels.tolist() == ROWS.tolist()


def test_json() -> None:
    assert json_image(json.dumps({"Type": 2, "Rank": 2, "Value": COLUMNS}).encode(), 6, "x").tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    ("element", "sent", "kept"), [(2, 70000, 65535), (2, -5, 0), (3, 1.6, 2), (9, 2**32 - 1, 65535)]
)
def test_what_is_no_16_bits_is_saturated(element: int, sent: float, kept: int) -> None:
    assert image_bytes(packed([[sent]], element, shape=(1, 1, 0)), 1, "x").tolist() == [[kept]]
    assert json_image(json.dumps({"Value": [[sent]]}).encode(), 1, "x").tolist() == [[kept]]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", "an image of 0 bytes has no header"),
        (packed(COLUMNS, 8, version=2), "ImageBytes of version 2"),
        (packed(COLUMNS, 8, start=10), "that begins at byte 10"),
        (packed(COLUMNS, 8, start=-1), "that begins at byte -1"),
        (packed(COLUMNS, 8, start=10**6), "that begins at byte 1000000"),
        (packed(COLUMNS, 8, shape=(3, 3, 0)), "rank 2 and 3 x 3 pixels; the detector has 6"),
        (packed(COLUMNS, 8, shape=(-3, -2, 0)), "-3 x -2"),
        (packed(COLUMNS, 8, rank=1), "rank 1"),
        (packed(COLUMNS, 8)[:-1], "11 bytes of pixels, not 6 of 2 each"),
        (HEADER.pack(1, 0, 1, 2, 44, 2, 0, 2, 3, 2, 0) + b"x" * 12, "elements of unknown type 0"),
        (HEADER.pack(1, 0, 1, 2, 44, 2, 99, 2, 3, 2, 0) + b"x" * 12, "elements of unknown type 99"),
        (HEADER.pack(1, 0x500, 1, 2, 44, 0, 0, 0, 0, 0, 0) + b"shutter stuck", "shutter stuck (error 0x500)"),
    ],
)
def test_wrong_images_are_failures(body: bytes, wrong: str) -> None:
    with pytest.raises(DeviceFailed) as caught:
        image_bytes(body, 6, "camera")
    assert wrong in str(caught.value)


@pytest.mark.parametrize("element", ELEMENTS)
def test_an_image_of_one_plane_is_an_image(element: int) -> None:
    body = packed(COLUMNS, element, rank=3, shape=(3, 2, 1))
    assert image_of(body, 6, "camera").tolist() == ROWS.tolist()
    planes = json.dumps({"Rank": 3, "Value": [[[each] for each in column] for column in COLUMNS]}).encode()
    assert image_of(planes, 6, "camera").tolist() == ROWS.tolist()


@pytest.mark.parametrize("shape", [(2, 2, 0), (1, 1, 0), (1, 2, 1)])
def test_an_image_of_another_size_is_kept(shape: tuple[int, ...]) -> None:
    rank = 3 if shape[2] else 2
    count = shape[0] * shape[1]
    pixels = image_of(packed([7] * count, 8, rank=rank, shape=shape) + b"what follows", 6, "camera")
    assert pixels.shape == (shape[1], shape[0])
    assert (pixels == 7).all()


def test_a_pixel_that_is_no_number_is_dark() -> None:
    assert image_of(packed([[np.nan, 5], [np.inf, -np.inf]], 4, shape=(2, 2, 0)), 4, "x").tolist() == [
        [5, 0],
        [0, 65535],
    ]
    assert image_of(json.dumps({"Value": [[2**70, 1], [2.5, -3]]}).encode(), 4, "x").tolist() == [[1, 0], [65535, 2]]


def test_errors_and_colours_are_refusals() -> None:
    with pytest.raises(DeviceRefused, match="STATE: camera: no image"):
        image_bytes(HEADER.pack(1, 0x40B, 1, 2, 44, 0, 0, 0, 0, 0, 0) + b"no image", 6, "camera")
    with pytest.raises(DeviceRefused, match="UNSUPPORTED: camera: a colour image"):
        image_bytes(packed(np.zeros((3, 2, 3)), 8, rank=3, shape=(3, 2, 3)), 6, "camera")
    with pytest.raises(DeviceRefused, match="UNSUPPORTED: camera: a colour image"):
        json_image(json.dumps({"Rank": 3, "Value": np.zeros((3, 2, 3)).tolist()}).encode(), 6, "camera")
    with pytest.raises(DeviceRefused, match="STATE: camera: no image"):
        json_image(b'{"ErrorNumber": 1035, "ErrorMessage": "no image"}', 6, "camera")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        1,
        "x",
        [[1, 2], [3]],
        [["a", "b"]] * 3,
        [[None, 1]] * 3,
        [[1, 2]] * 4,
        [[]],
        {"a": 1},
        [[True, False]] * 3,
    ],
)
def test_wrong_arrays_are_failures(value: Any) -> None:
    with pytest.raises(DeviceFailed):
        json_image(json.dumps({"Rank": 2, "Value": value}).encode(), 6, "camera")


@given(st.binary(max_size=80))
def test_any_bytes_at_all(body: bytes) -> None:
    for read in (image_bytes, image_of, json_image):
        with suppress(InstrumentError):
            read(body, 6, "camera")


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=11, max_size=11), st.binary(max_size=24))
def test_any_header_at_all(numbers: list[int], data: bytes) -> None:
    numbers[2:4] = [abs(number) for number in numbers[2:4]]
    with suppress(InstrumentError):
        image_bytes(HEADER.pack(*numbers) + data, 6, "camera")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(_json, st.none() | st.integers(0, 4))
def test_any_array_at_all(value: Any, rank: int | None) -> None:
    with suppress(InstrumentError):
        json_image(json.dumps({"Rank": rank, "Value": value}).encode(), 6, "camera")
