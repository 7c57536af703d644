"""Journals of an observatory as a test wants them, for the views to look at."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from pyros.config import AgentConfig, BrokerConfig, Config
from pyros.journal import Effects, Journal, Received

SITE = Path(__file__).resolve().parents[2] / "observatory" / "site.yaml"
NAMES = ("alert_manager", "scheduler", "majordome", "observation_manager", "monitoring", "dome", "telescope")


def configuration(folder: Path, names: Iterable[str] = NAMES, **values: Any) -> Config:
    """Return a configuration of agents without programs, with its data in a folder."""
    agents = {name: AgentConfig(name, "127.0.0.1", 5001 + n, "") for n, name in enumerate(names)}
    broker = BrokerConfig(ivo="ivo://pyros.test/views")
    return Config(folder / "a.ini", "demo", folder, values.pop("site", SITE), SITE, agents, broker=broker, **values)


def received(name: str, payload: object = None, *, taken: float = 100.0, error: str | None = None) -> Received:
    """Return a message as a journal keeps it."""
    return Received("id", name, "sender", taken, taken, msgspec.json.encode(payload or {}), error)


def commit(
    config: Config, agent: str, state: object = None, messages: Iterable[Received] = (), also: Iterable[Any] = (),
    *, schema: str = "",
) -> None:  # fmt: skip
    """Write a turn into an agent's journal as the agent would, and close it."""
    with closing(Journal(config.journal(agent), durable=False, schema=schema)) as journal:
        write(journal, state, messages, also)


def write(journal: Journal, state: object = None, messages: Iterable[Received] = (), also: Iterable[Any] = ()) -> None:
    """Commit a turn to an open journal."""
    effects = Effects()
    effects.state = None if state is None else msgspec.json.encode(state)
    effects.received = list(messages)
    effects.also = list(also)
    journal.commit(effects)
