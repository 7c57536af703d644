"""What a weather sensor can possibly say: a value outside is a broken sensor's, not the weather's. No Twisted here.

Broken sensors say -1, -999, -127 °C (a thermometer that lost its bus) or 140 %; each of these passes every test for bad
weather that only looks for too much.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pyros.errors import DeviceFailed
from pyros.messages import WeatherReading

RANGES: dict[str, tuple[float, float, str]] = {
    "temperature": (-90.0, 60.0, "degrees Celsius"),
    "humidity": (0.0, 105.0, "percent"),
    "wind": (0.0, 100.0, "m/s"),
    "gust": (0.0, 100.0, "m/s"),
    "rain_rate": (0.0, 1000.0, "mm/h"),
    "cloud": (0.0, 1.0, "of the sky"),
    "pressure": (300.0, 1100.0, "hPa"),
    "dew_point": (-100.0, 60.0, "degrees Celsius"),
    "sky_brightness": (-15.0, 30.0, "magnitudes per square arcsecond"),
}
"""The least and the greatest possible value of each quantity, and its unit.

The records are -89.2 and 56.7 degrees Celsius, 113 m/s in a cyclone and 305 mm of rain in an hour (WMO World Weather &
Climate Extremes Archive). A sensor of humidity may say a little more than 100 % in fog.
"""

ESSENTIAL = ("rain", "temperature", "humidity", "wind", "cloud")
"""The quantities that decide whether the dome may be open: each is measured, or named as absent in the address."""


def implausible(quantity: str, value: float) -> str:
    """Why the value cannot be that quantity's, in words; '' when it can.

    ``quantity`` is a key of `RANGES`; any other has no limits but to be finite.
    """
    least, most, unit = RANGES.get(quantity, (float("-inf"), float("inf"), ""))
    if least <= value <= most and abs(value) != float("inf"):
        return ""
    return f"{quantity} of {value:g} {unit}".rstrip() + f": it can only be {least:g} to {most:g}"


def impossible(reading: WeatherReading) -> str:
    """Why a reading has a value that cannot be, in words; '' when it has none."""
    for quantity in RANGES:
        value = getattr(reading, quantity, None)
        if value is not None and (problem := implausible(quantity, value)):
            return problem
    return ""


def absent(quantity: str) -> str:
    """Return the sentence that says what to write where a station has no sensor for an essential quantity."""
    return f"if it has no sensor for {quantity}, say so in its address: ?without={quantity}"


def absent_in(text: str) -> str:
    """Return the quantity that the sentence of `absent` in a text is about; '' where there is no such sentence."""
    return next((quantity for quantity in ESSENTIAL if text.endswith(absent(quantity))), "")


def checked(reading: WeatherReading, name: str, without: Iterable[str] = ()) -> WeatherReading:
    """Return the reading as it counts: what the address names as absent is None, and a humidity at most 100 %.

    ``name`` is the station's, for the error. Raises DeviceFailed for a value that cannot be, and for an essential
    quantity that is neither measured nor named as absent.
    """
    without = tuple(without)
    values = msgspec.structs.asdict(reading) | dict.fromkeys(without)
    if "wind" in without:
        values["gust"] = None
    counts = WeatherReading(**values)
    if problem := impossible(counts):
        raise DeviceFailed(f"{name}: {problem}")
    if not 0 <= reading.age < float("inf"):
        raise DeviceFailed(f"{name}: its readings are {reading.age:g} s old: that is no age")
    for quantity in ESSENTIAL:
        if values[quantity] is None and quantity not in without:
            raise DeviceFailed(f"{name}: it tells no {quantity}; {absent(quantity)}")
    if counts.humidity is None:
        return counts
    return msgspec.structs.replace(counts, humidity=min(100.0, counts.humidity))
