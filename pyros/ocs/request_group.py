"""A request group of the OCS dialect as one of our requests, or its mistakes nested as the group is.

Fields by the Observation Portal's documentation (https://observatorycontrolsystem.github.io/) and TOM Toolkit 3.1's
`OCSFacility`. One request in a group, with one target; several configurations follow each other. ``ipp_value`` is
worth in our sense: twice the factor is ten more of priority. RAPID_RESPONSE is 100 more, and not interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pyros.angles import unix_of_mjd
from pyros.messages import Observation
from pyros.planning.intake.draft import Draft
from pyros.planning.intake.names import NamedPosition
from pyros.planning.intake.validation import Reviewer

INSTRUMENT = "CAMERA"
TELESCOPE_CLASS = "0m0"
EXPOSE = "EXPOSE"
READOUT = "default"
RAPID_PRIORITY = 100
MAX_WINDOWS = 100
_MAS_PER_DEGREE = 3_600_000.0
_J2000 = 2000.0
_REQUIRED = "This field is required."
_NOT_HERE = "PYROS doesn't know this field, and would ignore it; leave it out."

Errors = dict[str, Any]


class _Mapping:
    """A mapping of the payload while it is read: what is left at the end was not understood."""

    def __init__(self, content: Any) -> None:
        self.errors: Errors = {}
        self._left: dict[str, Any] = dict(content) if isinstance(content, Mapping) else {}
        if not isinstance(content, Mapping):
            self.errors["non_field_errors"] = ["Expected an object."]

    def take(self, key: str, read: Callable[[Any], Any], default: Any = ...) -> Any:
        """Return the value; ``default`` for none, null or ''; with `...` it must be there."""
        value = self._left.pop(key, None)
        if value is None or value == "":
            if default is ...:
                self.errors.setdefault(key, [_REQUIRED])
            return None if default is ... else default
        try:
            return read(value)
        except ValueError as error:
            self.errors[key] = [str(error)]
        return None if default is ... else default

    def nested(self, key: str, read: Callable[[Any], tuple[Any, Errors]], *, needed: bool = True) -> Any:
        """Return what ``read`` makes of an object inside."""
        if key not in self._left and not needed:
            return None
        made, errors = read(self._left.pop(key, None))
        if errors:
            self.errors[key] = errors
        return made

    def each(self, key: str, read: Callable[[Any], tuple[Any, Errors]], most: int) -> list[Any]:
        """Return what ``read`` makes of each of a list, which must have one at least."""
        content = self._left.pop(key, None)
        if not isinstance(content, list) or not content:
            self.errors[key] = [_REQUIRED]
            return []
        if len(content) > most:
            self.errors[key] = [f"There are {len(content)}; {most} at most are taken."]
            return []
        made = [read(each) for each in content]
        if any(errors for _, errors in made):
            self.errors[key] = [errors for _, errors in made]
        return [value for value, _ in made]

    def end(self) -> Errors:
        """Return the errors, with one for each field that nobody took and that says something."""
        for key, value in self._left.items():
            if value not in (None, "", {}, []):
                self.errors.setdefault(str(key)[:100], [_NOT_HERE])
        return self.errors


def read_group(
    payload: Any, *, number: int, owner: str, now: float, filters: Sequence[str], taken: Sequence[str] = ()
) -> tuple[Observation | None, Errors]:
    """Return the request that a group means, under the id ``ocs-NUMBER``, or its errors, nested as the group is.

    ``filters`` are those that there are; () where that isn't known. ``now`` is Unix seconds. Any thread.
    """
    group = _Mapping(payload)
    name = group.take("name", _text(50))
    proposal = group.take("proposal", _text(100))
    factor = group.take("ipp_value", _number(0.5, 2.0), 1.0)
    mode = group.take("observation_type", _one_of("NORMAL", "RAPID_RESPONSE"), "NORMAL")
    group.take("operator", _one_of("SINGLE"), "SINGLE")
    group.take("submitter", _text(100), "")
    requests = group.each("requests", lambda content: _request(content, filters, now), 1)
    errors = group.end()
    if errors:
        return None, errors
    (values,) = requests
    rapid = mode == "RAPID_RESPONSE"
    values |= {
        "id": f"ocs-{number}", "priority": round(10 * math.log2(factor)) + RAPID_PRIORITY * rapid, "owner": owner,
        "proposal": proposal, "comment": name, "interruptible": not rapid,
    }  # fmt: skip
    reviewer = Reviewer(_no_names, now, owner, {"filter": tuple(filters)}, taken)
    request = reviewer.review(Draft("requests 1", values))
    if request is None:
        return None, {
            "requests": [{"non_field_errors": [each.removeprefix("requests 1 ") for each in reviewer.problems]}]
        }
    return request, {}


def _request(content: Any, filters: Sequence[str], now: float) -> tuple[dict[str, Any], Errors]:
    request = _Mapping(content)
    request.take("optimization_type", _one_of("TIME"), "TIME")
    repeats = request.take("configuration_repeats", _whole(1, 100), 1)
    windows = request.each("windows", lambda each: _window(each, now), MAX_WINDOWS)
    request.nested("location", _location, needed=False)
    configurations = request.each("configurations", lambda each: _configuration(each, filters, now), 20)
    errors = request.end()
    values: dict[str, Any] = {"windows": windows}
    if errors:
        return values, errors
    first = configurations[0]
    if any(each["target"] != first["target"] for each in configurations):
        return values, {"configurations": ["All configurations of a request must have the same target here."]}
    values |= first["target"]
    values["exposures"] = [each for made in configurations for each in made["exposures"]] * repeats
    if len(values["exposures"]) > 100:
        return values, {"configuration_repeats": ["A request has 100 instrument configurations at most, with repeats."]}
    for key, strictest in (("max_airmass", min), ("moon_distance", max), ("moon_illumination", min)):
        given = [each["constraints"][key] for each in configurations if each["constraints"][key] is not None]
        if given:
            values[key] = strictest(given)
    return values, {}


def _configuration(content: Any, filters: Sequence[str], now: float) -> tuple[dict[str, Any], Errors]:
    it = _Mapping(content)
    it.take("type", _one_of(EXPOSE))
    it.take("instrument_type", _one_of(INSTRUMENT))
    exposures = it.each("instrument_configs", lambda each: _instrument_config(each, filters), 100)
    constraints = it.nested("constraints", _constraints)
    target = it.nested("target", lambda each: _target(each, now))
    for key in ("acquisition_config", "guiding_config"):
        it.nested(key, _nothing_to_do, needed=False)
    return {"exposures": exposures, "constraints": constraints, "target": target}, it.end()


def _instrument_config(content: Any, filters: Sequence[str]) -> tuple[dict[str, Any], Errors]:
    it = _Mapping(content)
    count = it.take("exposure_count", _whole(1, 10_000), 1)
    seconds = it.take("exposure_time", _number(0.001, 86_400.0))
    it.take("mode", _one_of(READOUT), READOUT)

    def elements(each: Any) -> tuple[Any, Errors]:
        inside = _Mapping(each)
        code = inside.take("filter", _one_of(*filters) if filters else _text(100))
        return code, inside.end()

    filter_ = it.nested("optical_elements", elements)
    return {"filter": filter_, "seconds": seconds, "count": count}, it.end()


def _constraints(content: Any) -> tuple[dict[str, Any], Errors]:
    it = _Mapping({} if content is None else content)
    made = {
        "max_airmass": it.take("max_airmass", _number(1.0, 40.0), None),
        "moon_distance": it.take("min_lunar_distance", _number(0.0, 180.0), None),
        "moon_illumination": it.take("max_lunar_phase", _number(0.0, 1.0), None),
    }
    return made, it.end()


def _target(content: Any, now: float) -> tuple[dict[str, Any], Errors]:
    it = _Mapping(content)
    kind = it.take("type", _one_of("ICRS", "ORBITAL_ELEMENTS"))
    made: dict[str, Any] = {"target": it.take("name", _text(50))}
    if kind == "ICRS":
        ra, dec = it.take("ra", _number(0.0, 360.0)), it.take("dec", _number(-90.0, 90.0))
        motion = [it.take(f"proper_motion_{axis}", _number(-20_000.0, 20_000.0), 0.0) for axis in ("ra", "dec")]
        epoch = it.take("epoch", _number(1900.0, 2100.0), _J2000)
        it.take("parallax", _number(0.0, 2000.0), 0.0)  # a place moves by less than an arcsecond by it
        if not it.errors:
            years = _year(now) - epoch
            cosine = max(math.cos(math.radians(dec)), 1e-6)
            made["ra"] = (ra + motion[0] / _MAS_PER_DEGREE / cosine * years) % 360.0
            made["dec"] = max(-90.0, min(90.0, dec + motion[1] / _MAS_PER_DEGREE * years))
    elif kind == "ORBITAL_ELEMENTS":
        scheme = it.take("scheme", _one_of("MPC_COMET", "MPC_MINOR_PLANET"))
        fields = {"i": "orbinc", "node": "longascnode", "peri": "argofperih", "e": "eccentricity"}
        if scheme == "MPC_MINOR_PLANET":
            fields |= {"a": "meandist", "M": "meananom", "epoch": "epochofel"}
        else:
            fields |= {"q": "perihdist", "T": "epochofperih"}
            it.take(
                "epochofel", _number(0.0, 100_000.0), None
            )  # the elements are osculating: those of a comet hold by T
        made["orbit"] = {key: it.take(field, _number(-400.0, 100_000.0)) for key, field in fields.items()}
    return made, it.end()


def _window(content: Any, now: float) -> tuple[dict[str, Any], Errors]:
    it = _Mapping(content)
    begin, end = it.take("start", _instant), it.take("end", _instant)
    errors = it.end()
    if not errors and end <= begin:
        errors = {"end": ["The window ends before it begins."]}
    elif not errors and end <= now:
        errors = {"end": ["The window has ended already."]}
    return {"from": None if begin is None else _utc(begin), "until": None if end is None else _utc(end)}, errors


def _location(content: Any) -> tuple[None, Errors]:
    it = _Mapping({} if content is None else content)
    it.take("telescope_class", _one_of(TELESCOPE_CLASS), "")
    return None, it.end()


def _nothing_to_do(content: Any) -> tuple[None, Errors]:
    """Read a guiding or acquisition: there is none here, so that only OFF, or what is optional, can be honoured."""
    it = _Mapping({} if content is None else content)
    optional = it.take("optional", _yes, False)
    mode = it.take("mode", _text(50), "OFF")
    if mode != "OFF" and not optional:
        it.errors["mode"] = ["Only OFF can be honoured here, unless it is optional."]
    return None, it.end()


def _no_names(name: str) -> NamedPosition:
    raise ValueError(f"{name!r} has no position")


def _text(most: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise ValueError("Not a valid string.")
        if len(value) > most:
            raise ValueError(f"Ensure this field has no more than {most} characters.")
        return value.strip()

    return read


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{str(value)[:50]!r} cannot be honoured here; there is: {', '.join(allowed)}")
        return str(value)

    return read


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool | list | dict) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"A number from {low:g} to {high:g} is required.")
        return number

    return read


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = _number(low, high)(value)
        if number != int(number):
            raise ValueError("A valid integer is required.")
        return int(number)

    return read


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be a valid boolean.")
    return value


def _instant(value: Any) -> float:
    """Read a time, UTC where it has no zone; or an MJD, as our own orbits have it."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 100_000:
        return unix_of_mjd(float(value))
    try:
        when = datetime.fromisoformat(str(value).strip())
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("Datetime has wrong format; give one like 2026-12-01T22:30:00Z.") from None


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _year(now: float) -> float:
    return _J2000 + (now - 946_728_000.0) / (365.25 * 86_400.0)
