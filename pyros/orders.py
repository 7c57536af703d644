"""A person's word, to every agent at once: stop, hold, release, service, and to read files again.

The hold is written first (`pyros.hold`), into the data folder, so that it counts with every agent down; then all agents
are told at the same time, by ``pyros stop`` and by the console alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from pyros import messages
from pyros.config import NOWHERE, AgentConfig, Config
from pyros.errors import ConfigError, DeliveryError
from pyros.messages import Payload
from pyros.sender import Sender, ask
from pyros.site import Site

_HELD_TIMEOUT = 2.0


def tell(config: Config, name: str, payload: Payload, timeout: float) -> Iterator[tuple[str, str]]:
    """Tell every agent at once; yields each one's name as it answers, and what is wrong: '' for nothing.

    An agent is given ``timeout`` seconds. Blocks, in any thread but the reactor's.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(config.agents))) as pool:
        asked = {pool.submit(_send, config, section, name, payload, timeout) for section in config.agents.values()}
        for answered in as_completed(asked):
            yield answered.result()


def check_reloadable(config: Config) -> None:
    """Read the files that a running observatory reads again when it is told to: its site and its alert rules.

    Raises ConfigError with every mistake in both.
    """
    from pyros.alerts.rules.rules import Rules  # noqa: PLC0415  dear to import for who runs one agent

    problems: list[str] = []
    for file, load in ((config.site, Site.load), (config.alert_rules, Rules.load)):
        if file == NOWHERE:
            continue
        try:
            load(file)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _send(config: Config, section: AgentConfig, name: str, payload: Any, timeout: float) -> tuple[str, str]:
    try:
        with Sender.open(section.name, config=config, timeout=timeout) as connection:
            connection.send(name, payload)
    except DeliveryError as error:
        return section.name, _in_spite_of(section, name, error.reason)
    return section.name, ""


def _in_spite_of(section: AgentConfig, name: str, reason: str) -> str:
    """Return what is wrong. Where a turn cannot be committed, or hangs, the hold counts all the same."""
    try:
        holds = name in (messages.HOLD, messages.STOP) and ask(section, "status", _HELD_TIMEOUT).get("hold")
    except DeliveryError:
        holds = None
    return f"it obeys the hold, but {reason}" if holds else reason
