"""A sky map as a picture, with the fields that were observed of it and those that are wanted.

Small regions are shown in an azimuthal equidistant projection about their middle, large ones on the whole sky in
Mollweide's (Snyder 1987, USGS Professional Paper 1395, chapters 25 and 31). North is up, east to the left. Drawn with
Pillow; for any thread, but slow enough (a quarter of a second) for a worker or a program of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pyros.alerts.skymaps.coverage import Rectangle, inside_any
from pyros.alerts.skymaps.skymap import Floats, SkyMap, healpix

_WIDE, _HIGH, _TOP, _BOTTOM = 1200, 620, 60, 60
_MARGIN = 20
_ZOOM_LIMIT = 55.0
"""Degrees from the middle beyond which the whole sky is shown."""
_LEVEL = 12
"""Nested cells of which the map is looked up: 51 arcseconds, finer than a pixel."""
_LABEL = "#4d5766"
_SEEN, _WANTED, _GRID, _INK, _PAPER = "#00603a", "#f28c28", "#c9ced6", "#1d2733", "#ffffff"
_SHADES = ((0.5, (74, 111, 165)), (0.9, (166, 189, 219)), (0.99, (226, 234, 244)))
"""Colours of the regions with that share of the probability, the smallest one first."""
_SEEN_SHADE = (70, 160, 110)


class _Projection(Protocol):
    """From the sky to pixels, and back."""

    def forward(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]: ...

    def backward(self, x: Floats, y: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]: ...


class _Zoom:
    """Azimuthal equidistant about a place."""

    def __init__(self, ra: float, dec: float, radius: float) -> None:
        self._ra, self._dec = math.radians(ra), math.radians(dec)
        self._scale = (_HIGH / 2 - _MARGIN) / math.radians(radius)

    def forward(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        lon, lat = np.radians(ra) - self._ra, np.radians(dec)
        cosine = math.sin(self._dec) * np.sin(lat) + math.cos(self._dec) * np.cos(lat) * np.cos(lon)
        angle = np.arccos(np.clip(cosine, -1, 1))
        stretch = np.where(angle > 1e-9, angle / np.maximum(np.sin(angle), 1e-12), 1.0)
        east = stretch * np.cos(lat) * np.sin(lon)
        north = stretch * (math.cos(self._dec) * np.sin(lat) - math.sin(self._dec) * np.cos(lat) * np.cos(lon))
        return _WIDE / 2 - east * self._scale, _TOP + _HIGH / 2 - north * self._scale

    def backward(self, x: Floats, y: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        east, north = (_WIDE / 2 - x) / self._scale, (_TOP + _HIGH / 2 - y) / self._scale
        angle = np.hypot(east, north)
        ratio = np.sinc(angle / math.pi)  # sin(angle) / angle
        lat = np.arcsin(np.clip(np.cos(angle) * math.sin(self._dec) + north * ratio * math.cos(self._dec), -1, 1))
        lon = np.arctan2(east * ratio, math.cos(self._dec) * np.cos(angle) - north * ratio * math.sin(self._dec))
        return np.degrees(self._ra + lon) % 360, np.degrees(lat), angle < math.pi


class _Mollweide:
    """The whole sky, with one right ascension in its middle."""

    def __init__(self, ra: float) -> None:
        self._ra = ra
        self._a, self._b = _WIDE / 2 - _MARGIN, _HIGH / 2 - _MARGIN
        theta = np.linspace(-math.pi / 2, math.pi / 2, 2001)
        self._theta, self._lat = theta, np.arcsin(np.clip((2 * theta + np.sin(2 * theta)) / math.pi, -1, 1))

    def forward(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        theta = np.interp(np.radians(dec), self._lat, self._theta)
        lon = ((ra - self._ra + 180) % 360 - 180) / 180
        return _WIDE / 2 - self._a * lon * np.cos(theta), _TOP + _HIGH / 2 - self._b * np.sin(theta)

    def backward(self, x: Floats, y: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        u, v = (_WIDE / 2 - x) / self._a, (_TOP + _HIGH / 2 - y) / self._b
        inside = u**2 + v**2 <= 1
        theta = np.arcsin(np.clip(v, -1, 1))
        lat = np.arcsin(np.clip((2 * theta + np.sin(2 * theta)) / math.pi, -1, 1))
        lon = 180 * np.clip(u / np.maximum(np.cos(theta), 1e-9), -1, 1)
        return (self._ra + lon) % 360, np.degrees(lat), inside


def draw_coverage(
    path: Path, skymap: SkyMap, observed: Sequence[Rectangle], wanted: Sequence[Rectangle], title: str, legend: str
) -> None:
    """Write the picture of a map and of its fields as PNG; ``title`` stands above it, ``legend`` below."""
    projection = _projection(skymap, [*observed, *wanted])
    y, x = np.mgrid[_TOP : _TOP + _HIGH, 0:_WIDE]
    ra, dec, on_sky = projection.backward(x.ravel() + 0.5, y.ravel() + 0.5)
    pixels = np.full((_TOP + _HIGH + _BOTTOM, _WIDE, 3), 255, dtype=np.uint8)
    sky = pixels[_TOP : _TOP + _HIGH].reshape(-1, 3)
    level = _levels(skymap, ra[on_sky], dec[on_sky])
    colours = np.full((len(level), 3), 250, dtype=np.uint8)
    for share, colour in reversed(_SHADES):
        colours[level <= share] = colour
    seen = inside_any(observed, ra[on_sky], dec[on_sky])
    colours[seen] = (0.45 * colours[seen] + 0.55 * np.array(_SEEN_SHADE)).astype(np.uint8)
    sky[on_sky] = colours
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    _draw_grid(pen, projection)
    for fields, ink, width in ((wanted, _WANTED, 2), (observed, _SEEN, 2)):
        for each in fields:
            _draw_line(pen, projection, *_outline(each), ink, width)
    pen.rectangle((0, 0, _WIDE, _TOP - 1), _PAPER)
    pen.rectangle((0, _TOP + _HIGH, _WIDE, _TOP + _HIGH + _BOTTOM), _PAPER)
    pen.text((_MARGIN, 16), title, _INK, ImageFont.load_default(24))
    _draw_legend(pen, legend, bool(wanted))
    image.save(path, "PNG")


def _projection(skymap: SkyMap, fields: Sequence[Rectangle]) -> _Projection:
    """Choose the zoom where all that matters is near to its middle."""
    ra, dec = skymap.centres
    inside = skymap.region(0.95)
    lon, lat, weight = np.radians(ra[inside]), np.radians(dec[inside]), skymap.probability[inside]
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    middle = weight @ vectors
    length = float(np.linalg.norm(middle))
    if length > 1e-6:
        middle = middle / length
        more = [
            (math.cos(math.radians(each.dec)) * math.cos(math.radians(each.ra)),
             math.cos(math.radians(each.dec)) * math.sin(math.radians(each.ra)), math.sin(math.radians(each.dec)))
            for each in fields
        ]  # fmt: skip
        together = np.concatenate([vectors, np.array(more).reshape(-1, 3)])
        radius = float(np.degrees(np.arccos(np.clip(together @ middle, -1, 1))).max())
        if radius < _ZOOM_LIMIT:
            place = math.degrees(math.atan2(middle[1], middle[0])) % 360, math.degrees(math.asin(middle[2]))
            return _Zoom(*place, max(2.0, 1.1 * radius))
    return _Mollweide(skymap.most_probable[0])


def _levels(skymap: SkyMap, ra: Floats, dec: Floats) -> Floats:
    """Return for each position the share of the probability that is in denser cells than its own; 1 off the map."""
    from astropy import units  # noqa: PLC0415  slow to load

    shift = 2 * (29 - skymap.level)
    first = skymap.cell << shift
    order = np.argsort(first, kind="stable")
    shares = np.empty(len(first))
    sums = np.cumsum(skymap.probability[skymap.by_density])
    shares[skymap.by_density] = np.append(0.0, sums[:-1])
    cell = healpix().lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**_LEVEL, order="nested")
    place = np.asarray(cell, dtype=np.int64) << (2 * (29 - _LEVEL))
    index = np.searchsorted(first[order], place, side="right") - 1
    found = order[np.maximum(index, 0)]
    there = (index >= 0) & (place < first[found] + (np.int64(1) << shift[found]))
    result: Floats = np.where(there & (skymap.probability[found] > 0), shares[found], 1.0)
    return result


def _outline(field: Rectangle) -> tuple[Floats, Floats]:
    steps = np.linspace(-1, 1, 9)
    up, across = field.height / 2, field.width / 2
    dec = np.concatenate([np.full(9, up), up * -steps, np.full(9, -up), up * steps]) + field.dec
    dec = np.clip(dec, -90, 90)
    side = np.concatenate([steps, np.ones(9), -steps, -np.ones(9)])
    half = np.minimum(180.0, across / np.maximum(np.cos(np.radians(dec)), 1e-3))
    return (field.ra + side * half) % 360, dec


def _draw_line(
    pen: ImageDraw.ImageDraw, projection: _Projection, ra: Floats, dec: Floats, colour: str, width: int
) -> None:
    x, y = projection.forward(ra, dec)
    for x0, y0, x1, y1 in zip(x, y, x[1:], y[1:], strict=False):
        if abs(x1 - x0) + abs(y1 - y0) < _WIDE / 4:  # else it goes round the sky's edge
            pen.line((float(x0), float(y0), float(x1), float(y1)), colour, width)


def _draw_grid(pen: ImageDraw.ImageDraw, projection: _Projection) -> None:
    font: Any = ImageFont.load_default(13)
    around = np.linspace(0, 359.99, 361)
    for dec in range(-75, 90, 15):
        _draw_line(pen, projection, around, np.full(361, float(dec)), _GRID, 1)
    along = np.linspace(-75, 75, 151)
    for ra in range(0, 360, 15):
        _draw_line(pen, projection, np.full(151, float(ra)), along, _GRID, 1)
    every = 90 if isinstance(projection, _Mollweide) else 30
    for ra, dec in [(a, d) for d in range(-60, 61, 30) for a in range(0, 360, every if d else 30)]:
        x, y = (float(each[0]) for each in projection.forward(np.array([float(ra)]), np.array([float(dec)])))
        if _MARGIN < x < _WIDE - 70 and _TOP < y < _TOP + _HIGH - 20:
            pen.text((x + 4, y + 3), f"{ra}° {dec:+d}°", _LABEL, font, stroke_width=2, stroke_fill=_PAPER)


def _draw_legend(pen: ImageDraw.ImageDraw, legend: str, wanted: bool) -> None:
    font: Any = ImageFont.load_default(16)
    x, y = _MARGIN, _TOP + _HIGH + 10
    items: list[tuple[str, Any, Any]] = [(f"{share:.0%} of the probability", colour, None) for share, colour in _SHADES]
    items.append(("observed", _SEEN_SHADE, _SEEN))
    if wanted:
        items.append(("wanted", None, _WANTED))
    for words, fill, line in items:
        pen.rectangle((x, y + 2, x + 20, y + 16), fill, line or "#7a8494")
        pen.text((x + 28, y), words, _INK, font)
        x += 28 + int(font.getlength(words)) + 30
    pen.text((_MARGIN, y + 24), legend, _INK, font)
