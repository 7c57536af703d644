"""What the members of an INDI weather station's WEATHER_PARAMETERS mean, and in which units. Sans-IO.

libindi has customs for their names and none for their units, which stand in the labels: ``Wind (kph)``, ``Wind (m/s)``,
``Temperature (F)``. Some labels are typed by people, and some parameters are raw numbers of a sensor: the rain of a
cloud watcher is a frequency that falls when it is wet, its clouds are degrees Celsius. What cannot be told is no
reading; the address tells then which parameter it is, and its unit (see ``indi.options``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyros.errors import DeviceFailed
from pyros.instruments.indi.codec import VectorMember
from pyros.instruments.plausible import ESSENTIAL, absent, implausible
from pyros.messages import WeatherReading

NAMES = {
    "temperature": ("WEATHER_TEMPERATURE", "WEATHER_AMBIENT_TEMPERATURE"),
    "humidity": ("WEATHER_HUMIDITY",),
    "wind": ("WEATHER_WIND_SPEED",),
    "gust": ("WEATHER_WIND_GUST",),
    "rain": ("WEATHER_RAIN_HOUR", "WEATHER_RAIN_RATE", "WEATHER_RAIN", "WEATHER_SNOW_HOUR"),
    "cloud": ("WEATHER_CLOUD_COVER", "WEATHER_CLOUDS", "WEATHER_CLOUD"),
    "pressure": ("WEATHER_PRESSURE", "WEATHER_BAROMETER"),
    "dew_point": ("WEATHER_DEW_POINT", "WEATHER_DEWPOINT"),
    "sky_brightness": ("WEATHER_SKY_QUALITY", "WEATHER_SKY_BRIGHTNESS", "WEATHER_MPAS", "SQM_READING"),
}
"""The parameters of each quantity where the address names none; of several, the greatest counts."""

_ALIKE = {
    "temperature": re.compile(r"^(?!.*(sky|cloud|cpu|dew|chill)).*(temp|ambient)", re.IGNORECASE),
    "humidity": re.compile(r"humid|(\b|_)RH(\b|_)", re.IGNORECASE),
    "wind": re.compile(r"wind(?!.*(dir|chill))|gust|anemo", re.IGNORECASE),
    "rain": re.compile(r"rain|wet|precip|snow|drizzle|hail", re.IGNORECASE),
    "cloud": re.compile(r"cloud|sky_?\s?(temp|diff)|overcast|clarity", re.IGNORECASE),
}
"""What the name or label of a parameter for each essential quantity has in it."""
_SUM = re.compile(r"day|daily|today|week|month|year|total|accum|since|storm|event", re.IGNORECASE)
"""Sums over long times: wet long after the rain."""

WIND_UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 0.514444}
"""Metres per second in each unit."""
_WIND = (
    (r"\bm/s\b|\bmps\b|\bm/sec\b", "m/s"),
    (r"\bkph\b|\bkm/?h\b|\bkm/hr\b|\bkmph\b", "km/h"),
    (r"\bmph\b", "mph"),
    (r"\bknots?\b|\bkn\b|\bkts?\b", "kn"),
)
TEMPERATURE_UNITS = ("C", "F", "K")
_TEMPERATURE = (
    # A degree's sign comes in several encodings.
    (r"[(\[]\s*\W?\s*C\s*[)\]]|[°º]\s*C\b|\bdeg\w*\.?\s?C\b|\bcelsius\b", "C"),
    (r"[(\[]\s*\W?\s*F\s*[)\]]|[°º]\s*F\b|\bdeg\w*\.?\s?F\b|\bfahrenheit\b", "F"),
    (r"[(\[]\s*K\s*[)\]]|\bkelvin\b", "K"),
)
CLOUD_UNITS = {"percent": 0.01, "fraction": 1.0, "oktas": 0.125}
"""The share of the sky in each unit."""
_CLOUD = ((r"%|\bpercent\b", "percent"), (r"\boktas?\b", "oktas"))
_DEPTH = r"\b(mm|cm|in|inch|inches|l/m)\b|/hr?\b"
"""How much rain has fallen: any is wet."""
_BRACKET = re.compile(r"[(\[]\s*([^)\]]{1,4}?)\s*[)\]]")
"""What stands in brackets and is short enough to be a unit."""


def reading_of(
    members: Mapping[str, VectorMember], options: Mapping[str, Any], name: str, age: float
) -> WeatherReading:
    """Make the reading from a station's parameters; what the weather cannot be is not refused yet.

    ``options`` are those of its address, ``name`` is the station's, for errors, and ``age`` in seconds that of all.
    Raises DeviceFailed for a parameter that is missing, gives no number, or whose unit cannot be told.
    """
    station = _Station(members, options, name)
    values: dict[str, Any] = {quantity: station.value(quantity) for quantity in NAMES}
    if values["wind"] is None and "wind" not in station.without:
        values["wind"] = values["gust"]
    for quantity in ESSENTIAL:
        if values[quantity] is None and quantity not in station.without:
            raise DeviceFailed(f"{name}: {station.lacks(quantity)}")
    rain = values.pop("rain")
    return WeatherReading(**values, rain=None if rain is None else rain > 0, age=age)


class _Station:
    """The parameters of one reading."""

    def __init__(self, members: Mapping[str, VectorMember], options: Mapping[str, Any], name: str) -> None:
        self.members, self.options, self.name = members, options, name
        absent_ones = {quantity for quantity in NAMES if options.get(quantity) == ()}
        self.without: set[str] = {*options.get("without", ()), *absent_ones}
        """The quantities that the address names as absent."""

    def value(self, quantity: str) -> float | None:
        """In our units; None where there is no such sensor. Rain is above 0 when it is wet."""
        if quantity in self.without or (quantity == "gust" and "wind" in self.without):
            return None
        named = quantity in self.options
        wanted = self.options.get(quantity, NAMES[quantity])
        if named and (missing := [each for each in wanted if each not in self.members]):
            there = ", ".join(self.members)
            text = f"no {', '.join(missing)}, which its address names for {quantity}; it has {there}"
            raise DeviceFailed(f"{self.name}: {text}")
        if quantity == "rain" and not named:
            self._refuse_other_rain(wanted)
        found = [self._converted(quantity, self.members[each], named) for each in wanted if each in self.members]
        numbers = [number for number in found if number is not None]
        return max(numbers) if numbers else None

    def lacks(self, quantity: str) -> str:
        """Say that the station tells nothing of a quantity, and which of its parameters may be meant."""
        words = f"it tells no {quantity}"
        if alike := self._alike(quantity):
            words += f", but {', '.join(alike)}: if that is it, say so in its address: ?{quantity}={alike[0]}"
        return f"{words}; {absent(quantity)}"

    def _alike(self, quantity: str) -> list[str]:
        looks = _ALIKE[quantity]
        return [each for each, member in self.members.items() if looks.search(f"{each} {member.label}")]

    def _refuse_other_rain(self, known: tuple[str, ...]) -> None:
        """Refuse a rain sensor beside a known one that would be passed over: it may be the one that is wet first."""
        others = [each for each in self._alike("rain") if each not in known and not _SUM.search(each)]
        there = [each for each in known if each in self.members]
        if others and there:
            both = ",".join([*others, *there])
            text = f"{', '.join(others)} looks like rain as well: say in its address what counts, such as ?rain={both}"
            raise DeviceFailed(f"{self.name}: {text}")

    def _converted(self, quantity: str, member: VectorMember, named: bool) -> float | None:
        number = member.value
        if isinstance(number, bool) or not isinstance(number, float) or not abs(number) < float("inf"):
            if quantity not in ESSENTIAL:
                return None
            raise DeviceFailed(f"{self.name}: {member.name} is no number")
        if quantity in ("wind", "gust"):
            return number * WIND_UNITS[self._unit("wind_unit", member, _WIND, WIND_UNITS)]
        if quantity in ("temperature", "dew_point"):
            return _celsius(number, self._temperature_unit(member))
        if quantity == "rain":
            return self._rain(number, member, named)
        return self._cloud(number, member) if quantity == "cloud" else self._other(quantity, number, member)

    def _other(self, quantity: str, number: float, member: VectorMember) -> float | None:
        """Humidity; or what the station may do without, which is only taken in a unit that is told."""
        if quantity == "humidity":
            if (unit := _in_brackets(member)) and "%" not in member.label:
                raise DeviceFailed(f"{self.name}: {member.name} in {unit} is no humidity in percent")
            return number
        wanted = {"pressure": r"\b(hPa|mbar|mb)\b", "sky_brightness": r"mag|SQM|MPAS"}[quantity]
        return number if re.search(wanted, f"{member.label} {member.name}", re.IGNORECASE) else None

    def _unit(self, option: str, member: VectorMember, units: Any, known: Any) -> str:
        """Return the unit that the address or the label tells. Raises DeviceFailed where neither does."""
        if told := self.options.get(option):
            return str(told)
        for words, unit in units:
            if re.search(words, member.label, re.IGNORECASE):
                return str(unit)
        raise DeviceFailed(
            f"{self.name}: the unit of {member.name} cannot be told ({member.label!r}); say in its address"
            f" ?{option}={next(iter(known))} (or {', '.join(list(known)[1:])})"
        )

    def _temperature_unit(self, member: VectorMember) -> str:
        """Celsius where nothing else is told: drivers that give anything else say so."""
        unit = _in_brackets(member)
        if not unit and not re.search(r"fahrenheit|kelvin|°|deg", member.label, re.IGNORECASE):
            return str(self.options.get("temperature_unit", "C"))
        return self._unit("temperature_unit", member, _TEMPERATURE, TEMPERATURE_UNITS)

    def _rain(self, number: float, member: VectorMember, named: bool) -> float:
        if (below := self.options.get("wet_below")) is not None:
            return 1.0 if number < below else 0.0
        if not named:
            depth = re.search(_DEPTH, member.label, re.IGNORECASE)
            if not depth and (_in_brackets(member) or "(" in member.label or member.name == "WEATHER_RAIN"):
                raise DeviceFailed(
                    f"{self.name}: what {member.name} counts cannot be told ({member.label!r}); say in its address"
                    f" ?rain={member.name} if it is above 0 when it is wet, or ?wet_below=2000 for a number that falls"
                )
        if problem := implausible("rain_rate", number):
            raise DeviceFailed(f"{self.name}: {member.name}: {problem}")
        return number

    def _cloud(self, number: float, member: VectorMember) -> float:
        clear, overcast = self.options.get("clear"), self.options.get("overcast")
        if clear is not None and overcast is not None:
            if not -100 <= number <= 100:
                raise DeviceFailed(f"{self.name}: {member.name} of {number:g}: it can only be -100 to 100")
            return float(min(1.0, max(0.0, (number - clear) / (overcast - clear))))
        label = member.label
        if member.name == "WEATHER_CLOUD_COVER" and not re.search(r"[(\[°º]|okta|temp|fraction", label, re.IGNORECASE):
            return number * CLOUD_UNITS[self.options.get("cloud_unit", "percent")]
        try:
            return number * CLOUD_UNITS[self._unit("cloud_unit", member, _CLOUD, CLOUD_UNITS)]
        except DeviceFailed as failure:
            text = "for a temperature of the sky, &clear=-25&overcast=-5 with the values that it has then"
            raise DeviceFailed(f"{failure}; {text}") from None


def _in_brackets(member: VectorMember) -> str:
    """Return what a label has in brackets, if that may be a unit."""
    found = _BRACKET.search(member.label)
    return found[1] if found else ""


def _celsius(number: float, unit: str) -> float:
    if unit == "F":
        return (number - 32) / 1.8
    return number - 273.15 if unit == "K" else number
