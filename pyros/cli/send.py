"""``pyros send``: one message to one agent."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import LONGEST_WAIT, ConfigOption, out
from pyros.clock import Deadline
from pyros.config import AgentConfig
from pyros.errors import AgentError
from pyros.sender import Sender, ask

_LOOK_EVERY = 0.2
_UNKNOWN_LOOKS = 5


def send(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name: its section in the configuration.")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The message's name, in quotes.")],
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", metavar="JSON", help="The message's payload, a JSON object.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for the agent.")
    ] = 10.0,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            min=0.1,
            max=LONGEST_WAIT,
            metavar="SECONDS",
            help="Wait so many seconds for the end of an instrument's command.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Send a message to a running agent; prints OK and its id when the agent has committed it.

    Examples:
      pyros send scheduler "Plan again"
      pyros send telescope Slew --wait 120 --payload '{"observation": "by hand", "ra": 83.6, "dec": 22.0}'
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
    if wait is not None:
        _wait(loaded.agent(agent), id_, wait)


def _wait(section: AgentConfig, id_: str, seconds: float) -> None:
    """Print how the command has ended; the program ends with 1 unless it was done."""
    deadline, unknown = Deadline(seconds), 0
    while deadline.left():
        status = ask(section, "status")
        if "ended" not in status:
            raise AgentError(f"{section.name} has no device: its commands have no end that could be waited for")
        if id_ in status["ended"]:
            if reason := status["ended"][id_]:
                raise AgentError(f"failed: {reason}")
            out.print("done")
            return
        unknown = 0 if id_ in status["under_way"] else unknown + 1
        if unknown >= _UNKNOWN_LOOKS:
            raise AgentError("no end is known: it was refused (see the log), aborted, or superseded by another command")
        deadline.pause(_LOOK_EVERY)
    raise AgentError(f"it hasn't ended within {seconds:g} s, and goes on")
