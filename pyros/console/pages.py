"""Every page of the console, in one table: its URL, its place in the menu, its ``.json`` and who may see it follow.

A page is a view of `pyros.views`, or, where it shows what the console itself keeps, a function named as text (this
module imports no Django). ``hide = events users`` in ``[console]`` takes sections away: from menu, pages and ``.json``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pyros.config import Config
from pyros.console.roles import Role
from pyros.coordinates import declination, right_ascension
from pyros.errors import ConfigError
from pyros.views import Observed
from pyros.views.alerts import alerts
from pyros.views.devices import devices
from pyros.views.event import EventDetail, event
from pyros.views.events import events
from pyros.views.images import image, images
from pyros.views.messages import messages, without_tracebacks
from pyros.views.observations import observations
from pyros.views.reports import report, reports
from pyros.views.requests import RequestDetail, request, requests
from pyros.views.sky import sky
from pyros.views.sources import sources
from pyros.views.weather import weather

MAX_LIMIT = 500
MAX_KEY = 600
MAX_MOC = 8_000
"""Characters; a line of a request has 16,384 at most."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page."""

    name: str
    """Its name in the code: of its URL, and of nothing else."""
    title: str
    """What people call it."""
    path: str
    """Its URL without the first slash, as Django's `path`: ``events/<path:key>``."""
    template: str = ""
    """The template that shows it, with the view's answer as ``it``; '' for one that only programs ask for."""
    view: Callable[..., Any] | None = None
    """What it shows: ``view(observed, **values)``, with the values of path and query; None for one with ``data``.

    Returns a Struct; None for something that isn't there. Raises ValueError for a value that makes no sense.
    """
    data: str = ""
    """The same for what the console itself keeps: ``module:function``, which takes the request and the values."""
    veil: Callable[[Any], Any] | None = None
    """What makes of its answer that of everybody but admins; None where all see the same."""
    role: Role = Role.VIEWER
    """Who may see it."""
    menu: bool = True
    """Whether the menu leads there."""
    section: str = ""
    """What `hide` calls it, by default its name; several pages may be one section."""
    needs: str = ""
    """Another section without which it makes no sense; '' for none."""
    parts: Mapping[str, tuple[str, ...]] = {}
    """By sections, the fields of its answer that are theirs (``a.b`` for one within one), each with a default."""
    lifetime: float = 0.0
    """Seconds for which an answer is kept (`pyros.console.cache`) where ``[console cache]`` says nothing else."""
    query: Mapping[str, Callable[[str], Any]] = {}
    """The values that it takes from the query, and what makes each from text; it raises ValueError."""

    @property
    def hidden_by(self) -> str:
        """The word of ``hide`` that takes it away."""
        return self.section or self.name

    def bare(self, answer: Any, hide: Collection[str]) -> Any:
        """Return its answer without the parts of sections that are hidden."""
        gone = [field for section, fields in self.parts.items() if section in hide for field in fields]
        for field in gone:
            answer = _emptied(answer, field.split("."))
        return answer


def _emptied(answer: Any, path: Sequence[str]) -> Any:
    """Return a struct, or several, in which a field, or one within it, has its default."""
    if isinstance(answer, tuple):
        return tuple(_emptied(each, path) for each in answer)
    name, *within = path
    if within:
        value = _emptied(getattr(answer, name), within)
    else:
        value = next(each.default for each in msgspec.structs.fields(answer) if each.name == name)
    return msgspec.structs.replace(answer, **{name: value})


def limit(text: str) -> int:
    """Return how many of a list are wanted, from 1 to `MAX_LIMIT`; raises ValueError."""
    count = int(text)
    if not 1 <= count <= MAX_LIMIT:
        raise ValueError(f"limit: {count} is not from 1 to {MAX_LIMIT}")
    return count


def number(text: str) -> float:
    """Return a number; raises ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number that means anything here")
    return value


def whole(text: str) -> int:
    """Return a whole number that fits a database's; raises ValueError."""
    value = int(text)
    if not 0 <= value < 1 << 62:
        raise ValueError(f"after: {text[:40]!r} is not what a page has given")
    return value


def key(text: str) -> str:
    """Return a name of something; raises ValueError for one that is too long."""
    if len(text) > MAX_KEY:
        raise ValueError(f"a name has at most {MAX_KEY} characters")
    return text


def moc(text: str) -> str:
    """Return a multi-order coverage in ASCII; raises ValueError for one that is too long for a URL."""
    if len(text) > MAX_MOC:
        raise ValueError(f"moc: it has {len(text)} characters; {MAX_MOC} fit, which coarser cells need")
    return text


def yes(text: str) -> bool:
    """Return whether a switch is on; raises ValueError."""
    if text not in ("yes", "no"):
        raise ValueError(f"{text[:40]!r} is neither yes nor no")
    return text == "yes"


def _event(observed: Observed, key: str = "") -> EventDetail | None:  # without a key there is none
    return event(observed, key)


def _request(observed: Observed, key: str = "") -> RequestDetail | None:
    return request(observed, key)


_PAGED_BY_NUMBER: Mapping[str, Callable[[str], Any]] = {"after": whole, "limit": limit}
_PLACE: Mapping[str, Callable[[str], Any]] = {
    "ra": right_ascension,
    "dec": declination,
    "radius": number,
    "sky_map": key,
    "share": number,
    "moc": moc,
}
"""A part of the sky, as `pyros.views.places.part_of_sky` has it."""

PAGES = (
    Page(name="tonight", title="Tonight", path="", template="tonight.html",
         data="pyros.console.answers.tonight:tonight",
         parts={"events": ("events",), "images": ("last_image", "telescopes.last_image"), "messages": ("messages",),
                "devices": ("devices", "telescopes.devices"),
                "weather": ("weather", "telescopes.weather", "stations")}),
    Page(name="events", title="Events", path="events", template="events.html", view=events,
         query={**_PAGED_BY_NUMBER, **_PLACE}),
    Page(name="event", title="Event", path="event", template="event.html", view=_event, menu=False, section="events",
         query={"key": key}, parts={"images": ("images",), "requests": ("request",)}),
    Page(name="alerts", title="Alerts", path="alerts", view=alerts, menu=False, section="events",
         query={"after": key, "limit": limit, "event": key, "stream": key, "role": key, "kind": key, "words": key,
                "since": number, "until": number, **_PLACE}),
    Page(name="elsewhere", title="Elsewhere", path="elsewhere", template="elsewhere.html",
         data="pyros.console.answers.looking_up:elsewhere", query={"key": key}, menu=False, needs="events"),
    Page(name="search", title="Search", path="search", template="search.html",
         data="pyros.console.answers.searching:search",
         query={"words": key, "kind": key, "after": whole, "limit": limit}),
    Page(name="notes", title="Notes", path="notes", template="notes.html", section="events", menu=False,
         data="pyros.console.answers.noting:notes", query={"after": whole, "limit": limit, "event": key, "tag": key}),
    Page(name="requests", title="Requests", path="requests", template="requests.html", view=requests,
         query={"after": key, "limit": limit, "owner": key}),
    Page(name="request", title="Request", path="request", template="request.html", view=_request, menu=False,
         section="requests", query={"key": key}),
    Page(name="observations", title="Observations", path="observations", view=observations, menu=False,
         section="requests", query={"after": key, "limit": limit}),
    Page(name="images", title="Images", path="images", template="images.html", view=images,
         query={"after": key, "limit": limit, "event": key, "observation": key, "night": key, "filter": key,
                "object": key, "unit": key, **_PLACE}),
    Page(name="image", title="Image", path="images/<int:number>", template="image.html", view=image, menu=False,
         section="images"),
    Page(name="devices", title="Devices", path="devices", template="devices.html", view=devices),
    Page(name="device", title="Device", path="device", template="device.html", menu=False, section="devices",
         data="pyros.console.answers.describing:device", query={"key": key}),
    Page(name="messages", title="Messages", path="messages", template="messages.html", view=messages,
         veil=without_tracebacks,
         query={"after": key, "limit": limit, "agent": key, "failed": yes}),
    Page(name="sources", title="Sources", path="sources", template="sources.html", view=sources),
    Page(name="nights", title="Nights", path="nights", template="nights.html", view=reports),
    Page(name="night report", title="Night report", path="nights/<str:night>", template="night_report.html",
         view=report, menu=False, section="nights", query={"unit": key},
         parts={"events": ("report.alerts",), "requests": ("report.requests",), "images": ("report.images",)}),
    Page(name="weather", title="Weather", path="weather", template="weather.html", view=weather, lifetime=5.0,
         query={"hours": number, "unit": key}),
    Page(name="sky", title="Sky", path="sky", view=sky, menu=False, lifetime=2.0, query={"unit": key},
         parts={"events": ("events", "regions")}),
    Page(name="jobs", title="Jobs", path="jobs", template="jobs.html", data="pyros.console.answers.jobs:jobs",
         query={"state": str, "limit": limit}),
    Page(name="job", title="Job", path="jobs/<str:name>", template="job.html", data="pyros.console.answers.jobs:job",
         menu=False, section="jobs"),
    Page(name="health", title="Health", path="checks", template="health.html",
         data="pyros.console.answers.health:page"),
    Page(name="notices", title="Notices", path="notices", template="notices.html", menu=False,
         data="pyros.console.answers.telling:notices"),
    Page(name="users", title="Users", path="users", template="users.html", role=Role.ADMIN,
         data="pyros.console.answers.users:users"),
    Page(name="account", title="You", path="you", template="account.html",
         data="pyros.console.answers.account:account"),
    Page(name="admin", title="Admin", path="administration", template="administration.html", role=Role.ADMIN,
         data="pyros.console.answers.administration:administration"),
)  # fmt: skip
"""In the menu's order."""
TONIGHT = PAGES[0]

ALWAYS = frozenset({"tonight", "account"})
"""Sections that can't be hidden."""


def sections(pages: Iterable[Page] = PAGES) -> tuple[str, ...]:
    """Return what ``hide`` may name."""
    return tuple(dict.fromkeys(page.hidden_by for page in pages if page.hidden_by not in ALWAYS))


def shown(config: Config, pages: Iterable[Page] = PAGES) -> tuple[Page, ...]:
    """Return the pages that the configuration doesn't hide.

    Raises ConfigError for a section that there isn't, and for a lifetime of what is no page.
    """
    section = config.console
    hide = section.hide if section is not None else ()
    known = sections(pages)
    problems = [
        f"{config.path}: [console] hide: {word!r} is no section that can be hidden (there are: {', '.join(known)})"
        for word in hide
        if word not in known
    ]
    names = [page.name for page in pages]
    problems += [
        f"{config.path}: [console cache] {name}: is no page (there are: {', '.join(names)})"
        for name in (section.lifetimes if section is not None else ())
        if name not in names
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(page for page in pages if page.hidden_by not in hide and page.needs not in hide)
