"""``pyros instruments list``: the configured devices, and what is known of each."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from pyros import config as configuration
from pyros.cli.common import ConfigOption, JsonOption, out, show
from pyros.config import INSTRUMENTS, Config
from pyros.errors import JournalError
from pyros.health.asking import of_agent
from pyros.journal import JournalReader
from pyros.printable import instant

_PATIENCE = 2.0


def list_(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the instruments of the configuration: driver, address, connected or why not, state, last telemetry.

    What they are doing comes from monitoring's journal, where their agents
    report; an instrument whose agent is down has said nothing since then.
    Times are the observatory's.

    Examples:
      pyros instruments list
      pyros instruments list --json
    """
    loaded = configuration.load(config)
    found = instruments(loaded)
    if as_json:
        for line in found:
            out.print(json.dumps(line))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("instrument", "driver", "address", "connected", "state", "telemetry", "at (UTC)"):
        table.add_column(heading, no_wrap=True)
    for line in found:
        connected = {True: Text("yes", "green"), False: Text("no", "red"), None: Text("unknown")}[line["connected"]]
        told = " ".join(f"{name}={_plain(value)}" for name, value in line["values"].items() if value is not None)
        row = [line["instrument"], line["driver"], line["address"], connected]
        if line["reason"]:
            row.append(Text(line["reason"], "red"))
        else:
            row += [line["state"], told, instant(line["time"]) if line["time"] else ""]
        table.add_row(*row)
    show(table)
    if not found:
        out.print(f"{loaded.path} has no instruments")


def instruments(config: Config) -> list[dict[str, Any]]:
    """Return a line for each instrument of the configuration; ``connected`` is None where nobody knows."""
    sections = [config.agents[name] for name in INSTRUMENTS if name in config.agents and config.agents[name].driver]
    with ThreadPoolExecutor(max_workers=len(INSTRUMENTS)) as pool:
        up = {line["agent"]: line["up"] for line in pool.map(lambda section: of_agent(section, _PATIENCE), sections)}
    links, telemetry = _monitored(config)
    found = []
    for section in sections:
        link, told = links.get(section.name), telemetry.get(section.name, {})
        connected = bool(link["connected"]) if link is not None and up[section.name] else None
        reason = "" if up[section.name] else "its agent is not running"
        if connected is False and link is not None:
            reason = link["text"]
        found.append(
            {
                "instrument": section.name, "driver": section.driver, "address": section.address,
                "connected": connected, "reason": reason, "state": told.get("state", ""),
                "values": told.get("values", {}), "time": told.get("time"),
            }
        )  # fmt: skip
    return found


def _monitored(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what monitoring keeps of the instruments: their connections and their telemetry."""
    try:
        journal = JournalReader(config.journal("monitoring"))
    except JournalError:  # it has not run here yet, or runs on another machine
        return {}, {}
    try:
        state = msgspec.json.decode(journal.state() or b"{}")
    finally:
        journal.close()
    return state.get("links", {}), state.get("telemetry", {})


def _plain(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
