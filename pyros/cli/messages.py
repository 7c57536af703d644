"""``pyros messages``: what the journals hold, whether their agents run or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from pyros import config as configuration
from pyros.agents import Agent
from pyros.cli.common import ConfigOption, Group, JsonOption, complain, looking, out, plain_table, show
from pyros.errors import AgentUnreachable, PyrosError
from pyros.printable import instant, last_line
from pyros.sender import Sender
from pyros.views import Observed
from pyros.views.messages import MessageLine, failure, messages

app = typer.Typer(
    cls=Group,
    no_args_is_help=False,
    help="The messages in the agents' journals: list them, see which failed, have one handled again.",
)
AgentArgument = Annotated[
    str | None, typer.Argument(metavar="[AGENT]", help="Only this agent's journal.", show_default=False)
]
LastOption = Annotated[int, typer.Option("--last", "-n", min=1, metavar="N", help="How many of each agent.")]
TracebackOption = Annotated[bool, typer.Option("--traceback", help="Show the whole tracebacks.")]


@app.command("list")
def list_(agent: AgentArgument = None, last: LastOption = 20, as_json: JsonOption = False,
          config: ConfigOption = None) -> None:  # fmt: skip
    """Show the last messages that agents have taken, oldest first.

    Examples:
      pyros messages list
      pyros messages list scheduler --last 100 --json
    """
    with looking(configuration.load(config)) as observed:
        lines = list(_lines(observed, agent, last))
    _print(sorted(lines, key=lambda line: (line.taken or line.sent, line.agent, line.number)), as_json, "no messages")


@app.command()
def failed(agent: AgentArgument = None, last: LastOption = 1000, traceback: TracebackOption = False,
           as_json: JsonOption = False, config: ConfigOption = None) -> None:  # fmt: skip
    """Show the messages whose handlers failed ("in"), and those that their receivers refused ("out").

    Examples:
      pyros messages failed
      pyros messages failed scheduler --traceback
    """
    with looking(configuration.load(config)) as observed:
        lines = list(_lines(observed, agent, last, failed=True))
    _print(lines, as_json, "no failed messages")
    if as_json:
        return
    if traceback:
        for line in lines:
            out.print(f"\n{line.agent} {line.number} {line.name!r}\n{(line.error or '').rstrip()}")
    elif any(line.direction == "in" for line in lines):
        out.print("Whole tracebacks: --traceback. Handle one again: pyros messages retry AGENT NUMBER")


@app.command()
def retry(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent whose handler failed.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number that pyros messages failed shows.")],
    config: ConfigOption = None,
) -> None:
    """Have a running agent handle a failed message again.

    Example:
      pyros messages retry scheduler 42
    """
    loaded = configuration.load(config)
    loaded.agent(agent)
    with looking(loaded) as observed:
        if failure(observed, agent, number) is None:
            raise PyrosError(
                f"agent {agent!r} has no failed message {number}; pyros messages failed {agent} shows them"
            )
        try:
            Sender.send_to(agent, Agent.RETRY_FAILED, {"number": number}, config=loaded)
        except AgentUnreachable as error:
            raise PyrosError(f"{error}; a message can only be retried by a running agent: pyros run") from None
        traceback = failure(observed, agent, number)
    if traceback is not None:
        raise PyrosError(f"agent {agent!r} failed again at message {number}: {last_line(traceback)}")
    out.print(f"OK: agent {agent!r} has handled message {number}")


def _lines(observed: Observed, agent: str | None, last: int, *, failed: bool = False) -> Iterator[MessageLine]:
    """Yield the last messages of each agent, oldest first; of the one named, whose journal must be there, or of all."""
    for name in observed.names if agent is None else (agent,):
        page = messages(observed, name, limit=last, failed=failed)
        if agent is not None:
            observed.require(agent)
        elif problem := observed.problems.get(name):
            complain(problem)
        yield from reversed(page.messages)


def _print(lines: list[MessageLine], as_json: bool, nothing: str) -> None:
    if as_json:
        for line in lines:
            out.print(json.dumps({**msgspec.structs.asdict(line), "payload": json.loads(line.payload)}))
        return
    if not lines:
        out.print(nothing)
        return
    last = "error" if any(line.error for line in lines) else "payload"
    table = plain_table("agent", "number", "", "message", "from / to", "taken (UTC)", last, right=("number",))
    for line in lines:
        table.add_row(
            line.agent, str(line.number), line.direction, line.name, line.other, instant(line.taken or line.sent),
            last_line(line.error) if line.error else "" if line.payload == "{}" else line.payload[:80],
        )  # fmt: skip
    show(table)
