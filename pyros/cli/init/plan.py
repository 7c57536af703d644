"""What an observatory of one's own is to be, and its files, made from the demo's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyros import config as configuration
from pyros.alerts.rules import templates
from pyros.cli.init.properties import with_filters
from pyros.cli.init.template import IniTemplate, set_yaml
from pyros.cli.instruments.discover import FoundDevice
from pyros.config import FILE_NAME
from pyros.kinds import KINDS

DEMO_KINDS = ("telescope", "camera", "dome", "weather", "filter_wheel", "safety")
"""The kinds that the demo's configuration has a section for; the others are commented out in it."""
JOBS = ("masters", "backup", "index", "earth", "tidy")
"""The demo's scheduled jobs that every observatory does; what fills its disk, or removes images, its owner decides."""
GCN_SECRET = "secrets/gcn"
RULES = Path("observatory/alert_rules.yaml")
PRIVATE, SECRET, PLAIN = 0o600, 0o400, 0o640
"""Modes of files: what its owner alone may read, and may not even change, and what a group may read."""


@dataclass(frozen=True)
class TelescopePlace:
    """Where the telescope stands."""

    latitude: float
    """Degrees north."""
    longitude: float
    """Degrees east."""
    elevation: float
    """Metres above the sea."""


@dataclass(frozen=True)
class ObservatoryPlan:
    """What is asked before the files of an observatory are written."""

    name: str
    place: TelescopePlace
    ivo: str
    """Its own name among brokers."""
    devices: Mapping[str, FoundDevice] = field(default_factory=dict)
    """The device of each kind that there is for real."""
    simulated: tuple[str, ...] = DEMO_KINDS
    """The kinds whose devices are simulated."""
    rules: str = ""
    """The kind of team whose rules it begins with; '' for the demo's."""
    filters: tuple[str, ...] = ()
    """The names of the wheel's filters; () where they are not known, or simulated."""
    remotes: tuple[str, ...] = ()
    """VOEvent brokers to subscribe to, each ``host:port``."""
    gcn_id: str = ""
    """The client id of its account at GCN's Kafka; '' for none."""
    gcn_secret: str = ""
    night: bool = False
    """Its night is now, whatever the hour: for trying it."""


def ivo_of(name: str) -> str:
    """Return a name among brokers for an observatory of that name."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "observatory"
    return f"ivo://{word}.observatory/pyros"


def files(plan: ObservatoryPlan) -> tuple[dict[Path, tuple[str, int]], dict[str, str]]:
    """Return the observatory's files, relative to its folder: the text of each, and its mode.

    The second value is what was put in the place of which filter of the rules, that the wheel hasn't. Raises PyrosError
    when the demo's files, which they are made from, are not those they should be.
    """
    demo = configuration.demo_file()
    there = demo.parent / "observatory"
    title = f"{plan.name}; begun by pyros init from the demo observatory's."
    made: dict[Path, tuple[str, int]] = {Path(FILE_NAME): (_ini(plan, demo), PLAIN)}
    site = set_yaml(
        (there / "site.yaml").read_text(encoding="utf-8"), f"The place of {title}",
        name=json.dumps(plan.name, ensure_ascii=False), latitude=f"{plan.place.latitude:g}",
        longitude=f"{plan.place.longitude:g}", elevation=f"{plan.place.elevation:g}",
    )  # fmt: skip
    rules = templates.template(plan.rules) if plan.rules else (there / "alert_rules.yaml").read_text(encoding="utf-8")
    made[Path("observatory/site.yaml")] = site, PLAIN
    rules, other_filters = with_filters(rules, plan.filters)
    made[RULES] = rules, PLAIN
    for name in ("notices.yaml", "demo-alert.xml", *(f"simulators/{kind}.yaml" for kind in plan.simulated)):
        made[Path("observatory") / name] = (there / name).read_text(encoding="utf-8"), PLAIN
    made[Path("site_health.py")] = (there / "site_health.py").read_text(encoding="utf-8"), PLAIN
    if plan.gcn_id:
        made[Path(GCN_SECRET)] = plan.gcn_secret.strip() + "\n", SECRET
    return made, other_filters


def _ini(plan: ObservatoryPlan, demo: Path) -> str:
    ini = IniTemplate(demo.read_text(encoding="utf-8"))
    ini.head(
        f"The configuration of {plan.name}, begun by pyros init from the demo observatory's.",
        "`pyros check` tells every mistake in it; what stands after a ; is a comment.",
        "Programs find it by --config, else by $PYROS_AGENT_CONFIG, else in the working directory.",
    )
    ini.set("observatory", "name", plan.name)
    ini.set("observatory", "clock", "night" if plan.night else "real")
    if plan.simulated:
        ini.set("observatory", "simulators", *(f"observatory/simulators/{each}.yaml" for each in plan.simulated))
    else:
        ini.leave_out("observatory", "simulators")
    ini.leave_out("console", "fixture")
    ini.set("broker", "ivo", plan.ivo)
    if plan.remotes:
        ini.set("broker", "remotes", *plan.remotes)
    if plan.gcn_id:
        ini.enable("kafka gcn", "servers", "topics", "heartbeat", "silence", "login", "user", "secret", "token_url")
        ini.set("kafka gcn", "user", plan.gcn_id)
        ini.set("kafka gcn", "secret", f"file:{GCN_SECRET}")
    ini.set("notifier", "option_rules", "observatory/notices.yaml")
    ini.enable("jobs", "port", "app")
    for job in JOBS:
        ini.enable(f"job {job}", "every", "command", "task")
    for kind in KINDS:
        if (device := plan.devices.get(kind)) is not None:
            ini.enable(kind, "port", "driver", "address")
            ini.set(kind, "driver", device.driver)
            ini.set(kind, "address", device.address)
        elif kind in plan.simulated:
            ini.enable(kind, "port", "driver", "address")
        elif kind in DEMO_KINDS:
            ini.drop(kind)
    if "dome" not in plan.devices and "dome" not in plan.simulated:
        ini.drop("guardian")
    return str(ini)
