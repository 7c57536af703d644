"""The LX200 driver against scripted mounts: simple ones, and every way in which one can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import (
    CommandAborted,
    ConfigError,
    ConnectionLost,
    DeviceFailed,
    DeviceRefused,
    InstrumentError,
    NoAnswer,
    WireError,
)
from pyros.instruments.drivers.coordinates import apparent_of_icrs, icrs_of_apparent
from pyros.instruments.lx200.codec import MAX_ANSWER_BYTES, AnswerKind, AnswerReader, angle, dec_command, ra_command
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.instruments.conftest import MIDNIGHT, DeviceWorld, DriverRig, Pending

ADDRESS = "tcp:127.0.0.1:4030"
RA, DEC = 150.0, 20.0


# The codec.


@pytest.mark.parametrize(
    ("answer", "data", "result", "rest"),
    [
        (AnswerKind.BYTE, b"1", "1", b""),
        (AnswerKind.BYTE, b"0:", "0", b":"),
        (AnswerKind.TEXT, b"12:34:56#", "12:34:56", b""),
        (AnswerKind.TEXT, b"#+1", "", b"+1"),
        (AnswerKind.TEXT, b"+12\xdf34#", "+12\xdf34", b""),
        (AnswerKind.SLEW, b"0", "0", b""),
        (AnswerKind.SLEW, b"1Below horizon#0", "1Below horizon", b"0"),
    ],
)
def test_answers_are_read_however_they_are_cut(answer: AnswerKind, data: bytes, result: str, rest: bytes) -> None:
    assert AnswerReader(answer).feed(data) == (result, rest)
    body = data[: len(data) - len(rest)]
    for cut in range(1, len(body)):
        reader = AnswerReader(answer)
        assert reader.feed(body[:cut]) is None
        assert reader.feed(body[cut:]) == (result, b"")
    reader = AnswerReader(answer)
    pieces = [reader.feed(bytes([byte])) for byte in body]
    assert pieces == [None] * (len(body) - 1) + [(result, b"")]


@given(
    st.sampled_from([AnswerKind.BYTE, AnswerKind.TEXT, AnswerKind.SLEW]), st.lists(st.binary(max_size=80), max_size=20)
)
def test_any_bytes_are_an_answer_or_an_error_and_little_is_kept(answer: AnswerKind, pieces: list[bytes]) -> None:
    reader = AnswerReader(answer)
    for piece in pieces:
        try:
            result = reader.feed(piece)
        except WireError:
            return
        assert len(reader.partial) <= MAX_ANSWER_BYTES + 1
        if result is not None:
            text, rest = result
            assert "#" not in text
            assert piece.endswith(rest)
            return


@pytest.mark.parametrize(
    ("text", "value", "step"),
    [
        ("12:34:56", 12 + 34 / 60 + 56 / 3600, 1 / 3600),
        ("12:34.5", 12.575, 1 / 600),
        ("+12*34'56", 12 + 34 / 60 + 56 / 3600, 1 / 3600),
        ("-00*30", -0.5, 1 / 60),
        ("-00\xdf30'36", -0.51, 1 / 3600),
        ("05:30:36.4", 5.5101111, 1 / 3600),
    ],
)
def test_angles_are_read_as_mounts_write_them(text: str, value: float, step: float) -> None:
    assert angle(text) == pytest.approx((value, step))


@pytest.mark.parametrize(
    "text", ["", "12", "12:34:60", "12:60:00", "nan", "12:34.5:10", "1e3:2:3", "12:34:56:1", "٣:1:1"]
)
def test_what_is_no_angle_is_none(text: str) -> None:
    assert angle(text) is None


@given(st.floats(0, 359.9999), st.floats(-90, 90), st.booleans())
def test_targets_are_written_to_half_a_step(ra: float, dec: float, precise: bool) -> None:
    hours, degrees = angle(ra_command(ra, precise)[2:]), angle(dec_command(dec, precise)[2:])
    assert hours is not None
    assert degrees is not None
    assert hours[0] < 24
    assert abs((hours[0] * 15 - ra + 180) % 360 - 180) * 3600 <= (7.6 if precise else 45.1)
    assert abs(degrees[0] - dec) * 3600 <= (0.51 if precise else 30.1)


# Scripted mounts.

Reply = str | Callable[[str], str | None] | None


class ScriptedLx200(Factory):
    """A mount that answers as it was told to; None is silence. Longer beginnings of commands go first.

    By itself it is a simple one: no distance bars, no status, always where it was sent, tracking.
    """

    noisy = False

    def __init__(self, world: DeviceWorld, port: int = 4030) -> None:
        self.world = world
        self.asked: list[str] = []
        self.lines: list[_MountLine] = []
        self.place = list(apparent_of_icrs(RA, DEC, MIDNIGHT.timestamp()))
        self.target = [0.0, 0.0]
        self.answers: dict[str, Reply] = {
            "GR": lambda _: ra_command(self.place[0], True)[2:] + "#",
            "GD": lambda _: dec_command(self.place[1], True)[2:] + "#",
            "GVP": "Old mount#",
            "D": None,
            "GW": None,
            "Sr": self._set_ra,
            "Sd": self._set_dec,
            "MS": self.go,
            "CM": self._sync,
            "Q": None,
            "hP": None,
            "hW": None,
            "A": None,
            "U": None,
        }
        world.listenTCP(port, self)

    def buildProtocol(self, addr: object) -> _MountLine:
        self.lines.append(_MountLine(self))
        return self.lines[-1]

    def _set_ra(self, command: str) -> str:
        value = angle(command[2:])
        assert value is not None
        self.target[0] = value[0] * 15
        return "1"

    def _set_dec(self, command: str) -> str:
        value = angle(command[2:])
        assert value is not None
        self.target[1] = value[0]
        return "1"

    def go(self, _: str) -> str:
        self.place = list(self.target)
        return "0"

    def _sync(self, _: str) -> str:
        self.place = list(self.target)
        return "Coordinates matched.#"


class _MountLine(Protocol):
    def __init__(self, mount: ScriptedLx200) -> None:
        self.mount = mount
        self.rest = b""

    def dataReceived(self, data: bytes) -> None:
        *commands, self.rest = (self.rest + data).split(b"#")
        for each in commands:
            command = each.decode().removeprefix(":")
            self.mount.asked.append(command)
            known = [key for key in self.mount.answers if command.startswith(key)]
            answer = self.mount.answers[max(known, key=len)] if known else None
            text = answer(command) if callable(answer) else answer
            if text:
                self.say(text)

    def say(self, text: str) -> None:
        assert self.transport is not None
        self.transport.write(text.encode("latin-1"))


class Lx200Rig(DriverRig):
    def __init__(self, world: DeviceWorld, clock: VirtualClock, options: str = "") -> None:
        self.mount = ScriptedLx200(world)
        self.answers = self.mount.answers
        super().__init__(world, clock, "telescope", "lx200", ADDRESS + options)

    def count(self, start: str) -> int:
        return sum(command.startswith(start) for command in self.mount.asked)


@pytest.fixture
def rig(world: DeviceWorld, clock: VirtualClock) -> Iterator[Lx200Rig]:
    made = Lx200Rig(world, clock)
    yield made
    closed = made.device.disconnect()
    world.run()
    assert closed.called


@pytest.fixture
def up(rig: Lx200Rig) -> Lx200Rig:
    """Connect to a mount of which it was found out that it is a simple one."""
    rig.world.run(2.1)
    assert rig.device.connected
    return rig


def test_a_simple_mount_is_known_after_two_seconds_of_silence(rig: Lx200Rig) -> None:
    rig.world.run(1.9)
    assert not rig.device.connected
    rig.world.run(0.2)
    assert rig.told == [(True, f"Old mount at {ADDRESS}")]
    assert rig.mount.asked == ["GR", "GVP", "D", "GW"]
    rig.world.drop()
    rig.world.run(0.2)  # what it doesn't know isn't asked again
    assert rig.device.connected
    assert rig.mount.asked[4:] == ["GR", "GVP"]


def test_a_mount_in_low_precision_is_switched(rig: Lx200Rig) -> None:
    answers = iter(["10:03.1#", "10:03:06#"])
    rig.answers["GR"] = lambda _: next(answers)
    rig.world.run(2.1)
    assert rig.mount.asked[:3] == ["GR", "U", "GR"]
    assert rig.device.connected


def test_a_mount_that_stays_in_low_precision_can_be_used(rig: Lx200Rig) -> None:
    mount = rig.mount
    rig.answers |= {
        "GR": lambda _: ra_command(mount.place[0], False)[2:] + "#",
        "GD": lambda _: dec_command(mount.place[1], False)[2:] + "#",
    }
    rig.world.run(2.1)
    slew = rig.begin(rig.device.slew(RA + 10, DEC, "", rig.started.append))
    rig.world.run(10)
    assert slew.result.error_arcsec < 120
    assert "." in next(command for command in mount.asked if command.startswith("Sr"))


def test_a_slew_ends_when_the_mount_stands_still_at_its_target(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    slew = up.begin(up.device.slew(RA + 9, DEC, "", up.started.append))
    assert up.started == [pytest.approx(5, abs=0.01)]
    place = up.mount.place
    for _ in range(8):  # it is on its way
        up.world.run(1)
        place[0] += 1
        assert not slew.results
    place[:] = up.mount.target
    up.world.run(7)  # three seconds show that it tracks
    assert slew.result.error_arcsec < 16
    assert up.count("MS") == 1
    assert up.begin(up.device.position()).result.ra == pytest.approx(RA + 9, abs=0.005)


def test_the_targets_are_of_date(up: Lx200Rig) -> None:
    up.begin(up.device.slew(RA, DEC))
    up.world.run(5)
    ra, dec = up.mount.target
    here = icrs_of_apparent(ra, dec, MIDNIGHT.timestamp())
    assert here == pytest.approx((RA, DEC), abs=0.003)
    assert abs(ra - RA) > 0.2


def test_a_slew_that_ends_beside_its_target_is_sent_again_once(up: Lx200Rig) -> None:
    misses = iter([0.1, 0.0])

    def go(_: str) -> str:
        up.mount.place = [up.mount.target[0] + next(misses), up.mount.target[1]]
        return "0"

    up.answers["MS"] = go
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(15)
    assert slew.result.error_arcsec < 16
    assert up.count("MS") == 2
    misses = iter([0.1, 0.1])
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(20)
    assert isinstance(slew.result, DeviceFailed)
    assert "arcsec from the target after two slews" in str(slew.result)


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        ("1Object Below Horizon#", "LIMIT", "LIMIT: Object Below Horizon"),
        ("2  Object Below\tHigher #", "LIMIT", "LIMIT: Object Below Higher"),
        ("1", "LIMIT", "LIMIT: the target is below its horizon"),
        ("4", "STATE", "STATE: it is parked"),
        ("9", "STATE", "STATE: it answered 9"),
    ],
)
def test_refusals_are_told_with_the_mounts_text_or_without(up: Lx200Rig, answer: str, code: str, text: str) -> None:
    up.answers["MS"] = answer
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(2)
    assert isinstance(slew.result, DeviceRefused)
    assert (slew.result.code, str(slew.result)) == (code, text)
    assert up.device.connected
    assert up.count("hW") == (1 if code == "STATE" else 0)


def test_a_target_that_is_not_taken_is_refused(up: Lx200Rig) -> None:
    up.answers["Sd"] = "0"
    slew = up.begin(up.device.slew(RA, DEC))
    assert isinstance(slew.result, DeviceRefused)
    assert str(slew.result).startswith("VALUE: it does not take :Sd+")
    assert up.count("MS") == 0


def test_a_new_slew_takes_the_place_of_the_old_one_and_stops_it_first(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    old = up.begin(up.device.slew(RA + 50, DEC))
    up.answers["MS"] = up.mount.go
    new = up.begin(up.device.slew(RA, DEC))
    assert isinstance(old.result, CommandAborted)
    assert str(old.result) == "Old mount: slew: a slew took its place"
    up.world.run(5)
    assert new.result.error_arcsec < 16
    assert up.count("Q") == 1


def test_a_park_stops_the_slew_before_it(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    old = up.begin(up.device.slew(RA + 50, DEC))
    up.begin(up.device.park())
    up.world.run(1)
    assert str(old.result) == "Old mount: slew: a park took its place"
    assert up.mount.asked.index("Q") < up.mount.asked.index("hP")


def test_an_older_slew_that_fails_late_does_not_stop_the_newer(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    old = up.begin(up.device.slew(RA + 50, DEC))
    place, up.answers["GR"] = up.answers["GR"], None
    up.world.run(1)
    up.begin(up.device.slew(RA, DEC))
    up.answers["GR"] = place
    up.mount.lines[-1].say("nowhere#")
    up.world.run(1)
    assert isinstance(old.result, DeviceFailed)
    assert up.count("Q") == 1


def test_stop_ends_a_slew_before_its_last_command_is_out(up: Lx200Rig) -> None:
    silent = up.answers["Sr"]
    up.answers["Sr"] = None
    slew = up.begin(up.device.slew(RA + 50, DEC))
    stop = up.begin(up.device.stop())
    assert not slew.results
    up.mount.lines[-1].say("1")
    up.world.run(1)
    assert stop.result is None
    assert isinstance(slew.result, CommandAborted)
    assert up.count("MS") == 0
    assert up.count("Q") == 1
    up.answers["Sr"] = silent


def test_a_slew_without_end_is_no_answer(up: Lx200Rig) -> None:
    def wander(_: str) -> str:
        up.mount.place[0] = (up.mount.place[0] + 1) % 360
        return ra_command(up.mount.place[0], True)[2:] + "#"

    up.answers["GR"] = wander
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(299)
    assert not slew.results
    up.world.run(3)
    assert isinstance(slew.result, NoAnswer)
    assert str(slew.result) == "Old mount: slew: no end within 300 s"
    assert up.count("Q") == 1  # it is stopped: nobody waits for its end any more


def test_a_mount_whose_bars_never_empty_is_believed_on_its_target(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Lx200Rig(world, clock, "?settle_seconds=4")
    rig.answers["D"] = "\x7f\x7f#"
    world.run(2.1)
    slew = rig.begin(rig.device.slew(RA, DEC))
    world.run(3.5)
    assert not slew.results
    world.run(6)
    assert slew.result.error_arcsec < 16
    assert (rig.count("MS"), rig.count("Q")) == (1, 1)
    world.result(rig.device.disconnect())


def test_a_mount_on_its_target_that_does_not_track_has_failed(up: Lx200Rig) -> None:
    sidereal, began = 360 / 86164.0905, up.world.seconds()
    up.answers["GR"] = lambda _: ra_command(up.mount.place[0] + sidereal * (up.world.seconds() - began), True)[2:] + "#"
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(12)
    assert isinstance(slew.result, DeviceFailed)
    assert str(slew.result) == "Old mount: slew: it is on its target and doesn't track"
    assert up.count("Q") == 1


@pytest.mark.parametrize("tracks", [True, False])
def test_a_mount_that_tells_its_status_tracks_again_or_has_failed(
    tracks: bool, world: DeviceWorld, clock: VirtualClock
) -> None:
    rig = Lx200Rig(world, clock)
    rig.answers["GW"] = "PN1#"
    if tracks:
        rig.answers["A"] = lambda _: rig.answers.__setitem__("GW", "PT1#")
    world.run(2.1)
    slew = rig.begin(rig.device.slew(RA, DEC))
    world.run(8)
    assert rig.count("AP") >= 1
    assert isinstance(slew.result, instruments.Pointing if tracks else DeviceFailed)
    world.result(rig.device.disconnect())


def test_its_limits_stand_in_the_address(world: DeviceWorld, clock: VirtualClock) -> None:
    rig = Lx200Rig(world, clock, "?slew_seconds=20&begin_seconds=1&tolerance_arcsec=60")
    world.run(2.1)
    rig.answers["MS"] = "0"
    rig.answers["GR"] = lambda _: ra_command((world.seconds() * 3) % 360, True)[2:] + "#"
    slew = rig.begin(rig.device.slew(RA, DEC))
    world.run(23)
    assert str(slew.result) == "Old mount: slew: no end within 20 s"
    with pytest.raises(ConfigError, match="no option 'stop_seconds'"):
        instruments.check_address("telescope", "lx200", f"{ADDRESS}?stop_seconds=1")
    world.result(rig.device.disconnect())


def test_parking_is_believed_when_the_sky_drifts_past(up: Lx200Rig) -> None:
    sidereal = 360 / 86164.0905
    start, began = list(up.mount.place), up.world.seconds()
    up.answers["GR"] = lambda _: ra_command(start[0] + sidereal * (up.world.seconds() - began), True)[2:] + "#"
    park = up.begin(up.device.park(up.started.append))
    up.world.run(10)
    assert park.result is None
    assert len(up.started) == 1
    state = up.begin(up.device.state())
    up.world.run(4)
    assert state.result == "parked"
    assert up.begin(up.device.unpark()).result is None
    state = up.begin(up.device.state())
    up.world.run(4)
    assert state.result == "idle"


def test_a_mount_that_does_not_know_parking_is_found_out(up: Lx200Rig) -> None:
    park = up.begin(up.device.park())
    up.world.run(10)
    text = "UNSUPPORTED: Old mount passes over the command to park (:hP#): it neither moves nor stops tracking"
    assert isinstance(park.result, DeviceRefused)
    assert str(park.result) == text
    state = up.begin(up.device.state())
    up.world.run(4)
    assert state.result == "tracking"
    slew = up.begin(up.device.slew(RA, DEC))
    assert str(up.begin(up.device.park()).result) == text  # at once, and it does not stop the slew
    assert up.count("hP") == 1
    up.world.run(10)
    assert slew.result.error_arcsec < 30


def test_a_mount_that_moves_to_its_park_position_and_tracks_there_has_failed(up: Lx200Rig) -> None:
    def park(_: str) -> str:
        up.mount.place[1] -= 20
        return ""

    up.answers["hP"] = park
    failure = up.begin(up.device.park())
    up.world.run(10)
    assert isinstance(failure.result, DeviceFailed)
    assert str(failure.result) == "Old mount: park: it has moved, and tracks; a parked mount stands still"


def test_below_the_horizon_is_refused_before_the_mount_is_asked(world: DeviceWorld, clock: VirtualClock) -> None:
    mount, site = ScriptedLx200(world), Site("x", 43.9, 5.7, 650.0)
    device = instruments.connect("telescope", "lx200", ADDRESS, world, clock, site=site)
    world.run(2.1)
    below = place_overhead(site, clock.now(), -20.0, 90.0)
    world.fails(DeviceRefused, r"^LIMIT: Old mount: the target is at altitude -20\.0 degrees", device.slew(*below), 5)
    assert not any(command.startswith("S") for command in mount.asked)
    world.result(device.disconnect())


def test_tracking_cannot_be_switched_where_it_is_not_told(up: Lx200Rig) -> None:
    refusal = up.begin(up.device.track(False)).result
    assert isinstance(refusal, DeviceRefused)
    assert refusal.code == "UNSUPPORTED"


def test_a_sync_that_has_no_effect_is_found_out(up: Lx200Rig) -> None:
    assert up.begin(up.device.sync(RA + 1, DEC)).result is None
    assert up.begin(up.device.position()).result.ra == pytest.approx(RA + 1, abs=0.005)
    up.answers["CM"] = "Not now#"
    failure = up.begin(up.device.sync(RA + 2, DEC)).result
    assert isinstance(failure, DeviceFailed)
    assert "it said 'Not now' and is 33" in str(failure)


# The connection.


def test_silence_is_no_answer_and_the_connection_is_made_anew(up: Lx200Rig) -> None:
    up.answers["GD"] = None
    asking = up.begin(up.device.position())
    waiting = up.begin(up.device.position())
    up.world.run(5.1)
    assert isinstance(asking.result, NoAnswer)
    assert str(asking.result) == f"telescope at {ADDRESS}: no answer to :GD# within 5 s"
    assert isinstance(waiting.result, ConnectionLost)
    up.world.run(0.5)
    assert up.device.connected
    assert [each for each, _ in up.told] == [True, False, True]


@pytest.mark.parametrize("garbage", ["x" * 300, "\x00\xff" * 100])
def test_an_answer_without_end_is_dropped(up: Lx200Rig, garbage: str) -> None:
    up.answers["GR"] = garbage
    asking = up.begin(up.device.position())
    assert isinstance(asking.result, ConnectionLost)
    assert "it answered :GR# with more than 128 bytes without #" in str(asking.result)


def test_an_answer_of_the_wrong_kind_is_dropped(up: Lx200Rig) -> None:
    up.answers["Sr"] = "OK#"
    slew = up.begin(up.device.slew(RA, DEC))
    assert isinstance(slew.result, ConnectionLost)
    assert "it answered :Sr" in str(slew.result)
    assert "with b'O' where one of 01 was due" in str(slew.result)


@pytest.mark.parametrize("answer", ["nonsense#", "99:99:99#", "#", "25:00:00#"])
def test_a_position_that_is_none_is_told(up: Lx200Rig, answer: str) -> None:
    up.answers["GR"] = answer
    assert isinstance(up.begin(up.device.position()).result, DeviceFailed)
    assert up.device.connected


def test_a_mount_that_somebody_switches_to_low_precision_is_told_targets_in_it(up: Lx200Rig) -> None:
    up.answers["GR"] = lambda _: ra_command(up.mount.place[0], False)[2:] + "#"
    up.answers["GD"] = lambda _: dec_command(up.mount.place[1], False)[2:] + "#"
    slew = up.begin(up.device.slew(RA, DEC))
    up.world.run(10)
    assert slew.result.error_arcsec < 90
    target = next(command for command in up.mount.asked if command.startswith("Sr"))
    assert "." in target, target


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["GR", "GD", "Sr", "Sd", "MS", "CM", "D", "GW"]), st.binary(max_size=200))
def test_whatever_a_mount_answers_every_command_has_a_typed_end(command: str, data: bytes) -> None:
    world = DeviceWorld()
    clock = VirtualClock(world, MIDNIGHT)
    mount = ScriptedLx200(world)
    device = instruments.connect("telescope", "lx200", ADDRESS, world, clock)
    world.run(2.1)
    mount.answers[command] = data.decode("latin-1")
    for begin in (
        device.position, partial(device.slew, RA, DEC), partial(device.sync, RA, DEC),
        device.park, device.state, device.unpark, device.stop,
    ):  # fmt: skip
        pending = Pending(begin())
        end = world.seconds() + 700
        while not pending.results and world.seconds() < end:
            world.run(1)
        assert not isinstance(pending.result, Exception) or isinstance(pending.result, InstrumentError)
    world.result(device.disconnect())
    assert not world.getDelayedCalls()


def test_half_an_answer_is_no_answer(up: Lx200Rig) -> None:
    up.answers["GR"] = "12:34"
    asking = up.begin(up.device.position())
    up.world.run(4.9)
    assert not asking.results
    up.world.run(0.2)
    assert isinstance(asking.result, NoAnswer)


def test_what_nobody_asked_for_is_passed_over(up: Lx200Rig) -> None:
    up.mount.lines[-1].say("12:00:00#garbage\xff")
    up.world.run(0.1)
    assert up.begin(up.device.position()).result.ra == pytest.approx(RA, abs=0.005)


def test_a_lost_connection_ends_the_slew_and_the_mount_goes_on(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    slew = up.begin(up.device.slew(RA + 50, DEC))
    up.world.run(0.3)
    up.world.drop()
    assert isinstance(slew.result, ConnectionLost)
    up.world.run(1)
    assert up.device.connected
    assert up.count("Q") == 0


def test_something_else_at_that_address_is_no_mount(world: DeviceWorld, clock: VirtualClock) -> None:
    mount = ScriptedLx200(world)
    mount.answers["GR"] = "HTTP/1.1 400#"
    telescope = instruments.connect("telescope", "lx200", ADDRESS, world, clock)
    with pytest.raises(ConnectionLost, match=r"it answered 'HTTP/1.1 400' to :GR#: that is no mount that speaks LX200"):
        world.result(telescope.position(), 6)
    world.result(telescope.disconnect())


def test_cancelling_stops_the_waiting_and_not_the_mount(up: Lx200Rig) -> None:
    up.answers["GR"] = None
    waiting = up.device.position()
    position = up.begin(waiting)
    waiting.cancel()
    assert isinstance(position.result, CancelledError)
    up.mount.lines[-1].say("10:00:00#")
    up.answers["GR"] = "11:00:00#"
    assert up.begin(up.device.position()).result.ra == pytest.approx(165, abs=0.6)
    up.answers["MS"] = "0"
    slewing = up.device.slew(RA, DEC)
    slew = up.begin(slewing)
    slewing.cancel()
    assert isinstance(slew.result, CancelledError)
    assert up.count("Q") == 0


def test_disconnect_ends_what_is_pending(up: Lx200Rig) -> None:
    up.answers["MS"] = "0"
    slew = up.begin(up.device.slew(RA + 50, DEC))
    assert up.begin(up.device.disconnect()).result is None
    assert isinstance(slew.result, ConnectionLost)
    assert isinstance(up.begin(up.device.position()).result, ConnectionLost)


@pytest.mark.parametrize("address", ["127.0.0.1:4030", "tcp:h:0", "serial:/dev/ttyS0", ""])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"must be tcp:HOST:PORT"):
        instruments.check_address("telescope", "lx200", address)


def test_an_address_may_be_a_name() -> None:
    instruments.check_address("telescope", "lx200", "tcp:mount.example.org:4030")


def test_only_telescopes_speak_it() -> None:
    with pytest.raises(ConfigError, match=r"driver = lx200: does not drive a camera; native and indi and alpaca do"):
        instruments.check_address("camera", "lx200", ADDRESS)
