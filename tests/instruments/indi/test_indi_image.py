"""What is in the BLOBs of INDI cameras: every packing, every kind of pixels, every cut and wrong byte."""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pyros.instruments.indi.image import decode

PIXELS = (np.arange(24 * 20).reshape(20, 24) * 100).astype(np.uint16)


def file_of(pixels: Any, unit: Any = fits.PrimaryHDU, **header: Any) -> bytes:
    made = unit(np.asarray(pixels))
    made.header.update(header)
    file = io.BytesIO()
    (made if unit is fits.PrimaryHDU else fits.HDUList([fits.PrimaryHDU(), made])).writeto(file)
    return file.getvalue()


PLAIN = file_of(PIXELS, OBJECT="tag~1", EXPTIME=0.5, EGAIN=1.5)
TILES = file_of(PIXELS, fits.CompImageHDU, OBJECT="tag~1", EXPTIME=0.5, EGAIN=1.5)
EXTENSION = file_of(PIXELS, fits.ImageHDU, OBJECT="tag~1", EXPTIME=0.5, EGAIN=1.5)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(data, id=name)
        for name, data in {
            "plain": PLAIN,
            "fpack": TILES,
            "extension": EXTENSION,
            "zlib": zlib.compress(PLAIN),
            "gzip": gzip.compress(PLAIN),
            "bzip2": bz2.compress(PLAIN),
            "fpack in zlib": zlib.compress(TILES),
        }.items()
    ],
)
def test_a_file_is_taken_however_it_is_packed(data: bytes) -> None:
    frame = decode(data)
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.tolist() == PIXELS.tolist()
    assert (frame.object, frame.seconds, frame.gain, frame.bayer) == ("tag~1", 0.5, 1.5, "")


@pytest.mark.parametrize(
    ("pixels", "taken"),
    [
        (np.array([[0, 700], [65_535, -3]], np.int32), [[0, 700], [65_535, 0]]),
        (np.array([[0, 400], [65_535, 3]], np.uint32), [[0, 400], [65_535, 3]]),
        (np.array([[0.4, 1000.6], [65_535.0, -1e9]], np.float32), [[0, 1001], [65_535, 0]]),
        (np.array([[np.nan, -1.0], [2.0, 7.0]], np.float64), [[0, 0], [2, 7]]),
        (np.array([[0.0, 0.5], [0.25, 1.0]], np.float32), [[0, 32_768], [16_384, 65_535]]),
        (np.array([[-5, 3], [1, 2]], np.int16), [[0, 3], [1, 2]]),
        (np.array([[1, 2], [3, 255]], np.uint8), [[1, 2], [3, 255]]),
        (np.array([[[1, 2], [3, 4]]], np.uint16), [[1, 2], [3, 4]]),
    ],
)
def test_pixels_of_every_kind_are_taken(pixels: Any, taken: list[list[int]]) -> None:
    assert decode(file_of(pixels)).pixels.tolist() == taken


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_sums_of_more_than_16_bits_are_divided(kind: Any) -> None:
    pixels = np.full((20, 30), 400_000, kind)
    pixels[0, 0], pixels[0, 1] = 2**30, 8
    frame = decode(file_of(pixels, EGAIN=0.5))
    assert frame.pixels[:2, :2].tolist() == [[65_535, 1], [50_000, 50_000]]
    assert frame.gain == 4.0


def test_a_bright_star_makes_the_rest_no_darker() -> None:
    pixels = np.full((20, 30), 400.0, np.float64)
    pixels[3, 3], pixels[4, 4], pixels[5, 5] = np.inf, 1e12, np.nan
    frame = decode(file_of(pixels, EGAIN=0.5))
    assert (frame.pixels[3, 3], frame.pixels[4, 4], frame.pixels[5, 5]) == (65_535, 65_535, 0)
    assert (frame.pixels[0, 0], frame.gain) == (400, 0.5)


@pytest.mark.parametrize(
    ("header", "rows", "bayer"),
    [
        ({"BAYERPAT": "RGGB"}, 4, "RGGB"),
        ({"BAYERPAT": "rggb "}, 4, "RGGB"),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 1}, 4, "GRBG"),
        ({"BAYERPAT": "RGGB", "YBAYROFF": 1}, 4, "GBRG"),
        ({"BAYERPAT": "RGGB", "ROWORDER": "TOP-DOWN"}, 4, "GBRG"),
        ({"BAYERPAT": "RGGB", "ROWORDER": "TOP-DOWN"}, 5, "RGGB"),
        ({"BAYERPAT": "CYGM"}, 4, ""),
    ],
)
def test_a_mosaic_is_told_as_its_rows_are_here(header: dict[str, Any], rows: int, bayer: str) -> None:
    assert decode(file_of(np.ones((rows, 6), np.uint16), **header)).bayer == bayer


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not FITS: it begins with b'hello'"),
        (b"XISF0100....", "it is XISF, not FITS"),
        (file_of(np.zeros((3, 4, 5), np.uint16)), "a colour image of 3 planes"),
        (file_of(np.zeros((3, 4, 5), np.uint16), fits.CompImageHDU), "a colour image of 3 planes"),
        (file_of(np.zeros((5, 4, 5), np.uint16)), "not an image of one plane"),
        (file_of(np.zeros(7, np.uint16)), "it has no image in it"),
        (gzip.compress(PLAIN)[:-20], "have no end"),
        (zlib.compress(zlib.compress(zlib.compress(zlib.compress(PLAIN)))), "it is not FITS"),
    ],
)
def test_what_is_not_an_image_says_what_it_is(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [PLAIN, TILES, gzip.compress(PLAIN)], ids=["plain", "fpack", "gzip"])
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=20), st.integers(0, 100))
def test_any_wrong_bytes_end_in_an_image_or_a_value_error(
    data: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    wrong = bytearray(data)
    for place, byte in changes:
        wrong[place * len(wrong) // 100] = byte
    try:
        frame = decode(bytes(wrong[: len(wrong) * length // 100]))
    except ValueError:
        return
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.ndim == 2
