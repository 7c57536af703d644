"""When a scheduled job is due: ``6 h``, ``1 d at 12:00``, or cron's five fields; UTC of the observatory's clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

from pyros.quantities import DURATIONS, quantity

_INTERVAL = re.compile(r"(?P<every>[\d.]+ *[a-z]+)(?: +at +(?P<hour>\d\d?):(?P<minute>\d\d))?")
_DAY = 86_400.0
_MIN_SECONDS = 1.0
_MAX_SECONDS = 400 * _DAY
_HORIZON_DAYS = 366 * 8 + 2
"""Within so many days every date of the calendar comes, the 29th of February too."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS), ("weekday", 0, 7, _WEEKDAYS),
)  # fmt: skip
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


class Schedule(msgspec.Struct, frozen=True):
    """Instants that come again and again."""

    text: str
    """As it was written."""
    seconds: float = 0.0
    """The distance between two instants, counted from 1970-01-01 00:00 UTC; 0 for cron's fields."""
    offset: float = 0.0
    """How long (seconds) after the beginning of such a span they are."""
    fields: tuple[frozenset[int], ...] = ()
    """Cron's: the minutes, hours, days of the month, months, and days of the week (0 is Sunday) on which they are."""
    any_day: bool = False
    """Cron's: a day fits where its number or its weekday does, for both are restricted."""

    def next_after(self, time: float) -> float | None:
        """Return the first instant after ``time`` (Unix seconds both); None when there is none (30 February)."""
        if self.seconds:
            return ((time - self.offset) // self.seconds + 1) * self.seconds + self.offset
        minutes, hours, *_ = self.fields
        moment = datetime.fromtimestamp(time, UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for _ in range(_HORIZON_DAYS):
            if self._fits(moment):
                for hour in sorted(hour for hour in hours if hour >= moment.hour):
                    first = moment.minute if hour == moment.hour else 0
                    if left := [minute for minute in minutes if minute >= first]:
                        return moment.replace(hour=hour, minute=min(left)).timestamp()
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        return None

    def _fits(self, moment: datetime) -> bool:
        _, _, days, months, weekdays = self.fields
        by_number, by_weekday = moment.day in days, moment.isoweekday() % 7 in weekdays
        return moment.month in months and (by_number or by_weekday if self.any_day else by_number and by_weekday)


def schedule(text: str) -> Schedule:
    """Read a schedule; raises ValueError that says what would be right."""
    words = text.split()
    if len(words) == 5 and not words[0][-1:].isalpha() and words[1:2] not in (["d"], ["h"], ["min"], ["s"]):
        return _cron(text, words)
    found = _INTERVAL.fullmatch(" ".join(words))
    if found is None:
        raise ValueError("is no schedule: write 6 h, 1 d at 12:00 (UTC), or cron's five fields, such as 30 12 * * 1-5")
    seconds = quantity(DURATIONS, _MIN_SECONDS, _MAX_SECONDS)(found["every"])
    if found["hour"] is None:
        return Schedule(text, seconds)
    if seconds % _DAY:
        raise ValueError("is no schedule: a time of day goes with whole days, such as 1 d at 12:00")
    hour, minute = int(found["hour"]), int(found["minute"])
    if hour > 23 or minute > 59:
        raise ValueError("is no schedule: a day has hours from 00:00 to 23:59")
    return Schedule(text, seconds, 3600.0 * hour + 60.0 * minute)


def _cron(text: str, words: list[str]) -> Schedule:
    fields = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    fields[4] = frozenset(day % 7 for day in fields[4])
    restricted = not words[2].startswith("*") and not words[4].startswith("*")
    made = Schedule(text, fields=tuple(fields), any_day=restricted)
    if made.next_after(0.0) is None:
        raise ValueError("is no schedule: that day never comes")
    return made


def _field(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    """Return the numbers that one of cron's fields stands for."""
    wrong = f"is no schedule: the {name} {text!r} is not like *, 5, 1-5, */10 or 1,2,8 of {low} to {high}"

    def number(word: str) -> int:
        if word.lower() in names:
            return names.index(word.lower()) + low
        value = int(word) if word.isascii() and word.isdigit() and len(word) < 3 else -1
        if not low <= value <= high:
            raise ValueError(wrong)
        return value

    numbers: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is None or (found["first"] == "*" and found["last"]):
            raise ValueError(wrong)
        step = int(found["step"] or 1)
        if found["first"] == "*":
            first, last = low, high
        else:
            first = number(found["first"])
            last = number(found["last"]) if found["last"] else high if found["step"] else first
        if not step or first > last:
            raise ValueError(wrong)
        numbers.update(range(first, last + 1, step))
    return frozenset(numbers)
