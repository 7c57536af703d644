"""When scheduled jobs are due."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.config import schedule


def after(text: str, when: str) -> str:
    moment = datetime.fromisoformat(when).replace(tzinfo=UTC)
    found = schedule(text).next_after(moment.timestamp())
    assert found is not None
    return f"{datetime.fromtimestamp(found, UTC):%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize(
    ("text", "when", "due"),
    [
        ("1 d at 12:00", "2026-03-20T11:59", "2026-03-20T12:00"),
        ("1 d at 12:00", "2026-03-20T12:00", "2026-03-21T12:00"),
        ("1 d", "2026-03-20T12:00", "2026-03-21T00:00"),
        ("6 h", "2026-03-20T12:00", "2026-03-20T18:00"),
        ("90 min", "2026-03-20T00:10", "2026-03-20T01:30"),
        ("30 12 * * *", "2026-03-20T12:29", "2026-03-20T12:30"),
        ("30 12 * * *", "2026-03-20T12:30", "2026-03-21T12:30"),
        ("*/15 8-10 * * *", "2026-03-20T10:45", "2026-03-21T08:00"),
        ("0 12 * * mon-fri", "2026-03-20T12:00", "2026-03-23T12:00"),
        ("0 12 * * 7", "2026-03-20T12:00", "2026-03-22T12:00"),
        ("0 0 29 feb *", "2026-03-20T12:00", "2028-02-29T00:00"),
        ("0 0 1 * 0", "2026-03-20T12:00", "2026-03-22T00:00"),
        ("5,35 1/6 31 */2 *", "2026-03-20T12:00", "2026-03-31T01:05"),
    ],
)
def test_the_next_instant_is_found(text: str, when: str, due: str) -> None:
    assert after(text, when) == due


@pytest.mark.parametrize(
    "text",
    ["", "daily", "1 d at 25:00", "6 h at 12:00", "0 s", "60 12 * * *", "* * 30 feb *", "* * * * mun", "5-1 * * * *",
     "*/0 * * * *", "* * * *", "1 fortnight", "1 d at noon", "-1 * * * *", "1-*/2 * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no schedule|must be"):
        schedule(text)


FIELD = st.one_of(st.just("*"), st.integers(1, 23).map(str), st.integers(1, 9).map("*/{}".format))
DAYS = st.one_of(st.just("*"), st.integers(1, 28).map(str))
WEEKDAYS = st.one_of(st.just("*"), st.integers(0, 7).map(str))


@given(FIELD, FIELD, DAYS, WEEKDAYS, st.integers(0, 4_000_000_000))
def test_cron_finds_the_first_minute_that_fits(minute: str, hour: str, day: str, weekday: str, begin: int) -> None:
    """By looking at every minute, as cron itself does."""
    made = schedule(f"{minute} {hour} {day} * {weekday}")
    found = made.next_after(begin)
    assert found is not None
    assert found > begin
    moment = datetime.fromtimestamp(begin, UTC).replace(second=0) + timedelta(minutes=1)
    minutes, hours, days, _, weekdays = made.fields
    for _ in range(3000):
        either = day != "*" and weekday != "*"
        fits = [moment.day in days, moment.isoweekday() % 7 in weekdays]
        if moment.minute in minutes and moment.hour in hours and (any(fits) if either else all(fits)):
            assert moment.timestamp() == found
            return
        moment += timedelta(minutes=1)
    assert found > moment.timestamp() - 60


@given(st.text())
def test_no_text_is_an_unexpected_error(text: str) -> None:
    with suppress(ValueError):
        assert schedule(text).next_after(0.0) is not None
