from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.devices.safety import SafetyChange

Rigs = Callable[..., Any]


def test_a_human_overrules_the_plc(rig: Rigs) -> None:
    plc = rig("safety")
    client, other = plc.client(), plc.client()
    assert client.ask("GET safe") == "OK 1"
    assert client.ask('SET safe 0 "smoke in the valley"') == "OK"
    assert other.read() == ['EVT unsafe reason="smoke in the valley"']
    assert client.ask("GET safe") == 'OK 0 reason="smoke in the valley"'
    assert client.ask("GET script") == "OK manual"
    assert client.ask("SET safe 0") == "OK"
    assert client.ask("GET safe") == 'OK 0 reason="set by hand"'
    assert other.read() == [], "it was not safe before"
    assert client.ask("SET script auto") == "OK"
    assert other.read() == ["EVT safe"]
    assert client.ask("GET safe") == "OK 1"


@pytest.mark.parametrize("request_", ["SET safe 2", "SET safe yes", "SET safe 1 a b", "SET script manual"])
def test_a_plc_refuses_what_it_does_not_know(rig: Rigs, request_: str) -> None:
    client = rig("safety").client()
    assert client.ask(request_).startswith("ERR VALUE ")
    assert client.ask("GET script") == "OK auto"


def test_the_script_of_the_plc(rig: Rigs) -> None:
    script = (SafetyChange(at=100, safe=False, reason="smoke"), SafetyChange(at=200, safe=True))
    plc = rig("safety", speed=10, script=script)
    client = plc.client()
    plc.advance(10.01)
    assert client.read() == ["EVT unsafe reason=smoke"]
    assert client.ask("GET safe") == "OK 0 reason=smoke"
    plc.advance(10)
    assert client.read() == ["EVT safe"]
    assert client.ask("GET safe") == "OK 1"


def test_a_plc_with_a_script_lets_its_clients_go(rig: Rigs) -> None:
    """Its own timers are nobody's command: ``nc -N`` need not wait for them."""
    plc = rig("safety", script=(SafetyChange(at=1e6, safe=False),))
    plc.send("GET safe")
    plc.connection.readConnectionLost()
    assert plc.transport.disconnecting


def test_channels_and_their_levels(rig: Rigs) -> None:
    switch = rig("switch")
    client, other = switch.client(), switch.client()
    assert client.ask("GET channels") == "OK mount_power camera_power flat_lamp mains"
    assert client.ask("GET channel_2") == "OK name=flat_lamp writable=1 least=0 most=100 step=5"
    assert client.ask("GET channel_3") == "OK name=mains writable=0 least=0 most=260 step=1"
    assert client.ask("GET level_0") == "OK 1"
    assert client.ask("SET level_2 35") == "OK"
    assert other.read() == ["EVT level_changed channel=2 level=35"]
    assert client.ask("GET level_2") == "OK 35"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("SET level_2 36", "VALUE"),
        ("SET level_0 0.5", "VALUE"),
        ("SET level_2 105", "VALUE"),
        ("SET level_2 1 2", "VALUE"),
        ("SET level_3 0", "UNSUPPORTED"),
        ("SET level_4 0", "UNKNOWN"),
        ("GET channel_4", "UNKNOWN"),
    ],
)
def test_a_switch_refuses_levels_it_cannot_have(rig: Rigs, request_: str, code: str) -> None:
    client = rig("switch").client()
    assert client.ask(request_).startswith(f"ERR {code} ")
    assert client.ask("GET level_2") == "OK 0"
