"""The native drivers of what turns and moves, and of sensors, against scripted devices that fail or lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, InstrumentError, NoAnswer
from tests.instruments.conftest import DeviceWorld, ScriptedNative

Connect = Callable[[Any], tuple[ScriptedNative, Any]]
COMMANDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "filter_wheel": ("select", lambda device: device.select("r")),
    "focuser": ("move", lambda device: device.move(500)),
    "dome": ("rotate", lambda device: device.rotate(90.0)),
    "cover": ("open", lambda device: device.open()),
    "rotator": ("move", lambda device: device.move(90.0)),
}
NOUNS = {"filter_wheel": "select", "focuser": "move", "dome": "rotation", "cover": "cover", "rotator": "move"}


@pytest.fixture
def connect(world: DeviceWorld, clock: VirtualClock) -> Iterator[Connect]:
    devices: list[Any] = []

    def make(kind: Any) -> tuple[ScriptedNative, Any]:
        script = ScriptedNative(world, kind)
        devices.append(instruments.connect(kind, "native", "tcp:127.0.0.1:6010", world, clock))
        world.run()
        return script, devices[-1]

    yield make
    for device in devices:
        world.result(device.disconnect())


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_movement_that_fails_is_aborted_or_never_ends(connect: Connect, world: DeviceWorld, kind: str) -> None:
    script, device = connect(kind)
    action, command = COMMANDS[kind]
    ends: dict[str, type[InstrumentError]] = {"failed": DeviceFailed, "aborted": CommandAborted}
    for end, error in ends.items():
        script.answers[f"DO {action}"] = ["BUSY 5", f"EVT {NOUNS[kind]}_{end} tag={{tag}} reason=stalled"]
        with pytest.raises(error) as raised:
            world.result(command(device))
        assert ("stalled" in str(raised.value)) == (end == "failed")
    script.answers[f"DO {action}"] = "BUSY 5"
    world.fails(NoAnswer, "no end within 15 s", command(device), 20)


@pytest.mark.parametrize(
    ("kind", "finished", "name", "lie", "complaint"),
    [
        ("filter_wheel", "selected", "filter", "g", "g is in the beam after it was told r"),
        ("filter_wheel", "selected", "filter", '""', "no filter is in the beam after it was told r"),
        ("focuser", "moved", "position", "480", "it is at 480 after it was told to move to 500"),
        ("dome", "rotated", "azimuth", "80", "its slit is at 80 after it was told to turn to 90"),
        ("cover", "opened", "state", "closed", "it is closed after it was told to open"),
        ("rotator", "moved", "angle", "80", "it is at 80 after it was told to move to 90"),
    ],
)
def test_who_says_done_and_is_elsewhere_is_found_out(
    connect: Connect, world: DeviceWorld, kind: str, finished: str, name: str, lie: str, complaint: str
) -> None:
    script, device = connect(kind)
    action, command = COMMANDS[kind]
    script.answers |= {f"DO {action}": ["BUSY 1", f"EVT {finished} tag={{tag}}"], f"GET {name}": f"OK {lie}"}
    world.fails(DeviceFailed, complaint, command(device), 6)
    assert script.count(f"DO {action}") == 1


@pytest.mark.parametrize(
    ("kind", "finished", "name", "before", "there"),
    [
        ("filter_wheel", "selected", "filter", "g", "r"),
        ("focuser", "moved", "position", "480", "500"),
        ("dome", "rotated", "azimuth", "80", "90"),
        ("rotator", "moved", "angle", "80", "90"),
    ],
)
def test_who_says_done_a_little_early_is_given_time(
    connect: Connect, world: DeviceWorld, kind: str, finished: str, name: str, before: str, there: str
) -> None:
    script, device = connect(kind)
    action, command = COMMANDS[kind]
    script.answers |= {f"DO {action}": ["BUSY 1", f"EVT {finished} tag={{tag}}"], f"GET {name}": f"OK {before}"}
    moving = command(device)
    world.callLater(2.0, script.answers.__setitem__, f"GET {name}", f"OK {there}")
    assert str(world.result(moving, 4)) in (there, f"{there}.0")


@pytest.mark.parametrize(
    ("kind", "request_", "answer", "ask"),
    [
        ("safety", "GET safe", "OK maybe", lambda device: device.read()),
        ("safety", "GET safe", "OK", lambda device: device.read()),
        ("switch", "GET level_0", "OK high", lambda device: device.get(0)),
        ("focuser", "GET limits", "OK 0", lambda device: device.limits()),
        ("focuser", "GET temperature", "OK nan", lambda device: device.temperature()),
        ("filter_wheel", "GET filter", "OK g r", lambda device: device.filter()),
        ("cover", "GET brightness", "OK bright", lambda device: device.brightness()),
        ("cover", "GET state", "OK ajar", lambda device: device.state()),
        ("rotator", "GET angle", "OK 1 2", lambda device: device.angle()),
        ("filter_wheel", "GET state", "OK asleep", lambda device: device.state()),
    ],
)
def test_answers_that_make_no_sense(
    connect: Connect, world: DeviceWorld, kind: str, request_: str, answer: str, ask: Callable[[Any], Any]
) -> None:
    script, device = connect(kind)
    script.answers[request_] = answer
    world.fails(DeviceFailed, f"to {request_}", ask(device))


@pytest.mark.parametrize("channel", ["OK name=a least=low", "OK name=a most=inf", "OK writable=1"])
def test_a_channel_that_makes_no_sense(connect: Connect, world: DeviceWorld, channel: str) -> None:
    script, device = connect("switch")
    script.answers |= {"GET channels": "OK a", "GET channel_0": channel}
    world.fails(DeviceFailed, "to GET channel_0", device.channels())


@pytest.mark.parametrize(
    ("kind", "unknown", "command"),
    [
        ("cover", "DO open", lambda device: device.open()),
        ("cover", "DO stop", lambda device: device.stop()),
        ("cover", "DO light", lambda device: device.lamp_on(1)),
        ("cover", "DO dark", lambda device: device.lamp_off()),
        ("rotator", "DO reverse", lambda device: device.reverse(True)),
    ],
)
def test_a_part_that_a_device_lacks_is_unsupported(
    connect: Connect, world: DeviceWorld, kind: str, unknown: str, command: Callable[[Any], Any]
) -> None:
    script, device = connect(kind)
    script.answers[unknown] = "ERR UNKNOWN there is no such action"
    with pytest.raises(DeviceRefused) as raised:
        world.result(command(device))
    assert raised.value.code == "UNSUPPORTED"


def test_what_a_device_lacks_is_told_as_none_or_nothing(connect: Connect, world: DeviceWorld) -> None:
    script, device = connect("cover")
    script.answers |= dict.fromkeys(("GET brightness", "GET max_brightness"), "ERR UNKNOWN it has no lamp")
    assert (world.result(device.brightness()), world.result(device.max_brightness())) == (0, 0)
    world.drop()


def test_a_lamp_that_stays_dark_has_failed(connect: Connect, world: DeviceWorld) -> None:
    script, device = connect("cover")
    script.answers |= {"DO light": "OK", "GET brightness": "OK 0"}
    world.fails(DeviceFailed, "its lamp is off after it was told to light it", device.lamp_on(9))
