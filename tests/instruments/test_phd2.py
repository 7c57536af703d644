"""PHD2's driver: over the simulated PHD2, and over a script that says what a real one may say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import CommandAborted, ConfigError, ConnectionLost, DeviceFailed, DeviceRefused, NoAnswer
from pyros.instruments.conformance import CHECKS, Check, Context, run
from pyros.instruments.guider import GUIDING_STOPPED, STAR_FOUND, STAR_LOST, Settle
from tests.instruments.conftest import DeviceWorld, DriverRig, Simulate

ADDRESS = "tcp:127.0.0.1:4400"
SETTLE = Settle(arcsec=1.6, seconds=7.5, timeout=60.0)
VERSION = {"Event": "Version", "PHDVersion": "2.6.13", "PHDSubver": "dev1", "MsgVersion": 1}
DONE = {"Event": "SettleDone", "Status": 0, "TotalFrames": 9, "DroppedFrames": 0}
STEP = {"Event": "GuideStep", "Frame": 1, "dx": 0.3, "dy": -0.4, "RADistanceRaw": 0.3, "DECDistanceRaw": 0.4}


@pytest.mark.parametrize("check", CHECKS["guider"], ids=str)
def test_the_driver_conforms_on_the_simulated_phd2(
    check: Check, simulate: Simulate, world: DeviceWorld, context: Context
) -> None:
    world.cut = 7
    guider = simulate("guider", "phd2", ADDRESS, phd2="tcp:4400:interface=127.0.0.1")
    result: Any = world.result(Deferred.fromCoroutine(run(check, guider, context)), 3000)
    assert (result.outcome, result.reason) == ("passed", "")


class ScriptedPhd2(Factory):
    """Answers each method with its result, an error, or events; nothing where it is None."""

    noisy = False

    def __init__(self, world: DeviceWorld) -> None:
        self.greeting: list[Any] = [VERSION, {"Event": "AppState", "State": "Stopped"}]
        self.state = "Stopped"
        self.answers: dict[str, Any] = {
            "get_app_state": lambda: self.state, "get_connected": True, "get_pixel_scale": 1.6, "guide": 0,
            "dither": 0, "set_paused": 0, "stop_capture": self.stop, "set_connected": 0,
        }  # fmt: skip
        self.asked: list[tuple[str, Any]] = []
        self.lines: list[Phd2Line] = []
        world.listenTCP(4400, self)

    def stop(self) -> int:
        self.state = "Stopped"
        return 0

    def buildProtocol(self, addr: object) -> Phd2Line:
        self.lines.append(Phd2Line(self))
        return self.lines[-1]

    def say(self, *said: Any) -> None:
        for each in said:
            self.lines[-1].send(each)

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked if not method.startswith("get_")]


class Phd2Line(Protocol):
    def __init__(self, script: ScriptedPhd2) -> None:
        self.script = script

    def send(self, said: Any) -> None:
        assert self.transport is not None
        self.transport.write(said if isinstance(said, bytes) else json.dumps(said).encode() + b"\r\n")

    def connectionMade(self) -> None:
        for each in self.script.greeting:
            self.send(each)

    def dataReceived(self, data: bytes) -> None:
        for line in data.splitlines():
            request = json.loads(line)
            self.script.asked.append((request["method"], request.get("params")))
            answer = self.script.answers[request["method"]]
            answer = answer() if callable(answer) else answer
            if isinstance(answer, dict):
                self.send({"jsonrpc": "2.0", "error": answer, "id": request["id"]})
            elif answer is not None:
                self.send({"jsonrpc": "2.0", "result": answer, "id": request["id"]})


class Phd2Rig(DriverRig):
    def __init__(self, world: DeviceWorld, clock: VirtualClock, address: str = ADDRESS) -> None:
        self.script = ScriptedPhd2(world)
        super().__init__(world, clock, "guider", "phd2", address)
        world.run()

    def guiding(self) -> Any:
        """Begin to guide, and let PHD2 begin."""
        pending = self.begin(self.device.guide(SETTLE, self.started.append))
        self.script.state = "Guiding"
        self.script.say(STEP)
        return pending


@pytest.fixture
def phd2(world: DeviceWorld, clock: VirtualClock) -> Iterator[Phd2Rig]:
    rig = Phd2Rig(world, clock)
    yield rig
    world.result(rig.device.disconnect())


def test_it_tells_its_version_and_settles_in_pixels(phd2: Phd2Rig, world: DeviceWorld) -> None:
    assert phd2.told == [(True, f"PHD2 2.6.13dev1 at {ADDRESS}")]
    pending = phd2.guiding()
    assert phd2.script.asked[-1] == (
        "guide", {"settle": {"pixels": 1.0, "time": 8, "timeout": 60}, "recalibrate": False},
    )  # fmt: skip
    assert pending.results == []
    phd2.script.say(DONE)
    world.run()
    assert pending.result == pytest.approx(0.8)
    assert phd2.started == [60.0]
    assert world.result(phd2.device.error()) == pytest.approx(0.8)
    assert world.result(phd2.device.state()) == "guiding"


def test_equipment_that_is_not_connected_is(phd2: Phd2Rig, world: DeviceWorld) -> None:
    phd2.script.answers["get_connected"] = False
    phd2.guiding()
    assert phd2.script.methods() == ["set_connected", "guide"]
    assert ("set_connected", [True]) in phd2.script.asked


@pytest.mark.parametrize(
    ("state", "methods"), [("LostLock", ["stop_capture", "guide"]), ("Paused", ["set_paused", "guide"])]
)
def test_a_lost_star_is_given_up_and_a_pause_ends(phd2: Phd2Rig, state: str, methods: list[str]) -> None:
    phd2.script.state = state
    phd2.guiding()
    assert phd2.script.methods() == methods


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"Event": "SettleDone", "Status": 1, "Error": "timed-out waiting for guider to settle"}, "timed-out waiting"),
        ({"Event": "CalibrationFailed", "Reason": "star did not move enough"}, "star did not move enough"),
    ],
)
def test_what_is_not_steady_has_failed_and_is_stopped(phd2: Phd2Rig, said: dict[str, Any], words: str) -> None:
    pending = phd2.guiding()
    phd2.script.say(said)
    phd2.world.run(1)
    assert isinstance(pending.result, DeviceFailed)
    assert words in str(pending.result)
    assert phd2.script.methods() == ["guide", "stop_capture"]


def test_no_end_in_time_is_no_answer_and_stops_it(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Phd2Rig(world, clock, f"{ADDRESS}?guide_seconds=90")
    pending = rig.guiding()
    world.run(91)
    assert isinstance(pending.result, NoAnswer)
    assert rig.script.methods()[-1] == "stop_capture"
    world.result(rig.device.disconnect())


def test_a_settle_that_was_under_way_before_is_not_taken_for_ours(phd2: Phd2Rig, world: DeviceWorld) -> None:
    phd2.script.answers["get_pixel_scale"] = None
    pending = phd2.begin(phd2.device.guide(SETTLE))
    phd2.script.say(DONE)
    world.run()
    assert pending.results == []
    phd2.script.say({"jsonrpc": "2.0", "result": 2.0, "id": 1})
    world.run()
    assert pending.results == []
    phd2.script.say(DONE)
    world.run()
    assert pending.result == 0


@pytest.mark.parametrize(
    ("method", "error", "kind", "words"),
    [
        ("guide", {"code": 1, "message": "all equipment must be connected first"}, DeviceRefused, "STATE"),
        ("guide", {"code": -32602, "message": "invalid settle params"}, DeviceRefused, "VALUE"),
        ("guide", {"code": -32601, "message": "method not found"}, DeviceRefused, "UNSUPPORTED"),
        ("guide", {"code": -32603, "message": "too big"}, DeviceFailed, "too big"),
        ("guide", {"code": 2, "message": "\x1b[2Jall\nfine"}, DeviceFailed, r"\\x1b\[2Jall fine"),
        ("get_app_state", {}, DeviceFailed, "no reason given"),
    ],
)
def test_errors_are_refusals_or_failures(phd2: Phd2Rig, method: str, error: Any, kind: Any, words: str) -> None:
    phd2.script.answers[method] = error
    phd2.world.fails(kind, words, phd2.device.guide(SETTLE), 60)


@pytest.mark.parametrize("scale", [False, 0, -1.0, "1.6"])
def test_without_a_scale_it_says_what_to_enter(phd2: Phd2Rig, scale: Any) -> None:
    phd2.script.answers["get_pixel_scale"] = scale
    phd2.world.fails(DeviceFailed, "enter pixel size and focal length in PHD2's profile", phd2.device.guide(SETTLE), 60)


def test_the_address_may_tell_the_scale(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Phd2Rig(world, clock, f"{ADDRESS}?arcsec_per_pixel=0.8")
    rig.guiding()
    assert rig.script.asked[-1][1]["settle"]["pixels"] == 2.0
    world.result(rig.device.disconnect())


def test_silence_ends_the_connection_which_is_made_again(phd2: Phd2Rig, world: DeviceWorld) -> None:
    phd2.script.answers["get_app_state"] = lambda: None
    world.fails(NoAnswer, "no answer to get_app_state within 10 s", phd2.device.state(), 11)
    phd2.script.answers["get_app_state"] = "Guiding"
    assert world.result(phd2.device.state(), 5) == "guiding"
    assert len(phd2.script.lines) == 2


@pytest.mark.parametrize(
    "said", [b"{}\r\n", b"hello\r\n", b"[1]\r\n", b'{"Event": 4}\r\n', b"x" * (1 << 16) + b"x", b"[" * 5000 + b"\r\n"]
)
def test_what_is_not_phd2_is_left(phd2: Phd2Rig, world: DeviceWorld, said: bytes) -> None:
    pending = phd2.guiding()
    phd2.script.say(said)
    world.run(1)
    assert isinstance(pending.result, ConnectionLost)


def test_another_version_of_the_messages_is_not_talked_to(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Phd2Rig(world, clock)
    rig.script.greeting = [VERSION | {"MsgVersion": 2}]
    world.drop()
    world.run(3)
    assert "its messages have the version 2" in rig.told[-1][1]
    world.result(rig.device.disconnect())


def test_a_version_is_one_printable_line(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Phd2Rig(world, clock)
    rig.script.greeting = [VERSION | {"PHDVersion": "2\x1b[2J\nall fine", "PHDSubver": ""}]
    world.drop()
    world.run(3)
    assert rig.told[-1] == (True, rf"PHD2 2\x1b[2J all fine at {ADDRESS}")
    world.result(rig.device.disconnect())


def test_a_step_of_endless_size_is_not_told(phd2: Phd2Rig, world: DeviceWorld) -> None:
    phd2.guiding()
    phd2.script.say(STEP | {"dx": 1.7e308, "dy": 1.7e308})
    world.run()
    assert world.result(phd2.device.error()) is None


def test_who_does_not_greet_is_no_phd2(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Phd2Rig(world, clock)
    rig.script.greeting = []
    world.drop()
    world.run(11)
    assert "has not told PHD2's version within 10 s" in rig.told[-1][1]
    world.result(rig.device.disconnect())


def test_a_lost_star_is_told_once_until_it_is_found(phd2: Phd2Rig, world: DeviceWorld) -> None:
    phd2.guiding()
    phd2.script.say(DONE, *[{"Event": "StarLost", "Frame": frame} for frame in range(3)], STEP, STEP)
    world.run()
    assert phd2.events == [STAR_LOST, STAR_FOUND]


def test_a_stop_by_somebody_else_is_told_and_our_own_is_not(phd2: Phd2Rig, world: DeviceWorld) -> None:
    def stopped() -> int:
        phd2.script.say({"Event": "GuidingStopped"})
        return phd2.script.stop()

    phd2.script.answers["stop_capture"] = stopped
    phd2.guiding()
    phd2.script.say(DONE)
    world.result(phd2.device.stop(), 30)
    assert phd2.events == []
    phd2.guiding()
    phd2.script.say(DONE, {"Event": "GuidingStopped"})
    world.run()
    assert phd2.events == [GUIDING_STOPPED]


def test_a_stop_waits_until_it_has_stopped(phd2: Phd2Rig, world: DeviceWorld) -> None:
    pending = phd2.guiding()
    phd2.script.answers["stop_capture"] = 0
    stop = phd2.begin(phd2.device.stop())
    assert isinstance(pending.result, CommandAborted)
    world.run(5)
    assert stop.results == []
    phd2.script.state = "Stopped"
    world.run(1)
    assert stop.result is None
    phd2.script.state = "Looping"
    world.fails(DeviceFailed, "is still Looping 20 s after", phd2.device.stop(), 30)


def test_a_connection_that_breaks_ends_what_is_under_way(phd2: Phd2Rig, world: DeviceWorld) -> None:
    pending = phd2.guiding()
    world.drop()
    world.run(1)
    assert isinstance(pending.result, ConnectionLost)


@pytest.mark.parametrize("address", ["127.0.0.1:4400", "tcp:127.0.0.1:4400?bin=2", f"{ADDRESS}?arcsec_per_pixel=0"])
def test_a_wrong_address_is_told(address: str) -> None:
    with pytest.raises(ConfigError, match="address = "):
        instruments.check_address("guider", "phd2", address)
