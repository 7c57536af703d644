"""``pyros reload``: the running observatory reads its site and its rules again."""

from __future__ import annotations

from typing import Annotated

import typer

from pyros import config as configuration
from pyros.cli.common import LONGEST_WAIT, ConfigOption, complain, out
from pyros.config import NOWHERE, StandardAgents
from pyros.errors import PyrosError
from pyros.health.asking import nobody_listens
from pyros.messages import RELOAD_RULES, RELOAD_SITE, NoPayload
from pyros.orders import check_reloadable, tell
from pyros.sender import Sender


def reload(
    timeout: Annotated[
        float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for each agent.")
    ] = 10.0,
    config: ConfigOption = None,
) -> None:
    """Have the running observatory read its site and its alert rules again, without a restart.

    Both files are checked before: with a mistake in one of them nobody is told
    anything, and every mistake is shown. What else is in the configuration
    needs a restart. SIGHUP does the same to a service without a terminal. The exit
    code is 1 when an agent that runs has not answered.

    Examples:
      pyros reload
    """
    loaded = configuration.load(config)
    check_reloadable(loaded)
    told = {}
    for agent, problem in tell(loaded, RELOAD_SITE, NoPayload(), timeout):
        told[agent] = problem
        if problem:
            complain(f"{agent}: {problem}")
    if all(told.values()):
        raise PyrosError("no agent was told: whoever isn't running reads both when it starts")
    silent = [agent for agent, problem in told.items() if problem and not nobody_listens(problem)]
    if told.get(StandardAgents.ALERT_MANAGER) == "" and loaded.alert_rules != NOWHERE:
        Sender.send_to(StandardAgents.ALERT_MANAGER, RELOAD_RULES, config=loaded, timeout=timeout)
    out.print(f"{list(told.values()).count('')} agents go on with site and rules as they are now")
    if silent:
        raise PyrosError(
            f"{', '.join(silent)} may go on with what it read before; once it answers (pyros status): pyros reload"
        )
