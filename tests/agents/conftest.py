"""Agents that run in the test's own process, in real threads or inline on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.agents import Agent
from tests.rig import AgentRig


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make a rig of an agent, the names of others it may send to, and what else its configuration says.

    A second one with the same name lives on the journal of the first, which is stopped.
    """
    made: list[AgentRig] = []

    def make(agent: Agent, *others: str, rig: type[AgentRig] = AgentRig, **changes: Any) -> AgentRig:
        for each in made:
            if each.agent.name == agent.name:
                each.stop()
        made.append(rig(agent, tmp_path, *others, **changes))
        return made[-1]

    yield make
    for each in made:
        each.stop()
