"""A majordome on virtual time without any other agent, and what the others say to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pyros import messages
from pyros.agents.majordome import MajordomeAgent
from pyros.agents.night_table import OPEN_STATES, State
from pyros.hold import Holds
from pyros.messages import (
    CalibrationReport,
    DomeReport,
    Exposures,
    Observation,
    Plan,
    PlannedObservation,
    Reason,
    WeatherState,
)
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.rig import AgentRig, make_config

SITE_FILE = Path(__file__).resolve().parents[2] / "observatory" / "site.yaml"
SITE = Site.load(SITE_FILE)
OTHERS = ("dome", "telescope", "camera", "focuser", "scheduler", "observation_manager", "monitoring")
EVENING = datetime(2026, 3, 20, 18, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 20, 23, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
OPEN_NOW = [("observation_manager", messages.OBSERVE), ("dome", messages.OPEN), ("dome", messages.KEEP_OPEN)]
SHUT_NOW = [("dome", messages.CLOSE), ("telescope", messages.PARK)]
CALIBRATE = ("observation_manager", messages.CALIBRATE)
COOL = ("camera", messages.COOL)


class Watched(MajordomeAgent):
    """A majordome whose orders can be seen, and what it logs as an error."""

    def __init__(self, calibrations: list[messages.CalibrationOrder]) -> None:
        super().__init__()
        self.orders: list[tuple[str, str]] = []
        self.calibrations = calibrations

    def send_to(self, agent: str, name: str, payload: Any = None, *, durable: bool = False) -> None:
        self.orders.append((agent, name))
        if name == messages.CALIBRATE:
            self.calibrations.append(payload)
        super().send_to(agent, name, payload, durable=durable)


class MajordomeRig(AgentRig):
    """A majordome, and what the others say to it."""

    agent: Watched

    def __init__(
        self, folder: Path, start: datetime = MIDNIGHT, *, roof: bool = False, site: Path = SITE_FILE, **options: Any
    ) -> None:  # fmt: skip
        self.calibrations: list[messages.CalibrationOrder] = []
        """What was ordered of the observation manager, over all restarts."""
        agents = dict(make_config(folder, "majordome", *OTHERS).agents)
        agents["dome"] = msgspec.structs.replace(agents["dome"], roof=roof)
        agents["majordome"] = msgspec.structs.replace(agents["majordome"], options=options)
        super().__init__(Watched(self.calibrations), folder, begin=start, agents=agents, site=site)
        self.holds = Holds(folder, self.clock)

    def restart(self) -> None:
        self.stop()
        self.start(Watched(self.calibrations))

    @property
    def state(self) -> str:
        return str(self.agent.state.state)

    def say(self, sender: str, name: str, payload: Any = None, *, age: float = 0.0) -> list[tuple[str, str]]:
        """Have another agent say something; returns the orders that it leads to."""
        return self.orders(lambda: self.hear(name, payload, peer=sender, waited=age))

    def orders(self, do: Callable[[], object]) -> list[tuple[str, str]]:
        before = len(self.agent.orders)
        do()
        return self.agent.orders[before:]

    def pass_(self, seconds: float, *, safe: bool = True, kept: bool = True) -> list[tuple[str, str]]:
        """Let time pass, in which monitoring and the dome's agent say each ten seconds that all is well."""
        before = len(self.agent.orders)
        while seconds > 0:
            step = min(seconds, 10.0)
            self.reactor.advance(step)
            seconds -= step
            if safe:
                self.say("monitoring", messages.WEATHER_SAFE, WeatherState("fine"))
            if kept and self.state in OPEN_STATES:
                self.say("dome", messages.KEPT_OPEN, DomeReport(state="open"))
        return self.agent.orders[before:]

    def safe(self) -> list[tuple[str, str]]:
        return self.say("monitoring", messages.WEATHER_SAFE, WeatherState("fine"))

    def unsafe(self) -> list[tuple[str, str]]:
        return self.say("monitoring", messages.WEATHER_UNSAFE, WeatherState("rain", wet=True))

    def plan(self, name: str = "one", *, alert: str = "", **changes: Any) -> list[tuple[str, str]]:
        """Have the scheduler plan one observation for now, well up in the sky."""
        return self.say("scheduler", messages.PLAN_UPDATED, self.planned(name, alert=alert, **changes))

    def planned(self, name: str, *, alert: str = "", **changes: Any) -> Plan:
        ra, dec = place_overhead(SITE, self.clock.now())
        observation = Observation(
            id=name, target=name, ra=ra, dec=dec, exposures=(Exposures("r", 20.0),), alert=alert,
            requested=self.clock.time(),
        )  # fmt: skip
        observation = msgspec.structs.replace(observation, **changes)
        return Plan((PlannedObservation(observation, 65.0, "up"),), start_now=name)

    def open(self) -> None:
        """Have it opened and observing."""
        self.safe()
        self.plan()
        self.say("dome", messages.DOME_OPENED, Reason())
        assert self.state == State.OBSERVING

    def shut(self) -> list[tuple[str, str]]:
        """Dome and mount say that they are closed and parked."""
        return self.say("dome", messages.DOME_CLOSED, Reason()) + self.say("telescope", messages.PARK_FINISHED)


@contextmanager
def majordome(start: datetime = MIDNIGHT, **keys: Any) -> Iterator[MajordomeRig]:
    with tempfile.TemporaryDirectory() as folder:
        rig = MajordomeRig(Path(folder), start, **keys)
        yield rig
        assert rig.host.turns.failed == 0
        rig.stop()


def ended(rig: MajordomeRig, kind: Any, name: str = messages.CALIBRATION_FINISHED) -> list[tuple[str, str]]:
    """Have the observation manager end the calibration that was ordered last."""
    return rig.say("observation_manager", name, CalibrationReport(calibration=rig.agent.state.calibration, kind=kind))


def hours(rig: MajordomeRig, count: float) -> None:
    """Let hours pass by the wall clock, and a minute by every clock."""
    rig.clock.step(count * 3600)
    rig.pass_(60)
