"""From what somebody wrote to a request that the scheduler takes: every mistake at once, in the file's own words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from pyros import coordinates
from pyros.angles import mjd_of_unix
from pyros.messages import Cadence, Constraints, Exposures, Observation, Orbit, Window
from pyros.planning.intake.draft import EXPOSURE_KEYS, EXPOSURE_WANTED, Draft, exposures
from pyros.planning.intake.names import NamedPosition
from pyros.prepared import prepared
from pyros.quantities import ANGLES, DURATIONS, quantity

T = TypeVar("T")
Find = Callable[[str], NamedPosition]
"""Where a name is; raises ValueError that says why that is not known."""
Limits = Mapping[str, tuple[str, ...]]
"""Names that the observatory has: ``filter`` and ``readout_mode``; what is not in it is not checked."""

PRIORITIES = (-100, 1000)
DEFAULT_PRIORITY = 0
FAR_SECONDS = 10 * 365.25 * 86_400.0
"""How long a window without an end lasts."""
_LONGEST_TEXT = 1000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_GAUSS_DEGREES_PER_DAY = 0.9856076686
"""Mean motion at 1 au, degrees a day (Gauss's constant)."""


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        try:
            number = int(value) if not isinstance(value, bool | float) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high:
            raise ValueError(f"must be a whole number from {low} to {high}; not {value!r}")
        return number

    return read


def _number(low: float, high: float, unit: str = "") -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not low <= number <= high:
            what = f"a number of {unit}" if unit else "a number"
            raise ValueError(f"must be {what} from {low:g} to {high:g}; not {value!r}")
        return number

    return read


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"must be a text; not {value!r}")
    if len(str(value)) > _LONGEST_TEXT:
        raise ValueError(f"is longer than {_LONGEST_TEXT} characters")
    return str(value).strip()


def _yes(value: Any) -> bool:
    words = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
    answer = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if answer is None:
        raise ValueError(f"must be yes or no; not {value!r}")
    return answer


def _identifier(value: Any) -> str:
    if not _ID.fullmatch(str(value)):
        raise ValueError(f"must be letters, digits and . _ + -, at most 100, such as m31-lrgb; not {value!r}")
    return str(value)


def moment(value: Any) -> float:
    """Read a time, UTC where it says no zone, as Unix seconds; raises ValueError."""
    when = value
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value.strip())
        except ValueError:
            when = None
    elif not isinstance(value, datetime) and hasattr(value, "year"):  # a date of YAML's
        when = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(when, datetime):
        raise ValueError(f"must be a time such as 2026-12-01T22:30 (UTC) or 2026-12-01T22:30+01:00; not {value!r}")
    try:
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"is no time that can be computed: {value!r}") from None


_SECONDS = quantity(DURATIONS, 0.001, 86_400.0)
_PERIOD = quantity(DURATIONS, 60.0, 3650 * 86_400.0)
_TOLERANCE = quantity(DURATIONS, 0.0, 3650 * 86_400.0)
_ANGLE = quantity(ANGLES, 0.0, 180.0)

_READERS: dict[str, Callable[[Any], Any]] = {
    "id": _identifier,
    "target": _text,
    "priority": _whole(*PRIORITIES),
    "min_altitude": _number(0, 89, "degrees"),
    "max_airmass": _number(1, 40),
    "moon_distance": _ANGLE,
    "moon_illumination": _number(0, 1),
    "sun_altitude": _number(-90, 0, "degrees"),
    "interruptible": _yes,
    "owner": _text,
    "proposal": _text,
    "telescope": _text,
    "comment": _text,
}
"""Keys with one value, each read by itself."""

KEYS = (
    "id", "target", "position", "ra", "dec", "orbit", "priority", "exposures", "min_altitude", "max_airmass",
    "moon_distance", "moon_illumination", "sun_altitude", "from", "until", "windows", "cadence", "interruptible",
    "owner", "proposal", "telescope", "comment",
)  # fmt: skip
"""All keys of a request."""

_EXPOSURE_READERS: dict[str, Callable[[Any], Any]] = {
    "filter": _text,
    "seconds": _SECONDS,
    "count": _whole(1, 10_000),
    "gain": _number(0, 1e6),
    "binning": _whole(1, 16),
    "dither": _number(0, 3600, "arcseconds"),
    "readout_mode": _text,
}
_ORBIT_KEYS = {
    "q": ("perihelion_distance", _number(1e-4, 1000, "astronomical units")),
    "e": ("eccentricity", _number(0, 10)),
    "i": ("inclination", _number(0, 180, "degrees")),
    "node": ("node", _number(-360, 360, "degrees")),
    "peri": ("argument", _number(-360, 360, "degrees")),
}
_ORBIT_WANTED = (
    "must be a mapping with q (au), e, i, node, peri (degrees) and T (perihelion), or a, e, i, node, peri, M and epoch"
)


class Reviewer:
    """What checks drafts: it finds names, and knows which filters and modes there are.

    ``problems`` gathers what is wrong with all drafts that were given to it. Plain Python; blocks where ``find`` does.
    """

    def __init__(
        self, find: Find, now: float, owner: str = "", limits: Limits | None = None, taken: Iterable[str] = ()
    ) -> None:
        """``now`` is when they are asked for, Unix seconds; ``owner`` is for requests that name none.

        ``taken`` are ids that the scheduler has already.
        """
        self.problems: list[str] = []
        self._find, self._now, self._owner, self._limits = find, now, owner, limits or {}
        self._ids: set[str] = set()
        self._taken = frozenset(taken)

    def review(self, draft: Draft) -> Observation | None:
        """Return the request that a draft means; None with its problems told."""
        before = len(self.problems)
        values = self._plain_values(draft)
        target = values.get("target") or ""
        place = self._place(draft, target)
        exposures = self._exposures(draft)
        windows = self._windows(draft)
        cadence = self._cadence(draft)
        orbit = self._orbit(draft)
        if "target" not in draft.values or draft.values["target"] is None:
            self._problem(draft, "target", "missing: the name of what is to be observed")
        id_ = values.get("id") or self._new_id(target or "request")
        if id_ in self._taken:
            self._problem(draft, "id", f"{id_!r} is there already; pyros request cancel {id_} withdraws that")
        if id_ in self._ids:
            self._problem(draft, "id", f"{id_!r} is the id of an earlier request in the file")
        self._ids.add(id_)
        if len(self.problems) > before or place is None:
            return None
        constraints = Constraints(
            max_airmass=values.get("max_airmass"),
            moon_distance=values.get("moon_distance", 0.0),
            moon_illumination=values.get("moon_illumination", 1.0),
            sun_altitude=values.get("sun_altitude"),
        )
        try:
            return msgspec.convert(
                msgspec.to_builtins(
                    Observation(
                        ra=place[0], dec=place[1], id=id_, target=target, exposures=exposures,
                        priority=values.get("priority", DEFAULT_PRIORITY),
                        min_altitude=values.get("min_altitude", 10.0), requested=self._now,
                        reason=values.get("comment", ""), orbit=orbit, constraints=constraints, windows=windows,
                        cadence=cadence, interruptible=values.get("interruptible", True),
                        owner=values.get("owner", self._owner), proposal=values.get("proposal", ""),
                        telescope=values.get("telescope", ""),
                    )
                ),
                prepared(Observation),
            )  # fmt: skip
        except msgspec.ValidationError as error:
            self._problem(draft, "target", str(error))
            return None

    def _problem(self, draft: Draft, key: str, text: str) -> None:
        self.problems.append(draft.problem(key, text))

    def _plain_values(self, draft: Draft) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in draft.values.items():
            if key not in KEYS:
                near = get_close_matches(str(key), KEYS, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KEYS)}"
                self._problem(draft, str(key), f"unknown key; {hint}")
            elif key in _READERS and value is not None:
                values[key] = self._read(draft, key, _READERS[key], value)
        return values

    def _read(self, draft: Draft, key: str, read: Callable[[Any], T], value: Any) -> T | None:
        """Return ``read(value)``; None, and a problem, where that raises ValueError."""
        try:
            return read(value)
        except ValueError as error:
            self._problem(draft, key, str(error))
            return None

    def _place(self, draft: Draft, target: str) -> tuple[float, float] | None:
        """Return ICRS degrees: as written, else of the name. A moving body's is anywhere: its orbit tells."""
        values = draft.values
        given = [key for key in ("position", "ra", "dec", "orbit") if values.get(key) is not None]
        if "orbit" in given:
            if len(given) > 1:
                self._problem(draft, "orbit", f"and {given[0]}: a body that moves has no fixed place; leave one out")
            return (0.0, 0.0)
        if "position" in given:
            if len(given) > 1:
                self._problem(draft, "position", "and ra or dec: leave one out")
            return self._read(draft, "position", coordinates.position, str(values["position"]))
        if given:
            return self._both(draft)
        return self._read(draft, "target", self._named, target) if target else None

    def _named(self, target: str) -> tuple[float, float]:
        found = self._find(target)
        return found.ra, found.dec

    def _both(self, draft: Draft) -> tuple[float, float] | None:
        read: list[float] = []
        for key, reader in (("ra", coordinates.right_ascension), ("dec", coordinates.declination)):
            try:
                if draft.values.get(key) is None:
                    raise ValueError("missing: both ra and dec are needed")
                read.append(reader(draft.values[key]))
            except ValueError as error:
                self._problem(draft, key, str(error))
        return (read[0], read[1]) if len(read) == 2 else None

    def _exposures(self, draft: Draft) -> tuple[Exposures, ...]:
        content = draft.values.get("exposures")
        if isinstance(content, str):
            content = self._read(draft, "exposures", exposures, content)
            if content is None:
                return ()
        if not isinstance(content, list) or not content:
            text = "must be a list of mappings, such as [{filter: R, seconds: 60, count: 3}]"
            self._problem(draft, "exposures", text)
            return ()
        if len(content) > 100:
            self._problem(draft, "exposures", f"has {len(content)} entries; 100 at most (count says how often)")
        entries = [self._exposure(draft, number, each) for number, each in enumerate(content, 1)]
        return tuple(each for each in entries if each is not None)

    def _exposure(self, draft: Draft, number: int, content: Any) -> Exposures | None:
        if isinstance(content, str):
            self._problem(draft, "exposures", f"{number}: must be a mapping; on the command line {EXPOSURE_WANTED}")
            return None
        if not isinstance(content, Mapping):
            self._problem(draft, "exposures", f"{number}: must be a mapping with filter, seconds, count ...")
            return None
        values: dict[str, Any] = {}
        before = len(self.problems)
        for key in (*content, *(each for each in ("filter", "seconds") if not content.get(each))):
            value = content.get(key)
            told = draft.words.get(key, f"exposures {number} {key}")
            if key not in EXPOSURE_KEYS:
                self.problems.append(f"{draft.where} {told}: unknown key; known are {', '.join(EXPOSURE_KEYS)}")
            elif value is None or value == "":
                if key in ("filter", "seconds") and f"{draft.where} {told}: missing" not in self.problems[before:]:
                    self.problems.append(f"{draft.where} {told}: missing")
            else:
                try:
                    values[key] = _EXPOSURE_READERS[key](value)
                    known = self._limits.get(key, ())
                    if known and values[key] not in known:
                        raise ValueError(f"{values[key]!r} is not there; there are {', '.join(known)}")
                except ValueError as error:
                    self.problems.append(f"{draft.where} {told}: {error}")
        return Exposures(**values) if len(self.problems) == before else None

    def _windows(self, draft: Draft) -> tuple[Window, ...]:
        content = draft.values.get("windows") or []
        outer = {key: draft.values[key] for key in ("from", "until") if draft.values.get(key) is not None}
        if content and outer:
            self._problem(draft, "windows", "and from or until: leave one out")
            return ()
        if not isinstance(content, list) or not all(isinstance(each, Mapping) for each in content):
            self._problem(draft, "windows", "must be a list of mappings with from and until")
            return ()
        windows = []
        for number, each in enumerate(content or ([outer] if outer else []), 1):
            name = f"windows {number} " if content else ""
            for key in each:
                if key not in ("from", "until"):
                    self._problem(draft, f"{name}{key}", "unknown key; known are from, until")
            begin, end = (
                default if each.get(key) is None else self._read(draft, f"{name}{key}", moment, each[key])
                for key, default in (("from", self._now), ("until", self._now + FAR_SECONDS))
            )
            if begin is None or end is None:
                continue
            if end <= begin:
                self._problem(draft, f"{name}until", "is before its beginning")
            elif end <= self._now:
                self._problem(draft, f"{name}until", "is over already")
            windows.append(Window(begin, end))
        return tuple(windows)

    def _cadence(self, draft: Draft) -> Cadence | None:
        content = draft.values.get("cadence")
        if content is None:
            return None
        if not isinstance(content, Mapping) or "every" not in content:
            text = "must be a mapping with every, and tolerance, start, count if wanted, such as {every: 3 d, count: 5}"
            self._problem(draft, "cadence", text)
            return None
        values: dict[str, Any] = {}
        readers = {"every": _PERIOD, "tolerance": _TOLERANCE, "start": moment, "count": _whole(1, 100_000)}
        for key, value in content.items():
            if key not in readers:
                self._problem(draft, f"cadence {key}", f"unknown key; known are {', '.join(readers)}")
            elif value is not None:
                values[key] = self._read(draft, f"cadence {key}", readers[key], value)
        if None in values.values() or "every" not in values:
            return None
        tolerance = values.get("tolerance", values["every"] / 4)
        if tolerance > values["every"] / 2:
            text = "is more than half of every: one could be made in the time of the next"
            self._problem(draft, "cadence tolerance", text)
            return None
        return Cadence(
            period=values["every"], tolerance=tolerance, start=values.get("start", self._now), count=values.get("count")
        )

    def _orbit(self, draft: Draft) -> Orbit | None:
        content = draft.values.get("orbit")
        if content is None:
            return None
        if not isinstance(content, Mapping):
            self._problem(draft, "orbit", _ORBIT_WANTED)
            return None
        known = (*_ORBIT_KEYS, "T", "a", "M", "epoch")
        by_mean_anomaly = "a" in content
        needed = ("e", "i", "node", "peri", *(("a", "M", "epoch") if by_mean_anomaly else ("q", "T")))
        before = len(self.problems)
        for key in content:
            if key not in known or key not in needed:
                self._problem(draft, f"orbit {key}", f"does not belong there: it {_ORBIT_WANTED}")
        values: dict[str, float] = {}
        readers: dict[str, Callable[[Any], float]] = {
            **{key: reader for key, (_, reader) in _ORBIT_KEYS.items()},
            "T": _mjd, "epoch": _mjd, "a": _number(1e-3, 1e5, "astronomical units"), "M": _number(-360, 360, "degrees"),
        }  # fmt: skip
        for key in needed:
            try:
                if content.get(key) is None:
                    raise ValueError(f"missing: it {_ORBIT_WANTED}")
                values[key] = readers[key](content[key])
            except ValueError as error:
                self._problem(draft, f"orbit {key}", str(error))
        if by_mean_anomaly and values.get("e", 0.0) >= 1:
            self._problem(draft, "orbit e", "must be below 1 with a and M; give q and T for a comet")
        if len(self.problems) > before:
            return None
        if by_mean_anomaly:
            values["q"] = values["a"] * (1 - values["e"])
            motion = _GAUSS_DEGREES_PER_DAY / values["a"] ** 1.5
            values["T"] = values["epoch"] - ((values["M"] + 180) % 360 - 180) / motion
        return Orbit(perihelion=values["T"], **{name: values[key] for key, (name, _) in _ORBIT_KEYS.items()})

    def _new_id(self, target: str) -> str:
        """Make an id of the target's name that no other request has."""
        begin = re.sub(r"[^A-Za-z0-9.+]+", "-", target).strip("-.+").lower()[:80] or "request"
        id_, number = begin, 1
        while id_ in self._ids or id_ in self._taken:
            number += 1
            id_ = f"{begin}-{number}"
        return id_


def _mjd(value: Any) -> float:
    """Read a modified or full Julian date, or a calendar date with a fraction of the day (2026-11-29.25)."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{4}-\d\d-\d\d)(\.\d+)", value.strip())):
        return mjd_of_unix(moment(match[1])) + float(match[2])
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if 2_400_000.5 < number < 2_500_000:
            return number - 2_400_000.5
        if 0 < number < 100_000:
            return number
        raise ValueError(f"must be a date such as 2026-11-29.25 or a (modified) Julian date; not {value!r}")
    try:
        return mjd_of_unix(moment(value))
    except ValueError:
        raise ValueError(f"must be a date such as 2026-11-29.25 or a (modified) Julian date; not {value!r}") from None
