"""``pyros send``: one message to one agent."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import ConfigOption, out
from pyros.sender import Sender


def send(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Its name: the section in the configuration.")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The message's name, in quotes.")],
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", metavar="JSON", help="A JSON object that goes with it.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for the agent.")] = 10.0,
    config: ConfigOption = None,
) -> None:
    """Send a message to a running agent; prints OK and its id when the agent has committed it.

    Examples:
      pyros send scheduler "Plan again"
      pyros send dome Close --payload '{"reason": "visitors"}'
    """
    try:
        content = json.loads(payload) if payload is not None else None
    except ValueError as error:
        raise typer.BadParameter(f'not JSON: {error}; write it like \'{{"reason": "visitors"}}\'') from None
    loaded = configuration.load(config)
    try:
        id_ = Sender.send_to(agent, message, content, config=loaded, timeout=timeout)
    except ValueError as error:  # a payload that doesn't fit the name, or no name
        raise typer.BadParameter(str(error)) from None
    out.print(f"OK {id_}")
