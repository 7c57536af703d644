"""The demo's follow-up with Alpaca devices: its configuration, but for the lines of driver and address.

The rules' exposures are of another length, for Alpaca's camera cannot be made faster.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.cli.demo import fill
from pyros.cli.observatory import ObservatoryProcess
from pyros.config import Config
from pyros.instruments.alpaca.address import TYPES
from pyros.instruments.pointing import separation_arcsec
from pyros.journal import JournalReader
from tests.cli.conftest import with_driver
from tests.instruments.alpaca.conftest import Simulators

PYROS = [sys.executable, "-c", "from pyros.cli import main; main()"]


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[Simulators]:
    made = Simulators(tmp_path / "alpaca", [])
    yield made
    made.kill()


@pytest.fixture
def alpaca(config: Config, simulators: Simulators) -> Config:
    """The demo's configuration with Alpaca's addresses, and short exposures."""
    text = config.path.read_text()
    config.path.write_text(with_driver(text, "alpaca", lambda kind: f"{simulators.url}/{TYPES[kind]}/0"))
    config.alert_rules.write_text(config.alert_rules.read_text().replace("seconds: 20,", "seconds: 0.3,"))
    return configuration.load(config.path)


def heard(config: Config, agent: str, name: str) -> list[dict[str, Any]]:
    """The payloads of the messages of that name which an agent has taken."""
    reader = JournalReader(config.journal(agent))
    try:
        rows = reader.rows("SELECT payload FROM received WHERE name = ? ORDER BY number", name)
    finally:
        reader.close()
    return [msgspec.json.decode(payload) for (payload,) in rows]


def test_the_follow_up(alpaca: Config, simulators: Simulators, tmp_path: Path) -> None:
    simulators.start()
    data = tmp_path / "data"
    done = subprocess.run(
        [*PYROS, "demo", "--config", str(alpaca.path), "--data", str(data)],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + (data / "observatory.log").read_text()
    assert done.stderr == ""
    own = configuration.load(data / "pyros_agent_config.ini")
    assert [each["filter"] for each in heard(own, "observation_manager", "Filter selected")] == ["r", "i"]
    assert [each["filter"] for each in heard(own, "observation_manager", "Focus moved")] == ["r", "i"]
    assert heard(own, "majordome", "Dome opened")
    (slew,) = heard(own, "observation_manager", "Slew finished")
    assert slew["error"] < 2
    images = sorted(data.glob("images/*/*.fits"))
    assert len(images) == 4
    for path in images:
        with fits.open(path, checksum=True) as units:
            header, pixels = units[0].header, units[0].data
        assert pixels.shape == (200, 320)
        assert separation_arcsec(header["RA"], header["DEC"], header["OBJCTRA"], header["OBJCTDEC"]) < 2
        assert header["INSTRUME"] == "Simulator Camera"
        assert header["CD2_2"] * 3600 == pytest.approx(206265 * 10e-6 / 1.5, rel=1e-4)
        assert (header["EXPTIME"], header["GAIN"], header["CCD-TEMP"]) == (0.3, 1, -20)
    assert sorted(fits.getval(path, "FILTER") for path in images) == ["i", "i", "r", "r"]


def asked(simulators: Simulators, member: str, **change: str) -> Any:
    """What a device of the simulators says; with a change, it is told to do so."""
    data = urlencode(change).encode() if change else None
    url = f"{simulators.url}/api/v1/{member}"
    try:
        with urlopen(Request(url, data, method="PUT" if change else "GET"), timeout=5) as answer:
            return msgspec.json.decode(answer.read()).get("Value")
    except OSError:  # not there
        return None


def test_a_night_with_trouble(
    alpaca: Config, simulators: Simulators, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """The simulators are killed in mid-slew and come back; then it rains in mid-exposure. The night goes on."""
    text = alpaca.path.read_text().replace("[weather]\n", "[weather]\noption_interval = 0.5\n")
    alpaca.path.write_text(text)
    rules = alpaca.alert_rules
    rules.write_text(rules.read_text().replace("seconds: 0.3,", "seconds: 25,"))
    simulators.settings["devices"]["telescope"][0]["slew_rate"] = 2.0
    simulators.start()
    config = configuration.load(alpaca.path)
    packet = fill(alpaca.path.parent / "observatory" / "demo-alert.xml", config, tmp_path)

    with ObservatoryProcess(config, tmp_path / "log") as process:
        process.wait_until_up(60, lambda up, total: None)
        wait_for(lambda: heard(config, "majordome", "Weather safe"), 60, "weather")
        told = CliRunner().invoke(app, ["alert", str(packet.file), "--no-follow", "--config", str(config.path)])
        assert told.exit_code == 0, told.output
        wait_for(lambda: asked(simulators, "telescope/0/slewing"), 60, "the slew")
        simulators.kill()
        failed = wait_for(lambda: heard(config, "observation_manager", "Slew failed"), 60, "its failure")
        assert failed[0]["lost"]
        assert "telescope at http://127.0.0.1" in failed[0]["reason"]

        simulators.settings["devices"]["telescope"][0]["slew_rate"] = 60.0
        simulators.settings["devices"]["dome"][0]["shutterstatus"] = 0  # a dome doesn't close when its server ends
        simulators.start()
        wait_for(lambda: asked(simulators, "camera/0/camerastate") is not None, 60, "the simulators")
        wait_for(lambda: asked(simulators, "camera/0/camerastate") == 2, 60, "an exposure")
        assert len(heard(config, "scheduler", "Observation started")) == 1
        assert asked(simulators, "dome/0/shutterstatus") == 0  # open
        (slew,) = heard(config, "observation_manager", "Slew finished")
        assert slew["error"] < 2
        asked(simulators, "observingconditions/0/rainrate", RainRate="3.0")
        wait_for(lambda: asked(simulators, "dome/0/shutterstatus") == 1, 60, "the dome to close")
        wait_for(lambda: asked(simulators, "camera/0/camerastate") == 0, 60, "the exposure to be aborted")
        process.check()
    log = (tmp_path / "log").read_text()
    assert "Server Shut Down" in log
    assert "Traceback" not in log
    assert not list(config.data.glob("images/*/*.fits"))
