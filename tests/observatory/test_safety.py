"""Random nights of weather, deaths and alerts: the dome is never open when it must not be, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from tests.conftest import DEMO_AGENTS
from tests.observatory.conftest import Night

READING, LEASE, TRAVEL = 10.0, 60.0, 20.0
MARGIN = 1.5
HOUR, LENGTH = 3600.0, 1200.0
WEATHER: tuple[dict[str, float], ...] = ({"rain": 1}, {"wind": 25}, {"humidity": 97}, {"cloud": 0.95}, {}, {}, {}, {})
STARS = ("first", "urgent", "low")


class Guard:
    """Looks at every virtual instant: since when has the dome had no leave to be open, and is it closed by then?"""

    def __init__(self, night: Night) -> None:
        self.night = night
        self.gone: set[str] = set()
        self.rain = False
        self.unsafe = False
        self._bad_since: float | None = None
        self._unwatched_since: float | None = None
        self._dome_agent_since = 0.0
        self._attentive_since = 0.0
        self.most = 0.0
        night.watchers.append(self.look)

    def look(self) -> None:
        now = self.night.now
        unwatched = bool(self.gone & {"weather", "safety", "monitoring", "majordome"})
        bad = self.rain or self.unsafe
        self._bad_since = (self._bad_since if self._bad_since is not None else now) if bad else None
        nobody = bad or unwatched
        self._unwatched_since = (
            (self._unwatched_since if self._unwatched_since is not None else now) if nobody else None
        )
        if unwatched or "dome" in self.gone:
            self._attentive_since = now
        if "dome" in self.gone:
            self._dome_agent_since = now
        if self.night.state("dome") not in ("open", "opening", "stopped", "closing"):
            return
        # Who is there has heard of bad weather at the next reading; who isn't is missed when a lease ends.
        if self._bad_since is not None:
            self._check(now - max(self._bad_since, self._attentive_since), READING + TRAVEL + MARGIN, "bad weather")
        if self._unwatched_since is not None:
            alone = min(now - self._unwatched_since - LEASE - READING, now - self._dome_agent_since)
            self._check(alone, TRAVEL + MARGIN, "nobody who says that it is safe")

    def _check(self, seconds: float, allowed: float, why: str) -> None:
        self.most = max(self.most, seconds)
        if seconds > allowed:
            pytest.fail(
                f"at {self.night.now:.1f} s the dome is {self.night.state('dome')} after {seconds:.1f} s of {why}"
            )


def _sent(waiting: dict[str, int]) -> bool:
    """Whether nothing is left to send."""
    return not any(waiting.values())


def live(night: Night, guard: Guard, chance: random.Random) -> bool:
    """One thing that happens; True when it is an alert's turn."""
    match chance.choice(("weather", "weather", "plc", "agent", "agent", "agent", "alert", "alert", "quiet")):
        case "weather":
            readings = chance.choice(WEATHER)
            night.weather()
            if readings:
                night.weather(**readings)
            guard.rain = bool(readings)
        case "plc":
            guard.unsafe = chance.random() < 0.5
            night.safety(not guard.unsafe)
        case "agent":
            name = chance.choice(tuple(DEMO_AGENTS))
            if name in guard.gone:
                night.start(name)
                guard.gone.remove(name)
            else:
                guard.gone.add(name)
                chance.choice((night.stop, night.kill))(name)
        case "alert":
            return True
    return False


@pytest.mark.parametrize("seed", [0, 3, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, 4))])
def test_a_random_night(rehearsal: Callable[..., Night], seed: int) -> None:
    chance = random.Random(seed)
    slow = {"dome": {"speed": 1}, "telescope": {"speed": 1}}
    night = rehearsal(devices=slow, hours_after_midnight=-2, seed=f"night-{seed}")
    guard = Guard(night)
    night.until(lambda: night.said("the weather is safe"))
    targets: list[str] = []
    while night.now < LENGTH:
        if live(night, guard, chance):
            name = f"pyros.test/{chance.choice(STARS)}#{len(targets) + 1}"
            targets.append(f"ivo://{name}")
            night.publish(night.packet(name, night.place(chance.uniform(40, 80), chance.uniform(60, 180))))
        night.run(chance.choice((1.0, 5.0, 15.0, 40.0, 90.0)) * chance.uniform(0.5, 1.5))

    for name in list(guard.gone):
        night.start(name)
    guard.gone.clear()
    night.weather()
    night.safety(True)
    guard.rain = guard.unsafe = False
    night.run(300 + 100 * len(targets))
    quiet = night.until(lambda: night.state("dome") == "closed" and night.state("telescope") == "parked", HOUR)
    assert set(night.objects()) == set(targets), "every target was observed"
    assert night.agent("scheduler").state.requests == {}
    night.run(600)
    assert night.requests("dome", since=quiet + 1) == []
    for name in DEMO_AGENTS:
        assert [row for row in night.received(name) if row.error is not None] == [], f"no handler of {name} failed"
        waiting = night.observatory.hosts[name].journal.waiting
        night.until(partial(_sent, waiting), 20)


def test_the_guard_would_see_an_open_dome(exposing: Night) -> None:
    """The invariant above can fail: somebody opens the dome by hand in the rain, and its agent is away."""
    guard = Guard(exposing)
    exposing.weather(rain=1)
    guard.rain = True
    exposing.until(lambda: exposing.state("dome") == "closed")
    exposing.kill("dome")
    exposing.connect(exposing.simulators["dome"].port, b"DO open\n")
    with pytest.raises(pytest.fail.Exception, match=r"after .* s of bad weather"):
        exposing.run(120)
    exposing.watchers.clear()


def test_a_dome_that_somebody_opens_is_closed_again(exposing: Night) -> None:
    exposing.weather(rain=1)
    exposing.until(lambda: exposing.state("dome") == "closed")
    exposing.run(30)
    exposing.connect(exposing.simulators["dome"].port, b"DO open\n")
    exposing.until(lambda: exposing.state("dome") == "opening", 5)
    exposing.until(lambda: exposing.state("dome") == "closed", 15)
    exposing.run(60)
    assert exposing.said("the dome was found open", "dome")


def test_a_dome_that_somebody_closes_ends_the_observation_and_is_opened_for_the_next_try(exposing: Night) -> None:
    exposing.connect(exposing.simulators["dome"].port, b"DO close\n")
    exposing.until(lambda: exposing.said("the dome has closed: the dome was found clos", "majordome"), 15)
    exposing.until(lambda: exposing.said("Observation finished", "majordome"))
    assert len(exposing.images()) == 3
