"""The central scheduler: which telescope gets a request, and what moves it to another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import config, messages
from pyros.agents.central_scheduler import CentralSchedulerAgent
from pyros.messages import Exposures, FieldRequests, Observation, ObservationReport, WeatherState, Withdrawal
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.rig import AgentRig

SITES = {"ohp": (43.93, 5.71), "hess": (-23.27, 16.5)}
UNITS = ("ohp one", "ohp two", "hess one")
HERE, GONE = "Observation requested", "Observation request withdrawn"


class CentralSchedulerRig(AgentRig):
    """A central scheduler of three telescopes at two sites."""

    def __init__(self, folder: Path) -> None:
        text = ""
        for name, (latitude, longitude) in SITES.items():
            (folder / f"{name}.yaml").write_text(
                f"{{name: {name}, latitude: {latitude}, longitude: {longitude}, elevation: 0}}"
            )
            text += f"[unit {name}]\nsite = {name}.yaml\n"
        names = [
            f"{kind} {unit}"
            for unit in UNITS
            for kind in ("telescope", "scheduler", "monitoring", "observation_manager")
        ]
        for port, name in enumerate(["central_scheduler", *names], 5001):
            text += f"[{name}]\nport = {port}\n" + "driver = native\naddress = x\n" * name.startswith("telescope")
        file = folder / "units.ini"
        file.write_text(text)
        loaded = config.load(file)
        super().__init__(CentralSchedulerAgent(), folder, agents=loaded.agents, units=loaded.units, site=loaded.site)
        self.site = Site.load(folder / "ohp.yaml")
        for unit in UNITS:
            self.weather(unit)

    def say(self, peer: str, name: str, payload: Any) -> list[tuple[str, str, str]]:
        """Have an agent say something; returns to which unit what is sent for which observation or event."""
        outcome = self.turn((name, msgspec.json.encode(payload)), peer=peer)
        self.refused = [refusal.reason for _, answer in outcome.answers for refusal in answer.refused]
        sent = []
        for out in outcome.outgoing:
            said: Any = msgspec.json.decode(out.payload)
            what = said.get("observation") or said.get("id")
            if what is None:
                what = " ".join(each["id"] for each in said.get("requests", ()))
            sent.append((out.agent.removeprefix("scheduler "), out.name, what))
        return sent

    def ask(self, id_: str, place: tuple[float, float] | None = None, **keys: Any) -> list[tuple[str, str, str]]:
        return self.say("other", HERE, self.request(id_, place, **keys))

    def request(self, id_: str, place: tuple[float, float] | None = None, **keys: Any) -> Observation:
        ra, dec = place or self.everywhere()
        return Observation(ra=ra, dec=dec, id=id_, target=id_, exposures=(Exposures(filter="r", seconds=60),), **keys)

    def everywhere(self) -> tuple[float, float]:
        """Return a place that all sites see."""
        return place_overhead(self.site, self.clock.now(), 80, 180)[0], 10.0

    def weather(self, unit: str, safe: bool = True) -> list[tuple[str, str, str]]:
        name = messages.WEATHER_SAFE if safe else messages.WEATHER_UNSAFE
        return self.say(f"monitoring {unit}", name, WeatherState(reason="test"))

    def report(self, unit: str, name: str, id_: str, **keys: Any) -> list[tuple[str, str, str]]:
        return self.say(f"observation_manager {unit}", name, ObservationReport(observation=id_, **keys))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CentralSchedulerRig]:
    rig = CentralSchedulerRig(tmp_path)
    yield rig
    rig.stop()
    assert rig.host.turns.failed == 0


def test_requests_are_shared_out_among_the_free(rig: CentralSchedulerRig) -> None:
    assert [rig.ask(id_)[0][0] for id_ in "abc"] == ["ohp one", "ohp two", "hess one"]


def test_an_alert_goes_to_the_busy_telescope_with_the_least_priority(rig: CentralSchedulerRig) -> None:
    for id_, unit, priority in (("a", "ohp one", 5), ("b", "ohp two", 2), ("c", "hess one", 3)):
        assert rig.ask(id_, priority=priority) == [(unit, HERE, id_)]
        rig.report(unit, messages.OBSERVATION_STARTED, id_)
    assert rig.ask("alert", priority=50) == [("ohp two", HERE, "alert")]


def test_a_request_names_its_telescope_or_site(rig: CentralSchedulerRig) -> None:
    assert rig.ask("a", telescope="two") == [("ohp two", HERE, "a")]
    assert rig.ask("b", telescope="hess") == [("hess one", HERE, "b")]
    assert rig.ask("c", telescope="ohp") == [("ohp one", HERE, "c")]
    assert rig.ask("a", telescope="hess one") == [("ohp two", GONE, "a"), ("hess one", HERE, "a")]


def test_a_telescope_that_is_not_there_is_refused(rig: CentralSchedulerRig) -> None:
    assert rig.ask("a", telescope="three") == []
    assert rig.refused == ["telescope: 'three' is none of ohp one, ohp two, hess one"]
    assert "a" not in rig.agent.state.requests


def test_what_only_one_site_sees_goes_there_whatever_the_weather(rig: CentralSchedulerRig) -> None:
    rig.weather("hess one", safe=False)
    assert rig.ask("south", (rig.everywhere()[0], -65.0)) == [("hess one", HERE, "south")]
    assert rig.ask("north", (rig.everywhere()[0], 80.0)) == [("ohp one", HERE, "north")]


def test_weather_that_turns_moves_what_has_not_begun(rig: CentralSchedulerRig) -> None:
    rig.ask("a")
    assert rig.weather("ohp one", safe=False) == [("ohp one", GONE, "a"), ("ohp two", HERE, "a")]
    rig.report("ohp two", messages.OBSERVATION_STARTED, "a")
    assert rig.weather("ohp two", safe=False) == []
    failed = {"reason": "the dome has closed", "again": True}
    assert rig.report("ohp two", messages.OBSERVATION_FAILED, "a", **failed) == [
        ("ohp two", GONE, "a"), ("hess one", HERE, "a"),
    ]  # fmt: skip


def test_a_silent_site_gets_nothing(rig: CentralSchedulerRig) -> None:
    rig.reactor.advance(100)
    rig.weather("hess one")
    rig.reactor.advance(100)
    assert rig.ask("a") == [("hess one", HERE, "a")]


def test_what_fails_is_tried_elsewhere_and_given_up_at_last(rig: CentralSchedulerRig) -> None:
    rig.ask("a")
    ways = [rig.report(unit, messages.OBSERVATION_FAILED, "a", reason="the mount") for unit in UNITS]
    assert ways == [
        [("ohp one", GONE, "a"), ("ohp two", HERE, "a")],
        [("ohp two", GONE, "a"), ("hess one", HERE, "a")],
        [],
    ]
    assert rig.agent.state.requests == {}


def test_a_change_and_a_withdrawal_go_where_the_request_is(rig: CentralSchedulerRig) -> None:
    rig.ask("a", telescope="two")
    changed = rig.request("a", telescope="two", priority=7)
    assert rig.say("other", "Observation request changed", changed) == [("ohp two", "Observation request changed", "a")]
    rig.report("ohp two", messages.OBSERVATION_FINISHED, "a")
    assert rig.agent.state.requests == {}
    assert rig.say("other", "Observation request changed", changed)[0][0] == "ohp two"
    assert rig.say("other", GONE, Withdrawal(observation="a", reason="test")) == [("ohp two", GONE, "a")]


def test_repeats_stay_with_their_telescope(rig: CentralSchedulerRig) -> None:
    now = rig.clock.time()
    rig.ask("a", repeat=(now + 600,), requested=now)
    rig.report("ohp one", messages.OBSERVATION_FINISHED, "a")
    assert "a" in rig.agent.state.requests
    assert rig.weather("ohp one", safe=False) == []
    rig.report("ohp one", messages.OBSERVATION_STARTED, "a-again1")
    assert rig.agent.state.observing == {"ohp one": "a"}


def test_fields_are_shared_out_and_follow_the_weather(rig: CentralSchedulerRig) -> None:
    fields = tuple(rig.request(id_, probability=0.1, event="S1") for id_ in "abcd")
    wanted = FieldRequests(event="S1", requests=fields)
    name = messages.FIELDS_REQUESTED
    assert rig.say("other", name, wanted) == [("ohp one", name, "a d"), ("ohp two", name, "b"), ("hess one", name, "c")]
    rig.report("ohp one", messages.OBSERVATION_FINISHED, "a")
    assert rig.weather("ohp one", safe=False) == [
        ("ohp one", name, ""), ("ohp two", name, "b d"), ("hess one", name, "c"),
    ]  # fmt: skip
    assert rig.say("other", name, FieldRequests(event="S1")) == [(unit, name, "") for unit in UNITS]


def test_what_has_expired_is_forgotten(rig: CentralSchedulerRig) -> None:
    now = rig.clock.time()
    rig.ask("a", requested=now, expires=now + 100)
    rig.reactor.advance(130)
    assert rig.agent.state.requests == {}
