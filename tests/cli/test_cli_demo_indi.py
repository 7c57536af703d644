"""The demo with INDI's own simulators instead of ours: only ``driver`` and ``address`` lines differ."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from astropy.io import fits

from pyros import config as configuration
from pyros.config import Config
from pyros.instruments.pointing import separation_arcsec
from tests.instruments.indi_server import IndiServer, needs_indi

DEVICES = {
    "telescope": "Telescope Simulator",
    "camera": "CCD Simulator",
    "filter_wheel": "Filter Simulator",
    "focuser": "Focuser Simulator",
    "dome": "Dome Simulator",
    "weather": "Weather Simulator",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndiServer]:
    """The simulators, set up once as people set up their instruments: the filters have their names."""
    folder = tmp_path / "indi"
    folder.mkdir()
    server = IndiServer(folder)
    try:
        for device in ("CCD Simulator", "Filter Simulator"):
            server.connect(device)
            slots = ";".join(f"FILTER_SLOT_NAME_{number}" for number in (1, 2, 3))
            server.set(f"{device}.FILTER_NAME.{slots}", "g", "r", "i")
        yield server
    finally:
        server.kill()


def with_indi(config: Config, port: int) -> tuple[Config, int]:
    """The same configuration with INDI's devices, and in how many lines it differs."""
    lines, section = config.path.read_text().splitlines(), ""
    before = list(lines)
    for number, line in enumerate(lines):
        section = line[1 : line.index("]")] if line.startswith("[") else section
        if section in DEVICES and line.startswith("driver ="):
            lines[number] = "driver = indi"
        elif section in DEVICES and line.startswith("address ="):
            lines[number] = f"address = tcp:127.0.0.1:{port}/{DEVICES[section]}"
    config.path.write_text("\n".join(lines) + "\n")
    return configuration.load(config.path), sum(old != new for old, new in zip(before, lines, strict=True))


def at_midnight(config: Config) -> None:
    """Put the site where it is midnight now, so that the mount's night, which cannot be shifted, is the observatory's;
    and expose for a second: INDI's camera cannot be made faster."""
    now = datetime.now(UTC)
    longitude = (-15 * (now.hour + now.minute / 60) + 180) % 360 - 180
    config.site.write_text(re.sub(r"longitude: \S+", f"longitude: {longitude:.3f}", config.site.read_text()))
    rules = config.alert_rules
    rules.write_text(rules.read_text().replace("seconds: 20", "seconds: 1"))


@needs_indi
def test_the_demo_follows_up_with_indis_simulators(config: Config, server: IndiServer, tmp_path: Path) -> None:
    at_midnight(config)
    config, differing = with_indi(config, server.port)
    assert differing == 2 * sum(name in DEVICES for name in config.agents)
    command = [sys.executable, "-c", "from pyros.cli import main; main()", "demo"]
    done = subprocess.run(
        [*command, "--config", config.path, "--data", tmp_path / "data"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "data" / "observatory.log").read_text()
    assert done.stderr == ""
    images = sorted((tmp_path / "data" / "images").rglob("*.fits"))
    assert len(images) == 4
    headers = [fits.getheader(image) for image in images]
    assert [header["FILTER"] for header in headers] == ["r", "r", "i", "i"]
    for header in headers:
        assert separation_arcsec(header["RA"], header["DEC"], header["OBJCTRA"], header["OBJCTDEC"]) < 2
        assert (header["NAXIS1"], header["NAXIS2"], header["INSTRUME"]) == (1280, 1024, "CCD Simulator")
    assert server.get("Dome Simulator.DOME_SHUTTER.SHUTTER_OPEN") == "On"
