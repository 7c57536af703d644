"""Cover and rotator behind INDI, against a server that answers what a test wants."""

from __future__ import annotations

from typing import Any

import pytest

from pyros.errors import DeviceFailed, DeviceRefused
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import Make
from tests.instruments.indi.script import IndiRig

CAP: dict[str, Any] = {"CAP_PARK": ("Switch", {"PARK": True, "UNPARK": False}, "Ok")}
LAMP: dict[str, Any] = {
    "FLAT_LIGHT_CONTROL": ("Switch", {"FLAT_LIGHT_ON": False, "FLAT_LIGHT_OFF": True}, "Idle"),
    "FLAT_LIGHT_INTENSITY": ("Number", {"FLAT_LIGHT_INTENSITY_VALUE": (0.0, 0, 255)}, "Idle"),
}
ROTATOR: dict[str, Any] = {
    "ABS_ROTATOR_ANGLE": ("Number", {"ANGLE": (30.0, 0, 360)}, "Ok"),
    "SYNC_ROTATOR_ANGLE": ("Number", {"ANGLE": (0.0, 0, 360)}, "Ok"),
    "ROTATOR_REVERSE": ("Switch", {"INDI_ENABLED": False, "INDI_DISABLED": True}, "Ok"),
}


def result(rig: IndiRig, command: Any, seconds: float = 30.0) -> Any:
    return rig.world.result(command, seconds)


@pytest.mark.parametrize(
    ("closed", "opened", "state", "word"),
    [
        (True, False, "Ok", "closed"),
        (False, True, "Ok", "open"),
        (True, False, "Busy", "moving"),
        (False, True, "Alert", "stopped"),
        (False, False, "Idle", "stopped"),
    ],
)
def test_the_state_is_that_of_the_cap(rig: Make, closed: bool, opened: bool, state: str, word: str) -> None:
    made = rig("cover", {"CAP_PARK": ("Switch", {"PARK": closed, "UNPARK": opened}, state)})
    assert result(made, made.device.state()) == word


def test_a_light_box_has_no_cover_and_a_cap_no_lamp(rig: Make) -> None:
    made = rig("cover", LAMP)
    assert result(made, made.device.state()) == "absent"
    assert result(made, made.device.max_brightness()) == 255
    for command in (made.device.open, made.device.close, made.device.stop):
        with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it has no cover"):
            result(made, command())


def test_a_cap_has_no_lamp(rig: Make) -> None:
    made = rig("cover", CAP)
    assert (result(made, made.device.brightness()), result(made, made.device.max_brightness())) == (0, 0)
    for command in (lambda: made.device.lamp_on(1), made.device.lamp_off):
        with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it has no lamp"):
            result(made, command())


def test_a_cap_that_says_alert_has_failed(rig: Make) -> None:
    made = rig("cover", CAP)
    busy = made.server.set

    def move(_: Any) -> str:
        made.world.callLater(
            2.0, lambda: made.server.say('<message device="Dev" message="[ERROR] jammed"/>', busy("CAP_PARK", "Alert"))
        )
        return busy("CAP_PARK", "Busy", PARK=False, UNPARK=True)

    made.server.answers["CAP_PARK"] = move
    with pytest.raises(DeviceFailed, match="open: jammed"):
        result(made, made.device.open(made.started.append))
    assert len(made.started) == 1


def test_a_cap_that_stands_still_needs_no_stop(rig: Make) -> None:
    made = rig("cover", CAP)
    assert result(made, made.device.stop()) is None
    made.server.set("CAP_PARK", "Busy")
    with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*no CAP_ABORT"):
        result(made, made.device.stop())


def test_the_lamp_is_lit_before_it_is_dimmed(rig: Make) -> None:
    made = rig("cover", LAMP)
    made.server.answers["FLAT_LIGHT_INTENSITY"] = lambda told: made.server.set(
        "FLAT_LIGHT_INTENSITY", FLAT_LIGHT_INTENSITY_VALUE=(float(told["FLAT_LIGHT_INTENSITY_VALUE"]), 0, 255)
    )
    assert result(made, made.device.lamp_on(40)) == 40
    names = [each.attrib["name"] for each in made.server.asked if each.tag.startswith("new")]
    assert names[-2:] == ["FLAT_LIGHT_CONTROL", "FLAT_LIGHT_INTENSITY"]
    assert result(made, made.device.brightness()) == 40
    result(made, made.device.lamp_off())
    assert result(made, made.device.brightness()) == 0
    for brightness in (0, 256):
        with pytest.raises(DeviceRefused, match=r"VALUE: .*a brightness is 1 to 255"):
            result(made, made.device.lamp_on(brightness))


def test_a_lamp_without_steps_is_on_or_off(rig: Make) -> None:
    made = rig("cover", {"FLAT_LIGHT_CONTROL": LAMP["FLAT_LIGHT_CONTROL"]})
    assert result(made, made.device.max_brightness()) == result(made, made.device.lamp_on(1)) == 1
    assert result(made, made.device.brightness()) == 1


def test_a_device_that_is_neither_is_no_cover(rig: Make, world: DeviceWorld) -> None:
    made = rig("cover", {})
    world.run(10)
    assert "CAP_PARK or FLAT_LIGHT_CONTROL" in made.told[-1][1]


def test_a_rotator_that_stands_elsewhere_has_failed(rig: Make) -> None:
    made = rig("rotator", ROTATOR)
    set_ = made.server.set

    def move(_: Any) -> str:
        made.world.callLater(2.0, lambda: made.server.say(set_("ABS_ROTATOR_ANGLE", "Ok")))
        return set_("ABS_ROTATOR_ANGLE", "Busy")

    made.server.answers["ABS_ROTATOR_ANGLE"] = move
    with pytest.raises(DeviceFailed, match="told to move to 90, it is at 30 degrees"):
        result(made, made.device.move(90.0))


def test_a_rotator_turns_around_the_circle(rig: Make) -> None:
    made = rig("rotator", ROTATOR)
    assert result(made, made.device.move(-10.0)) == 350.0
    assert made.server.changes("ABS_ROTATOR_ANGLE") == [{"ANGLE": "350.0"}]
    assert result(made, made.device.mechanical()) is None
    result(made, made.device.stop())  # it stands still, and has no way to be stopped


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_sync_counts_when_the_angle_has_followed(rig: Make, late: float) -> None:
    made = rig("rotator", ROTATOR)

    def sync(told: Any) -> str:
        angle = (float(told["ANGLE"]), 0, 360)
        made.world.callLater(late, lambda: made.server.set("ABS_ROTATOR_ANGLE", "Ok", ANGLE=angle))
        return made.server.set("SYNC_ROTATOR_ANGLE", "Ok", ANGLE=angle)

    made.server.answers["SYNC_ROTATOR_ANGLE"] = sync
    result(made, made.device.sync(80.0))
    assert result(made, made.device.angle()) == 80.0


def test_a_sync_without_effect_is_unsupported(rig: Make) -> None:
    made = rig("rotator", ROTATOR)
    with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it still says that it is at 30 degrees"):
        result(made, made.device.sync(80.0))


def test_a_rotator_counts_the_other_way_round_where_it_can(rig: Make) -> None:
    made = rig("rotator", ROTATOR)
    assert result(made, made.device.reversed()) is False
    result(made, made.device.reverse(True))
    assert result(made, made.device.reversed()) is True


def test_a_rotator_that_cannot_reverse_says_so(rig: Make) -> None:
    made = rig("rotator", {"ABS_ROTATOR_ANGLE": ROTATOR["ABS_ROTATOR_ANGLE"]})
    assert result(made, made.device.reversed()) is None
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        result(made, made.device.reverse(True))
