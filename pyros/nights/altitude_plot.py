"""The picture of a night: the targets' altitudes against the time, drawn as SVG; no library is needed for that."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.sax.saxutils import escape

from pyros.nights.report import NightReport, Span
from pyros.planning import Site
from pyros.planning.night_log import NightLine
from pyros.planning.visibility import altitudes_azimuths

MAX_TARGETS = 12
"""So many targets are drawn, those that were observed first."""

_WIDTH, _HEIGHT = 960, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 220, 64, 56
_STEP = 600.0  # seconds between two points of a curve
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f",
            "#bcbd22", "#003f5c", "#a05195")  # fmt: skip
_BARS = {"unsafe": "#4a6fa5", "fault": "#c0392b", "held": "#8e44ad", "flats": "#d4ac0d", "focusing": "#16a085"}
_INK, _GRID = "#222222", "#d8d8d8"


class _PlotAxes:
    """Where times and altitudes lie in the picture."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end

    def x(self, when: float) -> float:
        share = (min(max(when, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, altitude: float) -> float:
        return _HEIGHT - _BOTTOM - altitude / 90 * (_HEIGHT - _TOP - _BOTTOM)


def as_svg(report: NightReport, site: Site) -> str:
    """Draw a night: altitudes in degrees from sunset to sunrise (UTC), thick while a target was observed.

    What kept the dome closed stands in a bar above.
    """
    axes = _PlotAxes(report.sunset, report.sunrise)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f"<title>{escape(report.observatory)}: the night of {report.night}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_twilight(report, axes),
        *_frame(report, axes),
        *_bars(report, axes),
    ]
    for number, target in enumerate(_targets(report)):
        parts += _curve(target, report, site, axes, _COLOURS[number % len(_COLOURS)])
        parts += _legend(number, target, _COLOURS[number % len(_COLOURS)])
    return "\n".join([*parts, "</svg>"])


def _targets(report: NightReport) -> list[NightLine]:
    """Return what is drawn: what was observed, then what was planned; each place in the sky once."""
    chosen: dict[tuple[float, float], NightLine] = {}
    for line in sorted(report.requests, key=lambda line: (line.began is None, line.start is None)):
        if line.begins is not None:
            chosen.setdefault((line.ra, line.dec), line)
    return list(chosen.values())[:MAX_TARGETS]


def _twilight(report: NightReport, axes: _PlotAxes) -> list[str]:
    top, height = axes.y(90), axes.y(0) - axes.y(90)
    parts = [f'<rect x="{_LEFT}" y="{top}" width="{axes.x(axes.end) - _LEFT:.1f}" height="{height}" fill="#fff3d6"/>']
    if report.dusk is not None and report.dawn is not None:
        x = axes.x(report.dusk)
        width = axes.x(report.dawn) - x
        parts.append(f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="#eef1f8"/>')
    return parts


def _frame(report: NightReport, axes: _PlotAxes) -> list[str]:
    parts = []
    right = axes.x(axes.end)
    for altitude in range(0, 91, 15):
        y = axes.y(altitude)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{altitude}°", "end"))
    hours = (report.sunrise - report.sunset) / 3600
    step = 3600 if hours <= 14 else 7200
    when = (int(report.sunset // step) + 1) * step
    while when < report.sunrise:
        x = axes.x(when)
        parts.append(f'<line x1="{x:.1f}" y1="{axes.y(0):.1f}" x2="{x:.1f}" y2="{axes.y(90):.1f}" stroke="{_GRID}"/>')
        parts.append(_text(x, axes.y(0) + 20, f"{datetime.fromtimestamp(when, UTC):%H}", "middle"))
        when += step
    centre = (_LEFT + right) / 2
    middle = axes.y(45)
    parts.append(
        _text(
            centre, _HEIGHT - 12, f"UTC (hours), night of {report.night}; thick: observed; yellow: twilight", "middle"
        )
    )
    parts.append(f'<g transform="rotate(-90 18 {middle})">{_text(18, middle, "altitude (degrees)", "middle")}</g>')
    parts.append(f'<rect x="{_LEFT}" y="{axes.y(90)}" width="{right - _LEFT:.1f}" height="{axes.y(0) - axes.y(90)}"'
                 f' fill="none" stroke="{_INK}"/>')  # fmt: skip
    return parts


def _bars(report: NightReport, axes: _PlotAxes) -> list[str]:
    """Draw a bar of what kept it from observing, with a legend of what is in it."""
    parts, x = [], float(_LEFT)
    for what, colour in _BARS.items():
        spans: tuple[Span, ...] = report.unsafe if what == "unsafe" else report.spans
        shown = [span for span in spans if span.what == what and span.end > axes.begin and span.begin < axes.end]
        for span in shown:
            left, right = axes.x(span.begin), axes.x(span.end)
            parts.append(f'<rect x="{left:.1f}" y="{_TOP - 16}" width="{max(1.5, right - left):.1f}" height="12"'
                         f' fill="{colour}"><title>{escape(span.reason)}</title></rect>')  # fmt: skip
        if shown:
            parts.append(f'<rect x="{x:.0f}" y="{_TOP - 42}" width="12" height="12" fill="{colour}"/>')
            parts.append(_text(x + 17, _TOP - 32, what, "start"))
            x += 34 + 8 * len(what)
    return parts


def _curve(line: NightLine, report: NightReport, site: Site, axes: _PlotAxes, colour: str) -> list[str]:
    times = _times(report.sunset, report.sunrise)
    parts = [_polyline(line, times, site, axes, f'stroke="{colour}" stroke-width="1.2" stroke-opacity="0.6"')]
    there = {each.observation for each in report.requests if (each.ra, each.dec) == (line.ra, line.dec)}
    for span in report.working:
        if span.what in there:
            times = _times(span.begin, max(span.end, span.begin + 60))
            parts.append(_polyline(line, times, site, axes, f'stroke="{colour}" stroke-width="5"'))
    return parts


def _times(begin: float, end: float) -> list[float]:
    count = max(1, int((end - begin) / _STEP))
    return [begin + (end - begin) * number / count for number in range(count + 1)]


def _polyline(line: NightLine, times: list[float], site: Site, axes: _PlotAxes, style: str) -> str:
    points = []
    for when in times:
        altitude, _ = altitudes_azimuths(site, [(line.ra, line.dec)], datetime.fromtimestamp(when, UTC))[0]
        if altitude >= 0:
            points.append(f"{axes.x(when):.1f},{axes.y(altitude):.1f}")
    return f'<polyline points="{" ".join(points)}" fill="none" stroke-linecap="round" {style}/>'


def _legend(number: int, line: NightLine, colour: str) -> list[str]:
    x, y = _WIDTH - _RIGHT + 16, _TOP + 8 + 30 * number
    fate = line.fate or "planned"
    name = line.target if len(line.target) <= 22 else line.target[:21] + "…"
    return [f'<line x1="{x}" y1="{y}" x2="{x + 20}" y2="{y}" stroke="{colour}" stroke-width="4"/>',
            _text(x + 26, y + 4, name, "start"), _text(x + 26, y + 15, fate, "start", 'font-size="9"')]  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_INK}" {more}>{escape(text)}</text>'
