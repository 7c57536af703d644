"""What an INDI weather station's parameters mean: their names and labels are those of drivers that there are."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyros.errors import DeviceFailed
from pyros.instruments.indi.codec import VectorMember
from pyros.instruments.indi.options import options_of
from pyros.instruments.indi.parameters import reading_of
from pyros.messages import WeatherReading

GOOD = {
    "WEATHER_TEMPERATURE": ("Temperature (C)", 10.0),
    "WEATHER_HUMIDITY": ("Humidity %", 60.0),
    "WEATHER_WIND_SPEED": ("Wind (kph)", 18.0),
    "WEATHER_RAIN_RATE": ("Rain (mm/h)", 0.0),
    "WEATHER_CLOUD_COVER": ("Clouds (%)", 30.0),
}


Members = dict[str, tuple[str, float]]


def read(query: str = "", members: Members | None = None, without: str = "") -> WeatherReading:
    """Return the reading of a station that tells all, with other parameters or without one."""
    there = {name: each for name, each in (GOOD | (members or {})).items() if name != without}
    told = {name: VectorMember(name, value, label) for name, (label, value) in there.items()}
    return reading_of(told, options_of("weather", "tcp:h:1/Dev", query), "Dev", 3.0)


def test_a_station_that_tells_all() -> None:
    assert read() == WeatherReading(10.0, 60.0, 18.0 / 3.6, False, 30.0 * 0.01, age=3.0)


@pytest.mark.parametrize(
    ("quantity", "name", "label", "value", "expected"),
    [
        ("wind", "WEATHER_WIND_SPEED", "Wind (m/s)", 7.0, 7.0),
        ("wind", "WEATHER_WIND_SPEED", "Wind speed (Km/H)", 36.0, 10.0),
        ("wind", "WEATHER_WIND_SPEED", "Wind (mph)", 10.0, 4.4704),
        ("wind", "WEATHER_WIND_SPEED", "Wind [knots]", 10.0, 5.14444),
        ("gust", "WEATHER_WIND_GUST", "Wind 1-min Avg (km/h)", 36.0, 10.0),
        ("temperature", "WEATHER_TEMPERATURE", "Temperature (F)", 50.0, 10.0),
        ("temperature", "WEATHER_TEMPERATURE", "Temperature [C]", 11.0, 11.0),
        ("temperature", "WEATHER_TEMPERATURE", "Temperature (\ufffdC)", 11.0, 11.0),
        ("temperature", "WEATHER_TEMPERATURE", "Air temperature (K)", 273.15, 0.0),
        ("temperature", "WEATHER_TEMPERATURE", "Temperature", 11.0, 11.0),
        ("dew_point", "WEATHER_DEWPOINT", "Dew Point (F)", 32.0, 0.0),
        ("cloud", "WEATHER_CLOUD_COVER", "", 55.0, 0.55),
        ("cloud", "WEATHER_CLOUD_COVER", "Cover (oktas)", 8.0, 1.0),
        ("pressure", "WEATHER_BAROMETER", "Barometer (mbar)", 950.0, 950.0),
        ("pressure", "WEATHER_PRESSURE", "Pressure (inMg)", 30.0, None),
        ("sky_brightness", "WEATHER_MPAS", "MPAS (mag/arcsec^2)", 21.0, 21.0),
        ("rain", "WEATHER_RAIN_RATE", "Daily Rain (in)", 0.01, True),
    ],
)
def test_units_stand_in_the_labels(quantity: str, name: str, label: str, value: float, expected: float | None) -> None:
    found = getattr(read("", {name: (label, value)}), quantity)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("name", "label", "problem"),
    [
        ("WEATHER_WIND_SPEED", "Wind speed", r"unit of WEATHER_WIND_SPEED cannot be told .* \?wind_unit=m/s"),
        ("WEATHER_WIND_GUST", "Gust (furlongs)", r"unit of WEATHER_WIND_GUST cannot be told"),
        (
            "WEATHER_TEMPERATURE",
            "Temperature (R)",
            r"unit of WEATHER_TEMPERATURE cannot be told .* \?temperature_unit=",
        ),
        ("WEATHER_CLOUDS", "Clouds", r"unit of WEATHER_CLOUDS cannot be told .*&clear=-25&overcast=-5"),
        ("WEATHER_CLOUD", "Cloud (corrected infrared sky temperature °C)", r"unit of WEATHER_CLOUD cannot be told"),
        ("WEATHER_RAIN", "Rain (cycles)", r"what WEATHER_RAIN counts cannot be told .*\?wet_below="),
        ("WEATHER_RAIN", "Rain", r"what WEATHER_RAIN counts cannot be told"),
        ("WEATHER_HUMIDITY", "Humidity (g/m3)", r"Humidity|no humidity in percent"),
    ],
)
def test_a_unit_that_cannot_be_told_is_no_reading(name: str, label: str, problem: str) -> None:
    with pytest.raises(DeviceFailed, match=problem):
        read("", {name: (label, 5.0)})


@pytest.mark.parametrize(
    ("query", "quantity", "name", "label", "value", "expected"),
    [
        ("wind_unit=kn", "wind", "WEATHER_WIND_SPEED", "Wind speed", 10.0, 5.14444),
        ("temperature_unit=F", "temperature", "WEATHER_TEMPERATURE", "Temperature", 50.0, 10.0),
        ("cloud=C&cloud_unit=fraction", "cloud", "C", "", 0.4, 0.4),
        ("cloud=WEATHER_SKY_TEMP&clear=-25&overcast=-5", "cloud", "WEATHER_SKY_TEMP", "Sky Temp (c)", -10.0, 0.75),
        ("cloud=WEATHER_SKY_TEMP&clear=-25&overcast=-5", "cloud", "WEATHER_SKY_TEMP", "Sky Temp (c)", -40.0, 0.0),
        ("cloud=WEATHER_SKY_DIFF&clear=25&overcast=5", "cloud", "WEATHER_SKY_DIFF", "Difference [C]", 0.0, 1.0),
        ("rain=WEATHER_IS_RAIN", "rain", "WEATHER_IS_RAIN", "Raining (1=yes)", 1.0, True),
        ("rain=WEATHER_IS_RAIN", "rain", "WEATHER_IS_RAIN", "Raining (1=yes)", 0.0, False),
        ("rain=WEATHER_RAIN_RATE,WEATHER_IS_RAIN", "rain", "WEATHER_IS_RAIN", "", 1.0, True),
        ("rain=WEATHER_RAIN&wet_below=2000", "rain", "WEATHER_RAIN", "Rain (cycles)", 1999.0, True),
        ("rain=WEATHER_RAIN&wet_below=2000", "rain", "WEATHER_RAIN", "Rain (cycles)", 2800.0, False),
        ("rain=none", "rain", "WEATHER_IS_RAIN", "", 1.0, None),
        ("without=rain", "rain", "WEATHER_IS_RAIN", "", 1.0, None),
        ("wind=none", "gust", "WEATHER_WIND_GUST", "Gust (kph)", 36.0, None),
    ],
)
def test_the_address_tells_what_a_parameter_is(
    query: str, quantity: str, name: str, label: str, value: float, expected: Any
) -> None:
    found = getattr(read(query, {name: (label, value)}), quantity)
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize(
    ("without", "members", "problem"),
    [
        ("WEATHER_RAIN_RATE", {"WEATHER_IS_RAIN": ("Raining", 1.0)},
         r"no rain, but WEATHER_IS_RAIN: .* \?rain=WEATHER_IS_RAIN; .*\?without=rain"),
        ("WEATHER_CLOUD_COVER", {"WEATHER_SKY_TEMP": ("Sky Temp (c)", -30.0)},
         r"no cloud, but WEATHER_SKY_TEMP: .* \?cloud=WEATHER_SKY_TEMP; .*\?without=cloud"),
        ("WEATHER_HUMIDITY", {"OUTSIDE": ("Rel. humidity (%)", 40.0)}, r"no humidity, but OUTSIDE"),
        ("WEATHER_TEMPERATURE", {"WEATHER_SKY_TEMP": ("Sky", 1.0)}, r"no temperature; .*\?without=temperature"),
        ("WEATHER_WIND_SPEED", {"WEATHER_WIND_DIRECTION": ("Wind Direction", 1.0)}, r"no wind; .*\?without=wind"),
        ("", {"WEATHER_IS_RAIN": ("Raining", 1.0)}, r"WEATHER_IS_RAIN looks like rain as well: .*\?rain=WEATHER"),
    ],
)  # fmt: skip
def test_what_looks_like_a_missing_sensor_is_named(without: str, members: Members, problem: str) -> None:
    with pytest.raises(DeviceFailed, match=problem):
        read("", members, without)


def test_a_sum_of_rain_beside_its_rate_is_no_sensor() -> None:
    assert read("", {"WEATHER_RAIN_TODAY": ("Rain today (mm)", 12.0)}).rain is False


def test_a_parameter_that_the_address_names_must_be_there() -> None:
    with pytest.raises(
        DeviceFailed, match=r"no RAINING, which its address names for rain; it has WEATHER_TEMPERATURE, "
    ):
        read("rain=RAINING")


def test_gusts_stand_for_the_wind_where_only_they_are_told() -> None:
    reading = read("", {"WEATHER_WIND_GUST": ("Gust (m/s)", 12.0)}, without="WEATHER_WIND_SPEED")
    assert (reading.wind, reading.gust) == (12.0, 12.0)


@pytest.mark.parametrize(
    ("query", "name", "label", "value"),
    [
        ("", "WEATHER_RAIN_RATE", "Rain (mm/h)", -1.0),
        ("rain=WEATHER_IS_RAIN", "WEATHER_IS_RAIN", "", -999.0),
        ("", "WEATHER_HUMIDITY", "Humidity (%)", math.nan),
        ("cloud=WEATHER_SKY_TEMP&clear=-25&overcast=-5", "WEATHER_SKY_TEMP", "", -999.0),
    ],
)
def test_values_that_cannot_be_are_no_reading(query: str, name: str, label: str, value: float) -> None:
    with pytest.raises(DeviceFailed):
        read(query, {name: (label, value)})


def test_a_broken_sensor_that_nobody_needs_is_unknown() -> None:
    assert read("", {"WEATHER_DEW_POINT": ("Dew Point (C)", math.nan)}).dew_point is None
