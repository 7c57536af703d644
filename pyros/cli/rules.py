"""``pyros rules``: tried on the past, read again by the running alert manager, and templates to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pyros import config as configuration
from pyros.alerts.alert import Alert
from pyros.alerts.archive.query import ArchivedPacket, Query
from pyros.alerts.rules import templates
from pyros.alerts.rules.backtest import Backtest, Observability, ObservabilityOf, RuleBacktest, backtest_rules
from pyros.alerts.rules.lint import never_fitting, unknown_notice_types, unknown_streams, unmatched_names
from pyros.alerts.rules.rules import Decision, Rules
from pyros.cli.alerts.histogram import draw
from pyros.cli.alerts.options import ArchiveOption, SinceOption, UntilOption, reading
from pyros.cli.common import (
    LONGEST_WAIT,
    ConfigOption,
    Group,
    JsonOption,
    complain,
    err,
    out,
    plain_table,
    progress_bar,
    show,
    writing,
)
from pyros.config import StandardAgents
from pyros.errors import PyrosError
from pyros.messages import RELOAD_RULES
from pyros.planning import Site, SiteSky
from pyros.planning.visibility import observable_after
from pyros.printable import instant
from pyros.sender import Sender

app = typer.Typer(cls=Group, help="Alert rules: try them on the past, reload them, begin with a template.")
_AHEAD = 86_400.0  # seconds
_TOLD = 1_000
"""Packets after which the bar moves on."""


@app.command("try")
def try_(
    file: Annotated[Path, typer.Argument(metavar="RULES.yaml", help="The rules to try.")],
    since: SinceOption = None,
    until: UntilOption = None,
    site: Annotated[
        Path | None,
        typer.Option("--site", metavar="FILE", help="Another site than the observatory's.", show_default=False),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Write a picture of the events by month into this PNG file.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    archive: ArchiveOption = None,
    config: ConfigOption = None,
) -> None:
    """Run rules over the archive: how often each would have triggered, and what came of it.

    For each rule: events (each counts for the rule that accepts it first),
    those observable at once, later that night (until the request expires, 24
    hours at most) or never, those whose position was improved, and those taken
    back, with the median time until then.

    Examples:
      pyros rules try observatory/alert_rules.yaml
      pyros rules try mine.yaml --since 2025-01-01 --site observatory/site.yaml --png months.png
    """
    tried = Rules.load(file)
    ivo = ""
    if archive is None:
        loaded = configuration.load(config)
        site = site or loaded.site
        ivo = loaded.broker.ivo if loaded.broker else ""
    place = Site.load(site) if site is not None else None
    if place is None and tried.asks_of_sky:
        asked = ", ".join(tried.asks_of_sky)
        raise PyrosError(f"{file}: asks for {asked}, which depend on where one stands; name a site with --site")
    see = _observability_from(place) if place is not None else None
    sky = SiteSky(place) if place is not None else None
    columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
    with closing(reading(archive, config)) as reader, progress_bar(*columns) as progress:
        total = None if progress.disable else reader.count(since, until)
        task = progress.add_task(file.name, total=total)
        entries = _told(reader.find(Query(since=since, until=until)), progress, task)
        backtest = backtest_rules(tried, entries, see, sky, ivo)
    if png is not None:
        _draw(png, file, backtest)
    if as_json:
        for rule in backtest.rules.values():
            out.file.write(json.dumps(_as_dict(rule)) + "\n")
    else:
        _show(backtest, see is not None)
        if png is not None:
            out.print(f"events by month: {png}")
    for line in unmatched_names(tried, backtest):
        err.print(line)


@app.command()
def reload(
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for the agent.")
    ] = 10.0,
    config: ConfigOption = None,
) -> None:
    """Have the running alert manager read its rules again, without a restart.

    The file is checked before: with a mistake in it nothing is sent, the rules
    in force stay, and every mistake is told. Requests that were made by the old
    rules stay as they are.

    Examples:
      pyros rules reload
    """
    loaded = configuration.load(config)
    file = loaded.required("alert_rules", "pyros rules reload")
    rules = Rules.load(file)
    for lint in (unknown_streams, unknown_notice_types, never_fitting):
        for line in lint(rules):
            complain(f"{file}: {line}")
    Sender.send_to(StandardAgents.ALERT_MANAGER, RELOAD_RULES, config=loaded, timeout=timeout)
    out.print(f"{file}: {len(rules.rules)} rules are in force")


@app.command()
def template(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="The kind of team, one of the list.", show_default=False)
    ] = None,
) -> None:
    """Print the rules that a kind of team would begin with; without KIND the list of kinds.

    Examples:
      pyros rules template
      pyros rules template grb-robotic > observatory/alert_rules.yaml
    """
    if kind is None:
        table = plain_table("kind", "for", wraps=("for",))
        for each in templates.KINDS:
            table.add_row(each, templates.purpose(each))
        show(table)
        return
    if kind not in templates.KINDS:
        raise typer.BadParameter(f"there is no template {kind!r}; there are {', '.join(templates.KINDS)}")
    out.file.write(templates.template(kind))


def _told(entries: Iterator[ArchivedPacket], progress: Progress, task: TaskID) -> Iterator[ArchivedPacket]:
    """Pass the packets on, and move the bar on."""
    for count, entry in enumerate(entries, 1):
        yield entry
        if count % _TOLD == 0:
            progress.update(task, completed=count)


def _observability_from(site: Site) -> ObservabilityOf:
    def see(alert: Alert, now: datetime, decision: Decision) -> Observability:
        """Whether it could be observed before its request expires, 24 hours at most."""
        assert alert.target is not None, "the rules accept nothing without a position"
        patience = decision.expires_after or _AHEAD
        seconds = observable_after(site, *alert.target, now, decision.min_altitude, patience)
        return "never" if seconds is None else "later" if seconds else "at once"

    return see


def _draw(png: Path, file: Path, backtest: Backtest) -> None:
    with writing(png):
        draw(png, f"Events by month, {file.name}", {rule.name: rule.months for rule in backtest.rules.values()})


def _as_dict(rule: RuleBacktest) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "events": rule.events,
        "at_once": rule.seen["at once"],
        "later": rule.seen["later"],
        "never": rule.seen["never"],
        "updated": rule.updated,
        "retracted": len(rule.retracted),
        "retracted_after": sorted(rule.retracted),
        "refused": rule.refused,
        "without_position": rule.unplaced,
        "months": dict(sorted(rule.months.items())),
    }


def _show(backtest: Backtest, sited: bool) -> None:
    outcomes = ("at once", "later", "never") if sited else ()
    numbers = ("events", *outcomes, "updated", "retracted", "after")
    table = plain_table("rule", *numbers, right=numbers)
    for rule in backtest.rules.values():
        counts = [rule.events, *(rule.seen[word] for word in outcomes), rule.updated, len(rule.retracted)]
        after = _span(median(rule.retracted)) if rule.retracted else ""
        table.add_row(rule.name, *map(str, counts), after)
    show(table)
    span = ""
    if backtest.first is not None and backtest.last is not None:
        span = f", {instant(backtest.first)} to {instant(backtest.last)} UTC"
    out.print(f"{backtest.packets} packets, {backtest.alerts} different alerts{span}")


def _span(seconds: float) -> str:
    """Return a duration in words for people."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
