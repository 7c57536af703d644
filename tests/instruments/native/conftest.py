"""The native driver with a scripted device at its other end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from pyros.clock import VirtualClock
from tests.instruments.conftest import DeviceWorld, DriverRig, ScriptedNative

ADDRESS = "tcp:127.0.0.1:6010"


class NativeRig(DriverRig):
    """A driver and the scripted device at its other end."""

    def __init__(self, world: DeviceWorld, clock: VirtualClock, kind: Any, options: str = "") -> None:
        self.script = ScriptedNative(world, kind)
        self.answers = self.script.answers
        super().__init__(world, clock, kind, "native", ADDRESS + options)
        world.run()

    def say(self, *lines: str) -> None:
        """Have the device say something by itself."""
        self.script.say(*lines)
        self.world.run()


@pytest.fixture
def rigs(world: DeviceWorld, clock: VirtualClock) -> Iterator[list[NativeRig]]:
    made: list[NativeRig] = []
    yield made
    for rig in made:
        closed = rig.device.disconnect()
        world.run()
        assert closed.called


@pytest.fixture
def telescope(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "telescope"))
    rigs[0].answers |= {
        "GET state": "OK tracking",
        "DO slew": "BUSY 12.5",
        "GET position": "OK 10.001 20.0",
        "DO stop": "OK",
        "DO unpark": "OK",
        "DO park": "BUSY 20",
    }
    return rigs[0]


@pytest.fixture
def camera(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "camera"))
    rigs[0].answers |= {
        "GET state": "OK idle",
        "GET filters": "OK g r 'i",
        "GET geometry": "OK 3 2 16 1.8",
        "GET temperature": "OK -20.5",
        "GET gain": "OK 1.5",
        "SET filter": "OK",
        "DO expose": "BUSY 6",
        "DO abort": ["OK", "EVT exposure_aborted tag={tag}"],
        "GET image": ["OK 3 2 16 block=12", struct.pack("<6H", 1, 2, 3, 4, 5, 65535)],
    }
    return rigs[0]


@pytest.fixture
def dome(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "dome"))
    rigs[0].answers |= {"GET state": "OK closed", "DO open": "BUSY 20", "DO close": "BUSY 20", "DO stop": "OK"}
    return rigs[0]


@pytest.fixture
def weather(rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock) -> NativeRig:
    rigs.append(NativeRig(world, clock, "weather"))
    return rigs[0]
