"""Pictures that pages have from the server: the events on the whole sky, and a light curve; SVG without scripts.

Colours are classes of the style sheet, so that they follow the theme; a strict policy allows no style attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from pyros.messages import SourceFound
from pyros.views.chart import FindingChart
from pyros.views.events import EventLine, short_name

_MOST_LABELS = 12
_WIDTH, _HEIGHT = 640.0, 250.0
_LEFT, _TOP, _BOTTOM = 58.0, 12.0, 34.0


def sky_map(events: Iterable[EventLine]) -> SafeString:
    """Draw events on the whole sky, ICRS in Hammer's equal-area projection: 12 h in the middle, east to the left.

    Snyder, Map Projections (USGS Professional Paper 1395, 1987), equations 24-1 to 24-4 for Hammer.
    """
    parts = list(_empty_sky())
    labels: list[tuple[float, float]] = []  # one over another cannot be read
    for event in events:
        if event.ra is None or event.dec is None:
            continue
        x, y = _hammer(event.ra, event.dec)
        size = min(24.0, max(2.2, 200 / 180 * (event.error_radius or 0.0)))
        name = escape(short_name(event.name))
        parts.append(
            f'<circle class="mark {event.word}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}">'
            f"<title>{name}: {event.word}</title></circle>"
        )
        if len(labels) < _MOST_LABELS and all(abs(y - b) > 7 or abs(x - a) > 90 for a, b in labels):
            labels.append((x, y))
            end = ' text-anchor="end"' if x > 120 else ""
            shift = -size - 2 if x > 120 else size + 2
            parts.append(f'<text class="{event.word}" x="{x + shift:.1f}" y="{y + 2:.1f}"{end}>{_clipped(name)}</text>')
    return _svg("-204 -104 408 208", "map", "The events on the whole sky, right ascension and declination", parts)


@cache
def _empty_sky() -> tuple[str, ...]:
    parts = ['<ellipse class="sky" cx="0" cy="0" rx="200" ry="100"/>']
    meridians = [[_hammer(ra, dec) for dec in range(-90, 91, 6)] for ra in range(0, 360, 30)]
    parallels = [[_hammer(0.01 + ra, dec) for ra in _RAS] for dec in (-60, -30, 0, 30, 60)]
    parts += [f'<path class="grid" d="{_line(points)}"/>' for points in (*meridians, *parallels)]
    for hour in (1, 4, 8, 12, 16, 20):
        x, y = _hammer(15.0 * hour, 0)
        parts.append(f'<text class="axis" x="{x + 2:.1f}" y="{y - 2:.1f}">{hour}h</text>')
    for dec in (-60, -30, 30, 60):
        x, y = _hammer(180, dec)
        parts.append(f'<text class="axis" x="{x + 2:.1f}" y="{y - 2:.1f}">{dec:+}°</text>')
    return tuple(parts)


def light_curve(points: Sequence[SourceFound], since: float | None) -> SafeString:
    """Draw magnitudes against the seconds since ``since`` (Unix seconds), by their logarithm; brighter is up."""
    if not points:
        return mark_safe("")
    begin = since if since is not None and since < points[0].time else points[0].time - 1.0
    times = [math.log10(max(1.0, each.time - begin)) for each in points]
    errors = [each.magnitude_error or 0.0 for each in points]
    lows = [each.magnitude - error for each, error in zip(points, errors, strict=True)]
    highs = [each.magnitude + error for each, error in zip(points, errors, strict=True)]
    first, last = min(times) - 0.05, max(times) + 0.05
    bright, faint = min(lows) - 0.1, max(highs) + 0.1
    filters = list(dict.fromkeys(each.filter for each in points))

    def x_of(time: float) -> float:
        return _LEFT + (time - first) / (last - first) * (_WIDTH - _LEFT - 12)

    def y_of(magnitude: float) -> float:
        return _TOP + (magnitude - bright) / (faint - bright) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for magnitude in _ticks(bright, faint):
        y = y_of(magnitude)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - 12}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{magnitude:g}</text>')
    for seconds in _time_ticks(10**first, 10**last):
        x = x_of(math.log10(seconds))
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        parts.append(
            f'<text class="axis" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{seconds:g}</text>'
        )
    for each, time, error in zip(points, times, errors, strict=True):
        kind, x, y = f"f{filters.index(each.filter) % 4}", x_of(time), y_of(each.magnitude)
        if error:
            up, down = y_of(each.magnitude - error), y_of(each.magnitude + error)
            parts.append(f'<path class="error {kind}" d="M{x:.1f} {up:.1f}V{down:.1f}"/>')
        title = f"{escape(each.filter)} {each.magnitude:.2f} mag at {each.time - begin:.0f} s"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>')
    for number, name in enumerate(filters):
        x = _WIDTH - 30 - 44 * (len(filters) - 1 - number)
        parts.append(f'<circle class="f{number % 4}" cx="{x}" cy="20" r="4"/>')
        parts.append(f'<text x="{x + 8}" y="24">{escape(name)}</text>')
    middle = (_LEFT + _WIDTH) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">seconds after the event</text>'
    )
    up = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text class="axis" x="{-up}" y="12" transform="rotate(-90)" text-anchor="middle">magnitude</text>')
    label = f"Light curve of {len(points)} measurements"
    return _svg(f"0 0 {_WIDTH:g} {_HEIGHT:g}", "lightcurve", label, parts)


def finding_chart(chart: FindingChart) -> str:
    """Draw a finding chart as a picture of its own: black stars, north up, east to the left."""
    scale, size = 150 / chart.half_width, 330
    parts = [f'<rect x="-165" y="-165" width="{size}" height="{size}" fill="#fff"/>',
             '<rect x="-150" y="-150" width="300" height="300" fill="none" stroke="#000"/>']  # fmt: skip
    faintest = max((star.magnitude for star in chart.stars), default=0.0)
    for star in chart.stars:
        x, y, r = -star.east * scale, -star.north * scale, 0.7 + 0.55 * min(10.0, faintest - star.magnitude)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"><title>{star.magnitude:.1f} mag</title></circle>')
    if chart.error_radius is not None:
        dashed = 'fill="none" stroke="#0b5fd0" stroke-dasharray="4 3"'
        parts.append(f'<circle r="{chart.error_radius * scale:.1f}" {dashed}/>')
    parts.append('<path d="M-14 0H-5M5 0H14M0 -14V-5M0 5V14" stroke="#0b5fd0" fill="none"/>')
    for found in chart.found:
        x, y = -found.east * scale, -found.north * scale
        parts.append(f'<path d="M{x + 5:.1f} {y:.1f}h10M{x:.1f} {y - 5:.1f}v-10" stroke="#b3151d" stroke-width="2"/>')
    text = 'font-family="sans-serif" font-size="9"'
    bar = next((each for each in (30, 10, 5, 2, 1) if each / 60 * scale <= 120), 1)
    parts.append(f'<path d="M-142 142h{bar / 60 * scale:.1f}" stroke="#000" stroke-width="2"/>')
    parts.append(f'<text {text} x="-142" y="137">{bar}\u2032</text><text {text} x="-3" y="-153">N</text>')
    parts.append(f'<text {text} x="-163" y="3">E</text>')
    if chart.problem:
        parts.append(f'<text {text} y="80" text-anchor="middle">{escape(chart.problem)}</text>')
    label = escape(f"Finding chart of {short_name(chart.name)}")
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="-165 -165 {size} {size}"'
    return f'<svg {head} role="img" aria-label="{label}">{"".join(parts)}</svg>'


_RAS = [n * 3.599 for n in range(101)]


def _hammer(ra: float, dec: float) -> tuple[float, float]:
    longitude, latitude = math.radians(180.0 - ra), math.radians(dec)
    scale = math.sqrt(1 + math.cos(latitude) * math.cos(longitude / 2))
    x = 200.0 * math.cos(latitude) * math.sin(longitude / 2) / scale
    y = 100.0 * math.sin(latitude) / scale
    return x, -y


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))


def _time_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10 ... where there are three of them, else equal steps."""
    ticks = [10.0**power * factor for power in range(8) for factor in (1, 2, 5)]
    inside = [each for each in ticks if low <= each <= high]
    if len(inside) >= 3:
        return inside
    step = next((each for each in ticks if (high - low) / each <= 6), ticks[-1])
    return [step * n for n in range(max(1, math.ceil(low / step)), math.floor(high / step) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    step = next(each for each in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0) if (high - low) / each <= 6)
    return [round(step * n, 2) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _clipped(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"


def _svg(box: str, kind: str, label: str, parts: Iterable[str]) -> SafeString:
    content = "".join(parts)  # escaped where it is somebody's text
    return mark_safe(f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(label)}">{content}</svg>')
