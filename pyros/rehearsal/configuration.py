"""The observatory that is rehearsed: a configuration of the user's, with every device simulated and nothing real."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pyros import config as configuration
from pyros import simulators
from pyros.config import AgentConfig, Agents, Config, GuardianConfig, StandardAgents
from pyros.errors import ConfigError, PyrosError
from pyros.files import read_yaml
from pyros.kinds import KINDS
from pyros.rehearsal.traffic import WELL_PLACED
from pyros.simulators import Description
from pyros.simulators.celestial import SiteCoordinates as SkySite
from pyros.simulators.description import SECOND_LANGUAGES
from pyros.site import Site
from pyros.unique import new_name

_FIRST_PORT = 20_000
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
_TELEMETRY = {"telemetry": "60"}
"""What `_SELDOM` measure that nobody looks at in a rehearsal: an hour of it costs as much as an hour of observing."""
_SELDOM = KINDS.keys() - {"telescope", "dome", "weather", "safety"}
_NEIGHBOURS = ("telescope", "filter_wheel", "focuser", "dome", "weather", "cover")
RULE, SOONER_RULE = "rehearsed burst", "rehearsed burst of which the place is known well"
"""The names of the rules for the rehearsal's own alerts."""

Images = str
"""``none``: no pixels at all; ``small``: 64 by 64; ``full``: as the camera's description says."""


@dataclass(frozen=True)
class Rehearsed:
    """What is rehearsed."""

    config: Config
    devices: dict[str, Description]
    """By their agents' names."""
    notes: tuple[str, ...]
    """What is not as in the configuration, for the report."""


def rehearsed(config: Config, folder: Path, *, rules: Path | None, images: Images) -> Rehearsed:
    """Make of a configuration one whose data are in ``folder``, and whose devices are all simulated.

    ``rules`` takes the place of its alert rules. Raises ConfigError or SimulatorError.
    """
    notes: list[str] = []
    ports = itertools.count(_FIRST_PORT)
    folder.mkdir(parents=True, exist_ok=True)
    listens = {name: next(ports) for name, section in config.agents.items() if section.kind in KINDS}
    devices = {name: _device(config, name, listens, images, notes) for name in listens}
    agents: dict[str, AgentConfig] = {}
    for name, section in config.agents.items():
        if not section.app:
            notes.append(f"{name} is left out: a program of its own runs that agent")
            continue
        if images == "none" and section.kind == "analyzer":
            notes.append(f"{name} is left out: there are no images")
            continue
        here: dict[str, Any] = (
            {"driver": "native", "address": f"tcp:127.0.0.1:{listens[name]}"} if name in listens else {}
        )
        here["options"] = {**_TELEMETRY, **section.options} if section.kind in _SELDOM else section.options
        agents[name] = msgspec.structs.replace(
            section, ip="127.0.0.1", port=next(ports), allow=_LOOPBACK, at=None, amqp=None, **here
        )
    broker = config.broker and msgspec.structs.replace(
        config.broker, ip="127.0.0.1", port=next(ports), receiver_port=next(ports), broadcaster_port=next(ports),
        remotes=(), kafka=(), tls=None, folder=None, allow=_LOOPBACK,
    )  # fmt: skip

    def alone(guardian: GuardianConfig) -> GuardianConfig:
        return msgspec.structs.replace(guardian, ip="127.0.0.1", port=next(ports), allow=_LOOPBACK)

    notes += [
        f"telescope {unit} has no dome, and isn't said to stand in the open (open_air = yes): it observes nothing"
        for unit in config.telescopes
        if "dome" not in (seen := config.seen_from(unit)).agents and not seen.agents["telescope"].open_air
    ]
    notes += _not_seen(config, images)
    if broker is None:
        notes.append("there is no [broker]: no alert can come")
    made = msgspec.structs.replace(
        config, data=folder / "data", agents=Agents(agents.values()),
        broker=broker, guardian=config.guardian and alone(config.guardian), clock="real", on_alarm=(),
        unit_guardians={unit: alone(guardian) for unit, guardian in config.unit_guardians.items()},
        group="", amqp=None, key=None, archive="", alert_rules=_rules(config, rules, folder),
        simulators=tuple(description.file for description in devices.values()),
    )  # fmt: skip
    _write_key(made)
    return Rehearsed(made, devices, tuple(notes))


def _not_seen(config: Config, images: Images) -> list[str]:
    """Say which calibrations that the majordomes have options for fail, for their images show too little."""
    majordomes = [section for section in config.agents.values() if section.kind == StandardAgents.MAJORDOME]
    options = {name for section in majordomes for name in section.options}
    failing = ["no focus is found"] if any(name.startswith("focus") for name in options) else []
    if "flats" in options and images == "none":
        failing.append("no flats are taken")
    why = "nothing is drawn" if images == "none" else "64 x 64 pixels show too few stars"
    return [f"{' and '.join(failing)}, for {why}: --images full is for that"] if failing and images != "full" else []


def _device(config: Config, name: str, listens: dict[str, int], images: Images, notes: list[str]) -> Description:
    """Return the description of the simulated device that stands for an agent's: its own, or the demo's."""
    section, found = config.agents[name], None
    seen = config.seen_from(section.unit)
    only = sum(other.kind == section.kind for other in config.agents.values()) == 1
    port = section.address.rpartition(":")[2]
    for path in config.simulators:
        description = simulators.load(path)
        here = only or description.listen.split(":")[1] == port
        if description.device == section.kind and here and section.driver == "native":
            found = description
    if found is None:
        demo = configuration.demo_file().parent / "observatory" / "simulators"
        found = simulators.load(demo / f"{section.kind}.yaml")
        notes.append(f"{name}: its {section.driver} device at {section.address} is replaced by a simulated one")
    keys = found.settings.__struct_fields__
    changes: dict[str, object] = {"listen": f"tcp:{listens[name]}:interface=127.0.0.1", "speed": 1.0}
    for neighbour in _NEIGHBOURS:
        if neighbour in keys:
            beside = listens[seen.agents[neighbour].name] if neighbour in seen.agents else None
            used = beside is not None and (getattr(found.settings, neighbour) or neighbour == "telescope")
            changes[neighbour] = f"tcp:127.0.0.1:{beside}" if used else ""
    changes |= dict.fromkeys(SECOND_LANGUAGES.keys() & set(keys), "")
    if "faults" in keys:
        changes["faults"] = ()
    if "stars" in keys and images == "none":
        changes["stars"] = "synthetic"  # nobody sees them, and the real ones take a while to read
    if section.kind == "camera" and images != "full":
        changes |= {"width": 64, "height": 64} if images == "small" else {"width": 16, "height": 16}
    place = None
    if found.site is not None:
        site = Site.load(seen.site)
        place = SkySite(site.latitude, site.longitude)
    return dataclasses.replace(found.changed(**changes), site=place)


def _rules(config: Config, rules: Path | None, folder: Path) -> Path:
    """Write the alert rules: those given as they are, or the configuration's after those for the rehearsal's alerts."""
    if rules is not None:
        return rules
    path = folder / "alert_rules.yaml"
    own = {
        "name": RULE,
        "when": {"stream": "*pyros*", "max_error_radius": 1},
        "priority": 50,
        "observe": [{"filter": _filter(config), "seconds": 60, "count": 7}],
        "min_altitude": 15,
        "expires_after": "6 h",
    }
    sooner = {
        **own, "name": SOONER_RULE, "priority": 80, "when": {"stream": "*pyros*", "max_error_radius": WELL_PLACED},
        "observe": [{"filter": _filter(config), "seconds": 60, "count": 2}],
    }  # fmt: skip
    try:
        content = read_yaml(config.required("alert_rules", "a rehearsal"))
    except ValueError as error:
        raise ConfigError([f"{config.alert_rules}: {error}"]) from None
    others = content.get("rules") if isinstance(content, dict) else None
    path.write_text(yaml.safe_dump({"rules": [sooner, own, *(others or [])]}, sort_keys=False), "utf-8")
    return path


def _filter(config: Config) -> str:
    """Return a filter that the simulated wheel, or camera, has."""
    for name in ("filter_wheel", "camera"):
        for path in config.simulators:
            try:
                settings = simulators.load(path).settings
            except PyrosError:
                continue
            if settings.device == name and (filters := getattr(settings, "filters", None)):
                return str(next(iter(filters)))
    return "r"


def _write_key(config: Config) -> None:
    path = config.key_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(new_name(32) + "\n")
