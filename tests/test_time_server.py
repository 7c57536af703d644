"""What chrony and systemd-timesyncd say of the clock; whatever else they say is no offset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.time_server import MAX_BYTES, clock_offset, output, parse_chrony, parse_timesync

CHRONY = (
    "A9FEA97B,169.254.169.123,4,1764415890.123456789,{offset},-0.000000117,0.000011112,-13.524,0.001,0.031,0.000393,"
    "0.000322,16.1,{leap}\n"
)
TIMESYNC = """       Server: 192.0.2.7 (ntp.example.org)
Poll interval: 34min 8s (min: 32s; max 34min 8s)
         Leap: normal
      Version: 4
      Stratum: 2
    Reference: C0000207
    Precision: 1us (-23)
Root distance: 11.138ms (max: 5s)
       Offset: {offset}
        Delay: 8.914ms
       Jitter: 3.2ms
 Packet count: 12
    Frequency: -16.042ppm
"""


@pytest.mark.parametrize(
    ("offset", "leap", "found"),
    [("0.000012", "Normal", 1.2e-5), ("-3.5", "Insert second", -3.5), ("3.5", "Not synchronised", None),
     ("nan", "Normal", None), ("1e300", "Normal", None), ("x", "Normal", None)],
)  # fmt: skip
def test_chronys_tracking(offset: str, leap: str, found: float | None) -> None:
    assert parse_chrony(CHRONY.format(offset=offset, leap=leap)) == found


@pytest.mark.parametrize(
    ("offset", "found"),
    [("+1.234ms", 0.001234), ("-45us", -4.5e-5), ("+2.5s", 2.5), ("-1min 3.5s", -63.5), ("0", None), ("n/a", None),
     ("1.5 parsecs", None), ("+2s or so", None)],
)  # fmt: skip
def test_timesyncds_status(offset: str, found: float | None) -> None:
    assert parse_timesync(TIMESYNC.format(offset=offset)) == (None if found is None else pytest.approx(found))


def test_a_status_without_an_offset_says_nothing() -> None:
    assert parse_timesync("       Server: n/a (ntp.example.org)\n Packet count: 0\n") is None


@settings(max_examples=200, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=300),
        st.text(alphabet="0123456789.+-,:eE nusmihd\n\tOffset", max_size=200),
        st.lists(st.text(alphabet="0123456789.-einfaN", max_size=12), min_size=14, max_size=14).map(
            lambda fields: ",".join([*fields[:13], "Normal"])
        ),
        st.text(max_size=40).map(lambda value: f"Offset: {value}\n"),
    )
)
def test_whatever_they_say_is_a_number_of_seconds_or_nothing(text: str) -> None:
    for parse in (parse_chrony, parse_timesync):
        seconds = parse(text)
        assert seconds is None or math.isfinite(seconds)


def test_the_first_that_knows_is_believed() -> None:
    asked: list[str] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(command[0])
        return TIMESYNC.format(offset="+5ms") if command[0] == "timedatectl" else ""

    assert clock_offset(ask) == (0.005, "systemd-timesyncd")
    assert asked == ["chronyc", "timedatectl"]
    nobody = clock_offset(lambda _: "")
    assert nobody.seconds is None
    assert "neither chrony nor systemd-timesyncd" in nobody.source


def test_a_program_that_hangs_fails_or_is_not_there_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (("hangs", "exec sleep 60"), ("fails", "echo 1; exit 1"), ("talks", "echo hello"),
                         ("endless", f"head -c {3 * MAX_BYTES} /dev/zero")):  # fmt: skip
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert output(["hangs"], 0.2) == ""
    assert output(["fails"]) == ""
    assert output(["talks"]) == "hello\n"
    assert len(output(["endless"])) == MAX_BYTES
    assert output(["no-such-program"]) == ""
