"""The demo with INDI's simulators instead of ours: its configuration, but for the lines of driver and address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyros.config import Config
from tests.cli.others import as_documented, follow_up, trouble
from tests.instruments.indi.server import IndiServer, needs_indi

pytestmark = [needs_indi, pytest.mark.long]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndiServer]:
    folder = tmp_path / "indi"
    folder.mkdir()
    server = IndiServer(folder)
    yield server
    server.kill()


@pytest.fixture
def indi(config: Config, server: IndiServer) -> Config:
    """Give the demo's configuration INDI's devices, which people have set up once: the filters have their names."""
    server.connect("Filter Simulator")
    slots = ";".join(f"FILTER_SLOT_NAME_{number}" for number in (1, 2, 3))
    server.set(f"Filter Simulator.FILTER_NAME.{slots}", "g", "r", "i")
    server.set("Filter Simulator.CONFIG_PROCESS.CONFIG_SAVE", "On")
    return as_documented(config, "indi", f"127.0.0.1:{server.port}")


def test_the_follow_up(indi: Config, tmp_path: Path) -> None:
    images = follow_up(indi, tmp_path / "data")
    for header, pixels in images:
        assert pixels.shape == (1024, 1280)
        assert header["INSTRUME"] == "CCD Simulator"
        assert header["CD2_2"] * 3600 == pytest.approx(206.265 * 5.2 / 900, rel=1e-4)


def test_a_night_with_trouble(indi: Config, server: IndiServer, tmp_path: Path) -> None:
    """The indiserver is killed in mid-slew and started again; the alert is retracted in mid-exposure; it rains."""

    def state(name: str) -> str:
        return server.get(f"{name}._STATE")

    def exposing() -> bool:
        return state("CCD Simulator.CCD_EXPOSURE") == "Busy"

    with trouble(indi, tmp_path) as night:
        night.slewing()
        server.kill()
        night.lost_in_mid_slew()
        server.start()
        night.goes_on(exposing)
        assert server.get("Dome Simulator.DOME_SHUTTER.SHUTTER_OPEN") == "On"
        night.retracted(exposing)
        server.set("Weather Simulator.WEATHER_CONTROL.Precip", "5")
        night.closes(lambda: server.get("Dome Simulator.DOME_SHUTTER.SHUTTER_CLOSE") == "On")
