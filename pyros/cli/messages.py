"""``pyros messages``: what the journals hold, whether their agents run or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pyros import config as configuration
from pyros.agents import Agent
from pyros.cli.common import ConfigOption, Group, JsonOption, out, show
from pyros.config import Config
from pyros.errors import AgentUnreachable, JournalError, PyrosError
from pyros.journal import JournalReader
from pyros.printable import instant, last_line
from pyros.sender import Sender

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


class MessageRow(NamedTuple):
    """A message of a journal, as it is shown. ``direction`` is ``in``, or ``out`` for one that its receiver refused."""

    agent: str
    number: int
    direction: str
    name: str
    other: str
    """Whom it came from, or was for."""
    sent: float
    taken: float | None
    payload: str
    error: str | None


@app.command("list")
def list_(agent: AgentArgument = None, last: LastOption = 20, as_json: JsonOption = False,
          config: ConfigOption = None) -> None:  # fmt: skip
    """Show the last messages that agents have taken, oldest first.

    Examples:
      pyros messages list
      pyros messages list scheduler --last 100 --json
    """
    loaded = configuration.load(config)
    lines = [line for name in _names(loaded, agent) for line in _received(loaded, name, last)]
    _print(sorted(lines, key=lambda line: (line.taken or line.sent, line.agent, line.number)), as_json, "no messages")


@app.command()
def failed(agent: AgentArgument = None, last: LastOption = 1000, traceback: TracebackOption = False,
           as_json: JsonOption = False, config: ConfigOption = None) -> None:  # fmt: skip
    """Show the messages whose handlers failed ("in"), and those that their receivers refused ("out").

    Examples:
      pyros messages failed
      pyros messages failed scheduler --traceback
    """
    loaded = configuration.load(config)
    lines: list[MessageRow] = []
    for name in _names(loaded, agent):
        lines += _received(loaded, name, last, failed=True)
        lines += _refused(loaded, name)
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
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose message it is.")],
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number that pyros messages failed shows.")],
    config: ConfigOption = None,
) -> None:
    """Have a running agent handle a failed message again.

    Example:
      pyros messages retry scheduler 42
    """
    loaded = configuration.load(config)
    loaded.agent(agent)
    if _error_of(loaded, agent, number) is None:
        raise PyrosError(f"agent {agent!r} has no failed message {number}; pyros messages failed {agent} shows them")
    try:
        Sender.send_to(agent, Agent.RETRY_FAILED, {"number": number}, config=loaded)
    except AgentUnreachable as error:
        raise PyrosError(f"{error}; a message can only be retried by a running agent: pyros run") from None
    traceback = _error_of(loaded, agent, number)
    if traceback is not None:
        raise PyrosError(f"agent {agent!r} failed again at message {number}: {last_line(traceback)}")
    out.print(f"OK: agent {agent!r} has handled message {number}")


def _names(config: Config, agent: str | None) -> list[str]:
    """Return the names of the journals to look at: the one named, which must be there, or all that are."""
    if agent is None:
        return [name for name in config.agents if config.journal(name).is_file()]
    if agent != "broker":
        config.agent(agent)
    return [agent]


def _received(config: Config, agent: str, last: int, failed: bool = False) -> Iterator[MessageRow]:
    journal = JournalReader(config.journal(agent))
    try:
        for number, it in journal.received(failed=failed, last=last):
            payload = it.payload.decode(errors="replace")
            yield MessageRow(agent, number, "in", it.name, it.sender, it.sent, it.taken, payload, it.error)
    finally:
        journal.close()


def _refused(config: Config, agent: str) -> Iterator[MessageRow]:
    journal = JournalReader(config.journal(agent))
    try:
        for receiver, seq, _id, name, sent, payload, reason in journal.refused():
            yield MessageRow(agent, seq, "out", name, receiver, sent, None, payload.decode(errors="replace"), reason)
    finally:
        journal.close()


def _error_of(config: Config, agent: str, number: int) -> str | None:
    """Return the traceback of a failed message; None when that number has none."""
    try:
        journal = JournalReader(config.journal(agent))
    except JournalError:
        return None
    try:
        return journal.error(number)
    finally:
        journal.close()


def _print(lines: list[MessageRow], as_json: bool, nothing: str) -> None:
    if as_json:
        for line in lines:
            out.print(json.dumps(_as_dict(line)))
        return
    if not lines:
        out.print(nothing)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("agent", "number", "", "message", "from / to", "taken (UTC)"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "number" else "left")
    table.add_column("error" if any(line.error for line in lines) else "payload", no_wrap=True)
    for line in lines:
        table.add_row(
            line.agent, str(line.number), line.direction, line.name, line.other, instant(line.taken or line.sent),
            last_line(line.error) if line.error else "" if line.payload == "{}" else line.payload[:80],
        )  # fmt: skip
    show(table)


def _as_dict(line: MessageRow) -> dict[str, Any]:
    return {**line._asdict(), "payload": json.loads(line.payload)}
