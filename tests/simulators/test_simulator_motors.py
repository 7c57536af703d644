"""What turns and moves: a filter wheel, a focuser, a dome's slit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Rigs = Callable[..., Any]


def test_the_wheel_turns_the_shorter_way(rig: Rigs) -> None:
    wheel = rig("filter_wheel", speed=1, seconds_per_position=2, filters=("g", "r", "i", "z", "clear"))
    client, other = wheel.client(), wheel.client()
    assert client.ask("GET id") == 'OK "Demo filter wheel" filter_wheel'
    assert client.ask("GET filters") == "OK g r i z clear"
    assert client.ask("GET filter") == "OK g"
    assert client.ask("DO select filter=g") == "OK"
    assert client.ask("DO select filter=z tag=a") == "BUSY 4.000"  # backwards over clear
    assert client.ask("GET state") == "OK moving"
    assert client.ask("GET filter") == 'OK ""'
    wheel.advance(3.9)
    assert other.read() == []
    wheel.advance(0.2)
    assert other.read() == ["EVT selected filter=z tag=a"]
    assert client.ask("GET state") == "OK idle"
    assert client.ask("GET filter") == "OK z"


def test_a_newer_filter_takes_the_place_of_the_old_one(rig: Rigs) -> None:
    wheel = rig("filter_wheel", speed=1, seconds_per_position=2)
    assert wheel.ask("DO select filter=r tag=a") == "BUSY 2.000"
    wheel.advance(1)
    assert wheel.ask("DO select filter=g tag=b") == "BUSY 1.000"
    assert wheel.read() == ["EVT select_aborted tag=a"]
    wheel.advance(1.1)
    assert wheel.read() == ["EVT selected filter=g tag=b"]


@pytest.mark.parametrize("request_", ["DO select", "DO select filter=u", "DO select filter=g slot=1"])
def test_a_wheel_refuses_what_it_has_not(rig: Rigs, request_: str) -> None:
    wheel = rig("filter_wheel")
    assert wheel.client().ask(request_).startswith("ERR VALUE ")
    assert wheel.device.state == "idle"


def test_the_focuser_moves_and_stops(rig: Rigs) -> None:
    focuser = rig("focuser", speed=2, steps_per_second=500)
    assert focuser.ask("GET limits") == "OK 0 50000"
    assert focuser.ask("GET position") == "OK 25000"
    assert focuser.ask("DO move position=25000") == "OK"
    assert focuser.ask("DO move position=27000 tag=a") == "BUSY 2.000"
    focuser.advance(1)
    assert focuser.ask("GET position") == "OK 26000"
    assert focuser.ask("GET state") == "OK moving"
    focuser.advance(1.1)
    assert focuser.read() == ["EVT moved position=27000 tag=a"]
    assert focuser.ask("DO move position=25000 tag=b") == "BUSY 2.000"
    focuser.advance(0.5)
    assert focuser.ask("DO stop") == "OK"
    assert focuser.read() == ["EVT move_aborted tag=b"]
    assert focuser.ask("GET position") == "OK 26500"
    assert focuser.ask("GET state") == "OK idle"
    focuser.advance(60)
    assert focuser.read() == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("DO move position=50001", "LIMIT"),
        ("DO move position=-1", "LIMIT"),
        ("DO move position=1.5", "VALUE"),
        ("DO move position=far", "VALUE"),
        ("DO move", "VALUE"),
    ],
)
def test_a_focuser_refuses_what_it_cannot_reach(rig: Rigs, request_: str, code: str) -> None:
    focuser = rig("focuser")
    assert focuser.client().ask(request_).startswith(f"ERR {code} ")
    assert focuser.device.state == "idle"


def test_the_focus_moves_with_the_temperature(rig: Rigs) -> None:
    focuser = rig(
        "focuser", speed=1, temperature_noise=0.0, temperature_drift=-2.0, backlash=0,
        steps_per_degree=-60.0, defocus_per_step=0.01,
    )  # fmt: skip
    assert focuser.numbers("GET temperature") == [11.0]
    assert focuser.numbers("GET defocus") == [0.0]
    focuser.advance(3600)
    assert focuser.numbers("GET temperature") == [9.0]
    assert focuser.numbers("GET defocus") == [pytest.approx(1.2)]
    focuser.ask("DO move position=25120")
    focuser.advance(10)
    assert focuser.numbers("GET defocus")[0] < 0.01


def test_backlash_makes_the_way_from_below_and_from_above_differ(rig: Rigs) -> None:
    focuser = rig("focuser", speed=10, temperature_noise=0.0, temperature_drift=0.0, backlash=50, defocus_per_step=0.1)
    client = focuser.client()
    seen = []
    for start in (24000, 26000):
        for position in (start, 25000):
            client.ask(f"DO move position={position}")
            focuser.advance(10)
        assert client.ask("GET position") == "OK 25000"
        seen.append(client.numbers("GET defocus")[0])
    assert seen == [pytest.approx(5.0), 0.0]


def test_a_focuser_without_a_sensor_has_no_temperature(rig: Rigs) -> None:
    client = rig("focuser", temperature=None).client()
    assert client.ask("GET temperature").startswith("ERR UNKNOWN ")
    assert client.numbers("GET defocus") == [0.0]


def test_the_slit_turns_the_shorter_way_and_stops(rig: Rigs) -> None:
    dome = rig("dome", speed=1, rotation_rate=5.0, azimuth=10.0)
    assert dome.ask("GET azimuth") == "OK 10.00"
    assert dome.ask("DO rotate azimuth=10") == "OK"
    assert dome.ask("DO rotate azimuth=350 tag=a") == "BUSY 4.000"
    assert dome.ask("GET state") == "OK closed", "that of the shutter"
    dome.advance(3)
    assert dome.ask("GET azimuth") == "OK 355.00"
    dome.advance(1.1)
    assert dome.read() == ["EVT rotated azimuth=350.00 tag=a"]
    assert dome.ask("DO rotate azimuth=90 tag=b") == "BUSY 20.000"
    assert dome.ask("DO open") == "BUSY 20.000"
    dome.advance(4)
    assert dome.ask("DO rotate azimuth=360 tag=c") == "BUSY 2.000"
    assert dome.read() == ["EVT rotation_aborted tag=b"]
    assert dome.ask("DO stop") == "OK"
    assert dome.read() == ["EVT stopped", "EVT rotation_aborted tag=c"]
    dome.advance(60)
    assert dome.ask("GET azimuth") == "OK 10.00"
    assert dome.ask("DO rotate azimuth=361").startswith("ERR VALUE ")


def test_a_roof_has_no_slit(rig: Rigs) -> None:
    client = rig("dome").client()
    assert client.ask("GET azimuth").startswith("ERR UNKNOWN ")
    assert client.ask("DO rotate azimuth=5").startswith("ERR UNKNOWN ")
