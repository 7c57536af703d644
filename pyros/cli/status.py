"""``pyros status``: which agents are up, and how they are doing."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from pyros import config as configuration
from pyros.cli.common import LONGEST_WAIT, ConfigOption, JsonOption, complain, looking, out, plain_table, show
from pyros.config import Config
from pyros.health.asking import LONG_SECONDS, ask_all, nobody_listens
from pyros.printable import instant
from pyros.views.observed import Observed
from pyros.views.states import Monitoring

_FIGURES = ("taken", "failed", "refused", "waiting")


def status(
    timeout: Annotated[
        float,
        typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for an agent's answer."),
    ] = 2.0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show each agent: up or not, since when, its messages taken, failed, refused, waiting, and for others (outbox).

    Above them: who holds the observatory and why, and the alarms that aren't
    over. Below them: from where alerts should come and do not. The exit code is 0
    when all agents, the broker and the guardian are up.
    Times are the observatory's.

    Examples:
      pyros status
      pyros status --json
    """
    loaded = configuration.load(config)
    found = ask_all(loaded, timeout)
    first = standing(loaded, found)
    if as_json:
        for line in (first, *found):
            out.print(json.dumps(line))
    else:
        _show_standing(first)
        _show(loaded, found)
    raise typer.Exit(0 if all(line["up"] for line in found) else 1)


def standing(config: Config, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Who holds the observatory, and its alarms, the oldest first: by its files, and by what each agent has said.

    A hold that could not be written, and alarms while monitoring is dead, are known to the agents alone.
    """
    with looking(config) as observed:
        return _standing(observed, found)


def _standing(observed: Observed, found: list[dict[str, Any]]) -> dict[str, Any]:
    config, holds = observed.config, observed.holds
    if os.path.lexists(config.data) and not os.access(config.data, os.R_OK | os.X_OK):  # the agents say it, too
        complain(f"{config.data}: this user may not read it; hold and alarms are as the agents tell them")
        hold = service = None
    else:
        hold, service = holds.hold, holds.service
    held = msgspec.structs.asdict(hold) if hold is not None else None
    keepers = [section.name for section in config.agents.values() if section.kind == "monitoring"]
    kept = [alarm for keeper in keepers for alarm in observed.state(keeper, Monitoring).alarms]
    alarms = {(alarm.source, alarm.key): msgspec.structs.asdict(alarm) for alarm in kept}
    for line in found:
        held = held or line.get("hold")
        if line["up"] and "alarms" in line:
            alarms = {which: alarm for which, alarm in alarms.items() if which[0] != line["agent"]}
            alarms |= {(line["agent"], alarm["key"]): {"source": line["agent"], **alarm} for alarm in line["alarms"]}
    return {
        "observatory": config.name,
        "hold": held,
        "service": None if service is None else msgspec.structs.asdict(service) | {"left": holds.service_left()},
        "alarms": sorted(alarms.values(), key=lambda alarm: alarm["since"]),
    }


def _show_standing(first: dict[str, Any]) -> None:
    hold, service = first["hold"], first["service"]
    if service is not None:
        out.print(
            f"SERVICE by {service['who']} since {instant(service['when'])}, {service['left'] / 60:.0f} minutes more:"
            f" {service['why']} (pyros release ends it)", style="bold red",
        )  # fmt: skip
    elif hold is not None:
        out.print(
            f"HELD by {hold['who']} since {instant(hold['when'])}: {hold['why']} (pyros release ends it)",
            style="bold red",
        )
    for alarm in first["alarms"]:
        out.print(f"ALARM of {alarm['source']} since {instant(alarm['since'])}: {alarm['text']}", style="red")
    if hold is not None or first["alarms"]:
        out.print()


def _figures(line: dict[str, Any]) -> list[Text]:
    figures = [Text(str(line.get(key, "")), "red" if key == "failed" and line.get(key) else "") for key in _FIGURES]
    if "events" in line:
        figures[0] = Text(f"{line['events']} events")
    if "dome" in line:
        beat = f"a beat {line['beat']:.0f} s ago" if line["beats"] else "no beat yet"
        figures[0] = Text(f"dome {line['dome']}, {beat}", "red" if line["closing"] else "")
    return figures


def _show(config: Config, found: list[dict[str, Any]]) -> None:
    table = plain_table("agent", "address", "state", "since (UTC)", *_FIGURES, "outbox", right=_FIGURES)
    for line in found:
        state = Text("up", "green") if line["up"] else Text("down", "red")
        if not line["up"]:
            table.add_row(line["agent"], line["address"], state, Text(line["reason"], "red"))
            continue
        figures = _figures(line)
        since = instant(line["since"]) if "since" in line else ""
        outbox = ", ".join(f"{count} for {agent}" for agent, count in line.get("outbox", {}).items())
        table.add_row(line["agent"], line["address"], state, since, *figures, outbox)
    show(table)
    _show_troubles(config, found)


def _show_troubles(config: Config, found: list[dict[str, Any]]) -> None:
    """Tell in words what the table does not say."""
    down = [line["agent"] for line in found if not line["up"]]
    silent = [line["agent"] for line in found if not line["up"] and not nobody_listens(line["reason"])]
    if len(down) == len(found) and not silent:
        out.print(f"Nothing of {config.name} is running: start it with pyros run --config {config.path}")
    elif agents := ", ".join(each for each in down if each != "guardian" and each not in silent):
        out.print(f"Not running: {agents}. Their messages wait where they were sent from.")
    if silent:
        out.print(
            f"No answer that helps: {', '.join(silent)}. They begin, hang, are out of reach, or others use their ports;"
            " ask again (--timeout waits longer), and look into the log."
        )
    if "guardian" in down and len(down) < len(found):
        out.print("No guardian: nobody closes the dome when the dome's agent cannot", style="red")
    missed = [each for line in found for each in line.get("missing", ())]
    if missed:
        out.print(f"No alerts from: {'; '.join(missed)} (pyros broker status)")
    for line in found:
        handling = line.get("handling")
        if handling is not None and handling["seconds"] >= LONG_SECONDS:
            what = f"{handling['message']!r} for {handling['seconds']:.0f} s"
            out.print(f"{line['agent']} hangs: it has been handling {what}", style="red")
    for line in found:
        for what, count in line.get("forgotten", {}).items():
            out.print(f"{line['agent']} had too many {what} and has forgotten the {count} oldest")
    for line in found:
        if line.get("failed_commands"):
            out.print(f"{line['agent']}: {line['failed_commands']} commands failed, the last: {line['last_failure']}")
    failed = [line["agent"] for line in found if line.get("failed")]
    if failed:
        out.print(f"Failed messages: pyros messages failed ({', '.join(failed)})")
