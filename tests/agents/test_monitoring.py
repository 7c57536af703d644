"""Monitoring, one turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pyros import messages
from pyros.agents.monitoring import MonitoringAgent
from pyros.messages import AlertSource, SafetyReading, WeatherReading, encode_payload


def test_it_keeps_which_sources_of_alerts_are_silent(inline: Callable[..., Any]) -> None:
    agent = MonitoringAgent()
    host = inline(agent)

    def say(number: int, name: str, source: str, text: str) -> None:
        host.turn((name, encode_payload(name, AlertSource(source, text))), first=number)

    say(1, messages.ALERTS_SILENT, "kafka gcn", "nothing heard for 60 s")
    say(2, messages.ALERTS_HEARD, "kafka scimma", "heard")
    found = {source: (link.connected, link.text) for source, link in agent.state.alert_sources.items()}
    assert found == {"kafka gcn": (False, "nothing heard for 60 s"), "kafka scimma": (True, "heard")}
    say(3, messages.ALERTS_HEARD, "kafka gcn", "heard again")
    assert agent.state.alert_sources["kafka gcn"].connected
    for number in range(200):
        say(4 + number, messages.ALERTS_SILENT, f"kafka {number}", "x")
    assert len(agent.state.alert_sources) == 100
    assert host.turns.failed == 0


WEATHER = encode_payload(messages.WEATHER_READING, WeatherReading(8.0, 60.0, 2.0, False))
SAFE = encode_payload(messages.SAFETY_READING, SafetyReading(True))


def test_the_safety_monitors_first_word_counts_at_once_when_the_weather_is_known(inline: Callable[..., Any]) -> None:
    host = inline(MonitoringAgent(), "weather", "safety", "majordome", "dome")
    assert host.turn((messages.WEATHER_READING, WEATHER)).outgoing == []
    told = host.turn((messages.SAFETY_READING, SAFE), first=2).outgoing
    assert {(each.agent, each.name) for each in told} == {(who, messages.WEATHER_SAFE) for who in ("majordome", "dome")}


def test_after_a_restart_it_waits_for_the_weather_of_now(inline: Callable[..., Any]) -> None:
    others = ("weather", "safety", "majordome", "dome")
    inline(MonitoringAgent(), *others).turn((messages.WEATHER_READING, WEATHER), (messages.SAFETY_READING, SAFE))
    agent = MonitoringAgent()
    host = inline(agent, *others)
    agent.state.safety = None
    agent._began += 1  # what it knows of the weather is from before
    assert host.turn((messages.SAFETY_READING, SAFE), first=3).outgoing == []
    assert host.turn((messages.WEATHER_READING, WEATHER), first=4).outgoing


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


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gust": 16.0}, "gusts of 16.0 m/s, the limit is 15"),
        ({"wind": None, "gust": 16.0}, "gusts of 16.0 m/s"),
        ({"age": 61.0}, "a reading is 61 s old, the limit is 60"),
    ],
)
def test_gusts_and_ages_count(inline: Callable[..., Any], changed: dict[str, Any], words: str) -> None:
    reading = msgspec.structs.replace(WeatherReading(8.0, 60.0, 2.0, False, 0.1), **changed)
    told = inline(MonitoringAgent(), "weather", "majordome", "dome").turn(
        (messages.WEATHER_READING, encode_payload(messages.WEATHER_READING, reading))
    )
    assert {each.name for each in told.outgoing} == {messages.WEATHER_UNSAFE}
    assert all(words in each.payload.decode() for each in told.outgoing)


def test_what_is_not_measured_is_unknown(inline: Callable[..., Any]) -> None:
    agent, reading = MonitoringAgent(), WeatherReading(None, None, None, None)
    told = inline(agent, "weather", "majordome", "dome").turn(
        (messages.WEATHER_READING, encode_payload(messages.WEATHER_READING, reading))
    )
    assert {each.name for each in told.outgoing} == {messages.WEATHER_SAFE}
    assert agent.state.telemetry["weather"].values["rain"] is None


def test_a_frozen_station_that_only_gets_older_is_frozen(inline: Callable[..., Any]) -> None:
    agent = MonitoringAgent()
    host = inline(agent, "weather", "majordome", "dome")
    for number in range(4):
        reading = WeatherReading(8.0, 60.0, 2.0, False, 0.1, age=float(number))
        told = host.turn(
            (messages.WEATHER_READING, encode_payload(messages.WEATHER_READING, reading)), first=number + 1
        )
        host.reactor.advance(700)
    assert {each.name for each in told.outgoing} == {messages.WEATHER_UNSAFE}
    assert "exactly the same" in told.outgoing[0].payload.decode()
