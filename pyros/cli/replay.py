"""``pyros replay``: a night of the past, decided once more by today's code and rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, JsonOption, complain, err, evening, out
from pyros.config import Config
from pyros.errors import PyrosError
from pyros.planning import Site
from pyros.rehearsal.rehearse import quiet
from pyros.rehearsal.replay import ReplayResult, nights, replay_night

_DIFFERS, _CANNOT = 1, 2


def replay(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="The data folder of an observatory or a rehearsal, such as var.")
    ],
    night: Annotated[
        str, typer.Option("--night", metavar="DATE", help="The date of the night's evening. The last one by default.")
    ] = "",
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Alert rules, in place of the configuration's.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Decide once more what a night's messages asked: which decisions differ today, and why.

    The alert manager and the scheduler each take again, in order and at its
    time, what their journals say they took, with today's code, rules and site;
    nothing is sent and the folder is only read. A difference is the agent's
    own: what another agent would have made of it isn't followed. Of several
    telescopes each has its scheduler replayed; which of them was chosen isn't,
    for what was said of the weather is kept by no journal.

    Ends with 0 when nothing differs, 1 when something does, 2 when the night
    can't be replayed.

    Examples:
      pyros replay var
      pyros replay var --night 2026-11-29 --rules mine.yaml
    """
    try:
        replays = _replayed(_in_place(configuration.load(config), data, rules), night)
    except PyrosError as error:
        complain(str(error))
        raise typer.Exit(_CANNOT) from None
    for each in replays:
        if as_json:
            out.file.write(msgspec.json.encode(each).decode() + "\n")
        else:
            _show(each)
    if any(each.differences for each in replays):
        raise typer.Exit(_DIFFERS)


def _in_place(loaded: Config, data: Path, rules: Path | None) -> Config:
    """Return the configuration with another data folder, and other rules."""
    if not data.is_dir():
        raise PyrosError(f"{data}: {'is no folder' if data.exists() else 'there is no such folder'}")
    if rules is not None and not rules.is_file():
        raise PyrosError(f"--rules: {rules}: no such file")
    where = rules.absolute() if rules is not None else loaded.alert_rules
    return msgspec.structs.replace(loaded, data=data.absolute(), alert_rules=where)


def _replayed(loaded: Config, night: str) -> list[ReplayResult]:
    site = Site.load(loaded.required("site", "pyros replay"))
    known = nights(loaded, site)
    if not night and not known:
        raise PyrosError(
            f"{loaded.data}: its journals have kept no night's beginning: they are empty, or of an earlier PYROS"
        )
    day = evening(night or known[-1], "--night: ")
    if day.isoformat() not in known:
        raise PyrosError(f"{loaded.data}: has no night of {day}; it has {', '.join(known[-5:]) or 'none'}")
    quiet()
    err.print(f"the night of {day}")
    return replay_night(loaded, site, day)


def _show(replayed: ReplayResult) -> None:
    count = len(replayed.differences)
    differ = "none differs" if not count else f"{count} {'differs' if count == 1 else 'differ'}"
    counts = f"{_number(replayed.messages, 'message')}, {_number(replayed.decisions, 'decision')}"
    out.print(f"{replayed.agent}: {counts}; {differ}")
    for each in replayed.differences:
        out.print(f"  {datetime.fromtimestamp(each.time, UTC):%H:%M:%S} {each.about}")
        out.print(f"    then: {each.then}")
        out.print(f"    now:  {each.now}")
    for note in replayed.notes:
        out.print(f"  note: {note}")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
