"""What the INDI driver makes of domes, wheels, focusers and switches, on virtual time."""

from __future__ import annotations

import pytest

from pyros.errors import (
    CommandAborted,
    DeviceFailed,
    DeviceRefused,
    NoAnswer,
)
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import CANNOT, Make
from tests.instruments.indi.script import ADDRESS, Members, vector

ROOF = {"DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok")}
WHEEL = {"FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 3)}, "Ok")}


def place(steps: float) -> Members:
    """Say where a focuser of 1000 steps is."""
    return {"FOCUS_ABSOLUTE_POSITION": (steps, 0, 1000)}


FOCUSER = {"ABS_FOCUS_POSITION": ("Number", place(100), "Ok")}
FOCUSER_STOP = {"FOCUS_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle")}


def test_a_roll_off_roof_is_parked_and_unparked(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", ROOF)
    server = roof.server
    server.answers["DOME_PARK"] = lambda told: server.set(
        "DOME_PARK", "Busy", PARK=told.get("PARK") == "On", UNPARK=told.get("UNPARK") == "On"
    )
    assert world.result(roof.device.state()) == "closed"
    assert world.result(roof.device.azimuth()) is None
    opening = roof.begin(roof.device.open(roof.started.append))
    assert world.result(roof.device.state()) == "opening"
    server.say(server.set("DOME_PARK", "Ok"))
    assert (opening, roof.started) == ([None], [60.0])
    closing = roof.begin(roof.device.close())
    server.say('<message device="Dev" message="[ERROR] the limit switch is stuck"/>', server.set("DOME_PARK", "Alert"))
    assert isinstance(closing[0], DeviceFailed)
    assert "the limit switch is stuck" in str(closing[0])
    assert world.result(roof.device.state()) == "stopped"
    world.fails(DeviceRefused, "UNSUPPORTED", roof.device.rotate(10.0))


def test_a_turn_while_slit_and_shutter_move_waits_for_the_slit(rig: Make, world: DeviceWorld) -> None:
    """There is one stop for both, and the shutter must not be stopped."""
    dome = rig(
        "dome",
        {
            "DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": True, "SHUTTER_CLOSE": False}, "Busy"),
            "ABS_DOME_POSITION": ("Number", {"DOME_ABSOLUTE_POSITION": 0.0}, "Busy"),
            "DOME_ABORT_MOTION": ("Switch", {"ABORT": False}, "Idle"),
        },
    )
    turn = dome.begin(dome.device.rotate(90.0), 5)
    assert dome.server.changes("ABS_DOME_POSITION") == []
    dome.server.say(dome.server.set("ABS_DOME_POSITION", "Ok", DOME_ABSOLUTE_POSITION=50.0))
    assert turn == [90.0]
    assert dome.server.changes("DOME_ABORT_MOTION") == []


def test_a_wheel_that_stops_at_the_wrong_filter(rig: Make, world: DeviceWorld) -> None:
    wheel = rig(
        "filter_wheel",
        {
            "FILTER_SLOT": ("Number", {"FILTER_SLOT_VALUE": (1, 1, 2)}, "Ok"),
            "FILTER_NAME": ("Text", {"FILTER_SLOT_NAME_1": "g", "FILTER_SLOT_NAME_2": "r", "N3": "beyond"}, "Ok"),
        },
    )
    assert world.result(wheel.device.filters()) == ("g", "r")
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT", "Busy")
    outcome = wheel.begin(wheel.device.select("r"))
    assert world.result(wheel.device.filter()) == ""
    wheel.server.say('<message device="Dev" message="[INFO] turning"/>', wheel.server.set("FILTER_SLOT", "Ok"))
    assert outcome == []  # its position may follow
    world.run(6)
    assert isinstance(outcome[0], DeviceFailed)
    assert str(outcome[0]) == "Dev: filter r: the wheel is at slot 1, not 2"


def test_a_wheel_whose_position_follows_its_ok(rig: Make, world: DeviceWorld) -> None:
    wheel = rig("filter_wheel", WHEEL)
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT")  # Ok, before it has begun
    outcome = wheel.begin(wheel.device.select("3"), 2)
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Busy"))
    world.run(60)
    assert outcome == []
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Ok"))
    world.run(2)
    wheel.server.say(wheel.server.set("FILTER_SLOT", "Ok", FILTER_SLOT_VALUE=(3, 1, 3)))
    assert outcome == ["3"]


def test_a_wheel_that_takes_no_turn_while_it_turns_is_told_again(rig: Make, world: DeviceWorld) -> None:
    wheel = rig("filter_wheel", WHEEL)
    server = wheel.server
    server.answers["FILTER_SLOT"] = lambda _: server.set(
        "FILTER_SLOT", "Alert" if server.vectors["FILTER_SLOT"][2] == "Busy" else "Busy"
    )
    first = wheel.begin(wheel.device.select("3"), 1)
    second = wheel.begin(wheel.device.select("2"), 3)
    assert isinstance(first[0], CommandAborted)
    server.say(server.set("FILTER_SLOT", "Ok", FILTER_SLOT_VALUE=(2, 1, 3)))
    assert second == ["2"]
    assert len(server.changes("FILTER_SLOT")) == 3


def test_the_address_tells_how_long_a_wheel_may_turn(rig: Make, world: DeviceWorld) -> None:
    wheel = rig("filter_wheel", WHEEL, address=f"{ADDRESS}?turn_seconds=7")
    wheel.server.answers["FILTER_SLOT"] = lambda _: wheel.server.set("FILTER_SLOT", "Busy")
    world.fails(NoAnswer, "no end within 7 s", wheel.device.select("3"), 8)


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ([("Ok", 100), ("Ok", 500)], "500"),
        ([("Ok", 502)], "502"),
        ([("Ok", 510)], "Dev: move to 500: told to move to 500, it is at 510"),
        ([("Alert", 300)], "Dev: move to 500: told to move to 500, it is at 300"),
    ],
)
def test_a_focuser_has_time_to_be_where_it_says(
    rig: Make, world: DeviceWorld, ends: list[tuple[str, float]], outcome: str
) -> None:
    focuser = rig("focuser", FOCUSER)
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: (
        focuser.server.set("ABS_FOCUS_POSITION", "Busy") + '<message device="Dev" message="[INFO] moving to 500"/>'
    )
    moving = focuser.begin(focuser.device.move(500))
    for state, steps in ends:
        assert moving == []
        world.run(2)
        focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", state, **place(steps)))
    world.run(6)
    assert [str(each) for each in moving] == [outcome]


@pytest.mark.parametrize("stops", [True, False])
def test_a_focuser_that_takes_no_move_while_it_moves_is_told_again(rig: Make, world: DeviceWorld, stops: bool) -> None:
    focuser = rig("focuser", FOCUSER | FOCUSER_STOP if stops else FOCUSER)
    server = focuser.server

    def move(_: Members) -> str:
        if server.vectors["ABS_FOCUS_POSITION"][2] == "Busy":
            return CANNOT + vector("set", "Number", "ABS_FOCUS_POSITION", place(100), "Alert")
        return server.set("ABS_FOCUS_POSITION", "Busy")

    server.answers["ABS_FOCUS_POSITION"] = move
    server.answers["FOCUS_ABORT_MOTION"] = lambda _: (
        server.set("ABS_FOCUS_POSITION", "Idle") + server.set("FOCUS_ABORT_MOTION", ABORT=False)
    )
    focuser.begin(focuser.device.move(500), 1)
    second = focuser.begin(focuser.device.move(200), 1)
    if not stops:
        server.say(server.set("ABS_FOCUS_POSITION", "Busy"))  # it goes on
        world.run(20)
        server.say(server.set("ABS_FOCUS_POSITION", "Ok", **place(500)))
    server.say(server.set("ABS_FOCUS_POSITION", "Ok", **place(200)))
    assert second == [200]


def test_a_stop_ends_though_a_newer_move_keeps_the_focuser_moving(rig: Make, world: DeviceWorld) -> None:
    focuser = rig("focuser", FOCUSER | FOCUSER_STOP)
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    focuser.begin(focuser.device.move(500), 1)
    stop = focuser.begin(focuser.device.stop(), 1)
    focuser.begin(focuser.device.move(200), 1)
    world.run(20)
    assert stop == [None]


def test_the_address_tells_how_exact_a_focuser_is(rig: Make, world: DeviceWorld) -> None:
    focuser = rig("focuser", FOCUSER, address=f"{ADDRESS}?tolerance_steps=10&move_seconds=600")
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    moving = focuser.begin(focuser.device.move(500), 500)
    focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", "Ok", **place(509)))
    assert moving == [509]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ('<setSwitchVector device="Dev" name="DOME_PARK" state="Ok"/>', "None"),
        ("", "None"),
        ('<message device="Dev" message="[INFO] Dome already parked."/>'
         '<setSwitchVector device="Dev" name="DOME_PARK" state="Alert"/>', "None"),
        ('<message device="Dev" message="[ERROR] the motor has no power"/>'
         '<setSwitchVector device="Dev" name="DOME_PARK" state="Alert"/>', "Dev: close: the motor has no power"),
    ],
)  # fmt: skip
def test_a_closed_roof_is_told_to_close_all_the_same(rig: Make, world: DeviceWorld, answer: str, outcome: str) -> None:
    roof = rig("dome", ROOF)
    roof.server.answers["DOME_PARK"] = answer
    closing = roof.begin(roof.device.close(), 3)
    assert roof.server.changes("DOME_PARK") == [{"PARK": "On"}]
    assert [str(each) for each in closing] == [outcome]


def test_a_closing_roof_is_told_again_and_waited_for(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Busy")})
    roof.server.answers["DOME_PARK"] = ""  # libindi's Dome says nothing while it parks
    closing = roof.begin(roof.device.close(), 30)
    assert (closing, roof.server.changes("DOME_PARK")) == ([], [{"PARK": "On"}])
    roof.server.say(roof.server.set("DOME_PARK", "Ok"))
    assert closing == [None]


@pytest.mark.parametrize("stops", [True, False])
def test_a_dome_that_does_not_close_while_it_opens_is_stopped_first(rig: Make, world: DeviceWorld, stops: bool) -> None:
    vectors = {"DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": True, "SHUTTER_CLOSE": False}, "Busy")}
    if stops:
        vectors["DOME_ABORT_MOTION"] = ("Switch", {"ABORT": False}, "Idle")
    dome = rig("dome", vectors)
    server = dome.server

    def move(_: Members) -> str:
        if server.vectors["DOME_SHUTTER"][2] == "Busy":
            return '<message device="Dev" message="[ERROR] it is still opening"/>'
        return server.set("DOME_SHUTTER", "Ok", SHUTTER_OPEN=False, SHUTTER_CLOSE=True)

    server.answers["DOME_SHUTTER"] = move
    server.answers["DOME_ABORT_MOTION"] = lambda _: (
        server.set("DOME_SHUTTER", "Alert") + server.set("DOME_ABORT_MOTION", ABORT=False)
    )
    closing = dome.begin(dome.device.close(), 5)
    if not stops:
        assert closing == []
        server.say(server.set("DOME_SHUTTER", "Ok"))
        world.run(3)
    assert closing == [None]
    assert len(server.changes("DOME_SHUTTER")) == 2


def test_closing_waits_for_no_question(rig: Make, world: DeviceWorld) -> None:
    roof = rig("dome", {"DOME_PARK": ("Switch", {"PARK": False, "UNPARK": True}, "Ok")})
    asked = len(roof.server.asked)
    roof.begin(roof.device.close())
    assert roof.server.asked[asked].tag == "newSwitchVector"


def test_the_address_tells_the_limits_of_a_dome(rig: Make, world: DeviceWorld) -> None:
    vectors = {
        "DOME_SHUTTER": ("Switch", {"SHUTTER_OPEN": False, "SHUTTER_CLOSE": True}, "Ok"),
        "ABS_DOME_POSITION": ("Number", {"DOME_ABSOLUTE_POSITION": 0.0}, "Ok"),
    }
    dome = rig("dome", vectors, address=f"{ADDRESS}?shutter_seconds=7&turn_seconds=8&tolerance_degrees=6")
    server = dome.server
    server.answers["DOME_SHUTTER"] = lambda _: server.set(
        "DOME_SHUTTER", "Busy", SHUTTER_OPEN=True, SHUTTER_CLOSE=False
    )
    server.answers["ABS_DOME_POSITION"] = lambda _: server.set("ABS_DOME_POSITION", "Busy")
    world.fails(NoAnswer, "no end within 7 s", dome.device.open(), 8)
    world.fails(NoAnswer, "no end within 8 s", dome.device.rotate(90.0), 9)
    server.say(server.set("ABS_DOME_POSITION"))
    turning = dome.begin(dome.device.rotate(90.0))
    server.say(server.set("ABS_DOME_POSITION", DOME_ABSOLUTE_POSITION=85.0))
    assert turning == [85.0]


def test_a_focuser_without_a_stop(rig: Make, world: DeviceWorld) -> None:
    focuser = rig("focuser", FOCUSER)
    focuser.server.answers["ABS_FOCUS_POSITION"] = lambda _: focuser.server.set("ABS_FOCUS_POSITION", "Busy")
    world.result(focuser.device.stop())
    move = focuser.begin(focuser.device.move(50))
    world.fails(DeviceRefused, "UNSUPPORTED", focuser.device.stop())
    focuser.server.say(focuser.server.set("ABS_FOCUS_POSITION", "Ok", **place(50)))
    assert move == [50]
    assert world.result(focuser.device.temperature()) is None


def test_words_of_a_refusal_may_speak_of_what_passes(rig: Make) -> None:
    focuser = rig("focuser", FOCUSER)
    server = focuser.server
    server.answers["ABS_FOCUS_POSITION"] = lambda _: (
        '<message device="Dev" message="[ERROR] invalid answer of the serial line"/>'
        + server.set("ABS_FOCUS_POSITION", "Alert")
    )
    (refusal,) = focuser.begin(focuser.device.move(50), 5)
    assert (type(refusal), refusal.code, refusal.for_good) == (DeviceRefused, "VALUE", False)
    assert DeviceRefused("VALUE", "the focuser ends at 10000").for_good


BOX = {
    "POWER": ("Switch", {"POWER_ON": False, "POWER_OFF": True}, "Ok"),
    "PORTS": ("Switch", {"PORT_1": True, "PORT_2": False, "PORT_3": False}, "Ok"),
    "DEW": ("Number", {"DEW_A": (20.0, 0, 100)}, "Ok"),
}


def test_a_power_box_is_the_vectors_of_its_address(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER,PORTS,DEW")
    channels = world.result(box.device.channels())
    assert [each.name for each in channels] == ["POWER_ON", "PORT_1", "PORT_2", "PORT_3", "DEW_A"]
    assert (channels[4].least, channels[4].most) == (0, 100)
    assert [world.result(box.device.get(number)) for number in range(5)] == [0, 1, 0, 0, 20]
    assert [world.result(box.device.set(*each)) for each in ((0, 1), (2, 1), (4, 75.0))] == [1, 1, 75]
    assert world.result(box.device.set(0, 0)) == 0
    assert box.server.changes("POWER") == [{"POWER_ON": "On"}, {"POWER_OFF": "On"}]
    assert box.server.changes("PORTS") == [{"PORT_2": "On"}]
    for channel, level in ((5, 1), (-1, 1), (4, 101), (0, 2)):
        world.fails(DeviceRefused, r"^VALUE: Dev: channel", box.device.set(channel, level))


def test_a_channel_that_does_not_switch(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER")
    box.server.answers["POWER"] = lambda _: box.server.set("POWER")
    world.fails(DeviceFailed, "Dev: channel 0 to 1: 'POWER_ON' is at 0", box.device.set(0, 1))
    box.server.answers["POWER"] = lambda _: box.server.set("POWER", "Alert")
    world.fails(DeviceRefused, "", box.device.set(0, 1))
    box.server.answers["POWER"] = lambda _: box.server.set("POWER", "Busy")
    world.fails(NoAnswer, "not set within 10 s", box.device.set(0, 1), 11)


def test_a_box_without_such_a_vector(rig: Make, world: DeviceWorld) -> None:
    box = rig("switch", BOX, address=f"{ADDRESS}?POWER,FANS")
    world.run(5)
    assert box.told[-1] == (False, f"switch at {ADDRESS}: 'Dev' has no FANS")
