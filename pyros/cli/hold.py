"""``pyros stop``, ``hold``, ``release`` and ``service``: a person's word, to every agent at once.

The hold is written first, into the data folder, so that it counts with every agent down; then all agents are told at
the same time, and each one's answer is a line.
"""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import LONGEST_WAIT, ConfigOption, complain, observatory_clock, out, user_name
from pyros.config import Config
from pyros.hold import Hold, Holds
from pyros.messages import HoldOrder, Payload, ReleaseOrder, ServiceOrder
from pyros.orders import tell

TimeoutOption = Annotated[
    float, typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="How long to wait for each agent's answer.")
]


def stop(
    why: Annotated[str, typer.Argument(metavar="[WHY]", help="The reason, which pyros status shows.")] = "stopped",
    timeout: TimeoutOption = 5.0,
    config: ConfigOption = None,
) -> None:
    """Stop everything: abort the exposure, close the dome, park the telescope, and hold the observatory.

    Every agent is told at the same time, and prints a line. Until pyros release
    nothing opens, slews or exposes, whoever is restarted. The exit code is 0
    when every agent has answered, 1 when the hold is written but not every
    agent has.

    Examples:
      pyros stop
      pyros stop "a visitor stands in the dome"
    """
    _hold(configuration.load(config), messages.STOP, why, timeout)


def hold(
    why: Annotated[str, typer.Argument(metavar="WHY", help="The reason, which pyros status shows.")],
    timeout: TimeoutOption = 5.0,
    config: ConfigOption = None,
) -> None:
    """Hold the observatory: nothing opens, slews or exposes for the automation until pyros release.

    What runs is stopped, and an open dome closes. The hold survives the restart
    of any process. Exit codes as of pyros stop.

    Examples:
      pyros hold "lightning in the west"
    """
    _hold(configuration.load(config), messages.HOLD, why, timeout)


def release(timeout: TimeoutOption = 5.0, config: ConfigOption = None) -> None:
    """End the hold or the service by hand: the observatory goes on by itself.

    The exit code is 0 when nothing is held any more, 1 when some agent has not
    answered: then it sees by itself that the hold is gone, within seconds.

    Examples:
      pyros release
    """
    loaded = configuration.load(config)
    holds = _holds(loaded)
    held = holds.hold
    try:
        holds.release()
    except OSError as error:
        complain(f"{holds.path} cannot be removed: {error.strerror}: it is held on")
        raise typer.Exit(1) from None
    out.print(f"released: {held}" if held else "nobody held it here")
    _tell(loaded, messages.RELEASE, ReleaseOrder(who=_who()), timeout)


def service(
    why: Annotated[str, typer.Argument(metavar="WHY", help="The reason, which pyros status shows.")],
    minutes: Annotated[
        float, typer.Option(min=0.1, max=1440, metavar="N", help="Minutes after which the service ends by itself.")
    ],
    timeout: TimeoutOption = 5.0,
    config: ConfigOption = None,
) -> None:
    """Begin a service by hand: persons move the devices, the dome by day too; the automation doesn't.

    Rain still closes the dome. It ends after so many minutes, or with pyros
    release. Exit codes as of pyros stop.

    Examples:
      pyros service --minutes 90 "new filter wheel"
      pyros send dome Open
    """
    loaded = configuration.load(config)
    holds, who = _holds(loaded), _who()
    try:
        holds.serve(who, why, observatory_clock(loaded).monotonic() + 60 * minutes)
    except OSError as error:
        complain(f"{holds.path} cannot be written: {error.strerror}; there is no service")
        raise typer.Exit(1) from None
    out.print(f"service by {who} for {minutes:g} minutes: {why}")
    _tell(loaded, messages.SERVICE, ServiceOrder(who=who, why=why, minutes=minutes), timeout)


def _hold(loaded: Config, name: str, why: str, timeout: float) -> None:
    holds, who = _holds(loaded), _who()
    held = None
    try:
        held = holds.set(who, why)
        out.print(f"{held}")
    except OSError as error:
        complain(f"{holds.path} cannot be written: {error.strerror}; only the agents that answer are held")
    _tell(loaded, name, HoldOrder(who=who, why=why), timeout, held)


def _tell(loaded: Config, name: str, payload: Payload, timeout: float, hold: Hold | None = None) -> None:
    """Tell every agent at once, print each answer as it comes, and end the program with 1 if one is missing."""
    bad = 0
    for agent, problem in tell(loaded, name, payload, timeout):
        bad += bool(problem)
        out.print(f"{agent:20} {problem or 'OK'}", style="red" if problem else "")
    if bad:
        complain(f"{bad} of {len(loaded.agents)} agents did not answer"
                 + (" (those that start later, or look, obey the hold all the same)" if hold else ""))  # fmt: skip
        raise typer.Exit(1)


def _holds(loaded: Config) -> Holds:
    return Holds(loaded.data, observatory_clock(loaded))


def _who() -> str:
    """Return the person at this terminal, as ``user@host``."""
    return f"{user_name('somebody')}@{socket.gethostname()}"
