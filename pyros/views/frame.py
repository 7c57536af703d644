"""A frame: everything that must agree on the page of tonight, in one struct with a number.

A part of a page that is drawn from something else can show OBSERVING beside UNSAFE. What changes slowly, or is large,
is a view of its own: `weather.weather` with its curves, `sky.sky`, the whole `plan.tonight`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import msgspec

from pyros.views.devices import DeviceView, devices
from pyros.views.events import EventLine, events
from pyros.views.messages import MessageLine, messages, without_tracebacks
from pyros.views.night import NightState, several, state
from pyros.views.observed import Observed
from pyros.views.plan import Tonight, around_now, tonight
from pyros.views.states import Monitoring
from pyros.views.weather import WeatherView, weather

_EVENTS = 8
_LINES, _PAST_LINES = 100, 30
"""Of the plan, whose night may have thousands; all of them are in `tonight` itself, and in `observations`."""
_MESSAGES = 12
_LOOKS = 3
_MAX_TEXT = 200
"""Characters of what a message says in a frame, which goes to every browser with every change."""


Made = TypeVar("Made")
Changes = tuple[Hashable, ...]


class LastImage(msgspec.Struct, frozen=True):
    """What the last image showed, as the analyzer has said."""

    path: str
    """The FITS file."""
    observation: str
    """The observation's id."""
    sources: int
    """How many were found."""
    fwhm: float | None
    """Arcseconds."""
    zero_point: float | None
    """Magnitude of 1 ADU per second."""
    off_target: float | None
    """Arcseconds between its true centre and what its header says."""
    new: int
    """Sources that the catalogue doesn't know."""
    problem: str
    """Why something is missing."""


class TelescopeFrame(msgspec.Struct, frozen=True, kw_only=True):
    """What one of several telescopes has of its own in a frame."""

    unit: str
    """Its unit."""
    night: NightState
    """The state of its night."""
    plan: Tonight
    """What is planned and done at it."""
    weather: WeatherView = WeatherView(now=0.0)
    """The last reading that it hears, without curves."""
    devices: tuple[DeviceView, ...] = ()
    """Its own."""
    last_image: LastImage | None = None
    """None before its first."""


class StationFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A weather station of an observatory of several telescopes."""

    name: str
    """Its agent's name."""
    units: tuple[str, ...]
    """The units of the telescopes that hear it."""
    weather: WeatherView = WeatherView(now=0.0)
    """Its last reading, without curves, as the first of them hears it: ``/weather.json?unit=`` has the curves."""


class ObservatoryFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the observatory."""

    number: int
    """Its number, which whoever makes frames gives."""
    night: NightState
    """The state of the night."""
    plan: Tonight
    """What is planned and done."""
    weather: WeatherView = WeatherView(now=0.0)
    """The last reading, without curves."""
    devices: tuple[DeviceView, ...] = ()
    """All of them."""
    events: tuple[EventLine, ...] = ()
    """The last ones."""
    messages: tuple[MessageLine, ...] = ()
    """The last ones; what is long in them is cut."""
    last_image: LastImage | None = None
    """None before the first."""
    telescopes: tuple[TelescopeFrame, ...] = ()
    """Each of several; () where there is one, of which the rest tells."""
    stations: tuple[StationFrame, ...] = ()
    """The weather stations of several telescopes, in their order."""


class FrameHead(msgspec.Struct, frozen=True):
    """As much of a frame as stands at the head of every page."""

    night: NightState
    """The state of the night."""


def frame(observed: Observed, number: int = 0, seen: Changes = ()) -> ObservatoryFrame:
    """Return a frame of now. A few milliseconds.

    It is read anew when an agent has committed meanwhile, up to three times: so as a rule all of it is of one instant.
    ``seen`` is what `changes` has told a moment ago.
    """
    return _of_one_instant(observed, lambda glance: _frame(glance, number), seen)


def head(observed: Observed, seen: Changes = ()) -> FrameHead:
    """Return the head of a frame of now, as `frame` does. Half of its cost."""
    return _of_one_instant(observed, lambda glance: FrameHead(state(glance)), seen)


def _of_one_instant(observed: Observed, make: Callable[[Observed], Made], seen: Changes) -> Made:
    for _ in range(_LOOKS):
        glance = observed.glance(seen)
        made = make(glance)
        if glance.glanced is not None and (seen := changes(observed)) == glance.glanced.all:
            break
    return made


def changes(observed: Observed) -> Changes:
    """Return what is another value after anything has changed that a frame shows, but for what only time changes.

    A third of a millisecond for fifteen journals, none of which is read.
    """
    return observed.versions()


def _frame(observed: Observed, number: int) -> ObservatoryFrame:
    telescopes = tuple(_telescope(each) for each in observed.telescopes)
    night = several(observed, {each.unit: each.night for each in telescopes})
    return ObservatoryFrame(
        number=number, night=night, telescopes=telescopes, plan=_plan(observed), weather=weather(observed, trend=False),
        devices=devices(observed), events=events(observed, limit=_EVENTS).events,
        messages=tuple(_short(line) for line in without_tracebacks(messages(observed, limit=_MESSAGES)).messages),
        last_image=_last_image(observed), stations=_stations(observed, telescopes),
    )  # fmt: skip


def _stations(observed: Observed, telescopes: tuple[TelescopeFrame, ...]) -> tuple[StationFrame, ...]:
    """Return each station once, though several telescopes hear it."""
    found: dict[str, StationFrame] = {}
    for each, frame_of in zip(observed.telescopes, telescopes, strict=True):
        section = each.config.agents.get("weather")
        if section is not None:
            known = found.get(section.name)
            units = (*known.units, frame_of.unit) if known is not None else (frame_of.unit,)
            weather_of = known.weather if known is not None else frame_of.weather
            found[section.name] = StationFrame(name=section.name, units=units, weather=weather_of)
    return tuple(found.values())


def _telescope(observed: Observed) -> TelescopeFrame:
    unit = observed.config.unit
    own = {section.name for section in observed.config.agents.values() if section.unit == unit}
    return TelescopeFrame(
        unit=unit, night=state(observed), plan=_plan(observed), weather=weather(observed, trend=False),
        devices=tuple(each for each in devices(observed) if each.name in own), last_image=_last_image(observed),
    )  # fmt: skip


def _plan(observed: Observed) -> Tonight:
    plan = tonight(observed)
    return msgspec.structs.replace(plan, lines=around_now(plan.lines, _LINES, _PAST_LINES))


def _short(line: MessageLine) -> MessageLine:
    long = {name: text for name in ("payload", "error") if len(text := getattr(line, name) or "") > _MAX_TEXT}
    cut = {name: f"{text[:_MAX_TEXT]}…" for name, text in long.items()}
    return msgspec.structs.replace(line, **cut) if cut else line


def _last_image(observed: Observed) -> LastImage | None:
    image = observed.state("monitoring", Monitoring).last_image
    if image is None:
        return None
    off = None if image.east is None or image.north is None else (image.east**2 + image.north**2) ** 0.5
    return LastImage(
        image.path, image.observation, image.sources, image.fwhm, image.zero_point, off, image.new, image.problem
    )
