"""What is rehearsed in the place of the configured observatory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pyros import config as configuration
from pyros.rehearsal.configuration import rehearsed


def test_what_nobody_looks_at_is_measured_seldom_unless_the_section_says_how_often(tmp_path: Path) -> None:
    config = configuration.load(configuration.demo_file())
    wheel = msgspec.structs.replace(config.agents["filter_wheel"], options={"telemetry": "7"})
    config = msgspec.structs.replace(config, agents={**config.agents, "filter_wheel": wheel})
    agents = rehearsed(config, tmp_path / "night", rules=None, images="none").config.agents
    assert agents["filter_wheel"].options["telemetry"] == "7"
    assert agents["camera"].options["telemetry"] == "30"
    assert "telemetry" not in agents["dome"].options
    assert "telemetry" not in agents["telescope"].options
