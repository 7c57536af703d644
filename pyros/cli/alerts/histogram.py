"""A histogram by month as a PNG, drawn with Pillow: PYROS needs no plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Bright scheme of Paul Tol's technical note SRON/EPS/TN/09-002: told apart by colour-blind people too."""
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT, _LINE = 60, 20, 50, 50, 300, 18
_BAR, _MOST, _LABEL = 28, 240, 48
_WIDE = 1600
"""Pixels of all bars together; with more months they become thinner."""


def draw(path: Path, title: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Write stacked bars.

    Args:
        path: the PNG.
        title: what stands above.
        counts: for each name (a colour) the number by month (``2026-03``); months without any are shown too.
    """
    names = [name for name, by_month in counts.items() if by_month]
    months = _months(sorted({month for by_month in counts.values() for month in by_month}))
    totals = [sum(counts[name].get(month, 0) for name in names) for month in months]
    step = _nice(max([*totals, 1]))
    top = -(-max([*totals, 1]) // step) * step
    place = min(_BAR, max(6, _WIDE // max(1, len(months))))  # of a bar and the gap after it
    bar = place * 4 // 5
    width = max(420, _LEFT + len(months) * place + _RIGHT)
    image = Image.new("RGB", (width, _TOP + _HEIGHT + _BOTTOM + _LINE * (len(names) + 1)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    pen.text((_LEFT, 14), title, "black", ImageFont.load_default(15))
    for value in range(0, top + 1, step):
        y = _TOP + _HEIGHT - value * _HEIGHT / top
        pen.line((_LEFT - 4, y, width - _RIGHT, y), "#dddddd" if value else "black")
        pen.text((_LEFT - 8, y), str(value), "black", font, anchor="rm")
    every = max(1, -(-len(months) * 60 // (width - _LEFT)))
    for number, month in enumerate(months):
        x, y = _LEFT + (place - bar) / 2 + number * place, float(_TOP + _HEIGHT)
        for colour, name in enumerate(names):
            size = counts[name].get(month, 0) * _HEIGHT / top
            if size:
                pen.rectangle((x, y - size, x + bar, y), _COLOURS[colour % len(_COLOURS)])
            y -= size
        if number % every == 0 and x + _LABEL <= width:
            pen.text((x, _TOP + _HEIGHT + 6), month, "black", font)
    for number, name in enumerate(names):
        y = _TOP + _HEIGHT + _BOTTOM + number * _LINE
        pen.rectangle((_LEFT, y, _LEFT + 12, y + 12), _COLOURS[number % len(_COLOURS)])
        pen.text((_LEFT + 20, y - 1), f"{name}: {sum(counts[name].values())}", "black", font)
    image.save(path, "PNG")


def _months(known: Sequence[str]) -> list[str]:
    """All months from the first to the last; the last twenty years of them."""
    if not known:
        return []
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (known[0], known[-1]))
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in range(max(first, last - _MOST + 1), last + 1)]


def _nice(most: int) -> int:
    """Return the step of an axis with about five marks: 1, 2 or 5 times a power of ten."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if most <= 5 * step:
                return step
        size *= 10
