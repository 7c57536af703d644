"""Keys and values that people wrote, as frozen values; or every mistake, with what would be right."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from pyros.prepared import prepared

_S = TypeVar("_S", bound=msgspec.Struct)


def decode(data: Mapping[Any, Any], target: type[_S], strict: bool = True) -> tuple[_S | None, list[str]]:
    """Decode keys and values to a struct, or say what is wrong with each; not ``strict``: the values are texts."""
    problems = []
    fields = {field.encode_name: field for field in msgspec.structs.fields(target)}
    if target.__struct_config__.forbid_unknown_fields:
        for key in data.keys() - fields.keys():
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(fields)}"
            problems.append(f"{key}: there is no such key; {hint}")
        problems.sort()
    for name, field in fields.items():
        right = _right(field.type)
        if name not in data:
            if field.required:
                problems.append(f"{name}: is missing; it must be {right}")
            continue
        if parts := _inside(data[name], field.type, strict):
            problems += [f"{name}: {problem}" for problem in parts]
            continue
        try:
            msgspec.convert(data[name], prepared(field.type), strict=strict)
            reason = "" if _finite(data[name]) else "Not a finite number"
        except msgspec.ValidationError as problem:
            reason = str(problem)
        if reason:
            inside = f" ({reason})" if isinstance(data[name], dict | list) else ""
            problems.append(f"{name}: must be {right}, not {short(data[name])}{inside}")
    if problems:
        return None, problems
    known = {key: value for key, value in data.items() if key in fields}
    return msgspec.convert(known, prepared(target), strict=strict), []


def _inside(value: object, type_: Any, strict: bool) -> list[str]:
    """Return what is wrong with each of named parts, such as {lamp: {value: 0}}."""
    inner = get_args(type_)[0] if get_origin(type_) is Annotated else type_
    if get_origin(inner) is not dict or not isinstance(value, dict):
        return []
    target = get_args(inner)[1]
    if not (isinstance(target, type) and issubclass(target, msgspec.Struct)):
        return []
    parts = {key: part for key, part in value.items() if isinstance(part, dict)}
    return [f"{key}: {problem}" for key, part in parts.items() for problem in decode(part, target, strict)[1]]


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _right(type_: Any) -> str | None:
    """Return the description of a type, or of the first that has one in a union; of words, which they may be."""
    metas = [meta for each in (type_, *get_args(type_)) for meta in get_args(each) if isinstance(meta, Meta)]
    described = next((meta.description for meta in metas if meta.description), None)
    if described is None and (words := _words(type_)):
        return f"one of {', '.join(words)}"
    return described


def _words(type_: Any) -> list[str]:
    if get_origin(type_) is Literal:
        return [str(word) for word in get_args(type_)]
    return [word for each in get_args(type_) for word in _words(each)]


def short(value: object) -> str:
    """Return a value as a complaint may repeat it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
