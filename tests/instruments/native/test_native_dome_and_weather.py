"""The native driver against a scripted dome and a weather station."""

from __future__ import annotations

from typing import Any

import pytest

from pyros.clock import VirtualClock
from pyros.errors import (
    CommandAborted,
    DeviceFailed,
)
from tests.instruments.conftest import DeviceWorld
from tests.instruments.native.conftest import NativeRig


def test_a_turn_that_is_stopped_ends_though_the_dome_says_nothing(dome: NativeRig) -> None:
    dome.answers["DO rotate"] = "BUSY 20"
    turn = dome.begin(dome.device.rotate(90.0))
    dome.begin(dome.device.stop())
    assert isinstance(turn.result, CommandAborted)


def test_what_is_closed_before_a_closing_begins_was_an_older_one(dome: NativeRig) -> None:
    def closed_before() -> str:
        dome.script.say("EVT closed")
        return "BUSY 20"

    dome.answers["DO close"] = closed_before
    closing = dome.begin(dome.device.close())
    assert not closing.results
    dome.say("EVT closed")
    assert closing.result is None


def test_open_and_close(dome: NativeRig) -> None:
    opening = dome.begin(dome.device.open(dome.started.append))
    assert dome.started == [20.0]
    dome.say("EVT opened")
    assert opening.result is None
    dome.answers["DO open"] = "OK"
    assert dome.begin(dome.device.open()).result is None
    closing = dome.begin(dome.device.close())
    dome.say("EVT closed")
    assert closing.result is None


def test_it_can_be_closed_as_soon_as_it_begins_to_open(dome: NativeRig) -> None:
    closing: list[Any] = []
    opening = dome.begin(dome.device.open(lambda seconds: closing.append(dome.device.close())))
    dome.world.run()
    assert isinstance(opening.result, CommandAborted)
    dome.script.say("EVT closed")
    assert dome.world.result(closing[0]) is None


def test_a_dome_that_says_nothing_is_looked_at(dome: NativeRig) -> None:
    closing = dome.begin(dome.device.close())
    dome.answers["GET state"] = "OK stopped"
    dome.world.run(31)
    assert isinstance(closing.result, DeviceFailed)
    assert str(closing.result).endswith("it is stopped")
    closing = dome.begin(dome.device.close())
    dome.answers["GET state"] = "OK closed"
    dome.world.run(31)
    assert closing.result is None


def test_the_weather_is_read(weather: NativeRig) -> None:
    weather.answers["GET readings"] = (
        "OK temperature=-3.5 humidity=102 wind=4 rain=1 cloud=0.25 pressure=730 gust=9 age=2.5"
    )
    reading = weather.begin(weather.device.read()).result
    assert (reading.temperature, reading.humidity, reading.wind, reading.cloud) == (-3.5, 100, 4, 0.25)
    assert (reading.rain, reading.gust, reading.age, reading.dew_point) == (True, 9, 2.5, None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("OK", "it tells no rain; if it has no sensor for rain, say so in its address: .without=rain"),
        ("OK temperature=1 humidity=80 wind=4 rain=0", r"it tells no cloud; .* \?without=cloud"),
        ("OK temperature=warm humidity=80 wind=4 rain=0 cloud=0", "to GET readings"),
        ("OK temperature=1 humidity=2 wind=nan rain=0 cloud=0", "wind of nan m/s"),
        ("OK temperature=1 humidity=2 wind=-1 rain=0 cloud=0", "wind of -1 m/s: it can only be 0 to 100"),
        ("OK temperature=-127 humidity=2 wind=1 rain=0 cloud=0", "temperature of -127 degrees Celsius"),
        ("OK temperature=1 humidity=140 wind=1 rain=0 cloud=0", "humidity of 140 percent"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=-1", "cloud of -1 of the sky"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 gust=-999", "gust of -999 m/s"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 age=301", "its readings are 301 s old, more than 300 s"),
        ("OK temperature=1 humidity=2 wind=1 rain=0 cloud=0 age=-1", "that is no age"),
    ],
)
def test_weather_that_cannot_be_read_is_no_good_weather(weather: NativeRig, answer: str, words: str) -> None:
    weather.answers["GET readings"] = answer
    with pytest.raises(DeviceFailed, match=words):
        raise weather.begin(weather.device.read()).result


def test_what_the_address_names_as_absent_is_unknown(
    rigs: list[NativeRig], world: DeviceWorld, clock: VirtualClock
) -> None:
    rigs.append(NativeRig(world, clock, "weather", "?without=rain,cloud&oldest_seconds=5"))
    weather = rigs[-1]
    weather.answers["GET readings"] = "OK temperature=1 humidity=2 wind=1 cloud=-999 age=4"
    reading = weather.begin(weather.device.read()).result
    assert (reading.rain, reading.cloud) == (None, None)
    weather.answers["GET readings"] = "OK temperature=1 humidity=2 wind=1 age=6"
    with pytest.raises(DeviceFailed, match="its readings are 6 s old, more than 5 s"):
        raise weather.begin(weather.device.read()).result
