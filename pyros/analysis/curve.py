"""A light curve as a picture: magnitudes, the bright ones on top, against the logarithm of time since the event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from pyros.analysis.lightcurve import Point, slope
from pyros.files import atomic_write

_SIZE = (1000, 640)
_BOX = (100, 64, 960, 550)  # left, top, right, bottom of the axes
_PAPER, _INK, _GREY, _GRID = (255, 255, 255), (30, 30, 30), (110, 110, 110), (228, 228, 228)
_COLOURS = {"u": (110, 60, 180), "g": (40, 130, 60), "r": (200, 45, 45), "i": (225, 125, 0), "z": (70, 70, 70)}
_OTHERS = ((30, 100, 180), (120, 80, 40), (0, 140, 140), (170, 40, 130), (90, 120, 30))
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
MAX_KEY_ENTRIES = 12


def draw_curve(path: Path, event: str, points: Sequence[Point]) -> Path:
    """Draw an event's points: one colour for each filter, one mark for each source, and the power law that fits.

    Points without a time since the event are drawn against the time since the first of them. Raises OSError.
    """
    since_event = all(point.after is not None and point.after > 0 for point in points)
    first = min((point.mjd for point in points), default=0.0)
    times = [point.after or 1.0 if since_event else (point.mjd - first) * 86400 + 1.0 for point in points]
    picture = Picture.new("RGB", _SIZE, _PAPER)
    draw = ImageDraw.Draw(picture)
    _words(draw, (_BOX[0], 22), event, _font(24), anchor="lm")
    if points:
        axes = _Axes(draw, times, points)
        axes.draw_grid("time since the event" if since_event else "time since the first image")
        keys: dict[tuple[str, str], tuple[Any, int]] = {}
        for time, point in zip(times, points, strict=True):
            look = keys.setdefault((point.source, point.filter), _look(point, keys))
            axes.draw_point(time, point, *look)
        _draw_key(draw, keys)
        if since_event:
            _draw_slopes(draw, axes, points)
    with atomic_write(path) as partial:
        picture.save(partial, "PNG")
    return path


class _Axes:
    """The axes: time, logarithmic, to the right, and magnitudes downwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, times: Sequence[float], points: Sequence[Point]) -> None:
        self._draw = draw
        low, high = math.log10(min(times)), math.log10(max(times))
        margin = max(0.06, 0.06 * (high - low))
        self._x = (low - margin, high + margin)
        bright = min(point.magnitude - min(point.error, 1.0) for point in points)
        faint = max(point.magnitude + min(point.error, 1.0) for point in points)
        margin = max(0.1, 0.1 * (faint - bright))
        self._y = (bright - margin, faint + margin)

    def place(self, time: float, magnitude: float) -> tuple[float, float]:
        """Return the pixels of a point."""
        left, top, right, bottom = _BOX
        x = left + (math.log10(time) - self._x[0]) / (self._x[1] - self._x[0]) * (right - left)
        y = top + (magnitude - self._y[0]) / (self._y[1] - self._y[0]) * (bottom - top)
        return x, y

    def draw_grid(self, label: str) -> None:
        left, top, right, bottom = _BOX
        for seconds in _time_ticks(*self._x):
            x, _ = self.place(seconds, self._y[0])
            self._draw.line((x, top, x, bottom), fill=_GRID)
            self._draw.line((x, bottom, x, bottom + 6), fill=_INK)
            _words(self._draw, (x, bottom + 12), _duration(seconds), _font(16), anchor="mt")
        step = next((step for step in _STEPS if (self._y[1] - self._y[0]) / step <= 8), 10.0)
        tick = math.ceil(self._y[0] / step) * step
        while tick <= self._y[1]:
            _, y = self.place(10 ** self._x[0], tick)
            self._draw.line((left, y, right, y), fill=_GRID)
            self._draw.line((left - 6, y, left, y), fill=_INK)
            _words(self._draw, (left - 12, y), f"{tick:.2f}" if step < 0.1 else f"{tick:.1f}", _font(16), anchor="rm")
            tick += step
        self._draw.rectangle(_BOX, outline=_INK)
        _words(self._draw, ((left + right) / 2, bottom + 48), label, _font(18), anchor="mm")
        side = Picture.new("L", (200, 30), 0)
        ImageDraw.Draw(side).text((100, 15), "magnitude", fill=255, font=_font(18), anchor="mm")
        turned = side.rotate(90, expand=True)
        self._draw.bitmap((18, (top + bottom) // 2 - 100), turned, fill=_INK)

    def draw_point(self, time: float, point: Point, colour: Any, mark: int) -> None:
        x, y = self.place(time, point.magnitude)
        _, above = self.place(time, point.magnitude - point.error)
        _, below = self.place(time, point.magnitude + point.error)
        above, below = max(above, _BOX[1]), min(below, _BOX[3])
        self._draw.line((x, above, x, below), fill=colour, width=2)
        for end in (above, below):
            self._draw.line((x - 4, end, x + 4, end), fill=colour, width=2)
        _mark(self._draw, x, y, colour, mark)

    def draw_line(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """Draw a dashed line between two points (time in seconds, magnitude)."""
        (x1, y1), (x2, y2) = self.place(*one), self.place(*other)
        pieces = max(1, int(math.hypot(x2 - x1, y2 - y1) / 6))
        for i in range(0, pieces, 2):
            a, b = i / pieces, min(1.0, (i + 1) / pieces)
            line = (x1 + a * (x2 - x1), y1 + a * (y2 - y1), x1 + b * (x2 - x1), y1 + b * (y2 - y1))
            self._draw.line(line, fill=_GREY, width=2)


def _draw_slopes(draw: ImageDraw.ImageDraw, axes: _Axes, points: Sequence[Point]) -> None:
    """Draw the power law of each source whose points tell one, and its index at the upper right."""
    y = 22.0
    for source in sorted({point.source for point in points})[:2]:
        of = [point for point in points if point.source == source]
        fitted = slope(of)
        if fitted is None:
            continue
        index, error = fitted
        for filter in sorted({point.filter for point in of}):
            same = [point for point in of if point.filter == filter]
            weights = [1 / max(point.error, 1e-3) ** 2 for point in same]
            logs = [math.log10(point.after or 1.0) for point in same]
            level = sum(w * (p.magnitude - 2.5 * index * t) for w, p, t in zip(weights, same, logs, strict=True)) / sum(
                weights
            )
            ends = [(10**t, level + 2.5 * index * t) for t in (min(logs), max(logs))]
            axes.draw_line(ends[0], ends[1])
        _words(draw, (_BOX[2], y), f"{source}: F ~ t^{-index:.2f} (± {error:.2f})", _font(18), anchor="rm")
        y += 24


def _draw_key(draw: ImageDraw.ImageDraw, keys: dict[tuple[str, str], tuple[Any, int]]) -> None:
    x = float(_BOX[0])
    for (source, filter), (colour, mark) in sorted(keys.items())[:MAX_KEY_ENTRIES]:
        _mark(draw, x + 8, 48, colour, mark)
        text = f"{source} {filter}".strip()
        _words(draw, (x + 22, 48), text, _font(16), anchor="lm")
        x += 40 + draw.textlength(text, font=_font(16))


def _look(point: Point, keys: dict[tuple[str, str], tuple[Any, int]]) -> tuple[Any, int]:
    """Choose a point's colour by its filter, and its mark by its source."""
    known = {filter: look[0] for (_, filter), look in keys.items()}
    colour = known.get(point.filter) or _COLOURS.get(point.filter.lower()[:1]) or _OTHERS[len(known) % len(_OTHERS)]
    marks = {source: look[1] for (source, _), look in keys.items()}
    return colour, marks.get(point.source, len(marks) % 3)


def _mark(draw: ImageDraw.ImageDraw, x: float, y: float, colour: Any, mark: int) -> None:
    r = 5
    if mark == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif mark == 1:
        draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    else:
        draw.polygon([(x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)], fill=colour)


def _time_ticks(low: float, high: float) -> list[float]:
    """Return the seconds between 10^low and 10^high where a person would put a tick."""
    units = [m * u for u in (1, 60, 3600) for m in (1, 2, 5, 10, 20, 30)]
    units += [86400.0 * m * 10**e for e in range(4) for m in (1, 2, 5)]
    inside = [float(u) for u in sorted(set(units)) if low <= math.log10(u) <= high]
    while len(inside) > 9:
        inside = inside[::2]
    if len(inside) >= 2:
        return inside
    step = max(1.0, 10 ** math.floor(math.log10(max(10**high - 10**low, 1e-9))))
    ticks = [math.ceil(10**low / step) * step + i * step for i in range(12)]
    ticks = [tick for tick in ticks if tick <= 10**high]
    return ticks[:: max(1, math.ceil(len(ticks) / 7))] or [10 ** ((low + high) / 2)]


def _duration(seconds: float) -> str:
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit and math.isclose(seconds / unit, round(seconds / unit), abs_tol=1e-9):
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:g} s"


def _words(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, font: Any, anchor: str) -> None:
    draw.text(at, text, fill=_INK, font=font, anchor=anchor)


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)
