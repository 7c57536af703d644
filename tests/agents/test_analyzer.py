"""The analyzer's options: a mistake in them stops it at its start, in one line that names file, section and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.agents.analyzer import AnalyzerAgent
from tests.rig import AgentRig, make_config

Makes = Callable[..., AgentRig]


def agent_with(inline: Makes, folder: Path, **options: str) -> Any:
    agents = make_config(folder, "analyzer").agents
    section = msgspec.structs.replace(agents["analyzer"], options=options)
    return inline(AnalyzerAgent(), agents={"analyzer": section})


@pytest.mark.parametrize(
    ("named", "taken"), [("synthetic", "synthetic"), ("field.csv", "{folder}/field.csv"), ("simulated", "simulated")]
)
def test_the_catalogue_is_the_one_that_is_named(inline: Makes, tmp_path: Path, named: str, taken: str) -> None:
    (tmp_path / "field.csv").write_text("ra,dec,magnitude\n150,2,14\n")
    settings = agent_with(inline, tmp_path, catalogue=named).agent.settings
    assert settings.catalogue == taken.format(folder=tmp_path)


@pytest.mark.parametrize(
    "options", [{"catalogue": "absent.csv"}, {"saturation": "much"}, {"solver_seconds": "long"}, {"seconds": "?"}]
)
def test_a_mistake_is_told_at_the_start(
    inline: Makes, tmp_path: Path, options: dict[str, str], logged: list[str]
) -> None:
    made = agent_with(inline, tmp_path, **options)
    assert made.host.stopped.called
    (key,) = options
    assert any(f"pyros_agent_config.ini: [analyzer] option_{key}: " in line for line in logged)
