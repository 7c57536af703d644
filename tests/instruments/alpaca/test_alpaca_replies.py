"""Answers and what their error numbers mean."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError
from pyros.instruments.alpaca.replies import error_of, http_error_of, in_words, typed, value_of


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (0x400, "UNSUPPORTED"), (0x401, "VALUE"), (0x402, "VALUE"), (0x407, "STATE"), (0x408, "STATE"),
        (0x409, "STATE"), (0x40B, "STATE"), (0x40C, "UNSUPPORTED"), (0x40D, "STATE"),
    ],
)  # fmt: skip
def test_refusals(number: int, code: str) -> None:
    error = error_of(number, "because", "dome: GET x")
    assert isinstance(error, DeviceRefused)
    assert (error.code, str(error)) == (code, f"{code}: dome: GET x: because (error 0x{number:X})")


@pytest.mark.parametrize("number", [0x4FF, 0x500, 0x7AB, 0xFFF, 1, 0x1000, -2147220478])
def test_failures(number: int) -> None:
    assert isinstance(error_of(number, "", "x"), DeviceFailed)


def test_a_cancelled_operation_was_aborted() -> None:
    assert isinstance(error_of(0x40E, "stopped", "x"), CommandAborted)


@pytest.mark.parametrize(("status", "code"), [(400, "VALUE"), (404, "UNSUPPORTED"), (422, "VALUE"), (403, "VALUE")])
def test_http_refusals(status: int, code: str) -> None:
    error = http_error_of(status, b"<p>Bad\nrequest", "x")
    assert isinstance(error, DeviceRefused)
    assert (error.code, str(error)) == (code, f"{code}: x: HTTP {status}: <p>Bad request")


@pytest.mark.parametrize("status", [500, 503, 301, 204])
def test_http_failures(status: int) -> None:
    assert isinstance(http_error_of(status, b"", "x"), DeviceFailed)


@pytest.mark.parametrize(
    ("value", "type_"),
    [(True, bool), (3, int), (3.0, int), (2.5, float), (2, float), ("x", str), (["a", "b"], tuple[str, ...])],
)
def test_values(value: Any, type_: Any) -> None:
    found = typed(value_of(json.dumps({"Value": value, "Extra": 1}).encode(), "x"), type_, "x")
    assert found == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("yes", bool),
        (1, bool),
        ("3", int),
        (2.5, int),
        (True, int),
        (None, float),
        ("x", float),
        ([1], tuple[str, ...]),
    ],
)
def test_wrong_values(value: Any, type_: Any) -> None:
    with pytest.raises(DeviceFailed):
        typed(value, type_, "x")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b"\xff\xfe", b'{"ErrorNumber": "1"}', b'{"Value": NaN}', b'{"Value": 1e999}', b"[" * 99999],
)
def test_garbage(body: bytes) -> None:
    with pytest.raises(DeviceFailed) as caught:
        value_of(body, "dome: GET x")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_names_count_however_they_are_written(mark: bytes) -> None:
    assert value_of(mark + b'{"value": 5.5, "errorNumber": 0}', "x") == 5.5
    with pytest.raises(DeviceFailed, match="no answer from the shutter"):
        value_of(mark + b'{"Value": true, "errorNumber": 1280, "errorMessage": "no answer from the shutter"}', "x")


@given(st.binary(max_size=60), st.sampled_from([bool, int, float, str, tuple[str, ...]]))
def test_any_body_at_all(body: bytes, type_: Any) -> None:
    with suppress(InstrumentError):
        typed(value_of(body, "x"), type_, "x")


@given(st.integers(), st.text())
def test_any_error_at_all(number: int, text: str) -> None:
    body = json.dumps({"ErrorNumber": number, "ErrorMessage": text}).encode()
    if number == 0:
        assert value_of(body, "x") is None
        return
    with pytest.raises(InstrumentError) as caught:
        value_of(body, "x")
    assert "\n" not in str(caught.value)


@given(st.text() | st.binary())
def test_words_are_one_short_line(text: str | bytes) -> None:
    words = in_words(text)
    assert len(words) <= 303
    assert words.isprintable()
