"""A night's report as Markdown and as HTML: the same tables; the HTML has the picture, too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from pyros.nights.altitude_plot import as_svg
from pyros.nights.report import NightReport, median
from pyros.planning import Site
from pyros.printable import clock_time

_STYLE = """
body { font-family: sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 0.5em 0 1.5em; }
th, td { text-align: left; padding: 0.2em 0.9em 0.2em 0; border-bottom: 1px solid #ddd; vertical-align: top; }
svg { max-width: 100%; height: auto; }
"""


class _ReportTable(NamedTuple):
    """A heading, the columns' names, and rows; ``empty`` is said where there are none."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str


def as_markdown(report: NightReport) -> str:
    """Write the report as Markdown."""
    lines = [f"# {_title(report)}", "", _summary(report), ""]
    looks = report.to_look_at()
    lines += ["## What to look at", "", *([f"* {_cell(look)}" for look in looks] or ["Nothing."]), ""]
    for table in _tables(report):
        lines += [f"## {table.heading}", ""]
        if table.rows:
            lines += [f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns)]
            lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]
        else:
            lines.append(table.empty)
        lines.append("")
    return "\n".join(lines)


def as_html(report: NightReport, site: Site) -> str:
    """Write the report as one HTML file, with the picture in it; it loads nothing from elsewhere."""
    looks = report.to_look_at()
    parts = [
        "<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(_title(report))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(_title(report))}</h1><p>{escape(_summary(report))}</p>", as_svg(report, site),
        "<h2>What to look at</h2>",
        "<ul>" + "".join(f"<li>{escape(look)}</li>" for look in looks) + "</ul>" if looks else "<p>Nothing.</p>",
    ]  # fmt: skip
    for table in _tables(report):
        parts.append(f"<h2>{escape(table.heading)}</h2>")
        if not table.rows:
            parts.append(f"<p>{escape(table.empty)}</p>")
            continue
        head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
        parts.append(f"<table><tr>{head}</tr>{body}</table>")
    return "\n".join([*parts, "</body></html>", ""])


def _title(report: NightReport) -> str:
    return f"{report.observatory}{report.unit and f', {report.unit}'}: the night of {report.night}"


def _summary(report: NightReport) -> str:
    fates = [line.fate for line in report.requests]
    dark = "it did not get dark"
    if report.dusk is not None and report.dawn is not None:
        dark = f"dark from {clock_time(report.dusk)} to {clock_time(report.dawn)} UTC"
    return (
        f"{report.site}: {dark}. Planned or asked for: {len(fates)}; observed: {fates.count('observed')};"
        f" interrupted: {fates.count('interrupted')}; failed: {fates.count('failed')}. Images: {len(report.images)}."
        f" Alerts: {len(report.alerts)}, of which {sum(alert.accepted for alert in report.alerts)} were accepted."
    )


def _tables(report: NightReport) -> list[_ReportTable]:
    return [
        _ReportTable("Where the dark hours went", ("to", "hours"),
               [(name, f"{hours:.2f}") for name, hours in report.hours().items()], ""),
        _ReportTable("Requests", ("target", "priority", "planned (UTC)", "observed (UTC)", "images", "became", "why"),
               [(line.target, str(line.priority), _from_to(line.start, line.end), _from_to(line.began, line.ended),
                 str(line.images), line.fate or "waits", line.fate_reason or line.reason) for line in report.requests],
               "Nothing was asked for."),
        _ReportTable("Alerts", ("UTC", "alert", "decision", "why", "to the order (s)", "to the slew (s)"),
               [(clock_time(alert.time), alert.alert, "observe" if alert.accepted else "leave", alert.reason,
                 _number(alert.to_observe, 3), _number(alert.to_slew, 3)) for alert in report.alerts],
               "None came."),
        _ReportTable("Images", ("", "least", "median", "greatest"), _image_rows(report), "None was analysed."),
        _ReportTable("Focus", ("UTC", "steps", "why"),
               [(clock_time(when), steps, why) for when, steps, why in report.focus], "It was not looked for."),
        _ReportTable("Unsafe", ("from", "to", "minutes", "why"),
               [(clock_time(s.begin), clock_time(s.end), f"{s.seconds / 60:.0f}", s.reason) for s in report.unsafe],
               "It was safe all the time."),
        _ReportTable("States", ("from", "minutes", "state", "why"),
               [(clock_time(s.begin), f"{s.seconds / 60:.1f}", s.what, s.reason) for s in report.spans],
               "The majordome's diary has nothing of this night."),
    ]  # fmt: skip


def _image_rows(report: NightReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, unit, values in (
        ("stars' FWHM", "arcsec", [image.fwhm for image in report.images if image.fwhm is not None]),
        ("zero point", "mag", [image.zero_point for image in report.images if image.zero_point is not None]),
    ):
        if values:
            row = (min(values), median(values), max(values))
            rows.append((f"{name} ({unit})", *(_number(value, 2) for value in row)))
    return rows


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _from_to(begin: float | None, end: float | None) -> str:
    if begin is None:
        return ""
    return (
        f"{clock_time(begin)} to {clock_time(end)}" if end is not None and end >= begin else f"{clock_time(begin)} on"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
