"""Times and numbers as packets write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.alerts.formats import values
from pyros.alerts.formats.times import from_tjd, parse_iso

SCALES = ["UTC", "TAI", "TT", "TDB", "TCB", "GPS"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-02-29T01:02:03", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2016-02-29T01:02:03Z", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2016-02-29 01:02:03.518831+00:00", datetime(2016, 2, 29, 1, 2, 3, 518831, UTC)),
        ("2016-02-29T01:02:03+0200", datetime(2016, 2, 28, 23, 2, 3, tzinfo=UTC)),
        ("2016-02-29T01:02:03-00:30", datetime(2016, 2, 29, 1, 32, 3, tzinfo=UTC)),
        ("2016-02-29T01:02:03.1234567890", datetime(2016, 2, 29, 1, 2, 3, 123457, UTC)),
        ("2016-12-31T23:59:60", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-02-29T01:02", datetime(2016, 2, 29, 1, 2, tzinfo=UTC)),
        ("2016-02-29T01:02:03+14:00", datetime(2016, 2, 28, 11, 2, 3, tzinfo=UTC)),
        ("2016-02-29T01:02:03+99:99", None),
        ("2016-02-29t01:02:03z", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2016-02-29 01:02:03.000000UTC+0100", datetime(2016, 2, 29, 0, 2, 3, tzinfo=UTC)),
        ("2016-02-29 01:02:03 GMT", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2016-02-29T01:02:03 TAI", datetime(2016, 2, 29, 1, 1, 27, tzinfo=UTC)),
        ("2016-02-29T01:02:03Z+01:00", None),
        ("2016-02-29T01:02:03TAI+01:00", None),
        ("2016-02-29T01:02:03 CET", None),
        ("2016-02-29T01:02:03.12345678901234567890Z", datetime(2016, 2, 29, 1, 2, 3, 123457, UTC)),
        ("2016-02-29T01:02:03+02", datetime(2016, 2, 28, 23, 2, 3, tzinfo=UTC)),
        ("2016/02/29 01:02:03", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("24-06-25T09:31:03.50Z", datetime(2024, 6, 25, 9, 31, 3, 500_000, UTC)),
        ("98-06-25T09:31:03", datetime(1998, 6, 25, 9, 31, 3, tzinfo=UTC)),
        ("2016-02/29T01:02:03", None),
        ("61100.25", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("2461100.75", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("12345", None),
        ("9999999.5", None),
        ("2016", None),
        ("2015-02-29T01:02:03", None),
        ("2016-01--3T03:05:12.46", None),
        ("2022-01-00T23:16:14", None),
        ("2017-00-00T17:33:00.08", None),
        ("2015-01--6168T00:-24:-54.-77", None),
        ("2016-02-29T25:00:00", None),
        ("2016-02-29T01:02:61", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("20160229T010203Z", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("20160229T010203.5+02:00", datetime(2016, 2, 28, 23, 2, 3, 500_000, UTC)),
        ("2016-060T01:02:03Z", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2016:060:01:02:03.25", datetime(2016, 2, 29, 1, 2, 3, 250_000, UTC)),
        ("2015-366T01:02:03", None),
        ("2016-000T01:02:03", None),
        ("0000-060T01:02:03", None),
        ("1456707723", datetime(2016, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("1456707723.5", datetime(2016, 2, 29, 1, 2, 3, 500_000, UTC)),
        ("1456707723250", datetime(2016, 2, 29, 1, 2, 3, 250_000, UTC)),
        ("1456707723250001", datetime(2016, 2, 29, 1, 2, 3, 250_001, UTC)),
        ("1456707723250001000", datetime(2016, 2, 29, 1, 2, 3, 250_001, UTC)),
        ("MJD 61100.25", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("JD=2461100.75", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("57447.0 TAI", datetime(2016, 2, 28, 23, 59, 24, tzinfo=UTC)),
        ("2016-02-28T24:00:00Z", datetime(2016, 2, 29, tzinfo=UTC)),
        ("2016-02-28T24:00:01Z", None),
        ("0456707723", None),
        ("145670772325", None),
        ("2016-02-29", None),
        ("", None),
        (None, None),
    ],
)
def test_iso(text: str | None, moment: datetime | None) -> None:
    assert parse_iso(text) == moment


@pytest.mark.parametrize(
    ("scale", "utc"),
    [
        ("TAI", datetime(2017, 11, 25, 11, 59, 23, tzinfo=UTC)),
        ("TT", datetime(2017, 11, 25, 11, 58, 50, 816_000, UTC)),
        ("TDB", datetime(2017, 11, 25, 11, 58, 50, 816_000, UTC)),
        ("GPS", datetime(2017, 11, 25, 11, 59, 42, tzinfo=UTC)),
    ],
)
def test_time_scales(scale: str, utc: datetime) -> None:
    assert parse_iso("2017-11-25T12:00:00", scale) == utc
    assert parse_iso("2017-11-25T12:00:00Z", scale) == datetime(2017, 11, 25, 12, tzinfo=UTC)  # a zone is explicit


def test_barycentric_coordinate_time_runs_20_seconds_ahead_of_dynamical_time_by_2017() -> None:
    tcb, tdb = parse_iso("2017-11-25T12:00:00", "TCB"), parse_iso("2017-11-25T12:00:00", "TDB")
    assert tcb is not None
    assert tdb is not None
    assert (tdb - tcb).total_seconds() == pytest.approx(20.01, abs=0.01)


def test_truncated_julian_days() -> None:
    assert from_tjd(17384, 11112.46) == datetime(2015, 12, 28, 3, 5, 12, 460_000, UTC)
    assert from_tjd(17384, -1494.78) is None
    assert from_tjd(None, 5) is from_tjd(5, None) is from_tjd(1e9, 5) is None


@given(st.text(max_size=70), st.sampled_from(SCALES))
def test_any_text_is_a_time_or_none(text: str, scale: str) -> None:
    parse_iso(text, scale)


@given(
    st.from_regex(r"\d{4}-\d{1,2}-\d{1,2}T\d{1,2}:\d\d:\d\d(\.\d{1,12})?([+-]\d\d:?\d\d)?", fullmatch=True),
    st.sampled_from(SCALES),
)
def test_anything_like_a_time_is_one_or_none(text: str, scale: str) -> None:
    moment = parse_iso(text, scale)
    assert moment is None or moment.utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (1, 1.0),
        ("  4.90", 4.9),
        ("1e-3", 0.001),
        ("nan", None),
        ("inf", None),
        (True, None),
        (None, None),
        ([1], 1.0),
        ([1, 2], None),
        ([[1]], None),
        ([], None),
        ("0x1f", None),
        ("1_2.5", None),
        ("\u0661\u0662", None),
        ("12,5", None),
        ("12 30 00", None),
        ("", None),
        (10**400, None),
        ("9" * 70, None),
    ],
)
def test_numbers(value: object, result: float | None) -> None:
    assert values.number(value) == result


def test_galactic_latitude() -> None:
    assert values.galactic_latitude(266.405, -28.936) == pytest.approx(0, abs=0.01)  # the Galactic centre
    assert values.galactic_latitude(192.85948, 27.12825) == pytest.approx(90)
