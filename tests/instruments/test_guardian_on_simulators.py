"""The guardian closes domes whose drivers and simulators others wrote, over links of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros import config as configuration
from pyros import instruments
from pyros.guardian import SILENT, Guardian
from tests.conftest import free_port, is_open, wait_until
from tests.instruments.alpaca.conftest import Real, Simulators, real
from tests.instruments.indi.server import IndiServer, needs_indi

__all__ = ["real"]
SITE = Path(__file__).parents[2] / "observatory" / "site.yaml"


@pytest.fixture
def alpaca_dome(tmp_path: Path) -> Iterator[tuple[str, str]]:
    simulators = Simulators(tmp_path / "alpaca", [])
    simulators.start()
    wait_until(lambda: is_open(simulators.port), what="the simulators")
    yield "alpaca", f"{simulators.url}/dome/0"
    simulators.kill()


@pytest.fixture
def indi_dome(tmp_path: Path) -> Iterator[tuple[str, str]]:
    (tmp_path / "indi").mkdir()
    server = IndiServer(tmp_path / "indi", "Dome Simulator")
    yield "indi", f"tcp:127.0.0.1:{server.port}/Dome Simulator"
    server.kill()


@pytest.fixture
def guardian(tmp_path: Path, real: Real) -> Iterator[Callable[[str, str], Guardian]]:
    """Make and start a guardian of the dome at an address, whose agent never beats."""
    made: list[Guardian] = []

    def start(driver: str, address: str) -> Guardian:
        shutil.copy(SITE, tmp_path / "site.yaml")
        path = tmp_path / configuration.FILE_NAME
        path.write_text(
            "[observatory]\nname = test\nsite = site.yaml\n"
            f"[guardian]\nport = {free_port()}\nbeat = 1\npoll = 0.2\n"
            f"[dome]\nport = {free_port()}\ndriver = {driver}\naddress = {address}\n"
        )
        made.append(Guardian(configuration.load(path), real.reactor, real.clock))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        real.result(each.stop())


@pytest.mark.parametrize("kind", ["alpaca", pytest.param("indi", marks=needs_indi)])
def test_closes_the_dome_of_a_silent_agent(
    kind: str, guardian: Callable[[str, str], Guardian], real: Real, request: pytest.FixtureRequest
) -> None:
    driver, address = request.getfixturevalue(f"{kind}_dome")
    dome: Any = instruments.connect("dome", driver, address, real.reactor, real.clock)
    real.result(dome.open())
    assert real.result(dome.state()) == "open"
    watching = guardian(driver, address)
    real.until(lambda: watching.state == "closed")
    assert watching.status()["alarms"][0]["key"] == SILENT
    assert real.result(dome.state()) == "closed"
    real.result(dome.disconnect())
