"""An agent's options: what cannot be read is told as a sentence with file, section and key."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros import config as configuration
from pyros.agents import Agent
from pyros.agents.focuser import offsets
from pyros.agents.observation_manager import ObservationManagerAgent
from pyros.agents.options import AgentOption, mistakes
from pyros.config import STANDARD_AGENTS
from pyros.errors import AgentError, ConfigError
from pyros.observatory import load_agent
from pyros.quantities import names, number, positive, whole, yes_or_no
from tests.cli.conftest import copy_demo
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
        (number(), "nan", "is not a number"),
        (number(), "-inf", "is not a number"),
        (number(0.0), "-1", "is not 0 or more"),
        (number(-10.0, 2.5), "2.6", "is not from -10 to 2.5"),
        (whole(0, 9), "1e0", "is not a whole number"),
        (whole(0, 9), "10", "is not from 0 to 9"),
        (whole(0, 9), "9" * 5000, "is not a whole number"),
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


def demo_with(folder: Path, section: str, line: str) -> configuration.Config:
    """Return the demo observatory's configuration with a further line in a section."""
    file = copy_demo(folder)
    changed, count = re.subn(rf"(?m)^\[{section}\].*$", lambda head: f"{head[0]}\n{line}", file.read_text("utf-8"))
    assert count == 1
    file.write_text(changed, "utf-8")
    return configuration.load(file)


@pytest.mark.parametrize(
    ("section", "line", "told"),
    [
        ("majordome", "option_biasses = 20", "option_biasses: no such option of this agent (option_biases is meant?)"),
        ("majordome", "option_close_after = nan", "option_close_after: 'nan' is not a number"),
        ("majordome", "option_darks = -3", "option_darks: '-3' is not from 0 to 1000"),
        ("majordome", "option_cool = -10 C", "option_cool: '-10 C' is not a number"),
        ("monitoring", "option_frozen_after = inf", "option_frozen_after: 'inf' is not a positive number"),
        ("monitoring", "option_safe_after = -1", "option_safe_after: '-1' is not 0 or more"),
        ("monitoring", "option_coarse = winds",
         "option_coarse: 'winds' has winds, which is none of temperature, humidity, wind, gust"),
        ("telescope", "option_meridian_minutes = soon", "option_meridian_minutes: 'soon' is not a number"),
        ("camera", "option_speed = 2", "option_speed: no such option of this agent (there are: option_compress,"
         " option_name, option_rotation, option_saturation, option_telemetry)"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_option_is_told_before_anything_starts(
    tmp_path: Path, section: str, line: str, told: str
) -> None:
    config = demo_with(tmp_path, section, line)
    with pytest.raises(ConfigError) as raised:
        load_agent(config, section)
    assert raised.value.problems == (f"{config.path}: [{section}] {told}",)


def test_the_telescopes_option_is_told_by_the_observation_manager_too(
    inline: Callable[..., Any], tmp_path: Path
) -> None:
    """Where the telescope's agent is one of one's own, or of another process, nobody has looked at it."""
    agents = dict(make_config(tmp_path, "observation_manager", "telescope").agents)
    agents["telescope"] = msgspec.structs.replace(agents["telescope"], options={"meridian_minutes": "soon"})
    rig = inline(ObservationManagerAgent(), agents=agents)
    assert isinstance(rig.host.failure, AgentError)
    assert str(rig.host.failure) == f"{rig.config.path}: [telescope] option_meridian_minutes: 'soon' is not a number"


def test_every_option_that_the_demo_observatory_names_is_one() -> None:
    """As its comments show them: ``; option_name = value  ; what it is``."""
    section, found = "", 0
    for line in configuration.demo_file().read_text("utf-8").splitlines():
        if head := re.fullmatch(r"(?:; )?\[([a-z_ ]+)\].*", line):
            section = head[1]
        said = re.match(r"; option_(\w+) += (.*?)\s*(?:;.*)?$", line)
        if said is not None and section in STANDARD_AGENTS:
            module = importlib.import_module(STANDARD_AGENTS[section])
            agent = next(each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__
                         and isinstance(each, type) and issubclass(each, Agent))  # fmt: skip
            assert mistakes({said[1]: said[2]}, agent.OPTIONS, others=False) == {}, line
            found += 1
    assert found > 40


def test_an_agent_of_ones_own_asks_for_what_it_likes() -> None:
    known = (AgentOption("speed", positive, 1.0),)
    assert mistakes({"speed": "2", "colour": "red"}, known, others=True) == {}
    assert mistakes({"speed": "0"}, known, others=True) == {"option_speed": "'0' is not a positive number"}
    assert mistakes({"health": "checks.py"}, known, others=False) == {}
    assert mistakes({"x": "1"}, (), others=False) == {"option_x": "no such option of this agent (there are: none)"}


def test_names_are_each_there_once() -> None:
    assert names(" r g  r i ") == ("r", "g", "i")
