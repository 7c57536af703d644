"""Monitoring, one turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyros import messages
from pyros.agents.monitoring import MonitoringAgent
from pyros.messages import AlertSource, encode_payload


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
