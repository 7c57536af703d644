"""``pyros notify``: what people were told, tests of the ways to them, and acknowledging."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import (
    LONGEST_WAIT,
    ConfigOption,
    Group,
    JsonOption,
    complain,
    observatory_clock,
    out,
    plain_table,
    show,
    user_name,
)
from pyros.clock import Deadline
from pyros.config import Config, StandardAgents
from pyros.errors import PyrosError
from pyros.messages import NoticeTest
from pyros.notices.acknowledging import acknowledge
from pyros.notices.desk import cause_name
from pyros.notices.notice import Delivered
from pyros.notices.reading import read_book
from pyros.notices.rules import NoticeRules
from pyros.printable import instant
from pyros.sender import Sender
from pyros.unique import new_name

_LOOK_SECONDS = 0.3

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Being told: who was told what, test messages, acknowledging. See docs/notifier.md.",
)


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List what lasts and who takes care of it, messages that wait, and the last ones that were sent.

    It reads the notifier's journal, whether the observatory runs or not.

    Examples:
      pyros notify list
      pyros notify list --all --json
    """
    book = read_book(configuration.load(config))
    causes = [cause for cause in book.causes.values() if everything or cause.over is None]
    if json:
        for kind, rows in (("cause", causes), ("waiting", book.waiting), ("ended", book.ended)):
            for row in rows:
                out.print(msgspec.json.encode({"row": kind} | msgspec.structs.asdict(row)).decode())
        return
    table = plain_table("name", "since (UTC)", "what", "from", "times", "", "text", wraps=("text",))
    for cause in causes:
        taken = f"{cause.acknowledged} takes care of it" if cause.acknowledged else ""
        state = "over" if cause.over is not None else taken
        told = cause.notice
        times = str(cause.count)
        table.add_row(cause_name(cause), instant(cause.since), told.kind, told.source, times, state, told.text)
    show(table) if causes else out.print("nothing lasts that people were told of")
    for item in book.waiting:
        channel = book.channels.get(item.recipient)
        why = f": {channel.reason}" if channel is not None and channel.reason else ""
        out.print(f"waits for {item.recipient}, {item.attempts} attempts{why}  {item.subject}")
    held = sum(len(each.lines) + each.more for each in book.held.values())
    if held:
        out.print(f"{held} notices wait for a summary")
    for ended in book.ended[-20:]:
        out.print(_ended(ended))


@app.command("test")
def send_test(
    recipients: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPIENT]...", help="By default everybody.", show_default=False)
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1.0, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait.")
    ] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Send a test message to everybody, or to some, through the running notifier, and tell what came of it.

    The exit code is 0 when every message was taken, 1 when one was not.

    Examples:
      pyros notify test
      pyros notify test phone
    """
    loaded = configuration.load(config)
    rules = _rules(loaded)
    names = tuple(recipients or [each.name for each in rules.recipients])
    unknown = [name for name in names if rules.recipient(name) is None]
    if unknown or not names:
        known = ", ".join(each.name for each in rules.recipients) or "none"
        what = f"{unknown[0]!r} is no recipient" if unknown else "there are no recipients"
        raise PyrosError(f"{rules.path}: {what} (there are: {known})")
    word, deadline = new_name(), Deadline(timeout)
    order = NoticeTest(word=word, recipients=names)
    Sender.send_to(StandardAgents.NOTIFIER, messages.NOTICE_TEST, order, config=loaded, timeout=min(timeout, 10.0))
    left, failed = set(names), False
    while left and deadline.left() > 0:
        for ended in read_book(loaded).ended:
            if ended.test == word and ended.recipient in left:
                left.discard(ended.recipient)
                failed = failed or ended.how == "given up"
                out.print(_ended(ended))
        if left:
            deadline.pause(_LOOK_SECONDS)
    for name in sorted(left):
        complain(f"{name}: no end after {timeout:g} s; see pyros notify list")
    raise typer.Exit(1 if left or failed else 0)


@app.command()
def ack(
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The word that stands in the message after 'pyros notify ack'.")
    ],
    config: ConfigOption = None,
) -> None:
    """Acknowledge a message: you take care of it, and it is told again only when it is over.

    Example:
      pyros notify ack 12-1790000000.1790600000.3f...
    """
    loaded = configuration.load(config)
    acknowledge(loaded, token, user_name("somebody"), observatory_clock(loaded).time())
    out.print("acknowledged")


def _rules(config: Config) -> NoticeRules:
    name = config.agent(StandardAgents.NOTIFIER).options.get("rules", "")
    if not name:
        raise PyrosError(f"{config.path}: [notifier] option_rules: missing; it names the file of recipients and rules")
    return NoticeRules.load(config.path.parent / name)


def _ended(ended: Delivered) -> str:
    why = f" ({ended.reason})" if ended.reason else ""
    return f"{instant(ended.time)}  {ended.how}: {ended.recipient}{why}  {ended.subject}"
