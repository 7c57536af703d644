"""Rule files to begin with, one for each kind of team; the first line of each says for whom."""

from __future__ import annotations

from importlib.resources import files

_FOLDER = files("pyros.alerts.rules").joinpath("templates")
KINDS = tuple(sorted(each.name.removesuffix(".yaml") for each in _FOLDER.iterdir() if each.name.endswith(".yaml")))
"""The kinds of team that there is a template for."""


def template(kind: str) -> str:
    """Return the rules for a kind of team as YAML; ``kind`` is one of `KINDS`."""
    return _FOLDER.joinpath(f"{kind}.yaml").read_text(encoding="utf-8")


def purpose(kind: str) -> str:
    """Return for whom a template is, one line."""
    return template(kind).partition("\n")[0].removeprefix("# ")
