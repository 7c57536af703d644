"""``pyros request list`` and ``show``: what the scheduler has."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, JsonOption, out, plain_table
from pyros.cli.common import show as show_table
from pyros.cli.request.common import RequestDesk, exposures_words, no_such_request, scheduler_state
from pyros.coordinates import sexagesimal
from pyros.messages import Observation
from pyros.printable import instant
from pyros.views.requests import how_it_stands

_NO_LIMIT = {"moon_distance": 0.0, "moon_illumination": 1.0, "max_airmass": None, "sun_altitude": None}


def list_(
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only this owner's.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show all requests that the scheduler has, those of alerts too; also while it doesn't run.

    Examples:
      pyros request list
      pyros request list --owner anna --json
    """
    state = scheduler_state(configuration.load(config))
    requests = [each for each in state.requests.values() if owner is None or each.owner == owner]
    if as_json:
        for each in requests:
            out.print(json.dumps(msgspec.to_builtins(each) | {"state": how_it_stands(state, each)}))
        return
    if not requests:
        out.print("no requests")
        return
    table = plain_table("id", "target", "priority", "owner", "exposures", "state", right=("priority",))
    for each in requests:
        table.add_row(
            each.id, each.target, str(each.priority), each.owner or ("alert" if each.alert else ""),
            exposures_words(each.exposures), how_it_stands(state, each),
        )  # fmt: skip
    show_table(table)


def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As pyros request list shows it.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show all that is known of one request, and when it is up next.

    Examples:
      pyros request show m-31
    """
    desk = RequestDesk(configuration.load(config), 10.0)
    request = desk.state.requests.get(id_)
    if request is None:
        raise no_such_request([id_], desk.state.requests)
    coming = desk.coming(request)
    if as_json:
        said = {"state": how_it_stands(desk.state, request), "next_up": msgspec.to_builtins(coming)}
        out.print(json.dumps(msgspec.to_builtins(request) | said))
        return
    facts = [("id", request.id), *_facts(request), ("state", how_it_stands(desk.state, request))]
    for name, value in facts:
        out.print(f"{name:<18}{value}")
    out.print(desk.words(coming))


def _facts(request: Observation) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [("target", request.target)]
    if request.orbit is None:
        facts.append(("position", sexagesimal(request.ra, request.dec)))
    else:
        orbit = request.orbit
        facts.append(("orbit", ", ".join(f"{key} {getattr(orbit, key):g}" for key in orbit.__struct_fields__)))
    facts += [("priority", request.priority), ("exposures", exposures_words(request.exposures))]
    facts.append(("min_altitude", f"{request.min_altitude:g}°"))
    for name, no_limit in _NO_LIMIT.items():
        if (value := getattr(request.constraints, name)) != no_limit:
            facts.append((name, f"{value:g}"))
    facts += [("window", f"{instant(each.begin)} to {instant(each.end)} UTC") for each in request.windows]
    if (cadence := request.cadence) is not None:
        times = "without end" if cadence.count is None else f"{cadence.count} times"
        span = f"every {cadence.period / 3600:g} h, {cadence.tolerance / 3600:g} h earlier or later"
        facts.append(("cadence", f"{span}, from {instant(cadence.start)} UTC, {times}"))
    if request.expires is not None:
        facts.append(("to begin by", f"{instant(request.expires)} UTC"))
    if not request.interruptible:
        facts.append(("interruptible", "no"))
    for name, value in (("owner", request.owner), ("proposal", request.proposal), ("alert", request.alert),
                        ("comment", request.reason)):  # fmt: skip
        if value:
            facts.append((name, value))
    if request.requested:
        facts.append(("asked for", f"{instant(request.requested)} UTC"))
    return facts
