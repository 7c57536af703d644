"""The table of kinds of instruments: every row has what it names, and nothing has a kind without a row."""

from __future__ import annotations

from typing import Any

import pytest

from pyros import instruments
from pyros.agents import Agent
from pyros.agents.instrument import InstrumentAgent
from pyros.config import INSTRUMENTS, STANDARD_AGENTS
from pyros.instruments.conformance import CHECKS
from pyros.kinds import KINDS, InstrumentKind, driver_class, load
from pyros.simulators.device import SimulatedDevice


@pytest.fixture(params=KINDS.values(), ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> InstrumentKind:
    row: InstrumentKind = request.param
    return row


def test_every_driver_has_what_the_interface_says(kind: InstrumentKind) -> None:
    interface: Any = load(f"pyros.instruments.{kind.interface}")
    names = {name for base in interface.__mro__ for name in vars(base) if not name.startswith("_")}
    for driver in kind.drivers:
        device = driver_class(driver, kind)
        assert device.kind == kind.name
        assert {name for name in names if not hasattr(device, name)} == set(), driver


def test_every_kind_has_an_agent_with_its_constant(kind: InstrumentKind) -> None:
    agent = load(f"{STANDARD_AGENTS[kind.name]}.{kind.name.title().replace('_', '')}Agent")()
    assert isinstance(agent, InstrumentAgent)
    assert agent.name == getattr(Agent, kind.name.upper()) == kind.name


def test_every_kind_has_a_simulator(kind: InstrumentKind) -> None:
    device, settings = load(kind.simulated_device), load(kind.simulator_settings)
    assert issubclass(device, SimulatedDevice)
    assert settings.kind == kind.name


def test_every_kind_is_checked(kind: InstrumentKind) -> None:
    assert len(CHECKS[kind.name]) > 1


def test_the_lists_of_kinds_are_the_table() -> None:
    assert INSTRUMENTS == tuple(KINDS) == tuple(CHECKS)
    assert set(instruments.DRIVERS) == {driver for kind in KINDS.values() for driver in kind.drivers}
