from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.devices.weather import Change, Day, Noise

Rigs = Callable[..., Any]


def test_the_dome_opens_and_closes(rig: Rigs) -> None:
    dome = rig("dome", speed=2, travel=20)
    assert dome.ask("GET state") == "OK closed"
    assert dome.ask("DO close") == "OK"
    assert dome.ask("DO open") == "BUSY 10.000"
    dome.advance(5)
    assert dome.ask("GET state") == "OK opening"
    assert dome.ask("GET opening") == "OK 0.500"
    assert dome.ask("DO open") == "BUSY 5.000"
    dome.advance(4.9)
    assert dome.read() == []
    dome.advance(0.2)
    assert dome.read() == ["EVT opened"]
    assert dome.ask("GET state") == "OK open"
    assert dome.ask("DO open") == "OK"
    assert dome.ask("DO close") == "BUSY 10.000"
    dome.advance(10.1)
    assert dome.read() == ["EVT closed"]


def test_closing_while_it_opens_turns_it_round(rig: Rigs) -> None:
    dome = rig("dome", speed=1, travel=20)
    dome.ask("DO open")
    dome.advance(5)
    assert dome.ask("DO close") == "BUSY 5.000"
    assert dome.ask("GET state") == "OK closing"
    dome.advance(5.1)
    assert dome.read() == ["EVT closed"]
    dome.advance(60)
    assert dome.read() == []


def test_the_dome_stops_half_way_and_goes_on(rig: Rigs) -> None:
    dome = rig("dome", speed=1, travel=20)
    client, other = dome.client(), dome.client()
    client.ask("DO open")
    dome.advance(5)
    assert client.ask("DO stop") == "OK"
    assert other.read() == ["EVT stopped"]
    dome.advance(60)
    assert client.ask("GET state") == "OK stopped"
    assert client.ask("GET opening") == "OK 0.250"
    assert client.ask("DO open") == "BUSY 15.000"
    dome.advance(15)
    assert client.ask("GET state") == "OK open"


def readings(client: Any) -> dict[str, float]:
    ok, *words = client.ask("GET readings").split()
    assert ok == "OK"
    return {name: float(value) for name, value in (word.split("=") for word in words)}


def test_the_weather_reads_as_its_climate(rig: Rigs) -> None:
    client = rig("weather", noise=Noise(), day=Day()).client()
    assert client.ask("GET state") == "OK ok"
    assert client.ask("GET readings") == (
        "OK temperature=11.0 humidity=55.0 wind=3.0 rain=0 cloud=0.05 pressure=940.0 sky_brightness=21.50 dew_point=2.3"
    )
    assert client.ask("GET wind") == "OK 3.0"


def test_a_human_may_make_it_rain(rig: Rigs) -> None:
    client = rig("weather", noise=Noise(), day=Day()).client()
    assert client.ask("SET rain 1") == "OK"
    assert client.ask("SET wind 22.5") == "OK"
    assert client.ask("GET climate") == "OK manual"
    assert readings(client)["rain"] == 1
    assert readings(client)["wind"] == 22.5
    assert client.ask("SET climate auto") == "OK"
    assert readings(client)["rain"] == 0
    assert client.ask("GET climate") == "OK auto"


@pytest.mark.parametrize(
    "request_", ["SET rain yes", "SET rain 0.5", "SET humidity 101", "SET wind -1", "SET wind 1 2", "SET climate warm"]
)
def test_impossible_weather_is_refused(rig: Rigs, request_: str) -> None:
    client = rig("weather").client()
    assert client.ask(request_).startswith("ERR VALUE ")
    assert client.ask("GET climate") == "OK auto"


def test_the_script_of_the_weather(rig: Rigs) -> None:
    script = (Change(at=100, cloud=0.9, wind=9), Change(at=200, rain=1), Change(at=300, rain=0))
    weather = rig("weather", speed=10, noise=Noise(), day=Day(), climate=script)
    client = weather.client()
    seen = []
    for _ in range(4):
        now = readings(client)
        seen.append((now["cloud"], now["wind"], now["rain"]))
        weather.advance(10.001)
    assert seen == [(0.05, 3, 0), (0.9, 9, 0), (0.9, 9, 1), (0.9, 9, 0)]


def test_the_wavering_is_seeded_bounded_and_of_the_right_size(rig: Rigs) -> None:
    noise = Noise(temperature=2.0, cloud=0.5)
    first, same, other = (rig("weather", noise=noise, day=Day(), seed=seed) for seed in (5, 5, 6))
    clients = [each.client() for each in (first, same, other)]
    values: list[list[float]] = [[], [], []]
    for _ in range(600):
        for each, client, column in zip((first, same, other), clients, values, strict=True):
            each.advance(37)
            now = readings(client)
            column.append(now["temperature"])
            assert 0 <= now["cloud"] <= 1
            assert now["rain"] == 0
    assert values[0] == values[1] != values[2]
    assert statistics.mean(values[0]) == pytest.approx(11, abs=0.4)
    assert statistics.stdev(values[0]) == pytest.approx(2, rel=0.2)
    assert readings(clients[0]) == readings(clients[0])


def test_a_front_comes_slowly(rig: Rigs) -> None:
    script = (Change(at=100, over=100, cloud=0.85, pressure=920, rain=1),)
    weather = rig("weather", noise=Noise(), day=Day(), climate=script)
    client = weather.client()
    seen = []
    for _ in range(5):
        now = readings(client)
        seen.append((now["cloud"], now["pressure"], now["rain"]))
        weather.advance(50)
    assert seen == [(0.05, 940, 0), (0.05, 940, 0), (0.05, 940, 0), (0.45, 930, 0), (0.85, 920, 1)]


def test_the_day_is_warm_and_dry_and_the_night_cold_and_damp(rig: Rigs) -> None:
    """The rig begins at 23:30 UTC."""
    weather = rig("weather", noise=Noise(), day=Day(warmest=14, temperature=6, humidity=20))
    client = weather.client()
    seen = {}
    for hour in range(24):
        seen[(hour + 23.5) % 24] = readings(client)
        weather.advance(3600)
    assert max(seen, key=lambda hour: seen[hour]["temperature"]) in (13.5, 14.5)
    assert min(seen, key=lambda hour: seen[hour]["temperature"]) in (1.5, 2.5)
    assert max(now["temperature"] for now in seen.values()) == pytest.approx(17, abs=0.15)
    assert min(now["humidity"] for now in seen.values()) == pytest.approx(35, abs=0.5)
    assert all(now["dew_point"] < now["temperature"] for now in seen.values())


@pytest.mark.parametrize(
    ("temperature", "humidity", "dew_point"),
    [(20, 50, 9.3), (20, 100, 20.0), (0, 60, -6.8), (-10, 80, -12.8), (5, 0, -47.2)],
)
def test_the_dew_point(rig: Rigs, temperature: float, humidity: float, dew_point: float) -> None:
    """Against tables of the Magnus formula; air drier than 1 % counts as 1 %."""
    client = rig("weather", noise=Noise(), day=Day(), temperature=temperature, humidity=humidity).client()
    assert client.numbers("GET dew_point") == [pytest.approx(dew_point, abs=0.15)]
    assert client.ask("SET dew_point 3").startswith("ERR UNKNOWN ")
