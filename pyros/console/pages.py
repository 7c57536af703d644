"""Every page of the console, in one table: its URL, its place in the menu, its ``.json`` and who may see it follow.

A page is a view of `pyros.views`, or, where it shows what the console itself keeps, a function named as text (this
module imports no Django). ``hide = events users`` in ``[console]`` takes sections away: from menu, pages and ``.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from pyros.config import Config
from pyros.console.roles import Role
from pyros.errors import ConfigError
from pyros.views.devices import devices
from pyros.views.events import events
from pyros.views.messages import messages
from pyros.views.sky import sky
from pyros.views.weather import weather

MAX_LIMIT = 500


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
    role: Role = Role.VIEWER
    """Who may see it."""
    menu: bool = True
    """Whether the menu leads there."""
    section: str = ""
    """What `hide` calls it, by default its name; several pages may be one section."""
    lifetime: float = 0.0
    """Seconds for which an answer is kept (`pyros.console.cache`) where ``[console cache]`` says nothing else."""
    query: Mapping[str, Callable[[str], Any]] = {}
    """The values that it takes from the query, and what makes each from text; it raises ValueError."""

    @property
    def hidden_by(self) -> str:
        """The word of ``hide`` that takes it away."""
        return self.section or self.name


def limit(text: str) -> int:
    """Return how many of a list are wanted, from 1 to `MAX_LIMIT`; raises ValueError."""
    count = int(text)
    if not 1 <= count <= MAX_LIMIT:
        raise ValueError(f"limit: {count} is not from 1 to {MAX_LIMIT}")
    return count


def yes(text: str) -> bool:
    """Return whether a word means yes; raises ValueError for one that means neither yes nor no."""
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text == "yes"


PAGES = (
    Page(name="tonight", title="Tonight", path="", template="tonight.html",
         data="pyros.console.answers.tonight:tonight"),
    Page(name="events", title="Events", path="events", template="events.html", view=events,
         query={"after": int, "limit": limit}),
    Page(name="weather", title="Weather", path="weather", template="weather.html", view=weather, lifetime=5.0,
         query={"hours": float}),
    Page(name="sky", title="Sky", path="sky", view=sky, menu=False, lifetime=2.0),
    Page(name="devices", title="Devices", path="devices", template="devices.html", view=devices),
    Page(name="messages", title="Messages", path="messages", template="messages.html", view=messages,
         query={"agent": str, "after": str, "limit": limit, "failed": yes}),
    Page(name="jobs", title="Jobs", path="jobs", template="jobs.html", data="pyros.console.answers.jobs:jobs",
         query={"state": str, "limit": limit}),
    Page(name="job", title="Job", path="jobs/<str:name>", template="job.html", data="pyros.console.answers.jobs:job",
         menu=False, section="jobs"),
    Page(name="users", title="Users", path="users", template="users.html", role=Role.ADMIN,
         data="pyros.console.answers.users:users"),
    Page(name="account", title="You", path="you", template="account.html",
         data="pyros.console.answers.account:account"),
    Page(name="admin", title="Admin", path="administration", template="administration.html", role=Role.ADMIN,
         data="pyros.console.answers.administration:administration"),
)  # fmt: skip
"""In the menu's order."""

ALWAYS = frozenset({"tonight", "account"})
"""Sections that can't be hidden."""


def sections(pages: Iterable[Page] = PAGES) -> tuple[str, ...]:
    """Return what ``hide`` may name."""
    return tuple(dict.fromkeys(page.hidden_by for page in pages if page.hidden_by not in ALWAYS))


def shown(config: Config, pages: Iterable[Page] = PAGES) -> tuple[Page, ...]:
    """Return the pages that the configuration doesn't hide. Raises ConfigError for a section that there isn't."""
    section = config.console
    hide = section.hide if section is not None else ()
    known = sections(pages)
    problems = [
        f"{config.path}: [console] hide: {word!r} is no section that can be hidden (there are: {', '.join(known)})"
        for word in hide
        if word not in known
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(page for page in pages if page.hidden_by not in hide)
