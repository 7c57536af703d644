"""What the INDI driver makes of weather stations and their verdicts, on virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pyros import instruments
from pyros.clock import VirtualClock
from pyros.errors import (
    ConfigError,
    DeviceFailed,
)
from tests.instruments.conftest import DeviceWorld
from tests.instruments.indi.conftest import Make
from tests.instruments.indi.script import ADDRESS, IndiRig

STATION = {
    "WEATHER_PARAMETERS": ("Number", {"WEATHER_TEMPERATURE": 5, "WEATHER_HUMIDITY": 60, "WEATHER_WIND_GUST": 36,
                                      "WEATHER_WIND_SPEED": 18, "WEATHER_RAIN_HOUR": 0.5, "WEATHER_CLOUDS": 40}, "Ok"),
    "WEATHER_STATUS": ("Light", {"WEATHER_RAIN_HOUR": "Alert", "WEATHER_WIND_SPEED": "Busy"}, "Alert"),
    "WEATHER_UPDATE": ("Number", {"PERIOD": 60}, "Ok"),
}  # fmt: skip


LABELS = {"WEATHER_WIND_SPEED": "Wind (kph)", "WEATHER_WIND_GUST": "Gust (kph)", "WEATHER_CLOUDS": "Clouds (%)"}


def test_readings_are_in_our_units_and_old_ones_are_none(station: IndiRig, world: DeviceWorld) -> None:
    with pytest.raises(DeviceFailed, match="no new readings since it was connected"):  # a definition is from whenever
        world.result(station.device.read())
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    reading = world.result(station.device.read())
    assert (reading.temperature, reading.humidity) == (5.0, 60.0)
    assert (reading.wind, reading.gust) == (pytest.approx(5.0), pytest.approx(10.0))
    assert (reading.rain, reading.cloud) == (True, pytest.approx(0.4))
    assert reading.age < 1
    world.run(170)
    assert world.result(station.device.read()).age == pytest.approx(170, abs=1)
    world.run(11)
    world.fails(DeviceFailed, r"no new readings for 18\d s, more than 180 s", station.device.read())


def test_the_address_tells_how_old_a_reading_may_be(rig: Make, world: DeviceWorld) -> None:
    station = rig("weather", STATION, labels=LABELS, address=f"{ADDRESS}?oldest_seconds=20")
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    world.run(19)
    world.result(station.device.read())
    world.run(2)
    world.fails(DeviceFailed, "more than 20 s", station.device.read())


def test_a_station_that_only_becomes_busy_has_measured_nothing(station: IndiRig, world: DeviceWorld) -> None:
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    for _ in range(7):
        world.run(30)
        station.server.say(station.server.set("WEATHER_PARAMETERS", "Busy"))
    world.fails(DeviceFailed, r"no new readings for 21\d s", station.device.read())


@pytest.fixture
def station(rig: Make) -> IndiRig:
    return rig("weather", STATION, labels=LABELS)


REFRESH = {"WEATHER_REFRESH": ("Switch", {"REFRESH": False}, "Ok")}


def test_a_station_that_can_be_asked_is_asked(rig: Make, world: DeviceWorld) -> None:
    station = rig("weather", STATION | REFRESH, labels=LABELS)
    server = station.server
    server.answers["WEATHER_REFRESH"] = lambda _: (
        server.set("WEATHER_REFRESH") + server.set("WEATHER_PARAMETERS", "Busy")
    )
    reading = station.begin(station.device.read(), 10)
    assert reading == []  # it fetches them
    server.say(server.set("WEATHER_PARAMETERS", "Ok", WEATHER_TEMPERATURE=7))
    assert (reading[0].temperature, reading[0].age) == (7.0, pytest.approx(0.0, abs=0.1))
    world.run(60)
    server.answers["WEATHER_REFRESH"] = lambda _: server.set("WEATHER_REFRESH", "Alert")
    assert world.result(station.device.read()).age == pytest.approx(60, abs=1)  # it has nothing newer
    server.answers["WEATHER_REFRESH"] = lambda _: server.set("WEATHER_REFRESH")
    for _ in range(3):
        world.result(station.device.read(), 31)
        world.run(10)
    world.fails(DeviceFailed, "no new readings for", station.device.read(), 31)


@pytest.mark.parametrize("ahead", [0.0, -26_000.0, 3600.0])  # neither clock need be right
@pytest.mark.parametrize(
    ("query", "late", "age"),
    [("", 0, 0.0), ("", 100, 100.0), ("", 400, "400 s, by its timestamps"), ("timestamps=no", 400, 0.0)],
)
def test_a_timestamp_makes_readings_older(
    rig: Make, world: DeviceWorld, clock: VirtualClock, ahead: float, query: str, late: float, age: float | str
) -> None:
    def stamp(seconds: float) -> str:
        return datetime.fromtimestamp(clock.time() + ahead - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    station = rig("weather", STATION, labels=LABELS, address=f"{ADDRESS}?{query}")
    station.server.stamp = stamp(0.0)
    station.server.say(station.server.set("WEATHER_UPDATE"))
    station.server.stamp = stamp(late)
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    if isinstance(age, str):
        world.fails(DeviceFailed, age, station.device.read())
    else:
        assert world.result(station.device.read()).age == pytest.approx(age, abs=1.5)


def test_a_reading_that_is_sent_again_does_not_get_younger(station: IndiRig, world: DeviceWorld) -> None:
    station.server.stamp = "2026-03-20T20:00:00"
    for _ in range(5):
        station.server.say(station.server.set("WEATHER_PARAMETERS"))
        world.run(60)
    world.fails(DeviceFailed, "no new readings for 300 s, by its timestamps", station.device.read())


def test_a_server_whose_clock_steps_back_is_believed_again(
    station: IndiRig, world: DeviceWorld, clock: VirtualClock
) -> None:
    for step in (0.0, 3600.0):
        for _ in range(70):
            stamp = datetime.fromtimestamp(clock.time() - step, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            station.server.stamp = stamp
            station.server.say(station.server.set("WEATHER_PARAMETERS"))
            world.run(1)
        assert world.result(station.device.read()).age < 3


@pytest.mark.parametrize(("state", "value"), [("Alert", 5), ("Ok", "nan"), ("Ok", "broken"), ("Ok", -127)])
def test_readings_that_are_of_no_use(station: IndiRig, world: DeviceWorld, state: str, value: Any) -> None:
    station.server.say(station.server.set("WEATHER_PARAMETERS", state, WEATHER_TEMPERATURE=value))
    world.fails(DeviceFailed, "", station.device.read())


def test_what_a_station_does_not_measure_is_unknown(rig: Make, world: DeviceWorld) -> None:
    members = {"WEATHER_TEMPERATURE": 5, "WEATHER_IS_RAIN": 1, "WEATHER_SKY_TEMP": -20}
    station = rig(
        "weather",
        {"WEATHER_PARAMETERS": ("Number", members, "Ok")},
        address=f"{ADDRESS}?rain=WEATHER_IS_RAIN&cloud=none&without=humidity,wind",
    )
    station.server.say(station.server.set("WEATHER_PARAMETERS"))
    reading = world.result(station.device.read())
    assert (reading.temperature, reading.rain) == (5.0, True)
    assert (reading.humidity, reading.wind, reading.gust, reading.cloud) == (None, None, None, None)


@pytest.mark.parametrize("query", ["wind_unit=furlongs", "rain=", "rain=A B", "clear=5", "clear=5&overcast=5", "a=1"])
def test_options_of_a_station_that_are_none(query: str) -> None:
    with pytest.raises(ConfigError, match=r"must be|no option"):
        instruments.check_address("weather", "indi", f"{ADDRESS}?{query}")


def test_a_verdict_that_is_overridden_by_hand_is_unsafe(rig: Make, world: DeviceWorld) -> None:
    override = {"WEATHER_OVERRIDE": ("Switch", {"OVERRIDE": True}, "Busy")}
    verdict = {"WEATHER_STATUS": ("Light", {"WEATHER_WIND_SPEED": "Ok"}, "Ok")}
    monitor = rig("safety", STATION | verdict | override)
    monitor.server.say(monitor.server.set("WEATHER_PARAMETERS"))
    safety = instruments.Safety(False, "its verdict is overridden by hand (WEATHER_OVERRIDE)")
    assert world.result(monitor.device.read()) == safety


def test_a_device_may_tell_its_verdict_as_safety_status(rig: Make, world: DeviceWorld) -> None:
    monitor = rig("safety", {"SAFETY_STATUS": ("Light", {"SAFETY": "Alert"}, "Alert")})
    assert world.result(monitor.device.read()) == instruments.Safety(False, "SAFETY: danger")


@pytest.mark.parametrize(
    ("state", "safe", "reason"),
    [
        ("Ok", True, ""),
        ("Busy", True, "WEATHER_WIND_SPEED: warning"),
        ("Idle", False, "it gives no verdict"),
        ("Alert", False, "WEATHER_WIND_SPEED: danger"),
    ],
)
def test_the_verdict_of_a_weather_device(rig: Make, world: DeviceWorld, state: str, safe: bool, reason: str) -> None:
    monitor = rig("safety", STATION | {"WEATHER_STATUS": ("Light", {"WEATHER_WIND_SPEED": state}, state)})
    monitor.server.say(monitor.server.set("WEATHER_PARAMETERS"))
    assert world.result(monitor.device.read()) == instruments.Safety(safe, reason)
