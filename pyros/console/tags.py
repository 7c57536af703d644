"""What templates can do besides Django's own tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from django import template
from django.conf import settings
from django.db import DatabaseError
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from pyros import printable
from pyros.console import charts
from pyros.console.answers.commanding import COMMANDS
from pyros.console.answers.looking_up import about_of
from pyros.console.kept_rows import KeptRows
from pyros.console.outside import SERVICES
from pyros.console.request_form import exposures_text, given_of, may_be_changed
from pyros.console.roles import Role
from pyros.printable import last_line

register = template.Library()
_rows = KeptRows()


@register.simple_tag(takes_context=True)
def panel(context: Any, name: str, tag: str = "div") -> SafeString:
    """Return a part of the page that follows the frames: its HTML was made with the frame, from ``panels/``."""
    published = context.get("published")
    content = mark_safe(published.panels.get(name, "") if published else "")  # made by a template
    return format_html('<{} data-panel="{}">{}</{}>', tag, name, content, tag)


@register.simple_tag(takes_context=True)
def rows(context: Any, values: Any, row: str, **given: Any) -> SafeString:
    """Return the rows of a list, made by a template in ``rows/`` with the value as ``it``, ``given``, and no more."""
    return mark_safe(_rows.html(f"rows/{row}.html", values, given, context.get("csrf_token", "")))


@register.simple_tag(takes_context=True)
def menu(context: Any) -> SafeString:
    """Return the menu's links for who asks."""
    page = context.get("page")
    return _menu(context["caller"].role, page.name if page else "")


@lru_cache(maxsize=200)
def _menu(role: Role, name: str) -> SafeString:
    return format_html_join("", '<a href="/{}"{}>{}</a>', (
        (page.path, mark_safe(' aria-current="page"') if page.name == name else "", page.title)
        for page in settings.CONSOLE.pages if page.menu and page.role <= role
    ))  # fmt: skip


@register.simple_tag
def data(name: str, value: Any) -> SafeString:
    """Return a value as JSON for the page's script: a block that is no script, for a strict policy allows none."""
    text = msgspec.json.encode(value).decode()
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return format_html('<script type="application/json" id="{}">{}</script>', name, mark_safe(safe))


@register.filter
def of(values: Mapping[str, Any], name: str) -> Any:
    """Return what stands under a name; None where nothing does."""
    return values.get(name)


@register.filter
def clock(seconds: float | None) -> str:
    """Return Unix seconds as UTC, hours to seconds; '' for None."""
    return instant(seconds).rpartition(" ")[2]


@register.filter
def instant(seconds: float | None) -> str:
    """Return Unix seconds as UTC, with the date; '' for None, and a number where there is no such date."""
    return "" if seconds is None else printable.instant(seconds)


@register.filter
def duration(seconds: float | None) -> str:
    """Return seconds in the largest unit that fits: ``41 s``, ``12 min``, ``5 h``, ``3 d``; '' for None."""
    if seconds is None:
        return ""
    for unit, length, below in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 129600)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


@register.filter
def hours(value: float) -> str:
    """Return hours as a duration: ``18 s``, ``12 min``, ``6.4 h``."""
    return f"{value:.1f} h" if value >= 1.5 else duration(3600 * value)


@register.filter
def percent(fraction: float) -> str:
    """Return a fraction as percent."""
    return f"{100 * fraction:.0f} %"


_PROGRAM_NAME = re.compile(r"^program:(.+)-\d+-\w{6}$")


@register.filter
def words(name: str) -> str:
    """Return an agent's or a quantity's name for people: without underscores; a program's without its process."""
    return _PROGRAM_NAME.sub(r"\1", str(name)).replace("_", " ")


@register.filter
def commands(agent: str) -> tuple[str, ...]:
    """Return what an operator may command of an agent's device."""
    section = settings.CONSOLE.config.agents.get(agent)
    return () if section is None else COMMANDS.get(section.kind, ())


@register.filter
def is_shown(name: str) -> bool:
    """Return whether a page of that name is there."""
    return any(page.name == name for page in settings.CONSOLE.pages)


@register.filter
def short(name: str) -> str:
    """Return what tells an ivorn, or an event's key, from others: what stands after its last # or /."""
    return str(name).rpartition("#")[2].rpartition("/")[2] or str(name)


_IMAGE = re.compile(r"_(\d\d)(\d\d)(\d\d)_0*(\d+)_(\w+)\.fits")


@register.filter
def image_words(path: str) -> str:
    """Return when an image was begun, its number and filter, as its file's name tells them; else the name."""
    found = _IMAGE.search(str(path))
    if found is None:
        return str(path).rpartition("/")[2]
    return f"{found[1]}:{found[2]}:{found[3]} · number {found[4]} · {found[5]}"


@register.filter
def figure(value: float) -> str:
    """Return a measured value with as many digits as mean something."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


_WORDS = {"observing": "now", "planned": "warn", "requested": "warn", "observed": "good", "failed": "bad",
          "interrupted": "warn", "expired": "", "withdrawn": "", "retracted": "bad", "rejected": ""}  # fmt: skip


@register.filter
def word_class(word: str) -> str:
    """Return the colour of an event's, or an observation's, word."""
    return _WORDS.get(word, "")


@register.simple_tag(takes_context=True)
def older(context: Any, after: object) -> SafeString:
    """Return the link to the page of a list that follows; '' at its end. What else was asked stays asked."""
    if after is None:
        return mark_safe("")
    asked = context["request"].GET.copy()
    asked["after"] = str(after)
    return format_html('<p><a class="button" rel="next" href="?{}">Older</a></p>', asked.urlencode())


@register.filter
def elsewhere_links(event: Any) -> list[dict[str, str]]:
    """Return where services elsewhere show what they know of an event."""
    about = about_of(event)
    return [{"title": each.title, "link": link} for each in SERVICES if (link := each.link(about))]


@register.inclusion_tag("event_notes.html", takes_context=True)
def event_notes(context: Any, event: str) -> dict[str, Any]:
    """Show what people have written about an event; while the database is locked, that."""
    from pyros.console.answers.noting import of_event  # noqa: PLC0415  it needs Django's tables

    shown = {name: context.get(name) for name in ("request", "may_write", "csrf_token")}
    try:
        return shown | {"event": event, "notes": of_event(context["request"], event)}
    except DatabaseError:
        return shown | {"event": event, "busy": True}


@register.simple_tag
def sky_map(events: Any) -> SafeString:
    """Return the events on the whole sky, as SVG."""
    return charts.sky_map(events)


@register.simple_tag
def light_curve(points: Any, since: float | None) -> SafeString:
    """Return a light curve, as SVG."""
    return charts.light_curve(points, since)


@register.filter
def seconds(value: float | None) -> str:
    """Return a short time with as many digits as mean something: ``0.016 s``, ``3.5 s``, ``2.1 min``; '' for None."""
    if value is None:
        return ""
    if abs(value) < 120:
        return f"{value:.3f} s" if abs(value) < 10 else f"{value:.1f} s"
    return f"{value / 60:.1f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"


@register.filter
def exposures(request: Any) -> str:
    """Return a request's exposures as people type them: ``r:60x3``."""
    return exposures_text(request.exposures)


@register.simple_tag(takes_context=True)
def change_form(context: Any, request: Any) -> Any:
    """Return what the form that changes a request begins with; None for who may not change it."""
    caller = context["caller"]
    own = request.owner == caller.name or caller.role >= Role.OPERATOR
    if not (context["may_ask"] and own and may_be_changed(request)):
        return None
    return context.get("given") or given_of(request)


_UNITS = {"ra": "°", "dec": "°", "temperature": " °C", "target": " °C", "power": " %", "azimuth": "°", "altitude": "°",
          "humidity": " %", "wind": " m/s", "gust": " m/s", "pressure": " hPa", "dew_point": " °C",
          "angle": "°", "lease": " s"}  # fmt: skip


@register.filter
def unit(name: str) -> str:
    """Return the unit of what a device measures, after a space; '' for none."""
    return _UNITS.get(name, "")


_UNSAID = {"age", "ra", "dec"}


@register.filter
def readings(device: Any) -> str:
    """Return what a device measures, in a few words."""
    values = device.values
    said = [found] if (found := place(device)) else []
    for name, value in values.items():
        if name in _UNSAID or value in (None, "") or (name == "rain" and not value):
            continue
        shown = figure(value) if isinstance(value, int | float) else value
        said.append(f"{words(name)} {shown}{_UNITS.get(name, '')}")
    return ", ".join(said[:4]) or (device.link if device.state == "unknown" else "")


@register.filter
def place(device: Any) -> str:
    """Return where a device points, ICRS, as hours and degrees; '' for one that doesn't."""
    ra, dec = device.values.get("ra"), device.values.get("dec")
    return sexagesimal(ra, dec) if isinstance(ra, float) and isinstance(dec, float) else ""


def sexagesimal(ra: float, dec: float) -> str:
    """Return an ICRS position (degrees) as hours and degrees, to the arcsecond."""
    hours, rest = divmod(round(ra % 360 * 240), 3600)
    degrees, arc = divmod(round(abs(dec) * 3600), 3600)
    return (f"{hours % 24:02}:{rest // 60:02}:{rest % 60:02} "
            f"{'-' if dec < 0 else '+'}{degrees:02}:{arc // 60:02}:{arc % 60:02}")  # fmt: skip


@register.filter
def position(event: Any) -> str:
    """Return what has ra and dec (ICRS, degrees) as hours and degrees; '' without a position."""
    return "" if event.ra is None or event.dec is None else sexagesimal(event.ra, event.dec)


register.filter(last_line)
