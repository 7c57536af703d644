"""What frames are made of: the views' frame of the night, and its panels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Any

import msgspec
from django.template.loader import get_template

from pyros import views
from pyros.console.pages import TONIGHT
from pyros.views import FrameHead, ObservatoryFrame, Observed
from pyros.views.devices import DeviceView
from pyros.views.frame import StationFrame, TelescopeFrame
from pyros.views.plan import around_now

_Shown = Mapping[str, Any]
_LINES, _PAST_LINES = 12, 4
"""Of tonight's plan, and of those that are over as long as there are others."""
_LINES_OF_EACH, _PAST_LINES_OF_EACH = 5, 2
"""The same of each of several telescopes."""
PANELS: Mapping[str, Callable[[ObservatoryFrame], _Shown]] = {
    "alarms": lambda frame: {"alarms": frame.night.alarms},
    "chips": lambda frame: {"night": msgspec.structs.replace(frame.night, now=0.0, telescope=None, service_left=0.0)},
    "clock": lambda frame: {"day": int(frame.night.now // 86400) * 86400.0},
    "curve": lambda frame: {"event": frame.events[0] if frame.events else None},
    "devices": lambda frame: {"devices": _shared(frame)},
    "events": lambda frame: {"events": frame.events, "since": _noon(frame)},
    "hold": lambda frame: {"hold": frame.night.hold, "service": frame.night.service_left > 0},
    "image": lambda frame: {"image": frame.last_image},
    "imagesub": lambda frame: {"image": frame.last_image},
    "lines": lambda frame: {"lines": around_now(frame.plan.lines, _LINES, _PAST_LINES)},
    "messages": lambda frame: {"messages": frame.messages},
    "plan": lambda frame: {"times": frame.plan.times},
    "stations": lambda frame: {"stations": tuple(_reading_at_rest(each) for each in frame.stations)},
    "telescopes": lambda frame: {"telescopes": tuple(_at_rest(each) for each in frame.telescopes)},
    "weather": lambda frame: {"quantities": frame.weather.quantities},
    "weathersub": lambda frame: {
        "time": frame.weather.time, "rain": frame.weather.rain, "reasons": [each.reason for each in frame.weather.rules]
    },
}  # fmt: skip
"""By the templates in ``panels/``, what each shows of a frame: it gets nothing else, and so is as before if this is."""


def _noon(frame: ObservatoryFrame) -> float:
    """Return from when on a time needs no date, Unix seconds."""
    return frame.plan.times.noon if frame.plan.times is not None else frame.night.now // 86400 * 86400.0


RUNNING_SECONDS = 5.0
"""How old it may be who runs; `NightFrames.alive` asks every two seconds."""


def _shared(frame: ObservatoryFrame) -> tuple[DeviceView, ...]:
    """Return the devices that no telescope has of its own: of one telescope all."""
    own = {device.name for each in frame.telescopes for device in each.devices}
    return tuple(device for device in frame.devices if device.name not in own)


def _at_rest(telescope: TelescopeFrame) -> TelescopeFrame:
    """Return a telescope's part of a frame without what changes while nothing happens."""
    night = msgspec.structs.replace(telescope.night, now=0.0, telescope=None, service_left=0.0, agents=())
    lines = around_now(telescope.plan.lines, _LINES_OF_EACH, _PAST_LINES_OF_EACH)
    plan = msgspec.structs.replace(telescope.plan, now=0.0, lines=lines)
    weather = msgspec.structs.replace(telescope.weather, now=0.0, time=None)
    return msgspec.structs.replace(telescope, night=night, plan=plan, weather=weather)


def _reading_at_rest(station: StationFrame) -> StationFrame:
    """Return a station's part of a frame without what changes while nothing happens."""
    weather = msgspec.structs.replace(station.weather, now=0.0, time=None)
    return msgspec.structs.replace(station, weather=weather)


class NightPanels(Mapping[str, str]):
    """The parts of pages that show a frame, each made when it is asked for first. Any thread."""

    def __init__(self, frame: ObservatoryFrame, before: dict[str, tuple[_Shown, str]]) -> None:
        """``before`` has by name what was shown last, and as what; it is brought up to date."""
        self._frame, self._before = frame, before
        self._made: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        html = self._made.get(name)
        if html is None:
            shown = PANELS[name](self._frame)
            known = self._before.get(name)
            if known is not None and known[0] == shown:
                html = known[1]
            else:
                html = get_template(f"panels/{name}.html").render(dict(shown))[:]  # no SafeString: JSON is made of it
                self._before[name] = shown, html
            self._made[name] = html
        return html

    def __iter__(self) -> Iterator[str]:
        return iter(PANELS)

    def __len__(self) -> int:
        return len(PANELS)


class NightFrames:
    """The source of a console's frames."""

    def __init__(self, observed: Observed, hide: Collection[str] = ()) -> None:
        """``hide`` has the sections of which nothing is shown."""
        for each in (observed, *observed.telescopes):
            each.running_seconds = RUNNING_SECONDS
        self._observed, self._hide = observed, hide
        self._changes: tuple[Hashable, ...] = ()
        self._seen: Hashable = None
        self._panels: dict[str, tuple[_Shown, str]] = {}
        self._up: Hashable = None
        """Which agents ran when `alive` was called last; asking the kernel costs too much for five times a second."""

    def changed(self) -> bool:
        """Whether anything has changed that a frame shows; an agent's end is seen by `alive`."""
        self._changes = views.changes(self._observed)
        now = (self._changes, self._up)
        seen, self._seen = self._seen, now
        return now != seen

    def frame(self, number: int) -> ObservatoryFrame:
        """Return the frame of now."""
        frame: ObservatoryFrame = TONIGHT.bare(views.frame(self._observed, number, self._changes), self._hide)
        return frame

    def head(self) -> FrameHead:
        """Return as much of the frame of now as stands at the head of every page."""
        return views.head(self._observed, self._changes)

    def panels(self, frame: Any) -> Mapping[str, str]:
        """Return the HTML of each template in ``panels/``; each is made when it is asked for, if it has changed."""
        return NightPanels(frame, self._panels)

    def alive(self) -> bool:
        """Whether any agent runs, by the locks that go with their processes; True if nobody knows."""
        running = self._observed.look_who_runs()
        up = tuple(running[self._observed.path(name)] for name in self._observed.names)
        self._up = up
        return any(each is not False for each in up)
