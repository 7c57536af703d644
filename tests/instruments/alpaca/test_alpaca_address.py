"""Addresses and their options."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import ConfigError
from pyros.instruments import check_address
from pyros.instruments.alpaca.address import TYPES, parse_address


@pytest.mark.parametrize(
    ("kind", "address", "server", "path"),
    [
        ("telescope", "http://127.0.0.1:11111/telescope/0", "http://127.0.0.1:11111", "/api/v1/telescope/0"),
        ("filter_wheel", "http://pc.local:80/filterwheel/3", "http://pc.local:80", "/api/v1/filterwheel/3"),
        ("weather", "http://[::1]:99/observingconditions/0/", "http://[::1]:99", "/api/v1/observingconditions/0"),
        ("safety", "http://a-b:1/api/v1/safetymonitor/1", "http://a-b:1", "/api/v1/safetymonitor/1"),
    ],
)
def test_addresses(kind: Any, address: str, server: str, path: str) -> None:
    found = parse_address(kind, address)
    assert (found.server, found.path, found.options) == (server, path, {})


def test_options() -> None:
    found = parse_address("camera", "http://h:1/camera/0?arcsec_per_pixel=0.62&bin=2")
    assert found.options == {"arcsec_per_pixel": 0.62, "bin": 2}
    assert parse_address("weather", "http://h:1/observingconditions/0?without=rain,wind").options == {
        "without": ("rain", "wind")
    }


@pytest.mark.parametrize(
    "address",
    [
        "", "telescope", "tcp:127.0.0.1:6010", "http://127.0.0.1/telescope/0", "http://h:1", "http://h:1/telescope",
        "http://h:1/telescope/x", "http://h:1/telescope/-1", "http://h:0/telescope/0", "http://h:99999/telescope/0",
        "http://:1/telescope/0", "ftp://h:1/telescope/0", "http://me:pw@h:1/telescope/0", "http://h:1/telescope/0#x",
        "http://[::1/telescope/0", "http://h h:1/telescope/0", "http://h\n:1/telescope/0", "http://ü:1/telescope/0",
        "http://h:1/api/v2/telescope/0", "http://h:1/telescope/12345678901",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_address("telescope", "alpaca", address)
    assert caught.value.problems == (
        f"address = {address}: must be http://HOST:PORT/telescope/0, such as http://127.0.0.1:11111/telescope/0",
    )


@pytest.mark.parametrize(
    ("kind", "address", "wrong"),
    [
        ("dome", "http://h:1/telescope/0", "is that of a telescope; a dome's is http://HOST:PORT/dome/0"),
        ("dome", "http://h:1/dome/0?x=1", "no option 'x'; a dome has shutter_seconds"),
        (
            "camera",
            "http://h:1/camera/0?scale=1",
            "no option 'scale'; a camera has arcsec_per_pixel, focal_length, bin",
        ),
        ("camera", "http://h:1/camera/0?bin=0", "bin must be 1 to 16 pixels a side"),
        ("camera", "http://h:1/camera/0?bin=x", "bin must be 1 to 16 pixels a side"),
        ("camera", "http://h:1/camera/0?focal_length=nan", "focal_length must be the telescope's focal length in mill"),
        ("camera", "http://h:1/camera/0?arcsec_per_pixel=", "arcsec_per_pixel must be the size of an unbinned pixel"),
        (
            "weather",
            "http://h:1/observingconditions/0?without=sun",
            "without must be sensors that do not count, of rain",
        ),
        ("roof", "http://h:1/dome/0", "kind = roof: must be one of telescope, camera"),
    ],
)
def test_other_mistakes(kind: Any, address: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(kind, address)
    assert wrong in str(caught.value)


def test_https_needs_its_extra() -> None:
    if find_spec("OpenSSL") is None:
        with pytest.raises(ConfigError, match=r"https needs pip install 'pyros-observatory\[tls\]'"):
            parse_address("dome", "https://h:1/dome/0")
    else:
        assert parse_address("dome", "https://h:1/dome/0").server == "https://h:1"


@given(
    st.sampled_from(list(TYPES)), st.text(max_size=40) | st.text(max_size=20).map(lambda text: f"http://{text}/dome/0")
)
def test_any_text_at_all(kind: Any, address: str) -> None:
    with suppress(ConfigError):
        parse_address(kind, address)
