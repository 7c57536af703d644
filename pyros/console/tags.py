"""What templates can do besides Django's own tags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.simple_tag(takes_context=True)
def panel(context: Any, name: str, tag: str = "div") -> SafeString:
    """Return a part of the page that follows the frames: its HTML was made with the frame, from ``panels/``."""
    published = context.get("published")
    content = mark_safe(published.panels.get(name, "") if published else "")  # made by a template
    return format_html('<{} data-panel="{}">{}</{}>', tag, name, content, tag)


@register.simple_tag
def data(name: str, value: Any) -> SafeString:
    """Return a value as JSON for the page's script: a block that is no script, for a strict policy allows none."""
    text = msgspec.json.encode(value).decode()
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return format_html('<script type="application/json" id="{}">{}</script>', name, mark_safe(safe))


@register.filter
def clock(seconds: float | None) -> str:
    """Return Unix seconds as UTC, hours to seconds; '' for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


@register.filter
def instant(seconds: float | None) -> str:
    """Return Unix seconds as UTC, with the date; '' for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


@register.filter
def duration(seconds: float | None) -> str:
    """Return seconds in the largest unit that fits: ``41 s``, ``12 min``, ``5 h``, ``3 d``; '' for None."""
    if seconds is None:
        return ""
    for unit, length, below in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 129600)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
