"""POCS's fields: YAML, a list of ``field`` (name, position) and ``observation`` (exptime, min_nexp, priority ...).

The format is that of PANOPTES' ``conf_files/fields``; older ones have all keys of an entry side by side. Where it says
nothing POCS takes 60 exposures of 120 s with priority 100, and so do we. It needs no filter; we do, so that one is
given for those without.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from pyros.files import LinedMapping, LinedMappings, read_yaml
from pyros.planning.intake.draft import Draft, Drafts

_EXPTIME_SECONDS = 120.0
_MIN_NEXP = 60
_PRIORITY = 100
_FIELD_KEYS = ("name", "position", "type")
_WORDS = {
    "target": "field name", "position": "field position", "priority": "observation priority",
    "seconds": "observation exptime", "count": "observation min_nexp", "filter": "observation filter_name",
}  # fmt: skip
"""What our keys are called there."""
_OLD_KEYS = {"name", "position"}
"""What an older entry has, beside the keys of its observation."""
_OBSERVATION_KEYS = ("priority", "exptime", "min_nexp", "exp_set_size", "filter_name", "tags", "type", "dark")


def looks_like_pocs(document: Any) -> bool:
    """Tell whether what YAML gave is a list of fields."""
    return isinstance(document, list) and any(
        isinstance(each, dict) and ("field" in each or each.keys() >= _OLD_KEYS) for each in document
    )


def read_pocs(path: Path, filter_name: str = "") -> Drafts:
    """Read a file of fields; ``filter_name`` is for those that name none."""
    found = Drafts()
    try:
        document = read_yaml(path, LinedMappings)
    except ValueError as error:
        found.problems.append(f"{path}: {error}")
        return found
    if not isinstance(document, list) or not document:
        found.problems.append(f"{path}: must be a list of entries with 'field' and 'observation', as POCS has them")
        return found
    for number, entry in enumerate(document, 1):
        _read_entry(path, number, entry, filter_name, found)
    return found


def _read_entry(path: Path, number: int, entry: Any, filter_name: str, found: Drafts) -> None:
    if not isinstance(entry, LinedMapping):
        found.problems.append(f"{path}: entry {number}: must be a mapping with 'field' and 'observation'")
        return
    entry = _nested(entry)
    field, observation = entry.get("field"), entry.get("observation", LinedMapping())
    name = field.get("name") if isinstance(field, LinedMapping) else None
    draft = Draft(f"{path}: line {entry.line} ({name or f'entry {number}'})", {})
    for key in entry:
        if key not in ("field", "observation"):
            found.problems.append(draft.problem(str(key), "unknown key; known are field, observation"))
    for part, content, known in (("field", field, _FIELD_KEYS), ("observation", observation, _OBSERVATION_KEYS)):
        if not isinstance(content, LinedMapping) and not (part == "observation" and content == {}):
            found.problems.append(draft.problem(part, f"must be a mapping with {', '.join(known[:3])} ..."))
            return
        for key in content:
            if key not in known:
                found.problems.append(draft.problem(f"{part} {key}", f"unknown key; known are {', '.join(known)}"))
    lines = {f"{part} {key}": line for part, content in (("field", field), ("observation", observation))
             if isinstance(content, LinedMapping) for key, line in content.lines.items()}  # fmt: skip
    draft.words = {ours: f"{word} (line {lines[word]})" if word in lines else word for ours, word in _WORDS.items()}
    draft.values["target"] = name
    draft.values["priority"] = observation.get("priority", _PRIORITY)
    if isinstance(field, LinedMapping) and "position" in field:
        draft.values["position"] = field["position"]
    if observation.get("tags"):
        draft.values["comment"] = f"tags: {', '.join(map(str, _list(observation['tags'])))}"
    if observation.get("dark"):
        found.problems.append(draft.problem("observation dark", "darks are the observatory's own; leave it out"))
    try:
        draft.values["exposures"] = _exposures(observation, filter_name)
    except ValueError as error:
        found.problems.append(draft.problem("observation exptime", str(error)))
    else:
        found.drafts.append(draft)


def _nested(entry: LinedMapping) -> LinedMapping:
    """Return an older entry as it is written today, with its lines; a newer one as it is."""
    if "field" in entry or not entry.keys() >= _OLD_KEYS:
        return entry
    field, observation, nested = LinedMapping(), LinedMapping(), LinedMapping()
    for each in (field, observation, nested):
        each.line, each.lines = entry.line, {}
    for key, value in entry.items():
        part = field if key in _FIELD_KEYS else observation
        name = "exptime" if key == "exp_time" else key
        part[name] = value
        part.lines[name] = entry.lines.get(key, entry.line)
    nested |= {"field": field, "observation": observation}
    return nested


def _exposures(observation: Mapping[str, Any], filter_name: str) -> list[dict[str, Any]]:
    """Return the exposures of an observation; raises ValueError for its exposure time."""
    times = _times(observation.get("exptime", _EXPTIME_SECONDS))
    named = observation.get("filter_name") or filter_name
    count = observation.get("min_nexp", _MIN_NEXP)
    counts = [count] * len(times)
    if isinstance(count, int) and len(times) > 1:  # a compound observation goes through its times until it has enough
        rounds, rest = divmod(count, len(times))
        counts = [rounds + (place < rest) for place in range(len(times))]
    return [
        {"filter": named, "seconds": seconds, "count": each}
        for seconds, each in zip(times, counts, strict=True)
        if each or count == 0
    ]


def _times(exptime: Any) -> list[float]:
    """Return exposure times in seconds: one, or those of a compound observation, which may be fractions."""
    times = []
    for each in _list(exptime):
        try:
            if isinstance(each, bool):
                raise ValueError
            times.append(float(Fraction(each.removesuffix("s").strip()) if isinstance(each, str) else each))
        except (TypeError, ValueError, ZeroDivisionError):
            raise ValueError(f"must be seconds, such as 120 or 1/250, or a list of them; not {each!r}") from None
    if not times:
        raise ValueError("must be seconds, such as 120, or a list of them")
    return times


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
