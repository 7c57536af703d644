"""The demo's follow-up with Alpaca devices: its configuration, but for the lines of driver and address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec
import pytest

from pyros.config import Config
from tests.cli.others import as_documented, follow_up, trouble
from tests.conftest import wait_until
from tests.instruments.alpaca.conftest import Simulators

EXPOSING = 2  # ASCOM's CameraState


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[Simulators]:
    made = Simulators(tmp_path / "alpaca", [])
    yield made
    made.kill()


@pytest.fixture
def alpaca(config: Config, simulators: Simulators) -> Config:
    return as_documented(config, "alpaca", simulators.url.removeprefix("http://"))


def test_the_follow_up(alpaca: Config, simulators: Simulators, tmp_path: Path) -> None:
    simulators.start()
    images = follow_up(alpaca, tmp_path / "data")
    for header, pixels in images:
        assert pixels.shape == (200, 320)
        assert header["INSTRUME"] == "Simulator Camera"
        assert header["CD2_2"] * 3600 == pytest.approx(206265 * 10e-6 / 1.5, rel=1e-4)
        assert (header["GAIN"], header["CCD-TEMP"]) == (1, -20)


@pytest.mark.long
def test_a_night_with_trouble(alpaca: Config, simulators: Simulators, tmp_path: Path) -> None:
    """The devices' server is killed in mid-slew and started again; the alert is retracted in mid-exposure; it rains."""

    def asked(member: str, **change: str) -> Any:
        """Ask a device, or with a change, tell it to do so; None while it is not there."""
        data = urlencode(change).encode() if change else None
        url = f"{simulators.url}/api/v1/{member}"
        try:
            with urlopen(Request(url, data, method="PUT" if change else "GET"), timeout=30) as answer:
                return msgspec.json.decode(answer.read()).get("Value")
        except OSError:
            return None

    def exposing() -> bool:
        return bool(asked("camera/0/camerastate") == EXPOSING)

    simulators.settings["devices"]["telescope"][0]["slew_rate"] = 1.0
    simulators.start()
    with trouble(alpaca, tmp_path) as night:
        night.slewing()
        # A dome that is lost while it opens is given up after some attempts, and the server may be away for longer.
        wait_until(lambda: night.heard("majordome", "Dome opened"), what="the open dome")
        simulators.kill()
        night.lost_in_mid_slew()
        simulators.settings["devices"]["telescope"][0]["slew_rate"] = 60.0
        simulators.start()
        night.goes_on(exposing)
        assert asked("dome/0/shutterstatus") == 0  # open
        night.retracted(exposing)
        asked("observingconditions/0/rainrate", RainRate="3.0")
        night.closes(lambda: asked("dome/0/shutterstatus") == 1)
