"""Faults, by file and by hand, each as a client sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.devices.weather import Noise
from pyros.simulators.settings import FaultSettings

Rigs = Callable[..., Any]


def fault(kind: Any, *, lasts: float | None = None, **keys: Any) -> FaultSettings:
    return FaultSettings(kind=kind, lasts=lasts, **keys)


def test_no_answer_and_nothing_done(rig: Rigs) -> None:
    dome = rig("dome")
    assert dome.ask('FAULT no_answer request="DO open"') == "OK"
    assert dome.ask("#5 DO open") == ""
    assert dome.ask("GET state") == "OK closed"
    assert dome.ask("GET faults") == "OK no_answer"
    assert dome.ask("FAULT clear") == "OK"
    assert dome.ask("GET faults") == "OK"
    assert dome.ask("#6 DO open") == "#6 BUSY 2.000"


def test_a_fault_ends_by_itself_and_never_concerns_the_command_that_ends_it(rig: Rigs) -> None:
    dome = rig("dome")
    assert dome.ask("FAULT no_answer for=30") == "OK"
    assert dome.ask("GET state") == ""
    dome.advance(29)
    assert dome.ask("GET state") == ""
    dome.advance(1.1)
    assert dome.ask("GET state") == "OK closed"
    dome.ask("FAULT garbage")
    assert dome.ask("FAULT clear") == "OK"


def test_a_late_answer_holds_up_what_comes_after_it(rig: Rigs) -> None:
    dome = rig("dome")
    client, other = dome.client(), dome.client()
    client.ask('FAULT late_answer seconds=7 request="DO open"')
    client.send("#1 DO open", "#2 GET state")
    assert other.ask("GET state") == "OK opening", "it was done at once"
    dome.advance(6.9)
    assert client.read() == ["EVT opened"]
    dome.advance(0.2)
    assert client.read() == ["#1 BUSY 2.000", "#2 OK open"]


def test_a_client_that_leaves_before_its_late_answer_leaves_nothing(rig: Rigs) -> None:
    dome = rig("dome")
    dome.ask("FAULT late_answer")
    dome.send("GET state")
    dome.lose()
    assert dome.timers() == 0


def test_who_has_said_all_waits_for_a_late_answer(rig: Rigs) -> None:
    dome = rig("dome")
    dome.ask("FAULT late_answer seconds=3")
    dome.send("GET state")
    dome.connection.readConnectionLost()
    assert not dome.transport.disconnecting
    dome.advance(3.1)
    assert dome.read() == ["OK closed"]
    assert dome.transport.disconnecting


def test_garbage_half_a_line_and_a_dropped_connection(rig: Rigs) -> None:
    dome = rig("dome")
    dome.ask("FAULT garbage")
    dome.send("GET state")
    data = dome.transport.value()
    with pytest.raises(UnicodeDecodeError):
        data.decode()
    assert data.endswith(b"\n")
    dome.ask("FAULT clear")
    dome.ask("FAULT half_line")
    dome.send("GET state")
    assert dome.transport.value() == b"OK cl"
    dome.ask("FAULT clear")
    dome.ask('FAULT drop request="DO open"')
    dome.send("DO open")
    assert dome.transport.value() == b""
    assert dome.transport.disconnecting or dome.connection.leaving
    assert dome.device.state == "opening", "it was done all the same"


def test_a_refusal_does_nothing(rig: Rigs) -> None:
    dome = rig("dome")
    dome.ask("FAULT refuse request=DO code=HARDWARE")
    assert dome.ask("DO open").startswith("ERR HARDWARE ")
    assert dome.ask("GET state") == "OK closed"


@pytest.mark.parametrize(
    ("device", "begin", "what", "end"),
    [
        ("dome", "DO open", "opening", "EVT opened"),
        ("mirror_cover", "DO open", "angle", "EVT opened angle=270.0"),
        ("cover", "DO open", "state", "EVT opened"),
        ("cover", "DO light brightness=9", "brightness", "EVT lit brightness=9"),
        ("rotator", "DO move angle=120", "angle", "EVT moved angle=120.000"),
        ("filter_wheel", "DO select filter=r", "state", "EVT selected filter=r"),
        ("focuser", "DO move position=25500", "position", "EVT moved position=25500"),
        ("camera", "DO expose seconds=10", "state", "EVT image_ready"),
    ],
)
def test_what_is_stuck_stands_still_and_then_goes_on(rig: Rigs, device: str, begin: str, what: str, end: str) -> None:
    changed = {"dome": {}, "camera": {"width": 16, "height": 16}}.get(device, {"stall": None})
    each = rig(device, speed=1, **changed)
    seconds = float(each.ask(begin).removeprefix("BUSY "))
    each.advance(seconds / 2)
    each.read()
    assert each.ask(f"FAULT {'no_image' if device == 'camera' else 'stuck'}") == "OK"
    before = each.ask(f"GET {what}")
    each.advance(1000)
    assert each.ask(f"GET {what}") == before
    assert each.read() == []
    each.ask("FAULT clear")
    each.advance(seconds / 2 - 0.01)
    assert end not in each.read()
    each.advance(seconds)
    assert end in each.read()


@pytest.mark.parametrize(
    ("device", "begin", "what", "failed", "end"),
    [
        ("filter_wheel", "DO select filter=r tag=a", "filter", "select_failed", "EVT selected filter=r tag=a"),
        ("focuser", "DO move position=30000 tag=a", "position", "move_failed", "EVT moved position=30000 tag=a"),
        ("dome", "DO rotate azimuth=90 tag=a", "azimuth", "rotation_failed", "EVT rotated azimuth=90.00 tag=a"),
        ("rotator", "DO move angle=120 tag=a", "angle", "move_failed", "EVT moved angle=120.000 tag=a"),
        ("mirror_cover", "DO open tag=a", "angle", "open_failed", "EVT opened angle=270.0 tag=a"),
    ],
)
def test_a_motor_that_is_stuck_is_given_up_where_it_stands(
    rig: Rigs, device: str, begin: str, what: str, failed: str, end: str
) -> None:
    changed: dict[str, dict[str, Any]] = {"dome": {"rotation_rate": 6.0}, "mirror_cover": {"events": ()}}
    each = rig(device, speed=2, **changed.get(device, {}))
    before = each.ask("GET state")
    seconds = float(each.ask(begin).removeprefix("BUSY "))
    each.advance(seconds / 2)
    each.ask("FAULT stuck")
    there = each.ask(f"GET {what}")
    each.advance(seconds / 2 + 2.4)
    assert each.read() == []
    each.advance(0.2)
    assert each.read() == [f'EVT {failed} reason="the motor does not move" tag=a']
    assert each.ask("GET state") == before
    each.ask("FAULT clear")
    each.advance(1000)
    assert each.read() == []
    assert each.ask(f"GET {what}") == there
    left = float(each.ask(begin).removeprefix("BUSY "))
    assert left == pytest.approx(seconds / 2, abs=0.01)
    each.advance(left + 3)
    assert each.read() == [end]


def test_a_motor_that_is_stuck_for_a_moment_only_is_late(rig: Rigs) -> None:
    wheel = rig("filter_wheel", speed=1)
    seconds = float(wheel.ask("DO select filter=r").removeprefix("BUSY "))
    wheel.ask("FAULT stuck for=4")
    wheel.advance(seconds + 3.9)
    assert wheel.read() == []
    wheel.advance(0.2)
    assert wheel.read() == ["EVT selected filter=r"]
    wheel.advance(60)
    assert wheel.read() == []


def test_a_wheel_that_stands_between_two_filters_has_none_in_the_beam(rig: Rigs) -> None:
    wheel = rig("filter_wheel", speed=1)
    wheel.ask("DO select filter=r")
    wheel.advance(1)
    wheel.ask("FAULT stuck")
    wheel.advance(60)
    wheel.ask("FAULT clear")
    assert wheel.ask("GET filter") == 'OK ""'
    wheel.ask("FAULT wrong_position")
    assert wheel.ask("GET filter") == 'OK ""'
    assert wheel.ask("DO select filter=g") == "BUSY 1.000"
    wheel.advance(1.1)
    wheel.ask("FAULT clear")
    assert wheel.ask("GET filter") == "OK g"


def test_a_stuck_telescope_points_where_it_stopped(rig: Rigs) -> None:
    telescope = rig("telescope", speed=1, parked=False)
    telescope.ask("DO park")
    telescope.ask("FAULT stuck for=60")
    telescope.advance(59)
    assert telescope.ask("GET state") == "OK parking"
    telescope.advance(120)
    assert telescope.ask("GET state") == "OK parked"


def test_a_newer_command_replaces_a_stuck_one(rig: Rigs) -> None:
    wheel = rig("filter_wheel", speed=1)
    wheel.ask("DO select filter=r tag=a")
    wheel.ask("FAULT stuck")
    wheel.ask("DO select filter=i tag=b")
    wheel.read()
    wheel.ask("FAULT clear")
    wheel.advance(10)
    assert wheel.read() == ["EVT selected filter=i tag=b"]


def test_positions_that_are_wrong(rig: Rigs) -> None:
    dome, focuser, wheel = rig("dome", rotation_rate=5.0, azimuth=350.0), rig("focuser"), rig("filter_wheel")
    for device, command, ask, answer in (
        (dome, "FAULT wrong_position by=20", "GET azimuth", "OK 10.00"),
        (focuser, "FAULT wrong_position by=-300", "GET position", "OK 24700"),
        (wheel, "FAULT wrong_position", "GET filter", "OK r"),
    ):
        client = device.client()
        before = client.ask(ask)
        assert client.ask(command) == "OK"
        assert client.ask(ask) == answer
        client.ask("FAULT clear")
        assert client.ask(ask) == before


def test_a_frozen_sensor_says_what_it_said_when_it_froze(rig: Rigs) -> None:
    weather = rig("weather", noise=Noise(temperature=3.0, wind=2.0))
    before = weather.ask("GET readings")
    weather.ask("FAULT frozen")
    weather.ask("SET rain 1")
    weather.advance(500)
    assert weather.ask("GET readings") == before
    assert weather.ask("GET rain") == "OK 0"
    assert weather.ask("GET climate") == "OK auto"
    weather.ask("FAULT clear")
    assert weather.ask("GET rain") == "OK 1"
    assert weather.ask("GET readings") != before


def test_faults_of_the_file_come_and_go(rig: Rigs) -> None:
    dome = rig("dome", speed=10, faults=(fault("refuse", at=100.0, lasts=50.0), fault("stuck", at=120.0, lasts=10.0)))
    client = dome.client()
    seen = []
    for _ in range(16):
        dome.advance(10)
        seen.append(client.ask("GET faults") if not client.ask("GET state").startswith("ERR") else "refused")
    assert seen[:9] == ["OK"] * 9
    assert "refused" in seen
    assert seen[-1] == "OK"
    assert dome.timers() == 0


def test_a_fault_with_a_probability_is_the_same_for_the_same_seed(rig: Rigs) -> None:
    rows = []
    for seed in (1, 1, 2):
        client = rig("dome", seed=seed).client()
        client.ask('FAULT refuse probability=0.3 request="GET state"')
        rows.append([client.ask("GET state").startswith("ERR") for _ in range(200)])
    assert rows[0] == rows[1] != rows[2]
    assert 30 < sum(rows[0]) < 90


@pytest.mark.parametrize(
    ("device", "command", "complaint"),
    [
        ("dome", "FAULT explode", "kind: must be one of no_answer, late_answer, "),
        ("dome", "FAULT no_image", "a dome cannot have no_image, only no_answer, late_answer"),
        ("camera", "FAULT stuck", "a camera cannot have stuck"),
        ("weather", "FAULT wrong_position", "a weather cannot have wrong_position"),
        ("dome", "FAULT stuck request=open", "stuck concerns the whole device"),
        ("dome", "FAULT drop probability=2", "probability: must be 0 to 1, not '2'"),
        ("dome", "FAULT drop for=long", "for: must be seconds, 0 to 86400"),
        ("dome", "FAULT drop form=3", "form: there is no such key; did you mean for?"),
        ("dome", 'FAULT drop request="do open"', "request: must be the requests concerned"),
        ("dome", "FAULT clear all=1", "FAULT clear takes nothing more"),
    ],
)
def test_faults_that_make_no_sense(rig: Rigs, device: str, command: str, complaint: str) -> None:
    client = rig(device).client()
    assert client.ask(command).startswith(f"ERR VALUE {complaint}")
    assert client.ask("GET faults") == "OK"


def test_there_is_an_end_to_faults(rig: Rigs) -> None:
    client = rig("dome").client()
    for _ in range(1000):
        assert client.ask("FAULT refuse at=1000 request=open") == "OK"
    assert client.ask("FAULT drop").startswith("ERR VALUE 1000 faults are there already")
    assert client.ask("FAULT clear") == "OK"
