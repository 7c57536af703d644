"""``pyros night``: the state of the night and its plan, live in a terminal."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pyros import views
from pyros.cli.common import ConfigOption, JsonOption, UnitOption, load_units, out, plain_table, show, signals_as_ctrl_c
from pyros.clock import Deadline
from pyros.planning.night_log import NightLine
from pyros.printable import clock_time, instant
from pyros.views import ObservatoryFrame, Observed
from pyros.views.events import short_name
from pyros.views.night import NightState
from pyros.views.plan import Tonight

_LOOK_SECONDS = 0.2
_REDRAW_SECONDS = 1.0
"""Between two pictures while nothing changes: times and ages go on."""
_STYLES = {
    "OBSERVING": "bold blue", "FLATS": "bold blue", "FOCUSING": "bold blue", "OPENING": "bold blue",
    "HELD": "bold yellow", "FAULT": "bold red", "STOPPED": "bold red", "NO MAJORDOME": "bold red",
}  # fmt: skip
_WORDS = {
    "observing": "blue", "planned": "yellow", "requested": "yellow", "observed": "green", "failed": "red",
    "rejected": "dim", "retracted": "dim", "withdrawn": "dim",
}  # fmt: skip
_SAFETY = {True: ("SAFE", "bold green"), False: ("UNSAFE", "bold red"), None: ("UNKNOWN", "bold yellow")}
_FATES = {"observing": "blue", "observed": "green", "failed": "red", "interrupted": "yellow"}
_MAX_LINES = 15
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def night(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    as_json: JsonOption = False,
    unit: UnitOption = "",
    config: ConfigOption = None,
) -> None:
    """Show the state of the night and its plan, live, until Ctrl-C.

    Of several telescopes each has its part, or --unit names the one to show.
    It reads the agents' journals: nobody is asked, and it works while the
    observatory is stopped, too. Where the output is no terminal it is shown
    once. With --json each line is a whole frame, a new one at every change.

    Examples:
      pyros night
      pyros night --once
      pyros night --once --json
      pyros night --unit east
    """
    with closing(views.observed(load_units(config, unit))) as observed, signals_as_ctrl_c():  # or the picture stays
        _show(observed, once or not (out.is_terminal or as_json), as_json)


def _show(observed: Observed, once: bool, as_json: bool) -> None:
    if not once:
        (_follow_json if as_json else _follow)(observed)
    frame = views.frame(observed, 1)
    if as_json:
        _print_json(frame)
    else:
        show_frame(frame)


def _print_json(frame: ObservatoryFrame) -> None:
    out.file.write(f"{msgspec.json.encode(frame).decode()}\n")
    out.file.flush()


def _follow_json(observed: Observed) -> NoReturn:
    number, seen = 0, None
    while True:
        changes = views.changes(observed)
        if changes != seen:
            number, seen = number + 1, changes
            _print_json(views.frame(observed, number))
        Deadline(_LOOK_SECONDS).pause(_LOOK_SECONDS)


def _follow(observed: Observed) -> NoReturn:
    number, seen = 0, None
    redraw = Deadline(0.0)
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            changes = views.changes(observed)
            if changes != seen or not redraw.left():
                number, seen, redraw = number + 1, changes, Deadline(_REDRAW_SECONDS)
                live.update(Lines(*picture(views.frame(observed, number))), refresh=True)
            Deadline(_LOOK_SECONDS).pause(_LOOK_SECONDS)


def show_frame(frame: ObservatoryFrame) -> None:
    """Print a frame once."""
    for part in picture(frame):
        if isinstance(part, Table):
            show(part)
        else:
            out.print(part)


def picture(frame: ObservatoryFrame) -> list[RenderableType]:
    """Return a frame for a terminal."""
    night = frame.night
    parts: list[RenderableType] = [Text.assemble((night.observatory, "bold"), f"  {instant(night.now)} UTC")]
    parts += [*_telescope(night), *_whole(night)]
    if not frame.telescopes:
        parts += [Text(), *_plan(frame.plan)]
    for each in frame.telescopes:
        parts += [Text(), Text(each.unit, "bold"), *_telescope(each.night), *_plan(each.plan)]
    if frame.events:
        parts += [Text(), _events(frame)]
    return parts


def _telescope(night: NightState) -> list[Text]:
    """Return what a telescope has of its own."""
    lines = [Text.assemble((f"{night.word:<14}", _STYLES.get(night.word, "bold")), night.text)]
    safety = night.safety
    word, style = _SAFETY[safety.safe]
    since = f" (since {instant(safety.since)})" if safety.since is not None and safety.safe is not None else ""
    lines.append(Text.assemble((f"{word:<14}", style), f"{safety.text}{since}"))
    if night.dome is not None:
        azimuth = f", azimuth {night.dome.azimuth:.0f}°" if night.dome.azimuth is not None else ""
        lease = f", lease to {instant(night.dome.lease).rpartition(' ')[2]}" if night.dome.lease is not None else ""
        lines.append(Text(f"{'dome':<14}{night.dome.state}{azimuth}{lease}"))
    if (scope := night.telescope) is not None:
        where = f"ra {scope.ra:.4f} dec {scope.dec:+.4f}, altitude {scope.altitude:.1f}°"
        lines.append(Text(f"{'telescope':<14}{scope.state}: {where}"))
    return lines


def _whole(night: NightState) -> list[Text]:
    """Return what is the whole observatory's."""
    agents = f"{night.up} of {len(night.agents)} run"
    if night.down and night.up:
        agents += f"; not running: {', '.join(night.down)}"
    if night.failed:
        agents += f"; {night.failed} failed messages (pyros messages failed)"
    lines = [Text(f"{'agents':<14}{agents}", "" if not night.down and not night.failed else "yellow")]
    if night.hold is not None:
        lines.append(Text(f"{'HELD':<14}by {night.hold.who} since {instant(night.hold.when)}: {night.hold.why}", "red"))
    lines += [
        Text(f"{'ALARM':<14}{alarm.source} since {instant(alarm.since)}: {alarm.text}", "red") for alarm in night.alarms
    ]
    lines += [Text(f"{'journal':<14}{agent.name}: {agent.problem}", "red") for agent in night.agents if agent.problem]
    return lines


def _plan(plan: Tonight) -> list[RenderableType]:
    if plan.times is None:
        return [Text("no site, and so no night: [observatory] site names one")]
    times = plan.times
    dark = "never dark" if times.dusk is None else f"dark from {_clock(times.dusk)} to {_clock(times.dawn)} UTC"
    rises = f", rises {_clock(times.moonrise)}" if times.moonrise is not None else ""
    sets = f", sets {_clock(times.moonset)}" if times.moonset is not None else ""
    head = Text(f"night of {times.night}: {dark}; Moon {times.moon_lit:.0%} lit{rises}{sets}")
    there = [line for line in plan.lines if line.begins is not None]
    rest = len(plan.lines) - len(there)
    parts: list[RenderableType] = [head]
    if there:
        parts.append(_lines(there[-_MAX_LINES:]))
    else:
        parts.append(Text("nothing is planned", "dim"))
    if rest:
        parts.append(Text(f"{rest} requests have no place in it: pyros plan tells why", "dim"))
    return parts


def _lines(lines: list[NightLine]) -> Table:
    numbers = ("priority", "airmass")
    table = plain_table("start", "end", "target", *numbers, "filters", "", right=numbers)
    for line in lines:
        fate = f"{line.fate}, {line.images} images" if line.images else line.fate
        table.add_row(
            _clock(line.begins), _clock(line.ends), short_name(line.target), str(line.priority),
            "" if line.airmass is None else f"{line.airmass:.2f}", line.filters,
            Text(fate or "planned", _FATES.get(line.fate, "")),
        )  # fmt: skip
    return table


def _events(frame: ObservatoryFrame) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("event", "came", "", "why", "found"):
        table.add_column(heading, no_wrap=heading != "why", overflow="fold")
    for event in frame.events:
        found = ", ".join(f"{each.filter} {each.magnitude:.2f}" for each in event.found)
        came = "" if event.came is None else f"{_ago(frame.night.now - event.came)} ago"
        table.add_row(short_name(event.name), came, Text(event.word, _WORDS.get(event.word, "")), event.why, found)
    return table


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else clock_time(seconds)


def _ago(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.0f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} d"
