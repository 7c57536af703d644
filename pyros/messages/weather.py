"""Whether the dome may be open: the weather station, the safety monitor, and what monitoring makes of them."""

from __future__ import annotations

from pyros.messages._codec import register
from pyros.messages._payload import Payload


class WeatherReading(Payload, frozen=True):
    """weather -> monitoring. Degrees Celsius, percent, metres per second, rain as the sensor's yes or no.

    None stands for what the station does not measure: it is unknown, and never as good as 0.
    """

    temperature: float | None
    """Degrees Celsius."""
    humidity: float | None
    """Percent."""
    wind: float | None
    """The mean of some minutes, where the station has one."""
    rain: bool | None
    """Whether it rains."""
    cloud: float | None = None
    """Fraction of the sky covered, 0 to 1."""
    pressure: float | None = None
    """Hectopascal, at the station's height."""
    dew_point: float | None = None
    """Degrees Celsius."""
    sky_brightness: float | None = None
    """Magnitudes per square arcsecond: the greater, the darker."""
    gust: float | None = None
    """The strongest wind of the last minutes, metres per second."""
    age: float = 0.0
    """Seconds between the measurement of the oldest of these and their reading; 0 where the device doesn't tell."""


class WeatherState(Payload, frozen=True):
    """monitoring -> majordome, dome: safe or unsafe (the message's name tells), and why."""

    reason: str
    """Why, for people."""
    reading: WeatherReading | None = None
    """The reading that it rests on; None without one."""
    age: float = 0.0
    """Seconds between the measurement of the oldest reading that this rests on and its being said: the lease that
    *Weather safe* gives began then."""
    wet: bool = False
    """It rains, or nobody can tell that it doesn't: the dome closes during a service by hand, too."""


class SafetyReading(Payload, frozen=True):
    """safety -> monitoring: what the safety monitor says."""

    safe: bool
    """Whether it is safe."""
    reason: str = ""
    """In the monitor's own words, if it has any."""
    age: float = 0.0
    """Seconds since the device was asked."""


class PowerReading(Payload, frozen=True, kw_only=True):
    """ups, or a program that asks one -> monitoring: what it says. From the first one on its silence is unsafe, too."""

    on_mains: bool
    """Whether it is fed by the mains; False on battery."""
    charge: float | None = None
    """Of its battery, percent; None where it doesn't tell."""
    age: float = 0.0
    """Seconds since the device was asked."""


WEATHER_READING = register("Weather reading", WeatherReading, guarded=True, fleeting=True, patient=0.03)
WEATHER_SAFE = register("Weather safe", WeatherState, guarded=True, fleeting=True)
WEATHER_UNSAFE = register("Weather unsafe", WeatherState)
SAFETY_READING = register("Safety reading", SafetyReading, guarded=True, fleeting=True, patient=0.03)
POWER_READING = register("Power reading", PowerReading, guarded=True, fleeting=True)
