"""The native driver's connection to a scripted device: lost, silent, of another kind, at a wrong address."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

from pyros import instruments
from pyros.backoff import STEADY_SECONDS
from pyros.clock import VirtualClock
from pyros.errors import (
    ConfigError,
    ConnectionLost,
    NoAnswer,
)
from pyros.instruments.drivers.reconnecting import RETRY_SECONDS
from tests.instruments.conftest import DeviceWorld, Pending, ScriptedNative
from tests.instruments.native.conftest import ADDRESS, NativeRig


def test_the_connection_is_reported_with_the_devices_name(telescope: NativeRig) -> None:
    assert telescope.told == [(True, f"Old telescope at {ADDRESS}")]
    assert telescope.device.connected
    assert telescope.device.name == "Old telescope"


def test_a_lost_connection_fails_what_is_pending_and_is_made_again(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.answers["GET state"] = []
    asking = telescope.begin(telescope.device.state())
    telescope.world.drop()
    for pending in (slew, asking):
        assert isinstance(pending.result, ConnectionLost)
        assert str(pending.result).startswith(f"telescope at {ADDRESS}: Connection was closed")
    telescope.answers["GET state"] = "OK slewing"
    state = telescope.begin(telescope.device.state())
    assert not state.results
    telescope.world.run(1.0)
    assert state.result == "slewing"
    assert [up for up, _ in telescope.told] == [True, False, True]


def test_a_device_that_drops_what_it_has_taken_is_tried_ever_more_rarely(telescope: NativeRig) -> None:
    def pause() -> float:
        telescope.world.drop()
        begun = telescope.world.seconds()
        telescope.world.run()
        while not telescope.device.connected:
            telescope.world.run(0.1)
        return telescope.world.seconds() - begun

    pauses = [pause() for _ in range(10)]
    assert pauses[:6] == pytest.approx(RETRY_SECONDS, abs=0.11)
    assert pauses[6:] == pytest.approx([RETRY_SECONDS[-1]] * 4, abs=0.11)
    telescope.world.run(STEADY_SECONDS)
    assert pause() == pytest.approx(RETRY_SECONDS[0], abs=0.11)


def test_without_a_device_a_command_ends_naming_the_address(world: DeviceWorld, clock: VirtualClock) -> None:
    reports: list[tuple[bool, str]] = []
    telescope = instruments.connect(
        "telescope", "native", ADDRESS, world, clock, on_connection=lambda *report: reports.append(report)
    )
    world.fails(ConnectionLost, r"^telescope at tcp:127.0.0.1:6010: Connection was refused", telescope.state(), 6)
    assert len(reports) == 1
    assert not reports[0][0]
    later = telescope.state()
    world.run(3.0)
    ScriptedNative(world, "telescope").answers["GET state"] = "OK idle"
    assert world.result(later, 2.0) == "idle"
    world.result(telescope.disconnect())


def test_a_silent_device_is_no_answer_and_the_connection_is_made_anew(telescope: NativeRig) -> None:
    telescope.answers["GET state"] = []
    asking = telescope.begin(telescope.device.state())
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.world.run(5.1)
    assert isinstance(asking.result, NoAnswer)
    assert str(asking.result) == f"telescope at {ADDRESS}: no answer to GET state within 5 s"
    assert isinstance(slew.result, ConnectionLost)
    telescope.world.run(1.0)
    assert telescope.device.connected


@pytest.mark.parametrize("garbage", ["hello?", "OK stray", "ERR SYNTAX what?", "EVT a" + " b" * 5000, "\udce9"])
def test_a_device_that_breaks_the_grammar_is_dropped(telescope: NativeRig, garbage: str) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.script.lines[-1].send(garbage.encode(errors="surrogateescape") + b"\n")
    telescope.world.run()
    assert isinstance(slew.result, ConnectionLost)
    assert "it sent" in str(slew.result)
    telescope.world.run(1)
    assert telescope.device.connected


def test_a_device_of_another_kind_is_never_commanded(world: DeviceWorld, clock: VirtualClock) -> None:
    script = ScriptedNative(world, "dome")
    telescope = instruments.connect("telescope", "native", ADDRESS, world, clock)
    world.fails(ConnectionLost, "'Old dome' is a dome, not a telescope", telescope.slew(10.0, 20.0), 6)
    assert set(script.asked) == {"GET id"}
    assert len(script.asked) < 12
    world.result(telescope.disconnect())


def test_disconnect_while_connecting_or_waiting_leaves_nothing(world: DeviceWorld, clock: VirtualClock) -> None:
    connecting = instruments.connect("dome", "native", ADDRESS, world, clock)
    asking = Pending(connecting.state())
    world.result(connecting.disconnect())
    assert isinstance(asking.result, ConnectionLost)
    waiting = instruments.connect("dome", "native", ADDRESS, world, clock)
    world.run(0.05)
    world.result(waiting.disconnect())
    world.fails(ConnectionLost, "disconnected", waiting.open())
    assert not world.getDelayedCalls()


def test_cancelling_stops_the_waiting_and_not_the_device(telescope: NativeRig) -> None:
    waiting = telescope.device.slew(50.0, 20.0)
    slew = telescope.begin(waiting)
    waiting.cancel()
    assert isinstance(slew.result, CancelledError)
    telescope.answers["GET state"] = []
    asking = telescope.device.state()
    state = telescope.begin(asking)
    asking.cancel()
    telescope.script.say("#3 OK slewing", "EVT slew_finished tag={tag}")
    telescope.world.run(30)
    assert isinstance(state.result, CancelledError)
    assert telescope.device.connected
    assert telescope.events == ["slew_finished"]
    assert telescope.script.count("DO stop") == 0


def test_a_thousand_requests_need_no_thousand_round_trips(telescope: NativeRig) -> None:
    """They are all on the wire before the first answer, and each gets its own."""
    numbers = iter(range(1000))
    telescope.answers["GET position"] = lambda: f"OK {next(numbers)} 0"
    asked = [Pending(telescope.device.position()) for _ in range(1000)]
    telescope.world.run()
    assert [pending.result.ra for pending in asked] == list(range(1000))


def test_disconnect_ends_what_is_pending(telescope: NativeRig) -> None:
    slew = telescope.begin(telescope.device.slew(10.0, 20.0))
    telescope.begin(telescope.device.disconnect())
    assert isinstance(slew.result, ConnectionLost)
    telescope.world.run(60)
    assert not telescope.device.connected


@pytest.mark.parametrize(
    "address", ["127.0.0.1:6010", "tcp:127.0.0.1", "tcp::6010", "tcp:h:0", "tcp:h:65536", "tcp:a b:1", "udp:h:1", ""]
)
def test_a_wrong_address_is_told(world: DeviceWorld, clock: VirtualClock, address: str) -> None:
    with pytest.raises(ConfigError, match=r"address = .*: must be tcp:HOST:PORT, such as"):
        instruments.connect("dome", "native", address, world, clock)


def test_a_wrong_driver_or_kind_is_told(world: DeviceWorld, clock: VirtualClock) -> None:
    with pytest.raises(ConfigError, match=r"driver = indy: must be one of .*native"):
        instruments.connect("dome", "indy", ADDRESS, world, clock)
    with pytest.raises(ConfigError, match="kind = roof: must be one of telescope, camera, "):
        instruments.connect("roof", "native", ADDRESS, world, clock)
