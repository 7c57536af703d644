"""Cover and rotator behind Alpaca, against a server that answers what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.errors import DeviceFailed, DeviceRefused
from tests.instruments.alpaca.conftest import AlpacaError, AlpacaRig


@pytest.fixture
def cover(server: AlpacaRig) -> Any:
    server.set(coverstate=1, calibratorstate=1, maxbrightness=100, brightness=0)
    return server.device("cover")


@pytest.mark.parametrize(
    ("number", "state"),
    [(0, "absent"), (1, "closed"), (2, "moving"), (3, "open"), (4, "stopped"), (5, "stopped")],
)
def test_the_state_is_that_of_the_cover(cover: Any, server: AlpacaRig, number: int, state: str) -> None:
    server.set(coverstate=number)
    assert server.result(cover.state(), 5) == state


@pytest.mark.parametrize("member", ["coverstate", "calibratorstate"])
def test_a_state_that_there_is_not_has_failed(cover: Any, server: AlpacaRig, member: str) -> None:
    server.set(**{member: 6})
    command = cover.state if member == "coverstate" else cover.lamp_off
    server.fails(DeviceFailed, f"answered 6 to GET {member}, not 0 to 5", command(), 10)


@pytest.mark.parametrize("state", [1, 4, 5])
def test_a_cover_that_does_not_open_has_failed_and_is_halted(cover: Any, server: AlpacaRig, state: int) -> None:
    server.set(coverstate=state)
    server.fails(DeviceFailed, r"open: it is (closed|stopped)", cover.open(), 20)
    assert server.count("PUT haltcover") == 1


def test_a_cover_that_never_arrives_is_given_up(server: AlpacaRig) -> None:
    server.set(coverstate=2)
    server.fails(DeviceFailed, "close: no end after 20 s", server.device("cover", "?cover_seconds=20").close(), 30)


@pytest.mark.parametrize(
    ("values", "command", "code"),
    [
        ({"coverstate": 0}, lambda cover: cover.open(), "UNSUPPORTED"),
        ({"maxbrightness": AlpacaError(0x400)}, lambda cover: cover.lamp_on(1), "UNSUPPORTED"),
        ({}, lambda cover: cover.lamp_on(0), "VALUE"),
        ({}, lambda cover: cover.lamp_on(101), "VALUE"),
    ],
)
def test_what_the_device_lacks_is_refused_unasked(
    cover: Any,
    server: AlpacaRig,
    values: dict[str, Any],
    command: Callable[[Any], Any],
    code: str,
) -> None:
    server.set(**values)
    with pytest.raises(DeviceRefused) as raised:
        server.result(command(cover), 10)
    assert raised.value.code == code
    assert not any(request.startswith("PUT") and "connect" not in request for request, _ in server.asked)


def test_a_lamp_warms_up_and_tells_its_brightness(cover: Any, server: AlpacaRig) -> None:
    server.set(calibratorstate=2, brightness=40)
    server.world.callLater(8.0, lambda: server.set(calibratorstate=3))
    started: list[float] = []
    assert server.result(cover.lamp_on(40, started.append), 20) == 40
    assert server.last("PUT calibratoron") == {"Brightness": "40"}
    assert len(started) == 1


@pytest.mark.parametrize(("state", "word"), [(5, "failed"), (1, "off"), (4, "unknown")])
def test_a_lamp_that_does_not_light_has_failed(cover: Any, server: AlpacaRig, state: int, word: str) -> None:
    server.set(calibratorstate=state)
    server.fails(DeviceFailed, f"its lamp is {word}, not ready", cover.lamp_on(40), 20)


@pytest.fixture
def rotator(server: AlpacaRig) -> Any:
    server.set(position=30.0, mechanicalposition=210.0, ismoving=False, canreverse=True, reverse=False)
    return server.device("rotator")


def test_a_rotator_tells_its_angles(rotator: Any, server: AlpacaRig) -> None:
    server.set(position=360.0)
    assert server.result(rotator.angle(), 5) == 0.0
    assert server.result(rotator.mechanical(), 5) == 210.0
    assert server.result(rotator.reversed(), 5) is False
    server.set(mechanicalposition=AlpacaError(0x400))  # IRotatorV2
    assert server.result(rotator.mechanical(), 5) is None


def test_a_rotator_that_cannot_reverse_says_none(server: AlpacaRig) -> None:
    server.set(canreverse=False)
    assert server.result(server.device("rotator").reversed(), 5) is None


@pytest.mark.parametrize(("angle", "sent"), [(90.0, 90.0), (-10.0, 350.0), (370.0, 10.0)])
def test_angles_are_sent_around_the_circle(rotator: Any, server: AlpacaRig, angle: float, sent: float) -> None:
    server.set(position=sent)
    assert server.result(rotator.move(angle), 10) == sent
    assert float(server.last("PUT moveabsolute")["Position"]) == sent
    server.result(rotator.sync(angle), 5)
    assert float(server.last("PUT sync")["Position"]) == sent


def test_a_rotator_that_stands_elsewhere_has_failed_and_is_halted(rotator: Any, server: AlpacaRig) -> None:
    server.fails(DeviceFailed, "at 30 degrees instead of 90", rotator.move(90.0), 20)
    assert server.count("PUT halt") == 1
