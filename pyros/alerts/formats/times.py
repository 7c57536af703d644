"""Times as packets write them, made UTC."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import erfa

_ISO = re.compile(
    r"\s*(\d{4}|\d{2})([-/])(\d{1,2})\2(\d{1,2})[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,30}))?)?"
    r"\s*(?:(?:UTC|UT|GMT)?\s*([+-]\d{2}(?::?\d{2})?)|(Z|UTC|UT|GMT|TAI|TT|TDB|TCB|GPS))?\s*",
    re.ASCII | re.IGNORECASE,
)
_LONGEST = 64
_FARTHEST_ZONE = timedelta(hours=14)
_JULIAN = re.compile(
    r"\s*(?:M?JD\s*=?\s*)?((?:\d{5}|\d{7})(?:\.\d{1,12})?)\s*(UTC|UT|TAI|TT|TDB|TCB)?\s*", re.ASCII | re.IGNORECASE
)
_UNIX = re.compile(r"\s*([1-9]\d{9})(?:(\d{3}(?:\d{3}){0,2})|\.(\d{1,12}))?\s*", re.ASCII)
"""Seconds of Unix time, 2001 to 2286, with their fraction; or milliseconds, microseconds or nanoseconds."""
_COMPACT = re.compile(r"([12]\d{3})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)((?:[.,]\d{1,30})?(?:Z|[+-]\d\d:?\d\d)?)", re.ASCII)
"""ISO 8601's basic format."""
_ORDINAL = re.compile(r"([12]\d{3})[-:](\d{3})[T: ](\d\d:\d\d:\d\d.{0,40})", re.ASCII)
"""ISO 8601's day of the year, also with the colons of spacecraft (``2030:126:07:08:09``)."""
_UNIX_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_MJD_ZERO, _JD_MINUS_MJD = datetime(1858, 11, 17, tzinfo=UTC), 2_400_000.5
_MJD_BELIEVED = (40_000.0, 90_000.0)
"""1968 to 2105: other numbers are no days of anything that sends alerts."""
_TJD_ZERO = datetime(1968, 5, 24, tzinfo=UTC)
"""Truncated Julian Day 0 is MJD 40000."""
_TT_MINUS_TAI = 32.184
_TCB_EPOCH = datetime(1977, 1, 1, tzinfo=UTC)
_TCB_RATE = 1.550519768e-8
"""L_B of IAU 2006 resolution B3: TCB runs faster than TDB by this fraction since 1977."""


def parse_iso(text: str | None, scale: str = "UTC") -> datetime | None:
    """Read an ISO 8601 date and time, a (modified) Julian day or Unix seconds as UTC; None for ``2016-01--3T...``.

    Neither is day 0, nor a date alone: it tells no time.

    Args:
        text: with or without a zone (``Z``, ``+00:00``, ``UTC+0000``) or a scale of its own (``TDB``); without either
            it is in ``scale``.
        scale: UTC, TAI, TT, TDB, TCB or GPS. TDB is taken as TT (they differ by 2 ms). A barycentric time stays one:
            it may differ by 8.3 minutes from the arrival on Earth.
    """
    if text and (moment := _from_plain(text)) is not None:
        return moment if scale == "UTC" or text.endswith("Z") else _in_utc(moment, scale)
    if not text or len(text) >= _LONGEST:
        return None
    match = _ISO.fullmatch(_extended(text))
    return _from_iso(match, scale) if match else _from_julian(text, scale) or _from_unix(text)


def _from_iso(match: re.Match[str], scale: str) -> datetime | None:
    year, _, month, day, hour, minute, second, fraction, offset, word = match.groups()
    if len(year) == 2:  # GCN's oldest notation
        year = f"20{year}" if year < "70" else f"19{year}"
    micro = round(float(f"0.{fraction}") * 1_000_000) if fraction else 0
    try:
        if int(second or 0) > 60:
            return None
        whole_day = hour == "24" and (minute, int(second or 0), micro) == ("00", 0, 0)
        start = datetime(int(year), int(month), int(day), 0 if whole_day else int(hour), int(minute), tzinfo=UTC)
        moment = start + timedelta(days=whole_day, seconds=int(second or 0), microseconds=micro)
        scale = word.upper() if word else scale
        if offset:
            ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:].removeprefix(":") or 0))
            if ahead > _FARTHEST_ZONE:
                return None
            moment = moment - ahead if offset[0] == "+" else moment + ahead
        elif scale in _TO_UTC:
            moment = _TO_UTC[scale](moment)
    except (ValueError, OverflowError):
        return None
    return moment


def _extended(text: str) -> str:
    """Write a date in ISO 8601's other formats with month, day, hyphens and colons; return others as they are."""
    if match := _COMPACT.fullmatch(text.strip()):
        return "{}-{}-{}T{}:{}:{}{}".format(*match.groups())
    match = _ORDINAL.fullmatch(text.strip())
    if match is None:
        return text
    year, day, time = int(match[1]), int(match[2]), match[3]
    date = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    return f"{date:%Y-%m-%d}T{time}" if date.year == year else text


def _from_plain(text: str) -> datetime | None:
    """Read ``2026-01-02T03:04:05``, perhaps with a fraction of up to six digits and a Z; None for all else."""
    rest = text[19:].removesuffix("Z")
    if text[4:5] + text[7:8] + text[10:11] + text[13:14] + text[16:17] not in {"--T::", "-- ::"}:
        return None
    try:
        moment = datetime.fromisoformat(text[:19])
    except ValueError:
        return None
    if not rest:
        return moment.replace(tzinfo=UTC)
    digits = rest[1:]
    if rest[0] != "." or len(digits) > 6 or not (digits.isascii() and digits.isdigit()):
        return None
    return moment.replace(microsecond=int(f"{digits:0<6}"), tzinfo=UTC)


def _in_utc(moment: datetime, scale: str) -> datetime | None:
    try:
        return _TO_UTC[scale](moment) if scale in _TO_UTC else moment
    except (ValueError, OverflowError):
        return None


def _from_unix(text: str) -> datetime | None:
    match = _UNIX.fullmatch(text)
    if match is None:
        return None
    micro = round(float(f"0.{match[2] or match[3] or 0}") * 1_000_000)
    return _UNIX_ZERO + timedelta(seconds=int(match[1]), microseconds=micro)


def _from_julian(text: str, scale: str) -> datetime | None:
    match = _JULIAN.fullmatch(text)
    if match is None:
        return None
    day, scale = float(match[1]), (match[2] or scale).upper()
    day -= _JD_MINUS_MJD if day > _JD_MINUS_MJD else 0
    if not _MJD_BELIEVED[0] <= day <= _MJD_BELIEVED[1]:
        return None
    moment = _MJD_ZERO + timedelta(days=day)
    return _TO_UTC[scale](moment) if scale in _TO_UTC else moment


def from_tjd(tjd: float | None, seconds: float | None) -> datetime | None:
    """Convert a Truncated Julian Day and seconds of that day to UTC; None where they make no sense."""
    if tjd is None or seconds is None or not 0 <= seconds < 86_401 or not 0 <= tjd < 100_000:
        return None
    return _TJD_ZERO + timedelta(days=math.floor(tjd), seconds=seconds)


def _from_tai(moment: datetime) -> datetime:
    return moment - timedelta(seconds=_tai_minus_utc(moment.year, moment.month, moment.day))


def _from_tt(moment: datetime) -> datetime:
    return _from_tai(moment - timedelta(seconds=_TT_MINUS_TAI))


def _from_tcb(moment: datetime) -> datetime:
    return _from_tt(moment - (moment - _TCB_EPOCH) * _TCB_RATE)


def _from_gps(moment: datetime) -> datetime:
    return _from_tai(moment + timedelta(seconds=19))


@lru_cache(maxsize=64)
def _tai_minus_utc(year: int, month: int, day: int) -> float:
    """Return leap seconds, from the table in ERFA; 0 before 1960, where UTC did not exist.

    Beyond the years that ERFA vouches for (a year "dubious" to it) the last known value is used.
    """
    result: float = erfa.ufunc.dat(year, month, day, 0.0)[0]
    return float(result)


_TO_UTC: dict[str, Callable[[datetime], datetime]] = {
    "TAI": _from_tai,
    "TT": _from_tt,
    "TDB": _from_tt,
    "TCB": _from_tcb,
    "GPS": _from_gps,
}
