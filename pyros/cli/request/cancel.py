"""``pyros request cancel``: withdraw requests."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import ConfigOption, out, user_name
from pyros.cli.request.common import TimeoutOption, no_such_request, scheduler_state
from pyros.messages import Withdrawal
from pyros.sender import Sender


def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As pyros request list shows them.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason, for people who read the log.")] = "",
    timeout: TimeoutOption = 10.0,
    config: ConfigOption = None,
) -> None:
    """Withdraw requests; one that is being observed is stopped, its images stay.

    Examples:
      pyros request cancel m-31
      pyros request cancel rx-and --why "the outburst is over"
    """
    loaded = configuration.load(config)
    known = scheduler_state(loaded).requests
    if unknown := [each for each in ids if each not in known]:
        raise no_such_request(unknown, known)
    for each in ids:
        order = Withdrawal(observation=each, reason=why or f"cancelled by {user_name() or 'a person'}")
        Sender.send_to("scheduler", messages.OBSERVATION_REQUEST_WITHDRAWN, order, config=loaded, timeout=timeout)
        out.print(f"{each} is withdrawn")
