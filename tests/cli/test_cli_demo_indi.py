"""The demo with INDI's simulators instead of ours: only ``driver`` and ``address`` lines of its configuration differ.

What INDI's simulators force besides: the site is where it is midnight now, for the mount's night cannot be shifted; and
the rules' exposures are of another length, for INDI's camera cannot be made faster.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.cli.app import app
from pyros.cli.demo import fill
from pyros.cli.observatory import ObservatoryProcess
from pyros.config import Config
from pyros.instruments.pointing import separation_arcsec
from pyros.journal import JournalReader
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from tests.cli.conftest import with_driver
from tests.instruments.indi_server import IndiServer, needs_indi

pytestmark = needs_indi
PYROS = [sys.executable, "-c", "from pyros.cli import main; main()"]
DEVICES = {
    "telescope": "Telescope Simulator",
    "camera": "CCD Simulator",
    "filter_wheel": "Filter Simulator",
    "focuser": "Focuser Simulator",
    "dome": "Dome Simulator",
    "weather": "Weather Simulator",
    "safety": "Weather Simulator",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndiServer]:
    folder = tmp_path / "indi"
    folder.mkdir()
    server = IndiServer(folder)
    yield server
    server.kill()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[IndiServer]:
    """A server of the mount's own."""
    folder = tmp_path / "mount"
    folder.mkdir()
    server = IndiServer(folder, "Telescope Simulator")
    yield server
    server.kill()


@pytest.fixture
def indi(config: Config, server: IndiServer) -> Config:
    """The demo's configuration with INDI's devices; an exposure takes a second."""
    text = config.path.read_text()
    address = f"tcp:127.0.0.1:{server.port}"
    config.path.write_text(with_driver(text, "indi", lambda kind: f"{address}/{DEVICES[kind]}"))
    now = datetime.now(UTC)
    longitude = (-15 * (now.hour + now.minute / 60) + 180) % 360 - 180
    config.site.write_text(re.sub(r"longitude: \S+", f"longitude: {longitude:.3f}", config.site.read_text()))
    config.alert_rules.write_text(config.alert_rules.read_text().replace("seconds: 20,", "seconds: 1,"))
    set_up(server)
    return configuration.load(config.path)


def set_up(server: IndiServer) -> None:
    """As people set up their instruments once: the filters have their names."""
    server.connect("Filter Simulator")
    slots = ";".join(f"FILTER_SLOT_NAME_{number}" for number in (1, 2, 3))
    server.set(f"Filter Simulator.FILTER_NAME.{slots}", "g", "r", "i")
    server.set("Filter Simulator.CONFIG_PROCESS.CONFIG_SAVE", "On")


def point_nearby(server: IndiServer, site: Site) -> None:
    """A mount that needs some seconds to the burst; at 6 degrees a second it is far from the pole, where it starts."""
    mount = "Telescope Simulator"
    server.connect(mount)
    place = map(str, (site.latitude, site.longitude % 360, site.elevation))
    server.set(f"{mount}.GEOGRAPHIC_COORD.LAT;LONG;ELEV", *place)
    ra, dec = place_overhead(site, datetime.now(UTC), 45.0)
    server.set(f"{mount}.ON_COORD_SET.SYNC", "On")
    server.set(f"{mount}.EQUATORIAL_EOD_COORD.RA;DEC", f"{ra / 15:.4f}", f"{dec:.4f}")


def heard(config: Config, agent: str, name: str) -> list[dict[str, Any]]:
    """The payloads of the messages of that name which an agent has taken."""
    reader = JournalReader(config.journal(agent))
    try:
        rows = reader.rows("SELECT payload FROM received WHERE name = ? ORDER BY number", name)
    finally:
        reader.close()
    return [msgspec.json.decode(payload) for (payload,) in rows]


def test_the_follow_up(indi: Config, server: IndiServer, tmp_path: Path) -> None:
    point_nearby(server, Site.load(indi.site))
    data = tmp_path / "data"
    done = subprocess.run(
        [*PYROS, "demo", "--config", indi.path, "--data", data],
        capture_output=True, text=True, timeout=100, check=False,
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
        assert pixels.shape == (1024, 1280)
        assert separation_arcsec(header["RA"], header["DEC"], header["OBJCTRA"], header["OBJCTDEC"]) < 2
        assert (header["INSTRUME"], header["EXPTIME"]) == ("CCD Simulator", 1)
        assert header["CD2_2"] * 3600 == pytest.approx(206.265 * 5.2 / 900, rel=1e-4)
    assert sorted(fits.getval(path, "FILTER") for path in images) == ["i", "i", "r", "r"]


def test_a_night_with_trouble(
    indi: Config, server: IndiServer, mount: IndiServer, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """The mount's indiserver is killed in mid-slew and started again; then it rains in mid-exposure. The night goes on,
    the same observation first."""
    text = indi.path.read_text().replace("[weather]\n", "[weather]\noption_interval = 0.5\n")
    indi.path.write_text(text.replace(f"{server.port}/Telescope", f"{mount.port}/Telescope"))
    indi.alert_rules.write_text(indi.alert_rules.read_text().replace("seconds: 1,", "seconds: 60,"))
    config = configuration.load(indi.path)
    packet = fill(indi.path.parent / "observatory" / "demo-alert.xml", config, tmp_path)

    def state(name: str, server: IndiServer = server) -> str:
        return server.get(f"{name}._STATE")

    with ObservatoryProcess(config, tmp_path / "log") as process:
        process.wait_until_up(30, lambda up, total: None)
        wait_for(lambda: heard(config, "majordome", "Weather safe"), 20, "weather")
        told = CliRunner().invoke(app, ["alert", str(packet.file), "--no-follow", "--config", str(config.path)])
        assert told.exit_code == 0, told.output
        wait_for(lambda: state("Telescope Simulator.EQUATORIAL_EOD_COORD", mount) == "Busy", 20, "the slew")
        mount.kill()
        failed = wait_for(lambda: heard(config, "observation_manager", "Slew failed"), 10, "its failure")
        assert failed[0]["lost"]
        mount.start()
        wait_for(lambda: state("CCD Simulator.CCD_EXPOSURE") == "Busy", 80, "an exposure")
        assert len(heard(config, "scheduler", "Observation started")) == 1
        assert server.get("Dome Simulator.DOME_SHUTTER.SHUTTER_OPEN") == "On"
        (slew,) = heard(config, "observation_manager", "Slew finished")
        assert slew["error"] < 2
        server.set("Weather Simulator.WEATHER_CONTROL.Precip", "5")
        wait_for(lambda: state("CCD Simulator.CCD_EXPOSURE") == "Idle", 20, "the exposure to be aborted")
        wait_for(lambda: heard(config, "majordome", "Dome closed")[1:], 20, "the dome to close")
        assert server.get("Dome Simulator.DOME_SHUTTER.SHUTTER_CLOSE") == "On"
        process.check()
    log = (tmp_path / "log").read_text()
    assert "Server Shut Down" in log
    assert "Traceback" not in log
    assert not list(config.data.glob("images/*/*.fits"))
