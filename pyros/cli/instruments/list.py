"""``pyros instruments list``: the configured devices, and what is known of each."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.text import Text

from pyros import config as configuration
from pyros.cli.common import ConfigOption, JsonOption, looking, out, plain_table, show
from pyros.config import INSTRUMENTS, Config
from pyros.health.asking import of_agent
from pyros.printable import instant
from pyros.views.devices import DeviceView, devices

_PATIENCE = 2.0


def list_(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the instruments of the configuration: driver, address, connected or why not, state, last telemetry.

    What they are doing comes from the journals of their agents and of
    monitoring; an instrument whose agent is down has said nothing since then.
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
    table = plain_table("instrument", "driver", "address", "connected", "state", "telemetry", "at (UTC)")
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
    with looking(config) as observed:
        known = sorted((each for each in devices(observed) if each.driver), key=lambda each: _in_order(config, each))
    if not known:
        return []
    with ThreadPoolExecutor(max_workers=len(known)) as pool:
        answers = pool.map(lambda device: of_agent(config.agents[device.name], _PATIENCE), known)
    found = []
    for device, answer in zip(known, answers, strict=True):
        connected = device.connected if answer["up"] else None
        reason = "" if answer["up"] else "its agent is not running"
        if connected is False:
            reason = device.link
        found.append(
            {
                "instrument": device.name, "driver": device.driver, "address": device.address,
                "connected": connected, "reason": reason, "state": "" if device.said is None else device.state,
                "values": device.values, "time": device.said,
            }
        )  # fmt: skip
    return found


def _in_order(config: Config, device: DeviceView) -> int:
    kind = config.agents[device.name].kind
    return INSTRUMENTS.index(kind) if kind in INSTRUMENTS else len(INSTRUMENTS)


def _plain(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
