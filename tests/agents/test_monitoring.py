"""Monitoring, one turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorProcess
from zope.interface import directlyProvides

from pyros import messages, time_server
from pyros.agents import monitoring
from pyros.agents.monitoring import CLOCK_ASKED, ClockWord, MonitoringAgent
from pyros.config import AgentConfig, WeatherLimits
from pyros.messages import (
    AlertSource,
    InstrumentConnection,
    PowerReading,
    SafetyReading,
    WeatherReading,
    WeatherState,
    decode_payload,
    encode_payload,
)
from pyros.time_server import ClockOffset


def test_it_keeps_which_sources_of_alerts_are_silent(inline: Callable[..., Any]) -> None:
    agent = MonitoringAgent()
    host = inline(agent)

    host.hear(messages.ALERTS_SILENT, AlertSource("kafka gcn", "nothing heard for 60 s"))
    host.hear(messages.ALERTS_HEARD, AlertSource("kafka scimma", "heard"))
    found = {source: (link.connected, link.text) for source, link in agent.state.alert_sources.items()}
    assert found == {"kafka gcn": (False, "nothing heard for 60 s"), "kafka scimma": (True, "heard")}
    host.hear(messages.ALERTS_HEARD, AlertSource("kafka gcn", "heard again"))
    assert agent.state.alert_sources["kafka gcn"].connected
    for number in range(200):
        host.hear(messages.ALERTS_SILENT, AlertSource(f"kafka {number}", "x"))
    assert len(agent.state.alert_sources) == 100
    assert host.turns.failed == 0


WEATHER = encode_payload(messages.WEATHER_READING, WeatherReading(8.0, 60.0, 2.0, False))
SAFE = encode_payload(messages.SAFETY_READING, SafetyReading(True))


def test_the_safety_monitors_first_word_counts_at_once_when_the_weather_is_known(inline: Callable[..., Any]) -> None:
    host = inline(MonitoringAgent(), "weather", "safety", "majordome", "dome")
    assert host.turn((messages.WEATHER_READING, WEATHER)).outgoing == []
    told = host.turn((messages.SAFETY_READING, SAFE)).outgoing
    assert {(each.agent, each.name) for each in told} == {(who, messages.WEATHER_SAFE) for who in ("majordome", "dome")}


def test_after_a_restart_it_waits_for_the_weather_of_now(inline: Callable[..., Any]) -> None:
    others = ("weather", "safety", "majordome", "dome")
    inline(MonitoringAgent(), *others).turn((messages.WEATHER_READING, WEATHER), (messages.SAFETY_READING, SAFE))
    host = inline(MonitoringAgent(), *others)
    assert host.turn((messages.SAFETY_READING, SAFE)).outgoing == []
    assert host.turn((messages.WEATHER_READING, WEATHER)).outgoing


RAIN = encode_payload(messages.WEATHER_READING, WeatherReading(8.0, 60.0, 2.0, True))
UNSAFE = encode_payload(messages.SAFETY_READING, SafetyReading(False, "smoke"))


@pytest.mark.parametrize("first", [(messages.WEATHER_READING, RAIN), (messages.SAFETY_READING, UNSAFE)])
def test_what_is_bad_is_said_at_once_though_the_other_has_said_nothing(
    inline: Callable[..., Any], first: tuple[str, bytes]
) -> None:
    told = inline(MonitoringAgent(), "weather", "safety", "majordome", "dome").turn(first).outgoing
    assert {(each.agent, each.name) for each in told} == {
        (who, messages.WEATHER_UNSAFE) for who in ("majordome", "dome")
    }


def read(host: Any, *, waited: float = 0.0, **changed: Any) -> list[tuple[str, WeatherState]]:
    """One reading that waited so long on its way; what monitoring says to the dome."""
    reading = msgspec.structs.replace(WeatherReading(8.0, 60.0, 2.0, False, 0.1), **changed)
    told = host.hear(messages.WEATHER_READING, reading, peer="weather", waited=waited).outgoing
    return [(each.name, decode_payload(each.name, each.payload)) for each in told if each.agent == "dome"]


@pytest.fixture
def host(inline: Callable[..., Any]) -> Any:
    return inline(MonitoringAgent(), "weather", "majordome", "dome")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gust": 21.0}, "gusts of 21.0 m/s, the limit is 20"),
        ({"wind": None, "gust": 21.0}, "gusts of 21.0 m/s"),
        ({"rain": True}, "rain"),
        ({"wind": -999.0}, "out of order: wind of -999"),
        ({"humidity": 140.0}, "out of order: humidity of 140"),
        ({"temperature": -127.0}, "out of order: temperature of -127"),
        ({"rain": None, "wind": None, "humidity": None, "cloud": None}, "measures neither rain nor wind"),
    ],
)
def test_what_is_too_much_or_cannot_be_is_unsafe(host: Any, changed: dict[str, Any], words: str) -> None:
    ((name, state),) = read(host, **changed)
    assert name == messages.WEATHER_UNSAFE
    assert words in state.reason
    assert state.wet == (words == "rain" or "out of order" in words or "neither" in words)


def test_what_is_not_measured_is_unknown(host: Any) -> None:
    ((name, _),) = read(host, temperature=None, rain=None, cloud=None)
    assert name == messages.WEATHER_SAFE
    values = host.agent.state.telemetry["weather"].values
    assert (values["rain"], values["cloud"], values["temperature"]) == (None, None, None)


@pytest.mark.parametrize(("waited", "age"), [(61.0, 0.0), (0.0, 61.0), (40.0, 30.0), (float("inf"), 0.0)])
def test_a_reading_is_as_old_as_its_measurement(host: Any, waited: float, age: float) -> None:
    assert read(host, waited=waited, age=age) == []
    assert host.agent.state.measured is None


def test_a_word_tells_how_old_its_readings_are(host: Any) -> None:
    ((name, state),) = read(host, waited=20.0, age=15.0)
    assert name == messages.WEATHER_SAFE
    assert state.age == pytest.approx(35.0)
    assert read(host, waited=50.0) == [], "an older one that was slower"


def test_old_readings_do_not_break_the_silence(host: Any) -> None:
    read(host)
    for seconds in range(10, 80, 10):
        host.reactor.advance(10)
        read(host, waited=seconds + 0.0)
    told = host.rows("SELECT name FROM outbox WHERE agent = 'dome' ORDER BY seq")
    assert told[-1] == (messages.WEATHER_UNSAFE,)


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -3e7, 3e7])
def test_a_clock_that_steps_makes_no_old_reading_fresh(host: Any, step: float) -> None:
    read(host)
    host.clock.step(step)
    host.reactor.advance(30)
    assert read(host, waited=61.0) == []
    ((name, state),) = read(host)
    assert name == messages.WEATHER_UNSAFE
    assert f"the clock has stepped by {step:+.0f} s" in state.reason
    for number in range(4, 66):
        host.reactor.advance(10)
        name = next((name for name, _ in read(host, temperature=8 + number / 10)), name)
    assert name == messages.WEATHER_SAFE


def test_what_stays_unsafe_is_said_as_often_as_a_sign_of_life_needs(host: Any) -> None:
    reasons: list[str] = []
    for number in range(1, 61):
        host.reactor.advance(10)
        reasons += [state.reason for _, state in read(host, wind=16 + number / 100)]
    assert 28 <= len(reasons) <= 31, "each 20 s"
    told = read(host, wind=16.7, rain=True)
    assert len(told) == 1, "what is new is said at once"
    host.reactor.advance(10)
    assert len(read(host, wind=2.0)) == 1


def pass_(host: Any, minutes: float, **changed: Any) -> str:
    """Read each ten seconds for so long; what was said last."""
    name = ""
    for _ in range(int(minutes * 6)):
        host.reactor.advance(10)
        number = host.taken("weather") + 1
        moving = {"temperature": 8 + number / 100, "humidity": 60 + number / 100, "wind": 2 + number / 1000}
        name = next((name for name, _ in read(host, **{**moving, **changed})), name)
    return name


def test_three_closings_in_an_hour_ask_for_an_hour_of_quiet(host: Any) -> None:
    for _ in range(3):
        pass_(host, 0.2)
        assert pass_(host, 1, wind=16.0) == messages.WEATHER_UNSAFE
        assert pass_(host, 14.5) == messages.WEATHER_UNSAFE
        last = pass_(host, 1)
    assert last == messages.WEATHER_UNSAFE
    assert pass_(host, 40) == messages.WEATHER_UNSAFE
    assert pass_(host, 6) == messages.WEATHER_SAFE


def test_what_is_unsafe_says_at_once_that_it_will_be_for_longer(host: Any) -> None:
    pass_(host, 0.2)
    for _ in range(2):
        pass_(host, 1, wind=16.0)
        pass_(host, 16)
    host.reactor.advance(10)
    (state,) = {state for _, state in read(host, wind=16.0)}
    assert state.reason.endswith(" (unsafe 3 times within an hour)")


def test_six_closings_in_a_night_stay_until_released(inline: Callable[..., Any]) -> None:
    section = AgentConfig("monitoring", "127.0.0.1", 5001, "x", options={"safe_after": "1"})
    agents = {name: AgentConfig(name, "127.0.0.1", 5002, "x") for name in ("weather", "dome")}
    limits = WeatherLimits(closings_hour=100)
    host = inline(MonitoringAgent(), agents={"monitoring": section, **agents}, limits=limits)
    for _ in range(6):
        assert pass_(host, 0.5) == messages.WEATHER_SAFE
        assert pass_(host, 0.5, rain=True) == messages.WEATHER_UNSAFE
    assert pass_(host, 10) == messages.WEATHER_UNSAFE
    host.reactor.advance(0)
    assert list(host.host.alarms.raised) == ["flapping"]
    host.hear(messages.RELEASE, peer="program:person")
    assert pass_(host, 0.5) == messages.WEATHER_SAFE


@pytest.mark.parametrize("device", ["dome", "telescope"])
def test_a_required_device_that_is_away_is_unsafe(inline: Callable[..., Any], device: str) -> None:
    host = inline(MonitoringAgent(), "weather", "majordome", "dome", "telescope")
    pass_(host, 1)
    host.hear(messages.INSTRUMENT_DISCONNECTED, InstrumentConnection(device, "gone"), peer=device)
    assert pass_(host, 0.8) == messages.WEATHER_SAFE
    assert pass_(host, 0.4) == messages.WEATHER_UNSAFE
    host.hear(messages.INSTRUMENT_CONNECTED, InstrumentConnection(device, "back"), peer=device)
    assert pass_(host, 14.5) == messages.WEATHER_UNSAFE
    assert pass_(host, 1) == messages.WEATHER_SAFE


def test_a_minute_on_battery_is_unsafe_and_so_is_a_silent_ups(host: Any) -> None:
    def power(*, on_mains: bool) -> None:
        host.hear(messages.POWER_READING, PowerReading(on_mains=on_mains, charge=90.0), peer="ups")

    power(on_mains=False)
    assert pass_(host, 0.8) == messages.WEATHER_SAFE
    power(on_mains=False)
    assert pass_(host, 0.5) == messages.WEATHER_UNSAFE
    for _ in range(7):
        power(on_mains=True)
        last = pass_(host, 1.7)
    assert last == messages.WEATHER_SAFE
    assert pass_(host, 2.5) == messages.WEATHER_UNSAFE, "no word for two minutes"


def _values(number: int, **still: float) -> dict[str, float]:
    moving = {
        "temperature": 8 + 0.1 * number,
        "humidity": 60 + 0.1 * number,
        "wind": 1 + 0.2 * number,
        "gust": 5 + 0.3 * number,
    }
    return moving | still


@pytest.mark.parametrize(
    ("still", "named"),
    [
        ({}, ""), ({"temperature": 3.5}, "temperature has said 3.5"), ({"humidity": 55.0}, "humidity has said 55"),
        ({"wind": 2.5}, "wind has said 2.5"), ({"gust": 9.0}, "gust has said 9"), ({"wind": 0.0, "gust": 0.0}, ""),
    ],
)  # fmt: skip
def test_a_sensor_that_is_frozen_while_others_move_is_unsafe(host: Any, still: dict[str, float], named: str) -> None:
    for number in range(38):
        ((name, state),) = read(host, **_values(number, **still))
        host.reactor.advance(50)
    assert name == (messages.WEATHER_UNSAFE if named else messages.WEATHER_SAFE), state.reason
    assert named in state.reason


def test_a_coarse_sensor_may_stay_the_same(inline: Callable[..., Any]) -> None:
    section = AgentConfig("monitoring", "127.0.0.1", 5001, "x", options={"coarse": "temperature wind"})
    agents = {
        name: AgentConfig(name, "127.0.0.1", 5002 + number, "x") for number, name in enumerate(("weather", "dome"))
    }
    host = inline(MonitoringAgent(), agents={"monitoring": section, **agents})
    for number in range(38):
        ((name, _),) = read(host, **_values(number, temperature=3.0, wind=2.0))
        host.reactor.advance(50)
    assert name == messages.WEATHER_SAFE


def test_a_frozen_station_that_only_gets_older_is_frozen(host: Any) -> None:
    for number in range(38):
        ((name, state),) = read(host, age=float(number % 4))
        host.reactor.advance(50)
    assert name == messages.WEATHER_UNSAFE
    assert "exactly the same" in state.reason


@pytest.mark.parametrize(("away", "name"), [(20.0, messages.WEATHER_SAFE), (3600.0, messages.WEATHER_UNSAFE)])
def test_after_a_long_absence_the_quiet_time_counts(inline: Callable[..., Any], away: float, name: str) -> None:
    before = inline(MonitoringAgent(), "weather", "majordome", "dome", limits=WeatherLimits(clock_step=1e9))
    before.clock.step(-away)
    read(before)
    after = inline(MonitoringAgent(), "weather", "majordome", "dome")
    ((said, state),) = read(after)
    assert said == name
    if said == messages.WEATHER_UNSAFE:
        assert state.reason == "good again, safe in 900 s (it was: nobody has looked at the weather)"


def test_a_restart_in_the_rain_does_not_shorten_the_quiet_time(inline: Callable[..., Any]) -> None:
    others = ("weather", "majordome", "dome")
    pass_(inline(MonitoringAgent(), *others), 1, rain=True)
    host = inline(MonitoringAgent(), *others)
    assert pass_(host, 19.5) == messages.WEATHER_UNSAFE
    assert pass_(host, 1) == messages.WEATHER_SAFE


def _clock(host: Any, offset: float | None) -> None:
    host.hear(CLOCK_ASKED, ClockWord(offset, "chrony"), peer="clock")


def test_a_clock_that_is_off_is_unsafe_until_it_was_right_for_ten_minutes(host: Any) -> None:
    assert [name for name, _ in read(host)] == [messages.WEATHER_SAFE]
    _clock(host, 0.4)
    host.reactor.advance(20)
    assert [name for name, _ in read(host)] == [messages.WEATHER_SAFE]
    _clock(host, -2.5)
    host.reactor.advance(20)
    ((name, state),) = read(host)
    assert (name, "the clock is -2.5 s off" in state.reason) == (messages.WEATHER_UNSAFE, True)
    _clock(host, 0.1)
    host.reactor.advance(20)
    ((name, state),) = read(host)
    assert (name, "safe in" in state.reason) == (messages.WEATHER_UNSAFE, True)
    assert pass_(host, 10.5) == messages.WEATHER_SAFE


def test_where_nobody_tells_the_clocks_offset_it_is_said_and_nothing_follows(host: Any) -> None:
    _clock(host, None)
    assert [name for name, _ in read(host)] == [messages.WEATHER_SAFE]
    assert host.agent.figures() == {"clock_offset": None, "clock_source": "chrony"}


def test_the_clock_is_asked_in_the_pool_of_a_real_reactor_only(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(time_server, "clock_offset", lambda: ClockOffset(1.5, "chrony"))
    monkeypatch.setattr(monitoring, "deferToThreadPool", lambda _, pool, ask: succeed(ask()))
    monkeypatch.setattr(host.agent, "post_to_self", lambda name, payload: told.append((name, payload)))
    host.reactor.advance(1300)
    assert told == []
    reactor = Mock(getThreadPool=lambda: None)
    directlyProvides(reactor, IReactorProcess)
    host.agent.attach(reactor)
    host.reactor.advance(600)
    assert told == [(CLOCK_ASKED, ClockWord(1.5, "chrony"))]


def test_what_stays_as_it_is_is_said_each_quarter_minute(host: Any) -> None:
    said = []
    for _ in range(12):
        said += [name for name, _ in read(host)]
        host.reactor.advance(10)
    assert said == [messages.WEATHER_SAFE] * 6, "with readings each 10 s each 20 s"
