from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyros.simulators.devices.ups import MainsChange

Rigs = Callable[..., Any]


def test_its_battery_empties_without_mains_and_is_charged_again(rig: Rigs) -> None:
    ups = rig("ups", lasts=1000.0, charges=2000.0)
    client, other = ups.client(), ups.client()
    assert client.ask("GET power") == "OK mains charge=100.0"
    assert client.ask("SET mains 0") == "OK"
    assert other.read() == ["EVT battery charge=100.0"]
    ups.advance(100)
    assert client.ask("GET power") == "OK battery charge=90.0"
    assert client.ask("SET mains 1") == "OK"
    assert other.read() == ["EVT mains charge=90.0"]
    ups.advance(100)
    assert client.ask("GET power") == "OK mains charge=95.0"
    ups.advance(1000)
    assert client.ask("GET power") == "OK mains charge=100.0"


def test_its_battery_is_empty_in_the_end(rig: Rigs) -> None:
    ups = rig("ups", lasts=10.0, charge=50.0)
    client = ups.client()
    client.ask("SET mains 0")
    ups.advance(60)
    assert client.ask("GET power") == "OK battery charge=0.0"


def test_the_mains_fail_by_the_script(rig: Rigs) -> None:
    ups = rig("ups", speed=10, script=(MainsChange(at=100, mains=False), MainsChange(at=200, mains=True)))
    client = ups.client()
    ups.advance(10.01)
    assert client.read() == ["EVT battery charge=100.0"]
    assert client.ask("SET mains 1") == "OK"
    assert client.ask("GET script") == "OK manual"
    assert client.ask("SET script auto") == "OK"
    assert client.read() == ["EVT battery charge=100.0"]


@pytest.mark.parametrize("request_", ["SET mains 2", "SET mains off", "SET charge 101", "SET script manual"])
def test_it_refuses_what_it_does_not_know(rig: Rigs, request_: str) -> None:
    assert rig("ups").client().ask(request_).startswith("ERR VALUE ")
