"""What views read of the agents' stored states: only the fields that they show, each with a default.

The agents' own classes lie above this room, and have much that is theirs alone. A test holds these beside them: a field
that an agent renames is missed there, and not on a page.
"""

from __future__ import annotations

import msgspec

from pyros.alerts.detections import Detections
from pyros.messages import (
    FiltersKnown,
    ImageAnalysed,
    Observation,
    Plan,
    PowerReading,
    SafetyReading,
    Telemetry,
    WeatherReading,
)


class BrokenRule(msgspec.Struct):
    """A rule of the safety table that is broken, or not good for long enough."""

    reason: str = ""
    """Why, in words."""
    good_since: float | None = None
    """Since when its readings are good, monotonic seconds; None while they aren't."""
    quiet: float = 0.0
    """Seconds for which they must be."""


class SeenSafety(msgspec.Struct):
    """The safety monitor's last word."""

    reading: SafetyReading
    """What it said."""
    measured: float = 0.0
    """When it was asked, monotonic seconds."""


class SeenPower(msgspec.Struct):
    """The UPS's last word."""

    reading: PowerReading
    """What it said."""
    measured: float = 0.0
    """When it was asked, monotonic seconds."""


class SeenLink(msgspec.Struct):
    """Whether an instrument is connected, or a source of alerts is heard."""

    connected: bool
    """Whether it is."""
    text: str
    """Its name and address, or why not."""
    since: float
    """Unix seconds."""


class SeenAlarm(msgspec.Struct, frozen=True):
    """An alarm that isn't over."""

    source: str
    """Who raised it."""
    key: str
    """What it is about."""
    text: str
    """What it says."""
    since: float
    """Unix seconds."""


class Monitoring(msgspec.Struct):
    """Of monitoring's state."""

    safe: bool | None = None
    """What it said last."""
    said: float = 0.0
    """When, Unix seconds."""
    broken: dict[str, BrokenRule] = {}
    """By the rules' names."""
    shut: bool = False
    """Whether a person must release it."""
    power: SeenPower | None = None
    """The UPS."""
    last: WeatherReading | None = None
    """The weather station's last reading."""
    safety: SeenSafety | None = None
    """The safety monitor."""
    links: dict[str, SeenLink] = {}
    """By instrument."""
    alert_sources: dict[str, SeenLink] = {}
    """By name."""
    telemetry: dict[str, Telemetry] = {}
    """The last of each instrument."""
    last_image: ImageAnalysed | None = None
    """What the last image showed."""
    alarms: list[SeenAlarm] = []
    """Those that aren't over, the oldest first."""


class Majordome(msgspec.Struct):
    """Of the majordome's state."""

    state: str = ""
    """Where the night stands, a word of `pyros.agents.night_table`; '' where it has never run."""
    night: str = ""
    """The date of the last night's evening."""
    attempts: int = 0
    """How often in a row the dome did not open."""
    focused: float = 0.0
    """When the focus was looked for last, Unix seconds."""
    plan: Plan | None = None
    """The last one."""
    running: Observation | None = None
    """What was told to be observed."""


class ObservationManager(msgspec.Struct):
    """Of the observation manager's state."""

    current: Observation | None = None
    """What is observed."""
    phase: str = "idle"
    """What is done for it."""
    done: int = 0
    """Images that are on disk."""
    images: list[str] = []
    """Their paths."""
    pointing: tuple[float, float] | None = None
    """Where the telescope has arrived, ICRS degrees."""


class SeenScheduler(msgspec.Struct):
    """Of the scheduler's state."""

    requests: dict[str, Observation] = {}
    """By their ids."""
    failures: dict[str, int] = {}
    """How often each has failed."""
    running: str | None = None
    """The id of the one that runs."""
    taken: dict[str, int] = {}
    """How many images there are of those that were interrupted."""
    made: dict[str, list[int]] = {}
    """By the ids of requests with a cadence, the numbers of those of their times that need no observation any more."""
    filters: FiltersKnown | None = None
    """What the filter wheel has said."""


class SeenCommand(msgspec.Struct):
    """A device's command."""

    name: str = ""
    """The message's."""
    payload: dict[str, object] = {}
    """What was asked."""


class SeenInstrument(msgspec.Struct):
    """Of an instrument's agent's state."""

    connected: bool | None = None
    """Whether the device is."""
    command: SeenCommand | None = None
    """What is under way."""
    failed_commands: int = 0
    """How many have failed in all."""
    last_failure: str = ""
    """The last one's name, and why."""
    shutter: str = ""
    """Of a dome: what became of its shutter last."""


class AlertManager(msgspec.Struct):
    """Of the alert manager's state."""

    found: dict[str, Detections] = {}
    """What was found of the last events, by their names."""
