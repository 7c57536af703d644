"""The safety table: when it is unsafe, when it is safe again, and what is done then. Plain data and pure functions.

`rules` makes the table of what the configuration says; monitoring judges by it (`judge`), and `pyros check` prints it.
A rule that is broken stays so until its readings are better than a second, stricter limit for its whole quiet time, so
that nothing flickers about a limit. What isn't measured says nothing; but a reading that goes away while its rule is
broken doesn't mend it. Rules that another agent sees to have no check here, and name that agent.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from pyros.config import WeatherLimits
from pyros.messages import PowerReading, WeatherReading

HOUR = 3600.0
CLOCK_STALE_SECONDS = HOUR
"""For which a word about the clock's offset counts."""


class Facts(NamedTuple):
    """What monitoring knows at one moment."""

    now: float = 0.0
    """Monotonic seconds."""
    reading: WeatherReading | None = None
    """The weather station's last reading; None where none counts."""
    station: str = ""
    """What is wrong with the station itself: silent, out of order; '' for nothing."""
    frozen: str = ""
    """Which sensor always says the same; '' for none."""
    safety: str = ""
    """Why the safety monitor keeps it unsafe; '' when it doesn't."""
    power: PowerReading | None = None
    """What the UPS has said last; None where none has."""
    power_age: float = 0.0
    """Seconds since that was measured."""
    battery_since: float | None = None
    """Since when the UPS is on battery, monotonic seconds; None while it isn't."""
    away: str = ""
    """Which required device has been away for too long; '' for none."""
    step: str = ""
    """That the wall clock has just stepped; '' when it hasn't."""
    clock_offset: float | None = None
    """By how much the wall clock is off, seconds; None where nobody has said so within `CLOCK_STALE_SECONDS`."""


class Rule(NamedTuple):
    """A line of the table."""

    name: str
    unsafe: str
    """For people: at what it is unsafe."""
    safe: str
    """For people: at what it is safe again."""
    stale: str
    """For people: how old a reading may be."""
    acts: str
    """For people: what is done."""
    quiet: float = 0.0
    """Seconds for which it must have been good before it is safe again."""
    check: Callable[[Facts, bool], str | None] | None = None
    """Why it is unsafe; '' when it isn't, None when that isn't known. The flag says that the rule is broken already:
    then the stricter limit counts. None for a rule that another agent sees to."""


class Broken(msgspec.Struct):
    """A rule that is broken, or was and is not yet good for long enough."""

    reason: str
    """Why, in words."""
    good_since: float | None = None
    """Since when its readings have been good, monotonic seconds; None while they aren't."""
    quiet: float = 0.0
    """Seconds for which they must be."""


class Verdict(NamedTuple):
    """What follows from all rules."""

    reason: str
    """What is unsafe now, in words; '' when nothing is."""
    wait: float
    """Seconds until it is safe, if all stays as good as it is; 0 when it is safe."""


def judge(table: Iterable[Rule], facts: Facts, broken: dict[str, Broken]) -> Verdict:
    """Judge by all rules; ``broken`` is what is kept from one time to the next, and is changed.

    A name in it that is no rule's, such as an absence, only waits for its quiet time.
    """
    reasons: list[str] = []
    checked = [rule for rule in table if rule.check is not None]
    for rule in checked:
        kept = broken.get(rule.name)
        assert rule.check is not None
        reason = rule.check(facts, kept is not None)
        if reason:
            broken[rule.name] = Broken(reason, None, rule.quiet)
            reasons.append(reason)
        elif kept is not None and reason is None:
            kept.good_since = None
            reasons.append(f"{kept.reason}; it is not measured any more")
        elif kept is not None and kept.good_since is None:
            kept.good_since, kept.quiet = facts.now, rule.quiet
    for name in broken.keys() - {rule.name for rule in checked}:
        kept = broken[name]
        kept.good_since = None if reasons else facts.now if kept.good_since is None else kept.good_since
    wait = 0.0
    for name, kept in list(broken.items()):
        left = math.inf if kept.good_since is None else kept.quiet - (facts.now - kept.good_since)
        if left <= 0:
            del broken[name]
        wait = max(wait, left)
    return Verdict(", ".join(reasons), wait)


def rules(limits: WeatherLimits, quiet: float | None = None) -> tuple[Rule, ...]:
    """Make the table as configured. ``quiet``: seconds that replace every quiet time; None for each its own."""

    def after(seconds: float) -> float:
        return seconds if quiet is None else quiet

    short, rain, power = after(limits.quiet), after(limits.rain_quiet), after(limits.power_quiet)
    clock, stale = after(limits.clock_quiet), f"{limits.max_silence:g} s"
    good = f"for {_time(short)}"
    weather = (
        ("wind", "wind", limits.max_wind, limits.safe_wind, "m/s", "wind {:.1f} m/s"),
        ("gusts", "gust", limits.max_gust, limits.safe_gust, "m/s", "gusts of {:.1f} m/s"),
        ("humidity", "humidity", limits.max_humidity, limits.safe_humidity, "%", "humidity {:.0f} %"),
        ("cloud", "cloud", limits.max_cloud, limits.safe_cloud, "of the sky", "cloud {:.2f}"),
    )
    return (
        Rule("rain", "any wet reading", f"dry for {_time(rain)}", stale, "close", rain, _rain),
        *(
            Rule(name, f"above {most:g} {unit}", f"{min(safe, most):g} {unit} or less {good}", stale, "close", short,
                 _above(quantity, most, min(safe, most), words))
            for name, quantity, most, safe, unit, words in weather
        ),
        Rule("dew", f"the air less than {limits.min_spread:g} K above its dew point",
             f"{max(limits.safe_spread, limits.min_spread):g} K or more {good}", stale, "close", short, _dew(limits)),
        Rule("station", "silent, or it says what cannot be", good, stale, "close", short,
             lambda facts, _: facts.station),
        Rule("same readings", f"for {_time(limits.frozen)}", f"they change, {good}", "", "close", short,
             lambda facts, _: facts.frozen),
        Rule("safety monitor", "its word", f"its word, {good}", stale, "close", short, lambda facts, _: facts.safety),
        Rule("power", f"on battery for {_time(limits.battery)}, or its charge below {limits.min_charge:g} %",
             f"mains for {_time(power)}", _time(limits.power_silence), "close", power, _power(limits)),
        Rule("required devices", f"dome or telescope away for {_time(limits.missing)}", f"back {good}", "", "close",
             short, lambda facts, _: facts.away),
        Rule("clock", f"a step of more than {limits.clock_step:g} s", f"none for {_time(clock)}", "",
             "close; the dome ends its leases", clock, lambda facts, _: facts.step),
        Rule("clock's offset", f"more than {limits.clock_step:g} s, where chrony or systemd-timesyncd tells it",
             f"less for {_time(clock)}", _time(CLOCK_STALE_SECONDS), "close", clock, _offset(limits)),
        Rule("flapping", f"unsafe {limits.closings_hour:g} times in an hour", f"nothing unsafe for {_time(HOUR)}", "",
             "stay shut"),
        Rule("flapping all night", f"unsafe {limits.closings_night:g} times in a night", "pyros release", "",
             "stay shut, alarm"),
        Rule("disk for two nights", "less free than twice the images of a night of the last week", "more", "",
             "pyros doctor warns"),
        Rule("disk for images", f"less than {limits.disk_images:g} GB free", "more", "", "the camera takes none"),
        Rule("disk", f"less than {limits.disk_dome:g} GB free", "more", "", "the dome closes, without a commit"),
        Rule("Sun", "dome_sun_limit, sun_exclusion of the site", "", "", "the dome closes; the telescope refuses"),
        Rule("monitoring", f"silent for {stale}", "a fresh word", "", "the dome closes by itself"),
        Rule("majordome", "silent for 60 s", "a fresh word", "", "the dome closes by itself"),
        Rule("hold", "pyros hold", "pyros release", "", "nothing opens or moves; what is open closes"),
    )  # fmt: skip


def as_markdown(table: Iterable[Rule]) -> str:
    """Write the table as docs/safety.md has it."""
    lines = ["| unsafe by | at | safe again | stale after | then |", "|---|---|---|---|---|"]
    lines += [f"| {rule.name} | {rule.unsafe} | {rule.safe} | {rule.stale} | {rule.acts} |" for rule in table]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def _above(quantity: str, most: float, safe: float, words: str) -> Callable[[Facts, bool], str | None]:
    def check(facts: Facts, broken: bool) -> str | None:
        value = None if facts.reading is None else getattr(facts.reading, quantity)
        limit = safe if broken else most
        if value is None:
            return None if broken else ""
        return f"{words.format(value)}, the limit is {limit:g}" if value > limit else ""

    return check


def _rain(facts: Facts, broken: bool) -> str | None:
    wet = None if facts.reading is None else facts.reading.rain
    if wet is None:
        return None if broken else ""
    return "rain" if wet else ""


def dew_spread(reading: WeatherReading) -> float | None:
    """Return how much warmer the air is than its dew point, kelvins; None where that isn't known.

    Where the station doesn't tell the dew point it comes from the humidity, by Magnus's formula with the constants of
    Alduchov and Eskridge (1996), good to 0.4 K.
    """
    if reading.temperature is None:
        return None
    if reading.dew_point is not None:
        return reading.temperature - reading.dew_point
    if reading.humidity is None or reading.humidity <= 0:
        return None
    moisture = math.log(reading.humidity / 100) + 17.625 * reading.temperature / (243.04 + reading.temperature)
    return reading.temperature - 243.04 * moisture / (17.625 - moisture)


def _dew(limits: WeatherLimits) -> Callable[[Facts, bool], str | None]:
    def check(facts: Facts, broken: bool) -> str | None:
        spread = None if facts.reading is None else dew_spread(facts.reading)
        least = max(limits.safe_spread, limits.min_spread) if broken else limits.min_spread
        if spread is None:
            return None if broken else ""
        return f"the air is {spread:.1f} K above its dew point, the limit is {least:g}" if spread < least else ""

    return check


def _power(limits: WeatherLimits) -> Callable[[Facts, bool], str | None]:
    def check(facts: Facts, broken: bool) -> str | None:
        power = facts.power
        if power is None:
            return None if broken else ""
        if facts.power_age > limits.power_silence:
            return f"no word of the UPS for {facts.power_age:.0f} s"
        if power.charge is not None and power.charge < limits.min_charge:
            return f"the UPS is charged to {power.charge:.0f} %, the limit is {limits.min_charge:g}"
        if power.on_mains:
            return ""
        seconds = 0.0 if facts.battery_since is None else facts.now - facts.battery_since
        if seconds >= limits.battery or broken:
            return f"on battery for {seconds:.0f} s"
        return ""

    return check


def _offset(limits: WeatherLimits) -> Callable[[Facts, bool], str | None]:
    def check(facts: Facts, broken: bool) -> str | None:
        offset = facts.clock_offset
        if offset is None:
            return None if broken else ""
        return f"the clock is {offset:+.1f} s off" if abs(offset) > limits.clock_step else ""

    return check


if __name__ == "__main__":  # pragma: no cover
    sys.stdout.write(f"{as_markdown(rules(WeatherLimits()))}\n")
