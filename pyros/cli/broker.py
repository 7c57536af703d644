"""``pyros broker``: is it receiving, from whom, since when, filtered how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pyros import config as configuration
from pyros.cli.common import LONGEST_WAIT, ConfigOption, Group, JsonOption, out
from pyros.errors import ConfigError
from pyros.health.asking import kafka_state, of_broker, receiving, remote_state
from pyros.printable import instant

app = typer.Typer(cls=Group, help="The broker: where alerts come in and go out.")


@app.callback()
def _broker() -> None:
    """Ask the broker, where alerts come in and go out."""


@app.command()
def gate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="NAME of the section [kafka NAME], which has gate = yes.")
    ],
    config: ConfigOption = None,
) -> None:
    """Take a survey's packets, drop what no rule can want, give the rest to the alert manager.

    Of each packet only the fields are read that the rules need, never its
    images. Start as many as you have processors to spare: they share one
    consumer group, and the service its partitions among them. Ends with
    Ctrl-C or SIGTERM, after what it has taken is done.

    Examples:
      pyros broker gate lsst
    """
    from pyros.broker import gate as process  # noqa: PLC0415

    loaded = configuration.load(config)
    sections = {each.name: each for each in loaded.broker.kafka if each.gate} if loaded.broker else {}
    if name not in sections:
        known = f"; there are {', '.join(sections)}" if sections else ""
        raise ConfigError([f"{loaded.path}: [kafka {name}]: no such section with gate = yes{known}"])
    process.run(loaded, sections[name])


@app.command()
def status(
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for its answer.")
    ] = 2.0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask the running broker: is it receiving, from whom, since when, filtered how.

    The exit code is 0 when everything that it subscribes to is there.
    Times are the observatory's.

    Examples:
      pyros broker status
      pyros broker status --json
    """
    said = of_broker(configuration.load(config), timeout)
    if as_json:
        out.print(json.dumps(said))
    else:
        for line in lines(said):
            out.print(line)
    raise typer.Exit(0 if receiving(said) else 1)


def lines(said: dict[str, Any]) -> Iterator[str]:
    """Tell in lines for people what the broker says of itself."""
    yield f"up since {instant(said['since'])} UTC; {said['events']} events are kept"
    outcomes = ", ".join(f"{said[key]} {key}" for key in ("received", "duplicates", "refused", "failed"))
    yield f"since then: {outcomes}; {said['waiting']} wait for the alert manager"
    for address, remote in said["remotes"].items():
        heard = f"last heard {instant(remote['heard'])}" if remote["heard"] else "never heard"
        how = ", with TLS" if remote["tls"] else ""
        yield f"broker {address}: {remote_state(remote)}{how}, {heard}, {remote['received']} events"
        yield f"  asked for: {' or '.join(remote['filters']) or 'everything'}"
        if remote["trouble"]:
            yield f"  {remote['trouble']}"
    for name, kafka in said.get("kafka", {}).items():
        heard = f"last heard {instant(kafka['heard'])}" if kafka["heard"] else "never heard"
        lag = "" if kafka["lag"] is None else f", {kafka['lag']} wait there"
        yield f"kafka {name} ({kafka['servers']}): {kafka_state(kafka)}, {heard}, {kafka['taken']} packets{lag}"
        yield f"  asked for: {' '.join(kafka['subscribed'])}; there are {len(kafka['topics'])} such topics"
        if kafka["missing"]:
            yield f"  there is no topic (or none that we may read) for: {' '.join(kafka['missing'])}"
        if kafka["trouble"]:
            yield f"  {kafka['trouble']}"
    if folder := said.get("folder"):
        yield f"folder {folder['path']}: {folder['taken']} files taken, {folder['refused']} refused"
    yield f"{said['authors']} authors are connected"
    for subscriber in said["subscribers"]:
        filters = " or ".join(subscriber["filters"]) or "no filter"
        who = f"{subscriber['ivo'] or '(unnamed)'} at {subscriber['peer']}"
        yield (
            f"subscriber {who} since {instant(subscriber['since'])}: {filters};"
            f" {subscriber['sent']} events sent, {subscriber['unacknowledged']} not acknowledged"
        )
        for reason in subscriber["refused_filters"]:
            yield f"  a filter of it is not taken: {reason}"
    for conflict in said["conflicts"]:
        yield (
            f"conflict: {conflict['ivorn']} came again with other content from {conflict['source']}"
            f" at {instant(conflict['received'])}; kept beside event {conflict['of']}, and not handed on"
        )
