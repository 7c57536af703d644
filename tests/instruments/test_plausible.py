"""What sensors, options and pixels can be: what all drivers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyros.errors import ConfigError, DeviceFailed
from pyros.instruments import check_address
from pyros.instruments.drivers.options import OPTIONS, read_options, split_address
from pyros.instruments.pixels import one_plane, to_uint16
from pyros.instruments.plausible import RANGES, checked, implausible
from pyros.messages import WeatherReading

GOOD = WeatherReading(10.0, 50.0, 2.0, False, 0.1)


@pytest.mark.parametrize("quantity", RANGES)
def test_limits_are_possible_and_beyond_them_nothing_is(quantity: str) -> None:
    least, most, _ = RANGES[quantity]
    assert implausible(quantity, least) == implausible(quantity, most) == ""
    for value in (least - 0.01, most + 0.01, float("nan"), float("inf"), -float("inf")):
        assert implausible(quantity, value)


def test_a_quantity_without_limits_is_finite() -> None:
    assert implausible("seeing", 1e9) == ""
    assert implausible("seeing", float("inf"))


def test_a_gust_goes_with_the_wind() -> None:
    reading = WeatherReading(10.0, 50.0, None, False, 0.1, gust=30.0)
    assert checked(reading, "x", ("wind",)).gust is None


@pytest.mark.parametrize("age", [-1.0, float("nan"), float("inf")])
def test_an_age_is_a_time(age: float) -> None:
    with pytest.raises(DeviceFailed, match="that is no age"):
        checked(WeatherReading(10.0, 50.0, 2.0, False, 0.1, age=age), "x")
    assert checked(GOOD, "x") == GOOD


@pytest.mark.parametrize(
    ("kind", "driver", "address"),
    [
        ("weather", "native", "tcp:127.0.0.1:6013?without=rain,cloud"),
        ("telescope", "native", "tcp:[::1]:6010?slew_seconds=120&tolerance_arcsec=10"),
        ("telescope", "alpaca", "http://h:1/telescope/0?slew_seconds=120&settle_seconds=5"),
        ("focuser", "alpaca", "http://h:1/focuser/0?tolerance_steps=2"),
        ("dome", "native", "tcp:127.0.0.1:6012?shutter_seconds=60"),
    ],
)
def test_limits_stand_in_the_address(kind: Any, driver: str, address: str) -> None:
    check_address(kind, driver, address)
    for wrong in ("&slew=1", "&begin_seconds=0", "&begin_seconds=nan", "&tolerance_steps=x", "&without=snow"):
        with pytest.raises(ConfigError, match=r"no option|must be"):
            check_address(kind, driver, address + wrong)


def test_the_configuration_describes_every_option() -> None:
    described = (Path(__file__).parents[2] / "pyros_agent_config.ini").read_text()
    for options in OPTIONS.values():
        assert {name for name in options if f"{name}=" not in described} == set()


def test_an_option_is_read_by_its_kind() -> None:
    assert split_address("tcp:h:1?a=b?c") == ("tcp:h:1", "a=b?c")
    for kind, options in OPTIONS.items():
        for name in options:
            text = "wind" if name == "without" else "2.5"
            assert read_options(kind, "", f"{name}={text}") == {name: ("wind",) if name == "without" else 2.5}


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 3, 1), (1, 1, 2, 3)])
def test_one_plane_is_an_image(shape: tuple[int, ...]) -> None:
    assert one_plane(np.arange(6).reshape(shape)).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("shape", [(6,), (3, 2, 3), (2, 3, 3), ()])
def test_several_planes_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not an image of one plane"):
        one_plane(np.zeros(shape))


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("i2", [-5, 0, 32767], [0, 0, 32767]),
        (">i4", [-5, 70000, 65535], [0, 65535, 65535]),
        ("u4", [1, 2**32 - 1, 7], [1, 65535, 7]),
        ("i8", [-(2**40), 2**40, 9], [0, 65535, 9]),
        ("u8", [2**63, 3, 4], [65535, 3, 4]),
        ("u1", [0, 255, 1], [0, 255, 1]),
        (">f4", [1.6, -3.0, 1e30], [2, 0, 65535]),
        ("f8", [np.nan, np.inf, -np.inf], [0, 65535, 0]),
        ("f4", [0.0, 0.5, 1.0], [0, 32768, 65535]),
        ("f4", [0.0, 1.0, 1.0], [0, 1, 1]),
    ],
)
def test_pixels_of_any_type_become_16_bits(kind: str, sent: list[float], kept: list[int]) -> None:
    pixels = to_uint16(np.array(sent).astype(kind))
    assert pixels.dtype == np.uint16
    assert pixels.tolist() == kept


@pytest.mark.parametrize("kind", ["bool", "U3", "c16", "O"])
def test_what_is_no_number_is_no_pixel(kind: str) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        to_uint16(np.array([1, 0]).astype(kind))
