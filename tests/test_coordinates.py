"""Coordinates as people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.coordinates import declination, position, right_ascension, sexagesimal


@pytest.mark.parametrize(
    "text",
    ["05h35m17.3s", "5:35:17.3", "05 35 17.3", "83.8220833", "83.8220833deg", "83.8220833°", "5.58813889h", 83.8220833],
)
def test_right_ascension_is_read_in_every_way_of_writing(text: str | float) -> None:
    assert right_ascension(text) == pytest.approx(83.8220833, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    ["-05d23m28s", "-5:23:28", "-05 23 28", "-5°23'28\"", "−5 23 28", "-5.3911111", "-5.3911111deg", -5.3911111],
)
def test_declination_is_read_in_every_way_of_writing(text: str | float) -> None:
    assert declination(text) == pytest.approx(-5.3911111, abs=1e-6)


def test_a_declination_between_0_and_minus_1_keeps_its_sign() -> None:
    assert declination("-00:30:00") == -0.5


@pytest.mark.parametrize(
    ("text", "ra", "dec"),
    [
        ("05h35m17.2992s -05d23m27.996s", 83.82208, -5.39111),
        ("239.876deg +25.916deg", 239.876, 25.916),
        ("05h35m17s -5.39deg", 83.8208333, -5.39),
        ("05 35 17.3 -05 23 28", 83.8220833, -5.3911111),
        ("83.822, 12.5", 83.822, 12.5),
        (" 3.2857deg +48.2318deg", 3.2857, 48.2318),
    ],
)
def test_a_position_is_read_from_one_text(text: str, ra: float, dec: float) -> None:
    assert position(text) == pytest.approx((ra, dec), abs=1e-5)


@pytest.mark.parametrize("text", ["", "north", "25:00:00", "5:61:00", "5:35:60", "360", "-1", "nan", "5:35.5:10", True])
def test_what_is_no_right_ascension_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a right ascension: 05h35m"):
        right_ascension(text)


@pytest.mark.parametrize("text", ["", "91", "-90:00:01", "5h00m00s", "1e1", None])
def test_what_is_no_declination_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a declination: -05d"):
        declination(text)


def test_one_number_is_no_position() -> None:
    with pytest.raises(ValueError, match="must be right ascension and declination"):
        position("83.8")


@given(st.floats(0, 359.999), st.floats(-90, 90))
def test_what_is_printed_is_read_again_as_the_same_place(ra: float, dec: float) -> None:
    again = position(sexagesimal(ra, dec))
    assert abs((again[0] - ra + 180) % 360 - 180) < 0.0001
    assert again[1] == pytest.approx(dec, abs=0.0001)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (right_ascension, declination, position):
        with suppress(ValueError):
            read(text)
