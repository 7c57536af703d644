"""The folder of a rehearsal: a copy of the demo observatory with the instruments and options that are asked for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyros.config import FILE_NAME, INSTRUMENTS, STANDARD_AGENTS, demo_file

_FIRST_AGENT_PORT = 5001
_GUARDIAN_PORT = 5099

Keys = Mapping[str, Mapping[str, Any]]
"""Keys and their values by the device, or the section, that they are for."""


def write_observatory(
    folder: Path, instruments: Sequence[str], *, devices: Keys, options: Keys, rules: str | None, guardian: bool
) -> Path:
    """Write the rehearsed observatory into ``folder`` and return the path of its configuration.

    ``devices`` replaces keys of the simulators' descriptions, ``options`` adds keys to sections of the configuration,
    ``rules`` replaces the demo's alert rules.
    """
    shutil.copytree(demo_file().parent / "observatory", folder / "observatory")
    if rules is not None:
        (folder / "observatory" / "alert_rules.yaml").write_text(rules, encoding="utf-8")
    ports: dict[str, int] = {}
    for name in instruments:
        description = folder / "observatory" / "simulators" / f"{name}.yaml"
        ports[name] = _replace_keys(description, devices.get(name, {}))
    lines = [
        "[observatory]", "name = rehearsal", "site = observatory/site.yaml",
        "alert_rules = observatory/alert_rules.yaml",
        "simulators = " + " ".join(f"observatory/simulators/{name}.yaml" for name in instruments),
        "[broker]",
        *_key_lines(options.get("broker", {})),
        *["[guardian]", f"port = {_GUARDIAN_PORT}"] * guardian,
    ]  # fmt: skip
    agents = [name for name in STANDARD_AGENTS if name in ports or name not in INSTRUMENTS]
    for port, name in enumerate(agents, _FIRST_AGENT_PORT):
        native = {"driver": "native", "address": f"tcp:127.0.0.1:{ports[name]}"} if name in ports else {}
        lines += [f"[{name}]", *_key_lines({"port": port, **native, **options.get(name, {})})]
    path = folder / FILE_NAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _key_lines(keys: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {value}" for key, value in keys.items()]


def _replace_keys(description: Path, keys: Mapping[str, Any]) -> int:
    """Replace keys of a simulator's description, and return the port that it listens on."""
    lines = [line for line in description.read_text("utf-8").splitlines() if line.partition(":")[0] not in keys]
    text = "\n".join([*lines, *(f"{key}: {value}" for key, value in keys.items())]) + "\n"
    description.write_text(text, encoding="utf-8")
    (port,) = re.findall(r"^listen: tcp:(\d+)", text, re.MULTILINE)
    return int(port)
