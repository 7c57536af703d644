"""``pyros plan``: a night as a table and a picture, and why the rest is not in it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from pyros.cli.common import (
    ConfigOption,
    JsonOption,
    UnitOption,
    err,
    load_unit,
    load_units,
    looking,
    out,
    plain_table,
    read_evening,
    show,
    user_name,
    writing,
)
from pyros.cli.request.common import RequestDesk, TimeoutOption
from pyros.cli.request.importing import read_file
from pyros.errors import PlanningError, PyrosError
from pyros.messages import Observation, Plan
from pyros.planning import night_log
from pyros.planning.cadence import wanted_until
from pyros.planning.night_log import NightLine
from pyros.planning.night_sky import NightSky, night_of
from pyros.planning.planner import ROUNDS, plan_night
from pyros.printable import clock_time
from pyros.views.plan import nights, tonight

_DAY_SECONDS = 86_400.0
_FATES = {"observing": "is being observed", "observed": "observed"}


class _Night(NamedTuple):
    """A night that is looked at."""

    name: str
    dusk: float
    dawn: float
    noon: float


def plan(
    night: Annotated[
        str | None, typer.Option("--date", metavar="DATE", help="The date of the night's evening: 2026-12-01.")
    ] = None,
    what_if: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plan it with the requests of a file, which are not sent.")
    ] = None,
    filter_: Annotated[str, typer.Option("--filter", metavar="NAME", help="As in pyros request import.")] = "",
    timezone: Annotated[str | None, typer.Option(metavar="NAME", help="As in pyros request import.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a picture of the night into this PNG file.")
    ] = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = 10.0,
    unit: UnitOption = "",
    config: ConfigOption = None,
) -> None:
    """Show the plan of tonight, or of any night: what is observed when, and why the rest is not.

    Tonight and nights of the past are shown as the scheduler has planned and
    done them. A night to come is planned now, of the requests that there are.
    Of several telescopes each has its plan, or --unit names the one to show.

    Examples:
      pyros plan
      pyros plan --date 2026-12-24 --picture night.png
      pyros plan --what-if requests.yaml
    """
    if picture is not None and picture.suffix.lower() != ".png":
        raise typer.BadParameter(f"--picture: {picture} must end in .png")
    for name, given in (("--filter", filter_), ("--timezone", timezone)):
        if given and what_if is None:
            raise typer.BadParameter(f"{name}: is for the file of --what-if")
    loaded = load_units(config, unit)
    if len(loaded.telescopes) > 1 and picture is not None:
        load_unit(config, unit)  # which asks for one
    for each in [loaded.seen_from(name) for name in loaded.telescopes] or [loaded]:
        if len(loaded.telescopes) > 1 and not as_json:
            out.print(each.unit, style="bold")
        _plan(RequestDesk(each, timeout), night, what_if, filter_, timezone, picture, as_json)


def _plan(
    desk: RequestDesk, night: str | None, what_if: Path | None, filter_: str, timezone: str | None,
    picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    asked = _asked(desk, night)
    added: list[Observation] = []
    if what_if is not None:
        if asked.dawn <= desk.now:
            raise PyrosError(f"the night of {asked.name} is over: nothing can be added to it")
        added = desk.review(read_file(what_if, filter_, timezone), user_name())
    lines = [] if added else _kept(desk, asked)
    without: Plan | None = None
    if not lines and asked.dawn > desk.now:
        with err.status(f"planning the night of {asked.name}"):
            lines, made = _planned(desk, asked, added)
            if added:
                _, without = _planned(desk, asked, [])
    if as_json:
        for line in lines:
            own = {"unit": desk.config.unit} if desk.config.unit else {}
            out.print(json.dumps(own | msgspec.to_builtins(line)))
    else:
        _show(desk, asked, lines)
        if without is not None:
            _show_difference(made, without, added)
    if picture is not None:
        _draw(desk, asked, lines, picture)
        if not as_json:
            out.print(f"picture: {picture}")


def _asked(desk: RequestDesk, text: str | None) -> _Night:
    """Return the night that is asked for: the one that is or comes next, or that of an evening."""
    if text is None:
        found = night_of(desk.site, datetime.fromtimestamp(desk.now, UTC))
        name = night_log.night_name(desk.site, (found[0].timestamp() + 60) if found else desk.now)
    else:
        try:
            name = read_evening(text).isoformat()
        except ValueError:
            raise typer.BadParameter(f"--date: {text!r} is not a date such as 2026-12-01") from None
    noon = night_log.noon_before(desk.site, date.fromisoformat(name))
    found = night_of(desk.site, datetime.fromtimestamp(noon, UTC) + timedelta(minutes=1))
    if found is None or found[0].timestamp() > noon + _DAY_SECONDS:
        raise PlanningError(
            f"in the night of {name} the Sun does not go below {desk.site.twilight:g}° at {desk.site.name}"
        )
    return _Night(name, found[0].timestamp(), found[1].timestamp(), noon)


def _kept(desk: RequestDesk, night: _Night) -> list[NightLine]:
    """Return what the scheduler has kept of a night; an error for one of the past of which there is nothing."""
    with looking(desk.config) as observed:
        lines, known = list(tonight(observed, night.name).lines), nights(observed)
    if not lines and night.dawn <= desk.now:
        span = f"; kept are {len(known)} nights from {known[0]} to {known[-1]}" if known else ""
        raise PyrosError(f"nothing is kept of the night of {night.name}: nothing was asked for then{span}")
    return lines


def _planned(desk: RequestDesk, night: _Night, added: list[Observation]) -> tuple[list[NightLine], Plan]:
    """Plan a night of what there is, and of what is added."""
    begin = max(desk.now, night.dusk)
    state = msgspec.structs.replace(
        desk.state, requests=desk.state.requests | {each.id: each for each in added}, running=None
    )
    requests = {each.id: each for each in wanted_until(state, begin, night.noon + _DAY_SECONDS)}
    made = plan_night(list(requests.values()), desk.site, begin, end=night.dawn, rounds=ROUNDS)
    lines = night_log.lines_of(night.name, made, requests, desk.now)
    return list(lines.values()), made


def _show(desk: RequestDesk, night: _Night, lines: list[NightLine]) -> None:
    sky = NightSky(desk.site, night.dusk, night.dawn, 600.0)
    lit = float(sky.moon_illumination[len(sky.times) // 2])
    up = sky.times[sky.moon_altitude > 0]
    moon = f"up from {_clock(up[0])} to {_clock(up[-1])}" if up.size else "not up"
    out.print(
        f"night of {night.name} at {desk.site.name}: dark from {_clock(night.dusk)} to {_clock(night.dawn)} UTC;"
        f" Moon {lit:.0%} lit, {moon}"
    )
    there = [each for each in lines if each.begins is not None]
    rest = [each for each in lines if each.begins is None]
    if there:
        numbers = ("priority", "airmass")
        table = plain_table("start", "end", "target", "id", *numbers, "filters", "why", right=numbers)
        for each in there:
            table.add_row(
                _clock(each.begins), _clock(each.ends), each.target, each.observation, str(each.priority),
                "" if each.airmass is None else f"{each.airmass:.2f}", each.filters, _why(each),
            )  # fmt: skip
        show(table)
    else:
        out.print("nothing is planned")
    if rest:
        out.print("\nnot planned:")
        table = plain_table("target", "id", "priority", "why not", right=("priority",))
        for each in sorted(rest, key=lambda line: (-line.priority, line.observation)):
            table.add_row(each.target, each.observation, str(each.priority), _why(each))
        show(table)


def _show_difference(made: Plan, without: Plan, added: list[Observation]) -> None:
    """Tell what the added requests bring, and what gives way to them."""
    new = {each.id for each in added}
    there = {each.observation.id for each in made.observations}
    before = {each.observation.id for each in without.observations}
    ours = [each for each in there if each in new or each.rpartition("-due")[0] in new]
    out.print(f"\nwith {len(added)} more requests, {len(ours)} of which are planned: worth {made.value:.1f},"
              f" without them {without.value:.1f}")  # fmt: skip
    if gone := sorted(before - there):
        out.print(f"gives way to them: {', '.join(gone)}")


def _why(line: NightLine) -> str:
    """Return what became of a line, else why it is planned so, or not at all."""
    if line.fate in _FATES:
        images = f", {line.images} images" if line.images else ""
        return f"{_FATES[line.fate]}{images}"
    if line.fate:
        images = f" after {line.images} images" if line.images else ""
        return f"{line.fate}{images}: {line.fate_reason}"
    return line.reason


def _draw(desk: RequestDesk, night: _Night, lines: list[NightLine], path: Path) -> None:
    from pyros.planning.picture import draw_night  # noqa: PLC0415  Pillow is slow to load

    with writing(path):
        draw_night(path, desk.site, lines, night.dusk, night.dawn, desk.now)


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else clock_time(seconds)
