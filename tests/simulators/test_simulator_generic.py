"""A device that no Python was written for: the demo's mirror cover, and mistakes in files like its."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyros.errors import SimulatorError
from pyros.simulators import load
from tests.simulators.conftest import DEMO

Rigs = Callable[..., Any]


def test_what_it_is_and_what_it_can_tell(rig: Rigs) -> None:
    client = rig("mirror_cover").client()
    assert client.ask("GET id") == 'OK "Demo mirror cover" generic'
    assert client.ask("GET state") == "OK closed"
    assert client.ask("GET properties") == (
        'OK lamp=percent angle=degrees temperature="degrees Celsius" mode="" heater=""'
    )
    assert client.ask("GET lamp") == "OK 0"
    assert client.ask("GET angle") == "OK 0.0"
    assert client.ask("GET mode") == "OK remote"
    assert client.ask("GET heater") == "OK 0"


def test_properties_that_can_be_set(rig: Rigs) -> None:
    client = rig("mirror_cover").client()
    assert client.ask("SET lamp 40") == "OK"
    assert client.ask("GET lamp") == "OK 40"
    assert client.ask("SET heater 1") == "OK"
    assert client.ask("GET heater") == "OK 1"
    for request, code in (
        ("SET lamp 101", "VALUE"),
        ("SET lamp bright", "VALUE"),
        ("SET lamp 1 2", "VALUE"),
        ("SET heater on", "VALUE"),
        ("SET angle 3", "UNKNOWN"),
        ("SET mode local", "UNKNOWN"),
    ):
        assert client.ask(request).startswith(f"ERR {code} "), request


def test_noise_and_drift(rig: Rigs) -> None:
    cover = rig("mirror_cover", speed=1)
    client = cover.client()
    seen = []
    for _ in range(200):
        cover.advance(360)
        seen.append(client.numbers("GET temperature")[0])
    hours = 200 * 360 / 3600
    assert seen[-1] == pytest.approx(11 - 0.5 * hours, abs=0.6)
    assert len(set(seen)) > 100


def test_commands_move_wait_and_stop(rig: Rigs) -> None:
    cover = rig("mirror_cover", speed=1)
    client, other = cover.client(), cover.client()
    assert client.ask("DO open tag=a") == "BUSY 15.000"
    cover.advance(5)
    assert client.ask("GET state") == "OK opening"
    assert client.ask("GET angle") == "OK 90.0"
    cover.advance(10.1)
    assert other.read() == ["EVT opened angle=270.0 tag=a"]
    assert client.ask("GET state") == "OK open"
    assert client.ask("DO turn angle=180 tag=b") == "BUSY 5.000"
    cover.advance(2.5)
    assert client.ask("DO close tag=c") == "BUSY 12.500"
    assert client.read() == ["EVT turn_aborted tag=b"]
    assert client.ask("DO stop") == "OK"
    assert client.read() == ["EVT close_aborted tag=c"]
    assert client.ask("GET state") == "OK ajar"
    cover.advance(30)
    assert client.ask("GET angle") == "OK 225.0"
    assert client.ask("DO turn angle=300").startswith("ERR VALUE angle must be a number from 0 to 270")
    assert client.ask("DO turn").startswith("ERR VALUE turn takes angle=")
    assert client.ask("DO flash").startswith("ERR STATE flash is allowed when it is closed; it is ajar")


def test_a_command_that_waits_sets_properties_at_its_end(rig: Rigs) -> None:
    cover = rig("mirror_cover", speed=1)
    cover.ask("SET lamp 80")
    assert cover.ask("DO flash") == "BUSY 5.000"
    cover.advance(4)
    assert cover.ask("GET state") == "OK flashing"
    assert cover.ask("GET lamp") == "OK 80"
    cover.advance(1.1)
    assert cover.read() == ["EVT flash_finished"]
    assert cover.ask("GET lamp") == "OK 0"
    assert cover.ask("GET state") == "OK closed"


def test_events_happen_by_themselves(rig: Rigs) -> None:
    cover = rig("mirror_cover", speed=1)
    client = cover.client()
    cover.advance(3601)
    lines = client.read()
    assert lines.count("EVT heartbeat") == 60
    assert lines.count("EVT local_control") == 1
    assert client.ask("GET mode") == "OK local"
    client.send("GET state")
    client.connection.readConnectionLost()
    assert client.transport.disconnecting, "its heart is nobody's command"


def test_it_has_faults_like_all_others(rig: Rigs) -> None:
    cover = rig("mirror_cover", speed=1)
    cover.ask("DO open")
    cover.advance(5)
    cover.ask("FAULT stuck")
    cover.advance(100)
    assert cover.ask("GET angle") == "OK 90.0"
    cover.ask("FAULT clear")
    cover.ask("FAULT wrong_position by=-12.5")
    assert cover.ask("GET angle") == "OK 77.5"
    cover.ask("FAULT frozen request=temperature")
    before = cover.ask("GET temperature")
    cover.advance(3600)
    assert cover.ask("GET temperature") == before


LAMP = {"value": 0, "limits": [0, 100]}


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"properties": {"Lamp": LAMP}}, "properties: must be names and what they are"),
        ({"properties": {"lamp": {"limits": [0, 1]}}}, "properties: lamp: value: is missing; it must be its value at"),
        (
            {"properties": {"lamp": {**LAMP, "unti": "percent"}}},
            "properties: lamp: unti: there is no such key",
        ),
        (
            {"properties": {"lamp": {"value": 200, "limits": [0, 100]}}},
            "properties: lamp: value: must be a number from 0",
        ),
        ({"properties": {"lamp": {"value": 0, "limits": [5, 5]}}}, "properties: lamp: limits: the least must be below"),
        ({"properties": {"lamp": {"value": 0, "limits": [0]}}}, "properties: lamp: limits: must be the least and the"),
        ({"properties": {"lamp": {"value": "on", "choices": ["off"]}}}, "properties: lamp: value: must be one of off"),
        ({"properties": {"lamp": {"value": True, "noise": 1}}}, "properties: lamp: noise: only a number has that"),
        ({"properties": {"lamp": {"value": 1, "choices": ["a"]}}}, "properties: lamp: choices: only a word has that"),
        ({"properties": {"state": LAMP}}, "properties: state: every device has state already"),
        ({"commands": {"go": {}}}, "commands: go: it must have one of seconds, moves and 'stops: true'"),
        ({"commands": {"go": {"seconds": 1, "stops": True}}}, "commands: go: it must have one of seconds, moves and"),
        ({"commands": {"go": {"seconds": -1}}}, "commands: go: seconds: must be seconds, 0 to 86400, not -1"),
        ({"commands": {"go": {"seconds": 1, "rate": 3}}}, "commands: go: rate: only a command that moves has that"),
        ({"commands": {"go": {"moves": "lid", "rate": 1}}}, "commands: go: moves: must be a number with limits among"),
        ({"commands": {"go": {"moves": "lamp"}}}, "commands: go: rate: is missing; it must be units per second"),
        ({"commands": {"go": {"moves": "lamp", "rate": 1, "to": 101}}}, "commands: go: to: must be a number from 0 to"),
        (
            {"commands": {"go": {"seconds": 1, "sets": {"lid": 1}}}},
            "commands: go: sets: there is no property lid",
        ),
        (
            {"commands": {"go": {"seconds": 1, "sets": {"lamp": "on"}}}},
            "commands: go: sets: lamp: must be a number",
        ),
        ({"events": [{"at": 5, "sets": {"lamp": 101}}]}, "events: at 5: sets: lamp: must be a number from 0 to 100"),
        ({"events": [{"sets": {}}]}, "events: must be a list such as [{at: 600, event: lamp_failed"),
        (
            {
                "properties": {"lamp": {**LAMP, "settable": True}},
                "commands": {"go": {"moves": "lamp", "rate": 1}, "off": {"seconds": 1, "sets": {"lamp": 0}}},
            },
            "properties: lamp: settable: a property that a command moves cannot have that",
        ),
    ],
)
def test_mistakes_say_where_they_are_and_what_is_right(tmp_path: Path, keys: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "mirror_cover.yaml"
    data = {"device": "generic", "name": "Cover", "listen": "tcp:0", "properties": {"lamp": LAMP}, **keys}
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(SimulatorError) as error:
        load(path)
    assert str(error.value).splitlines()[0].startswith(f"{path}: {complaint}")


def test_all_demo_files_are_right() -> None:
    assert {load(path).device for path in DEMO.glob("*.yaml")} >= {"generic", "switch", "safety", "telescope"}
