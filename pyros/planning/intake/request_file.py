"""The observatory's own files of requests: YAML and CSV (docs/requests.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pyros.files import LinedMapping, LinedMappings, read_yaml
from pyros.planning.intake.draft import Draft, Drafts
from pyros.planning.intake.names import read_csv
from pyros.planning.intake.validation import KEYS

_TOP_KEYS = ("requests", "defaults")
_CADENCE_COLUMNS = {"every": "every", "tolerance": "tolerance", "start": "start", "times": "count"}
CSV_COLUMNS = (*(key for key in KEYS if key not in ("orbit", "windows", "cadence")), *_CADENCE_COLUMNS)
"""Columns of a CSV file: what has one value, and a cadence in four columns."""


class _NoBase60(LinedMappings):
    """YAML without numbers of base 60 and 8: 05:35:17 is a right ascension, and not 20117."""


_NoBase60.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("int", "float")]
    for first, resolvers in LinedMappings.yaml_implicit_resolvers.items()
}
_NoBase60.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_NoBase60.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def load_requests_yaml(path: Path) -> Any:
    """Return what a YAML file holds, its mappings with their lines; raises ValueError as `read_yaml` does."""
    return read_yaml(path, _NoBase60)


def read_requests_yaml(path: Path) -> Drafts:
    """Read a file with the key ``requests`` (a list), and ``defaults`` for all of them if wanted."""
    found = Drafts()
    try:
        document = load_requests_yaml(path)
    except ValueError as error:
        found.problems.append(f"{path}: {error}")
        return found
    if not isinstance(document, dict) or not isinstance(document.get("requests"), list) or not document["requests"]:
        found.problems.append(f"{path}: must have the key 'requests': a list of requests")
        return found
    found.problems += [
        f"{path}: {key}: unknown key; known are {', '.join(_TOP_KEYS)}" for key in document if key not in _TOP_KEYS
    ]
    defaults = document.get("defaults") or {}
    if not isinstance(defaults, dict):
        found.problems.append(f"{path}: defaults: must be a mapping of keys of a request")
        defaults = {}
    for number, content in enumerate(document["requests"], 1):
        if not isinstance(content, LinedMapping):
            found.problems.append(f"{path}: request {number}: must be a mapping with target, exposures ...")
            continue
        name = content.get("id") or content.get("target") or f"request {number}"
        words = {str(key): f"{key} (line {line})" for key, line in content.lines.items() if line != content.line}
        found.drafts.append(Draft(f"{path}: line {content.line} ({name})", {**defaults, **content}, words))
    return found


def read_requests_csv(path: Path) -> Drafts:
    """Read a CSV file: a heading with ``target``, ``exposures`` (``R:60x3; B:60x3``) and other keys; a row a request.

    An empty cell says nothing about its key.
    """
    found = Drafts()
    for line, row in read_csv(path, ("target", "exposures"), CSV_COLUMNS, found.problems):
        values: dict[str, Any] = {key: cell for key, cell in row.items() if cell and key not in _CADENCE_COLUMNS}
        cadence = {key: row[column] for column, key in _CADENCE_COLUMNS.items() if row.get(column)}
        words = {f"cadence {key}": column for column, key in _CADENCE_COLUMNS.items()}
        if cadence:
            values["cadence"] = cadence
        name = row.get("id") or row["target"] or "a request"
        found.drafts.append(Draft(f"{path}: line {line} ({name})", values, words | {"cadence": "every"}))
    return found
