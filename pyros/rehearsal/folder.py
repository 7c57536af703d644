"""The folder of a rehearsal: a copy of the demo observatory with the instruments and options that are asked for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyros.config import (
    CENTRAL_SCHEDULER,
    FILE_NAME,
    INSTRUMENTS,
    SHARED_KINDS,
    STANDARD_AGENTS,
    demo_file,
    lies_within,
)

_FIRST_AGENT_PORT = 5001
_GUARDIAN_PORT = 5199
_OF_THE_WHOLE = ("alert_manager", "notifier")

Keys = Mapping[str, Mapping[str, Any]]
"""Keys and their values by the device, or the section, that they are for."""


def write_observatory(
    folder: Path,
    instruments: Sequence[str],
    *,
    devices: Keys,
    options: Keys,
    rules: str | None,
    guardian: bool,
    telescopes: Sequence[str] = (),
    sites: Mapping[str, str] | None = None,
) -> Path:
    """Write the rehearsed observatory into ``folder`` and return the path of its configuration.

    ``devices`` replaces keys of the simulators' descriptions, ``options`` adds keys to sections of the configuration,
    ``rules`` replaces the demo's alert rules. ``telescopes`` are the units of several: each has instruments of its own,
    but weather and safety monitor are the whole's, or of the unit that is a telescope's first word where it has two.
    ``sites`` are the sites' descriptions (YAML) of such units. Devices and options of a kind are for all of them.
    """
    observatory = folder / "observatory"
    shutil.copytree(demo_file().parent / "observatory", observatory)
    if rules is not None:
        (observatory / "alert_rules.yaml").write_text(rules, encoding="utf-8")
    for unit, text in (sites or {}).items():
        (observatory / f"{unit}.yaml").write_text(text, encoding="utf-8")
    ports: dict[str, int] = {}
    files = []
    for kind in instruments:
        text = (observatory / "simulators" / f"{kind}.yaml").read_text("utf-8")
        for name in _sections(kind, telescopes):
            unit = name.partition(" ")[2]
            files.append(observatory / "simulators" / f"{name.replace(' ', '_')}.yaml")
            files[-1].write_text(_of_unit(text, unit, telescopes, sites or {}), encoding="utf-8")
            ports[name] = _replace_keys(files[-1], {**devices.get(kind, {}), **devices.get(name, {})})
    lines = [
        "[observatory]", "name = rehearsal", "site = observatory/site.yaml",
        "alert_rules = observatory/alert_rules.yaml",
        "simulators = " + " ".join(f"observatory/simulators/{file.name}" for file in files),
        "[broker]",
        *_key_lines(options.get("broker", {})),
    ]  # fmt: skip
    for unit in sites or {}:
        lines += [f"[unit {unit}]", f"site = observatory/{unit}.yaml"]
    for port, name in enumerate(_sections("guardian", telescopes), _GUARDIAN_PORT):
        lines += [f"[{name}]", f"port = {port}"] * guardian
    kinds = [kind for kind in STANDARD_AGENTS if kind in instruments or kind not in INSTRUMENTS]
    if len(telescopes) < 2:
        kinds.remove(CENTRAL_SCHEDULER)
    agents = [name for kind in kinds for name in _sections(kind, telescopes)]
    for port, name in enumerate(agents, _FIRST_AGENT_PORT):
        native = {"driver": "native", "address": f"tcp:127.0.0.1:{ports[name]}"} if name in ports else {}
        own = {**options.get(name.partition(" ")[0], {}), **options.get(name, {})}
        lines += [f"[{name}]", *_key_lines({"port": port, **native, **own})]
    path = folder / FILE_NAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _sections(kind: str, telescopes: Sequence[str]) -> list[str]:
    """Return the sections that there are of a kind."""
    if not telescopes or kind in (*_OF_THE_WHOLE, CENTRAL_SCHEDULER):
        return [kind]
    if kind in SHARED_KINDS:
        return list(dict.fromkeys(f"{kind} {unit.rpartition(' ')[0]}".strip() for unit in telescopes))
    return [f"{kind} {unit}" for unit in telescopes]


def _of_unit(text: str, unit: str, telescopes: Sequence[str], sites: Mapping[str, str]) -> str:
    """Return a simulator's description as that of a unit: with ports and a site of its own."""
    units = ["", *dict.fromkeys(unit.rpartition(" ")[0] for unit in telescopes), *telescopes]
    shift = 100 * list(dict.fromkeys(units)).index(unit)
    text = re.sub(r"(\btcp:(?:127\.0\.0\.1:)?)(6\d\d\d)\b", lambda found: f"{found[1]}{int(found[2]) + shift}", text)
    site = next((name for name in sites if lies_within(unit, name)), "site")
    return text.replace("../site.yaml", f"../{site}.yaml")


def _key_lines(keys: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {value}" for key, value in keys.items()]


def _replace_keys(description: Path, keys: Mapping[str, Any]) -> int:
    """Replace keys of a simulator's description, and return the port that it listens on."""
    lines = [line for line in description.read_text("utf-8").splitlines() if line.partition(":")[0] not in keys]
    text = "\n".join([*lines, *(f"{key}: {value}" for key, value in keys.items())]) + "\n"
    description.write_text(text, encoding="utf-8")
    (port,) = re.findall(r"^listen: tcp:(\d+)", text, re.MULTILINE)
    return int(port)
