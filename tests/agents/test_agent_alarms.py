"""Alarms of an agent: beside its turns, and to monitoring through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pyros import messages
from pyros.agents import Agent, Message
from pyros.agents.monitoring import MonitoringAgent
from pyros.messages import AlarmEnded, AlarmRaised, encode_payload


class AlarmingAgent(Agent):
    """Raises an alarm, or ends it, when told so; it may fail afterwards."""

    def __init__(self) -> None:
        super().__init__("dome")
        self.actions_by_message |= {
            "Wet": lambda: self.alarm("wet", "the mirror gets wet"),
            "Dry": lambda: self.alarm_over("wet"),
            "Flicker": self.flicker,
            "Fail": self.fail,
        }

    def flicker(self) -> None:
        self.alarm("wet", "the mirror gets wet")
        self.alarm_over("wet")

    def fail(self) -> None:
        self.alarm("wet", "the mirror gets wet")
        raise RuntimeError("the turn fails")


def told(rig: Any) -> list[tuple[str, Any]]:
    """Return the alarms that have gone into the outbox for monitoring."""
    rig.reactor.pump([0] * 6)
    rows = rig.rows("SELECT name, payload FROM outbox WHERE agent = 'monitoring' ORDER BY seq")
    types = {messages.ALARM: AlarmRaised, messages.ALARM_OVER: AlarmEnded}
    return [(name, msgspec.json.decode(payload, type=types[name])) for name, payload in rows]


ALARM = (messages.ALARM, AlarmRaised(source="dome", key="wet", text="the mirror gets wet"))
OVER = (messages.ALARM_OVER, AlarmEnded(source="dome", key="wet"))
ANEW = (messages.ALARM_OVER, AlarmEnded(source="dome"))


def test_an_agent_tells_monitoring_of_an_alarm_and_its_end(inline: Callable[..., Any]) -> None:
    rig = inline(AlarmingAgent(), "monitoring")
    rig.turn("Wet", "Wet")
    assert told(rig) == [ANEW, ALARM]
    assert [alarm["key"] for alarm in rig.host.status()["alarms"]] == ["wet"]
    rig.turn("Wet", "Dry")
    assert told(rig) == [ANEW, ALARM, OVER]
    assert rig.host.status()["alarms"] == []


def test_an_alarm_is_not_undone_with_its_turn(inline: Callable[..., Any]) -> None:
    rig = inline(AlarmingAgent(), "monitoring")
    rig.turn("Fail")
    assert told(rig) == [ANEW, ALARM]


def test_an_alarm_that_is_over_at_once_is_no_ghost(inline: Callable[..., Any]) -> None:
    rig = inline(AlarmingAgent(), "monitoring")
    rig.turn("Flicker")
    assert told(rig) == [ANEW, ALARM, OVER]


def test_nobody_else_ends_an_alarm_of_an_agent(inline: Callable[..., Any]) -> None:
    rig = inline(AlarmingAgent(), "monitoring")
    outcome = rig.turn((Agent.TELL_ALARM_OVER, encode_payload(Agent.TELL_ALARM_OVER, OVER[1])))
    assert "says to itself" in outcome.answers[0][1].refused[0].reason
    assert told(rig) == [ANEW]


def hear(rig: Any, *payloads: AlarmRaised | AlarmEnded) -> list[tuple[str, str]]:
    """Let monitoring hear of alarms; returns those that it keeps."""
    for payload in payloads:
        name = messages.ALARM if isinstance(payload, AlarmRaised) else messages.ALARM_OVER
        message = Message("x", name, payload.source, rig.clock.time(), encode_payload(name, payload))
        rig.turns.run_hook(lambda message=message: rig.agent.receive(message))
        rig.reactor.advance(1)
    return [(alarm.source, alarm.key) for alarm in rig.agent.state.alarms]


def test_monitoring_keeps_alarms_until_they_are_over(inline: Callable[..., Any]) -> None:
    rig = inline(MonitoringAgent())
    dark = AlarmRaised(source="dome", key="dark", text="no power")
    blind = AlarmRaised(source="camera", key="blind", text="no light")
    assert hear(rig, ALARM[1], dark, blind, ALARM[1]) == [("dome", "wet"), ("dome", "dark"), ("camera", "blind")]
    assert hear(rig, OVER[1]) == [("dome", "dark"), ("camera", "blind")]
    assert hear(rig, ANEW[1]) == [("camera", "blind")]
    again = inline(MonitoringAgent())
    assert hear(again) == [("camera", "blind")]


def test_the_alarms_that_monitoring_keeps_have_a_bound(inline: Callable[..., Any]) -> None:
    rig = inline(MonitoringAgent())
    kept = hear(rig, *(AlarmRaised(source="dome", key=str(number), text="") for number in range(250)))
    assert len(kept) == 200
    assert kept[-1] == ("dome", "249")


def test_monitoring_raises_alarms_of_its_own(inline: Callable[..., Any]) -> None:
    rig = inline(MonitoringAgent())
    rig.agent.alarm("silent", "the station is silent")
    rig.reactor.pump([0] * 4)
    assert hear(rig) == [("monitoring", "silent")]
    assert hear(inline(MonitoringAgent())) == []
