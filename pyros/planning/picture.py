"""A night as a picture: altitudes against time, with twilight, Moon and horizon, and what is observed when.

Drawn with Pillow: PYROS needs no plotting library. Plain Python, for any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pyros.angles import Floats
from pyros.planning.night_log import NightLine
from pyros.planning.night_sky import NightSky
from pyros.planning.visibility import airmass
from pyros.printable import clock_time
from pyros.site import Site

COLOURS = ("#77aadd", "#ee8866", "#44bb99", "#eedd88", "#ffaabb", "#99ddff", "#bbcc33", "#dddddd")
"""Light scheme of Paul Tol's technical note SRON/EPS/TN/09-002: told apart on dark, by colour-blind people too."""
_SHADES = ((0.0, "#dfe9f5"), (-6.0, "#b9c9de"), (-12.0, "#8397b5"), (-18.0, "#56688a"))
"""What is behind, by the Sun's altitude above which it is (degrees); below all of them it is night."""
_NIGHT = "#39475f"
_SCALE = 2
"""Pixels for each of the numbers below."""
_LEFT, _TOP, _WIDE, _HIGH, _BOTTOM, _RIGHT = 62, 46, 860, 430, 58, 62
_LEGEND, _LINE, _COLUMNS = 24, 18, 3
_MAX_CURVES = 24
"""So many targets are drawn with their whole way through the night; of more, only where they are observed."""
_STEP = 120.0
_AIRMASSES = (1.0, 1.1, 1.3, 1.6, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class _Frame:
    """From times and altitudes to pixels."""

    begin: float
    end: float

    def x(self, seconds: float) -> float:
        return _SCALE * (_LEFT + (seconds - self.begin) / (self.end - self.begin) * _WIDE)

    def y(self, altitude: float) -> float:
        return _SCALE * (_TOP + _HIGH - max(0.0, min(90.0, altitude)) / 90.0 * _HIGH)


def draw_night(
    path: Path, site: Site, lines: Sequence[NightLine], dusk: float, dawn: float, now: float | None = None
) -> None:
    """Write the picture of a night as PNG.

    Args:
        path: the file.
        site: whose sky it is.
        lines: what is planned or was observed; those without a time are left out.
        dusk, dawn: when the night by the site's twilight begins and ends, Unix seconds.
        now: where a line is drawn, Unix seconds.
    """
    begin, end = dusk - 3600.0, dawn + 3600.0
    frame, sky = _Frame(begin, end), NightSky(site, begin, end, _STEP)
    shown = [each for each in lines if (each.began or each.start) is not None]
    rows = -(-len(shown) // _COLUMNS)
    size = (_LEFT + _WIDE + _RIGHT, _TOP + _HIGH + _BOTTOM + _LEGEND + _LINE * (rows + 1))
    image = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), "white")
    pen = ImageDraw.Draw(image)
    _draw_sky(pen, frame, sky)
    _draw_axes(pen, frame, site, dusk)
    for moment, word, side in ((dusk, "dusk", "ra"), (dawn, "dawn", "la")):
        x = frame.x(moment)
        _dashed(pen, [(x, frame.y(0)), (x, frame.y(90))], "#ffffff", 1)
        text = f"{word} {clock_time(moment)}"
        pen.text((x + (8 if side == "la" else -8), frame.y(90) + 8), text, "black", _font(11), anchor=side)
    moon = _draw_moon(pen, frame, sky)
    _draw_targets(pen, frame, sky, shown)
    if now is not None and begin < now < end:
        _dashed(pen, [(frame.x(now), frame.y(0)), (frame.x(now), frame.y(90))], "#ffffff", 2)
        pen.text((frame.x(now) + 6, frame.y(90) + 6), "now", "#ffffff", _font(12))
    _draw_legend(pen, shown, moon, site)
    image.save(path, "PNG")


def _draw_sky(pen: ImageDraw.ImageDraw, frame: _Frame, sky: NightSky) -> None:
    """Colour what is behind by the Sun's altitude."""
    for left, right, sun in zip(sky.times, sky.times[1:], sky.sun_altitude, strict=False):
        colour = next((shade for limit, shade in _SHADES if sun >= limit), _NIGHT)
        pen.rectangle((frame.x(left), frame.y(90), frame.x(right), frame.y(0)), colour)


def _draw_axes(pen: ImageDraw.ImageDraw, frame: _Frame, site: Site, dusk: float) -> None:
    font, small = _font(12), _font(11)
    for altitude in range(0, 91, 10):
        y = frame.y(altitude)
        pen.line((frame.x(frame.begin), y, frame.x(frame.end), y), "#8c9ab0" if altitude else "black", 1)
        pen.text((frame.x(frame.begin) - 12, y), f"{altitude}°", "black", font, anchor="rm")
    for thickness in _AIRMASSES:
        pen.text(
            (frame.x(frame.end) + 12, frame.y(_altitude_of(thickness))), f"{thickness:g}", "black", small, anchor="lm"
        )
    hour = math.ceil(frame.begin / 3600.0) * 3600.0
    while hour <= frame.end:
        x = frame.x(hour)
        pen.line((x, frame.y(0), x, frame.y(0) + 10), "black", 2)
        pen.text((x, frame.y(0) + 14), clock_time(hour), "black", font, anchor="ma")
        hour += 3600.0
    middle = (frame.x(frame.begin) + frame.x(frame.end)) / 2
    pen.text((middle, frame.y(0) + 48), "time (UTC)", "black", font, anchor="ma")
    _sideways(pen, (8 * _SCALE, _SCALE * (_TOP + _HIGH / 2)), "altitude (degrees)")
    _sideways(pen, (_SCALE * (_LEFT + _WIDE + _RIGHT - 16), _SCALE * (_TOP + _HIGH / 2)), "airmass")
    evening = datetime.fromtimestamp(dusk, UTC)
    pen.text((frame.x(frame.begin), 10 * _SCALE), f"{site.name}, night of {evening:%Y-%m-%d}", "black", _font(15))


def _draw_moon(pen: ImageDraw.ImageDraw, frame: _Frame, sky: NightSky) -> str:
    """Draw the Moon's way; return what the legend says of it."""
    middle = len(sky.times) // 2
    lit = f"Moon, {sky.moon_illumination[middle]:.0%} lit"
    up = sky.moon_altitude > 0
    if not up.any():
        return f"{lit}: not up"
    for points in _runs(frame, sky.times, sky.moon_altitude, up):
        _dashed(pen, points, "#fff3b0", 3)
    best = int(np.argmax(sky.moon_altitude))
    x = min(max(frame.x(sky.times[best]), frame.x(frame.begin) + 40), frame.x(frame.end) - 40)
    pen.text((x, frame.y(sky.moon_altitude[best]) - 8), "Moon", "#fff3b0", _font(12), anchor="ms")
    return lit


def _draw_targets(pen: ImageDraw.ImageDraw, frame: _Frame, sky: NightSky, shown: Sequence[NightLine]) -> None:
    if not shown:
        middle = (frame.x(frame.begin) + frame.x(frame.end)) / 2
        pen.text((middle, frame.y(45)), "nothing is planned", "white", _font(15), anchor="mm")
        return
    tracks = sky.fixed_tracks([(each.ra, each.dec) for each in shown])
    altitudes = np.degrees(np.arcsin(np.clip(tracks.sin_altitude, -1.0, 1.0)))
    numbers = _numbers(shown)
    if len(numbers) <= _MAX_CURVES:
        for target, number in numbers.items():
            row = next(row for row, line in enumerate(shown) if line.target == target)
            up = altitudes[row] > 0
            for points in _runs(frame, sky.times, altitudes[row], up & tracks.above[row]):
                pen.line(points, _colour(number), 3)
            for points in _runs(frame, sky.times, altitudes[row], up & ~tracks.above[row]):
                _dashed(pen, points, _colour(number), 3)
    for row, line in enumerate(shown):
        colour = _colour(numbers[line.target])
        start, end = _span(line)
        inside = (sky.times >= start - _STEP) & (sky.times <= end + _STEP)
        for points in _runs(frame, sky.times, altitudes[row], inside):
            pen.line(points, "white", 16, joint="curve")
            pen.line(points, colour, 12, joint="curve")
    for row, line in enumerate(shown):
        middle = sum(_span(line)) / 2
        x, y = frame.x(middle), frame.y(float(np.interp(middle, sky.times, altitudes[row])))
        pen.ellipse((x - 20, y - 20, x + 20, y + 20), "white", _colour(numbers[line.target]), 4)
        pen.text((x, y), str(row + 1), "black", _font(11), anchor="mm")


def _numbers(shown: Sequence[NightLine]) -> dict[str, int]:
    """Return each target's place among the targets, which gives it its colour."""
    return {target: number for number, target in enumerate(dict.fromkeys(each.target for each in shown))}


def _draw_legend(pen: ImageDraw.ImageDraw, shown: Sequence[NightLine], moon: str, site: Site) -> None:
    top = _SCALE * (_TOP + _HIGH + _BOTTOM + 4)
    words = (
        f"{moon}; dusk and dawn: the Sun at {site.twilight:g}°; thick: observed then; dashed: behind the site's horizon"
    )
    pen.text((_SCALE * _LEFT, top), words, "black", _font(12))
    wide = _SCALE * (_LEFT + _WIDE + _RIGHT - 24) / _COLUMNS
    rows, numbers = -(-len(shown) // _COLUMNS), _numbers(shown)
    for number, line in enumerate(shown):
        column, row = divmod(number, max(1, rows))
        x, y = _SCALE * 24 + column * wide, top + _SCALE * (_LEGEND + row * _LINE)
        pen.rectangle((x, y + 6, x + 24, y + 24), _colour(numbers[line.target]))
        start, end = (datetime.fromtimestamp(each, UTC) for each in _span(line))
        text = f"{number + 1}  {start:%H:%M}-{end:%H:%M}  {line.target}"
        font = _font(12)
        while pen.textlength(text, font) > wide - 50 and len(text) > 8:
            text = f"{text[:-2]}…"
        pen.text((x + 34, y), text, "black", font)


def _span(line: NightLine) -> tuple[float, float]:
    """Return when a line was observed, or else is planned."""
    start, end = line.begins or 0.0, line.ends
    return start, max(start + 60.0, end or 0.0)


def _runs(frame: _Frame, times: Floats, altitudes: Floats, where: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """Return the points of each unbroken run of the times ``where`` something holds."""
    runs: list[list[tuple[float, float]]] = []
    before = False
    for moment, altitude, here in zip(times, altitudes, where, strict=True):
        if here:
            if not before:
                runs.append([])
            runs[-1].append((frame.x(float(moment)), frame.y(float(altitude))))
        before = bool(here)
    return [each for each in runs if len(each) > 1]


def _dashed(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str, width: int) -> None:
    """Draw a line of dashes of equal length."""
    dash, along = 14.0, 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        done = 0.0
        while done < length:
            part = min(dash - along % dash, length - done)
            if int(along // dash) % 2 == 0:
                one, other = done / length, (done + part) / length
                pen.line((x0 + (x1 - x0) * one, y0 + (y1 - y0) * one,
                          x0 + (x1 - x0) * other, y0 + (y1 - y0) * other), colour, width)  # fmt: skip
            done += part
            along += part


def _sideways(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
    """Write a text from below to above, its middle at a place."""
    font = _font(12)
    left, top, right, bottom = font.getbbox(text)
    label = Image.new("L", (int(right - left) + 4, int(bottom - top) + 8))
    ImageDraw.Draw(label).text((2 - left, 2 - top), text, 255, font)
    turned = label.rotate(90, expand=True)
    pen.bitmap((int(place[0]), int(place[1] - turned.height / 2)), turned, "black")


def _altitude_of(thickness: float) -> float:
    """Return the altitude in degrees at which the airmass is so much."""
    altitudes = np.linspace(90.0, 5.0, 341)
    return float(np.interp(thickness, [airmass(float(each)) for each in altitudes], altitudes))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size * _SCALE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
