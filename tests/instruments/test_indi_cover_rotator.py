"""Cover and rotator behind INDI, against a server that answers what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyros.clock import VirtualClock
from pyros.errors import DeviceFailed, DeviceRefused
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi_script import IndiRig

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
Make = Callable[..., IndiRig]


@pytest.fixture
def make(world: DeviceWorld, clock: VirtualClock) -> Iterator[Make]:
    rigs: list[IndiRig] = []

    def begin(kind: str, vectors: dict[str, Any]) -> IndiRig:
        rigs.append(IndiRig(world, clock, kind, dict(vectors)))
        return rigs[-1]

    yield begin
    for rig in rigs:
        world.result(rig.device.disconnect())


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
def test_the_state_is_that_of_the_cap(make: Make, closed: bool, opened: bool, state: str, word: str) -> None:
    rig = make("cover", {"CAP_PARK": ("Switch", {"PARK": closed, "UNPARK": opened}, state)})
    assert result(rig, rig.device.state()) == word


def test_a_light_box_has_no_cover_and_a_cap_no_lamp(make: Make) -> None:
    rig = make("cover", LAMP)
    assert result(rig, rig.device.state()) == "absent"
    assert result(rig, rig.device.max_brightness()) == 255
    for command in (rig.device.open, rig.device.close, rig.device.stop):
        with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it has no cover"):
            result(rig, command())


def test_a_cap_has_no_lamp(make: Make) -> None:
    rig = make("cover", CAP)
    assert (result(rig, rig.device.brightness()), result(rig, rig.device.max_brightness())) == (0, 0)
    for command in (lambda: rig.device.lamp_on(1), rig.device.lamp_off):
        with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it has no lamp"):
            result(rig, command())


def test_a_cap_that_says_alert_has_failed(make: Make) -> None:
    rig = make("cover", CAP)
    busy = rig.server.set

    def move(_: Any) -> str:
        rig.world.callLater(
            2.0, lambda: rig.server.say('<message device="Dev" message="[ERROR] jammed"/>', busy("CAP_PARK", "Alert"))
        )
        return busy("CAP_PARK", "Busy", PARK=False, UNPARK=True)

    rig.server.answers["CAP_PARK"] = move
    with pytest.raises(DeviceFailed, match="open: jammed"):
        result(rig, rig.device.open(rig.started.append))
    assert len(rig.started) == 1


def test_a_cap_that_stands_still_needs_no_stop(make: Make) -> None:
    rig = make("cover", CAP)
    assert result(rig, rig.device.stop()) is None
    rig.server.set("CAP_PARK", "Busy")
    with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*no CAP_ABORT"):
        result(rig, rig.device.stop())


def test_the_lamp_is_lit_before_it_is_dimmed(make: Make) -> None:
    rig = make("cover", LAMP)
    rig.server.answers["FLAT_LIGHT_INTENSITY"] = lambda told: rig.server.set(
        "FLAT_LIGHT_INTENSITY", FLAT_LIGHT_INTENSITY_VALUE=(float(told["FLAT_LIGHT_INTENSITY_VALUE"]), 0, 255)
    )
    assert result(rig, rig.device.lamp_on(40)) == 40
    names = [each.attrib["name"] for each in rig.server.asked if each.tag.startswith("new")]
    assert names[-2:] == ["FLAT_LIGHT_CONTROL", "FLAT_LIGHT_INTENSITY"]
    assert result(rig, rig.device.brightness()) == 40
    result(rig, rig.device.lamp_off())
    assert result(rig, rig.device.brightness()) == 0
    for brightness in (0, 256):
        with pytest.raises(DeviceRefused, match=r"VALUE: .*a brightness is 1 to 255"):
            result(rig, rig.device.lamp_on(brightness))


def test_a_lamp_without_steps_is_on_or_off(make: Make) -> None:
    rig = make("cover", {"FLAT_LIGHT_CONTROL": LAMP["FLAT_LIGHT_CONTROL"]})
    assert result(rig, rig.device.max_brightness()) == result(rig, rig.device.lamp_on(1)) == 1
    assert result(rig, rig.device.brightness()) == 1


def test_a_device_that_is_neither_is_no_cover(make: Make, world: DeviceWorld) -> None:
    rig = make("cover", {})
    world.run(10)
    assert "CAP_PARK or FLAT_LIGHT_CONTROL" in rig.told[-1][1]


def test_a_rotator_that_stands_elsewhere_has_failed(make: Make) -> None:
    rig = make("rotator", ROTATOR)
    set_ = rig.server.set

    def move(_: Any) -> str:
        rig.world.callLater(2.0, lambda: rig.server.say(set_("ABS_ROTATOR_ANGLE", "Ok")))
        return set_("ABS_ROTATOR_ANGLE", "Busy")

    rig.server.answers["ABS_ROTATOR_ANGLE"] = move
    with pytest.raises(DeviceFailed, match="told to move to 90, it is at 30 degrees"):
        result(rig, rig.device.move(90.0))


def test_a_rotator_turns_around_the_circle(make: Make) -> None:
    rig = make("rotator", ROTATOR)
    assert result(rig, rig.device.move(-10.0)) == 350.0
    assert rig.server.changes("ABS_ROTATOR_ANGLE") == [{"ANGLE": "350.0"}]
    assert result(rig, rig.device.mechanical()) is None
    result(rig, rig.device.stop())  # it stands still, and has no way to be stopped


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_sync_counts_when_the_angle_has_followed(make: Make, late: float) -> None:
    rig = make("rotator", ROTATOR)

    def sync(told: Any) -> str:
        angle = (float(told["ANGLE"]), 0, 360)
        rig.world.callLater(late, lambda: rig.server.set("ABS_ROTATOR_ANGLE", "Ok", ANGLE=angle))
        return rig.server.set("SYNC_ROTATOR_ANGLE", "Ok", ANGLE=angle)

    rig.server.answers["SYNC_ROTATOR_ANGLE"] = sync
    result(rig, rig.device.sync(80.0))
    assert result(rig, rig.device.angle()) == 80.0


def test_a_sync_without_effect_is_unsupported(make: Make) -> None:
    rig = make("rotator", ROTATOR)
    with pytest.raises(DeviceRefused, match=r"UNSUPPORTED: .*it still says that it is at 30 degrees"):
        result(rig, rig.device.sync(80.0))


def test_a_rotator_counts_the_other_way_round_where_it_can(make: Make) -> None:
    rig = make("rotator", ROTATOR)
    assert result(rig, rig.device.reversed()) is False
    result(rig, rig.device.reverse(True))
    assert result(rig, rig.device.reversed()) is True


def test_a_rotator_that_cannot_reverse_says_so(make: Make) -> None:
    rig = make("rotator", {"ABS_ROTATOR_ANGLE": ROTATOR["ABS_ROTATOR_ANGLE"]})
    assert result(rig, rig.device.reversed()) is None
    with pytest.raises(DeviceRefused, match="UNSUPPORTED"):
        result(rig, rig.device.reverse(True))
