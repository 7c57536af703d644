"""An agent's options: what cannot be read is told as a sentence with file, section and key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pyros.agents import Agent
from pyros.agents.focuser import offsets
from pyros.errors import AgentError
from pyros.quantities import positive, yes_or_no
from tests.rig import make_config


@pytest.mark.parametrize(
    ("convert", "text", "told"),
    [
        (float, "soon", "is not a number"),
        (int, "1.5", "is not a whole number"),
        (positive, "soon", "is not a positive number"),
        (positive, "0", "is not a positive number"),
        (positive, "inf", "is not a positive number"),
        (positive, "nan", "is not a positive number"),
        (yes_or_no, "maybe", "is neither yes nor no"),
        (offsets, "r:0 g", "has g, which is not like r:120"),
        (offsets, "r:much", "has r:much, which is not like r:120"),
    ],
)
def test_an_option_that_cannot_be_read_is_told(
    inline: Callable[..., Any], tmp_path: Any, convert: Callable[[str], Any], text: str, told: str
) -> None:
    section = make_config(tmp_path, "reader").agents["reader"]
    agent = inline(Agent("reader"), agents={"reader": msgspec.structs.replace(section, options={"key": text})}).agent
    with pytest.raises(AgentError) as raised:
        agent.option("key", convert, None)
    assert str(raised.value) == f"{agent.config.path}: [reader] option_key: {text!r} {told}"
    assert agent.option("another", convert, None) is None
