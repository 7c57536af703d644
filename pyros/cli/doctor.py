"""``pyros doctor``: is the observatory well?"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group as Lines
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pyros import views
from pyros.cli.common import LONGEST_WAIT, ConfigOption, complain, facts_table, out, show
from pyros.clock import Deadline
from pyros.errors import ConfigError
from pyros.health.loading import BUILT_IN, SITE_FILE
from pyros.health.report import EXIT_CODES, Report, Verdict, health_json, nagios
from pyros.health.running import look
from pyros.printable import instant

_WORDS: dict[Verdict, str] = {
    "pass": "pass", "skip": "don't apply", "warn": "warn", "fail": "fail", "unknown": "are unknown",
}  # fmt: skip
_STYLES: dict[Verdict, str] = {
    "pass": "green", "skip": "dim", "warn": "yellow", "fail": "bold red", "unknown": "magenta",
}  # fmt: skip


def doctor(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHECK...", help="Only these checks: disk.dome, or disk.*", show_default=False),
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only checks of this tag.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Show also checks that pass or don't apply.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: application/health+json.")] = False,
    as_nagios: Annotated[
        bool, typer.Option("--nagios", help="For Nagios and Icinga: one line, then the checks that failed.")
    ] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            max=LONGEST_WAIT,
            metavar="SECONDS",
            help="Look again each so many seconds, until Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Look whether the observatory is well, by all checks: those of PYROS, of its agents, and the site's own.

    The site's own checks are in the file site_health.py beside the configuration
    (docs/health.md). The exit code is 0 when all is well, 1 for a warning, 2
    for a failure, 3 for what could not be looked at: Nagios' own.

    Examples:
      pyros doctor
      pyros doctor --watch 10
      pyros doctor --tag disk --all
      pyros doctor --nagios
    """
    try:
        observed = views.observed(config)
    except ConfigError as error:
        if as_nagios:
            out.print(f"PYROS UNKNOWN - {error.problems[0]}")
        else:
            complain(str(error))
        raise typer.Exit(EXIT_CODES["unknown"]) from None
    try:
        report = look(observed, names or (), tags or ())
        if not report.checks:
            complain(f"no such check; they begin with: {', '.join(BUILT_IN)}, or are in {SITE_FILE}")
            raise typer.Exit(EXIT_CODES["unknown"])
        if watch is not None:
            with Live(_table(report, every), console=out, auto_refresh=False) as live:
                while True:
                    Deadline(watch).pause(watch)
                    report = look(observed, names or (), tags or ())
                    live.update(_table(report, every), refresh=True)
        if as_json:
            out.print(health_json(report).decode())
        elif as_nagios:
            out.print(nagios(report), end="")
        else:
            show(_rows(report, every))
            out.print(_summary(report))
    finally:
        observed.close()
    raise typer.Exit(report.exit_code)


def _table(report: Report, every: bool) -> Any:
    return Lines(_rows(report, every), _summary(report))


def _rows(report: Report, every: bool) -> Table:
    table = facts_table()
    for check in report.checks if every else report.bad:
        table.add_row(Text(check.verdict, _STYLES[check.verdict]), check.name, check.text or check.about)
    return table


def _summary(report: Report) -> Text:
    counts = {verdict: sum(check.verdict == verdict for check in report.checks) for verdict in EXIT_CODES}
    text = ", ".join(f"{counts[verdict]} {word}" for verdict, word in _WORDS.items() if counts[verdict])
    return Text(f"{report.observatory} at {instant(report.time)} UTC: {text}", _STYLES[report.verdict])
