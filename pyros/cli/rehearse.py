"""``pyros rehearse``: whole nights of an observatory, on virtual time, with all that can go wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pyros import config as configuration
from pyros.cli.common import ConfigOption, complain, err, out, progress_bar, read_evening, short
from pyros.cli.request.importing import read_file
from pyros.errors import ConfigError
from pyros.messages import Observation
from pyros.planning.intake.names import NamedPosition, TargetNames
from pyros.planning.intake.validation import Reviewer
from pyros.rehearsal import script as scripts
from pyros.rehearsal.draw import LEVELS
from pyros.rehearsal.plan import NightPlan, NightResult
from pyros.rehearsal.rehearse import command, plans, quiet, reduce, rehearse, rehearse_night
from pyros.rehearsal.report import clock, script_file, write_report

_EQUINOX = "2026-03-20"


class RehearsedImages(StrEnum):
    """What the camera's images are."""

    none = "none"
    small = "small"
    full = "full"


def rehearse_nights(
    config: ConfigOption = None,
    nights: Annotated[int, typer.Option(min=1, max=100_000, help="How many nights, each with the next seed.")] = 1,
    begin: Annotated[
        str, typer.Option("--from", metavar="DATE", help="The evening of the first night, YYYY-MM-DD.")
    ] = _EQUINOX,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first night; it decides all that is random.")] = 1,
    faults: Annotated[
        str, typer.Option(metavar="none|light|heavy|FILE", help="How much goes wrong, or a script of faults.")
    ] = "heavy",
    alerts: Annotated[
        str, typer.Option(metavar="RATE|DIR", help="New events in ten hours; or a folder of packets.")
    ] = "30",
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Alert rules, in the place of the configuration's.")
    ] = None,
    requests: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of people's requests, as pyros request import takes it.")
    ] = None,
    images: Annotated[
        RehearsedImages, typer.Option(help="none: neither drawn nor written nor analysed; small: 64 x 64 pixels.")
    ] = RehearsedImages.none,
    hours: Annotated[
        float, typer.Option(min=0, max=24, help="Only so many hours about midnight, with three times the faults.")
    ] = 0.0,
    together: Annotated[
        int,
        typer.Option(
            min=1, max=366, help="So many of the nights follow each other on the same journals, days between."
        ),
    ] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="How many nights at once, each in a process.")] = 1,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where report.md goes, and the scripts of nights that fail.")
    ] = None,
    shorten: Annotated[
        bool, typer.Option("--reduce", help="Reduce the first night that fails to its shortest fault script.")
    ] = False,
) -> None:
    """Rehearse whole nights of the observatory, with all that can go wrong.

    Every agent, the broker, the guardian and simulators of all instruments run
    from sunset to sunrise on virtual time, each as a process that may be
    killed, on a network that breaks. What must hold in every night is looked
    at by what the devices really do. A seed gives the same night every time.
    Ends with 1 when a rule is broken.

    Examples:
      pyros rehearse
      pyros rehearse --nights 100 --jobs 4 --report rehearsal/
      pyros rehearse --nights 7 --together 7 --faults light
      pyros rehearse --seed 17 --reduce
      pyros rehearse --seed 17 --faults rehearsal/seed-17.faults
    """
    plan = _plan(config, begin, seed, faults, alerts, rules, images.value)
    asked = () if requests is None else _requests(config, requests, begin)
    plan = msgspec.structs.replace(
        plan, hours=hours, together=together, requests=asked, requests_file=str(requests or "")
    )
    results: list[NightResult] = []
    with _ended_by_sigterm(), _progress() as progress:
        task = progress.add_task("nights", total=nights)
        for result in _results(plan, nights, jobs):
            results.append(result)
            progress.advance(task, min(together, nights))
            progress.console.print(_line(result), style="red" if result.violations else "")
            for violation in result.violations:
                progress.console.print(f"    {clock(violation.time)} {violation.rule}: {violation.text}")
    results.sort(key=lambda result: result.seed)
    broken = [result for result in results if result.violations]
    if report is not None:
        out.print(f"report: {short(write_report(report, plan, results))}")
    for note in sorted({note for result in results for note in result.notes}):
        out.print(f"note: {note}")
    if not broken:
        out.print(f"no rule was broken in {nights} {'night' if nights == 1 else 'nights'}")
        return
    first = broken[0]
    left = nights - (first.seed - plan.seed) * together
    seeded = msgspec.structs.replace(plan, seed=first.seed, date=first.date, together=min(together, left))
    out.print(f"again: {command(seeded, Path(faults) if plan.script is not None else None)}")
    if shorten:
        _reduce(seeded, first, report)
    raise typer.Exit(1)


def _plan(
    config: Path | None, begin: str, seed: int, faults: str, alerts: str, rules: Path | None, images: str
) -> NightPlan:
    """Return the first night's plan; raises ConfigError with every mistake."""
    loaded, problems = configuration.load(config), list[str]()
    values: dict[str, object] = {}
    try:
        read_evening(begin)
    except ValueError:
        problems.append(f"--from: {begin}: must be a date, such as {_EQUINOX}")
    if faults in LEVELS:
        values["faults"] = faults
    else:
        try:
            values["script"] = scripts.write(scripts.load(Path(faults)))
        except ConfigError as error:
            known = f"; or write one of {', '.join(LEVELS)}" if not Path(faults).exists() else ""
            problems += [f"{problem}{known}" for problem in error.problems]
    try:
        values["alerts"] = float(alerts)
    except ValueError:
        values["alerts_folder"] = str(Path(alerts).absolute())
        if not Path(alerts).is_dir():
            problems.append(f"--alerts: {alerts}: must be a number of events in ten hours, or a folder of packets")
    if not 0 <= float(str(values.get("alerts", 0))) <= 10_000:
        problems.append(f"--alerts: {alerts}: must be a number from 0 to 10000")
    if rules is not None and not rules.is_file():
        problems.append(f"--rules: {rules}: no such file")
    if problems:
        raise ConfigError(problems)
    rules_path = "" if rules is None else str(rules.absolute())
    plan = NightPlan(config=str(loaded.path), date=begin, seed=seed, rules=rules_path, images=images)  # type: ignore[arg-type]
    return msgspec.structs.replace(plan, **values)


def _requests(config: Path | None, file: Path, begin: str) -> tuple[Observation, ...]:
    """Read a file of requests; names are found in the configuration's own file only. Raises ConfigError."""
    loaded = configuration.load(config)
    names = TargetNames.load(loaded.targets) if loaded.targets != configuration.NOWHERE else TargetNames()

    def find(name: str) -> NamedPosition:
        found = names.get(name)
        if found is None:
            raise ValueError(f"{name!r} is in no file of names, and a rehearsal asks nobody; give ra and dec")
        return found

    drafts = read_file(file)
    evening = datetime.fromisoformat(begin).replace(tzinfo=UTC).timestamp()
    reviewer = Reviewer(find, evening)
    asked = [reviewer.review(draft) for draft in drafts.drafts]
    if problems := [*drafts.problems, *reviewer.problems]:
        raise ConfigError(problems)
    return tuple(each for each in asked if each is not None)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C is taken: what the nights have, processes and folders, goes, too. In the main thread."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _results(plan: NightPlan, nights: int, jobs: int) -> Iterator[NightResult]:
    every = plans(plan, nights)
    if len(every) == 1:
        quiet()
        return iter([rehearse_night(every[0])])
    return rehearse(every, min(jobs, len(every), os.cpu_count() or 1))


def _progress() -> Progress:
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return progress_bar(TextColumn("{task.description}"), BarColumn(), *columns)


def _line(result: NightResult) -> str:
    counts = result.counts
    return (
        f"seed {result.seed}, {result.date}: {'BROKEN' if result.violations else 'good'};"
        f" {result.hours:.1f} h in {result.cpu:.1f} s, {counts['kills']} kills, {counts['faults']} faults,"
        f" {counts['alerts']} alerts, {counts['slews']} slews, {counts['exposures']} exposures; {result.digest}"
    )


def _reduce(plan: NightPlan, result: NightResult, report: Path | None) -> None:
    """Find the shortest script, write it, and print the command that repeats it."""

    def on_try(tries: int, lines: int) -> None:
        err.print(f"try {tries}: {lines} lines", end="\r" if err.is_terminal else "\n")

    shorter = reduce(plan, result, on_try)
    folder = report or Path()
    folder.mkdir(parents=True, exist_ok=True)
    path = script_file(folder, result).with_suffix(".reduced.faults")
    path.write_text(shorter.script or "", "utf-8")
    out.print(f"{result.violations[0].rule}: with these {len((shorter.script or '').splitlines())} lines:")
    for line in (shorter.script or "").splitlines():
        out.print(f"    {line}")
    out.print(f"again: {command(shorter, path)}")
    if not shorter.script:
        complain("it fails without any fault")
