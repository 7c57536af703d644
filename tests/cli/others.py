"""The demo's follow-up with instruments that others wrote: the same for INDI and Alpaca.

The configuration is the demo's; only its lines of driver and address are others, those of ``docs/other-simulators.md``.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from astropy.io import fits

from pyros import config as configuration
from pyros.angles import separation_arcsec
from pyros.cli.demo.demo import DemoPacket, fill
from pyros.cli.demo.observatory import ObservatoryProcess
from pyros.config import Config
from pyros.journal import JournalReader
from tests.builders import voevent
from tests.cli.conftest import run
from tests.conftest import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
PYROS = [sys.executable, "-c", "from pyros.cli import main; main()"]


def as_documented(config: Config, driver: str, server: str) -> Config:
    """Change the demo's configuration by the documentation's lines for that driver, with another server's address."""
    documentation = (ROOT / "docs" / "other-simulators.md").read_text()
    (block,) = [each for each in re.findall(r"(?s)```ini\n(.*?)```", documentation) if f"driver = {driver}" in each]
    wanted = configparser.ConfigParser(interpolation=None)
    wanted.read_string(re.sub(r"127\.0\.0\.1:\d+", server, block))
    before = config.path.read_text().splitlines()
    lines, section = [], ""
    for line in before:
        section = found[1] if (found := re.match(r"\[(.+?)\]", line)) else section
        key = line.partition(" = ")[0]
        changes = key in ("driver", "address") and section in wanted
        lines.append(f"{key} = {wanted[section][key]}" if changes else line)
    config.path.write_text("\n".join(lines) + "\n")
    changed = {line.partition(" = ")[0] for line, other in zip(lines, before, strict=True) if line != other}
    assert changed == {"driver", "address"}
    changed_config = configuration.load(config.path)
    assert {each.driver for each in changed_config.agents.values() if each.driver} == {driver}
    return changed_config


def heard(config: Config, agent: str, name: str) -> list[dict[str, Any]]:
    """Return the payloads of the messages of that name which an agent has taken."""
    if not config.journal(agent).is_file():
        return []
    with closing(JournalReader(config.journal(agent))) as reader:
        rows = reader.rows("SELECT payload FROM received WHERE name = ? ORDER BY number", name)
    return [msgspec.json.decode(payload) for (payload,) in rows]


def follow_up(config: Config, data: Path) -> list[tuple[fits.Header, Any]]:
    """Run the demo, see that it did all it should, and return its images' headers and pixels."""
    done = subprocess.run(
        [*PYROS, "demo", "--config", config.path, "--data", data],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + (data / "observatory.log").read_text()
    assert done.stderr == ""
    own = configuration.load(data / "pyros_agent_config.ini")
    assert [each["filter"] for each in heard(own, "observation_manager", "Filter selected")] == ["r", "i"]
    assert heard(own, "majordome", "Dome opened")
    (slew,) = heard(own, "observation_manager", "Slew finished")
    assert slew["error"] < 2
    images = []
    for path in sorted(data.glob("images/*/*.fits")):
        with fits.open(path, checksum=True) as units:
            images.append((units[0].header, units[0].data))
    for header, _ in images:
        assert separation_arcsec(header["RA"], header["DEC"], header["OBJCTRA"], header["OBJCTDEC"]) < 2
        assert header["EXPTIME"] == 3
    assert [header["FILTER"] for header, _ in images] == ["r", "r", "i", "i"]
    return images


class TroubledObservatory:
    """An observatory that runs while its devices have trouble."""

    def __init__(self, config: Config, process: ObservatoryProcess, packet: DemoPacket) -> None:
        self.config, self.process, self.packet = config, process, packet

    def heard(self, agent: str, name: str) -> list[dict[str, Any]]:
        return heard(self.config, agent, name)

    def slewing(self) -> None:
        """Wait until the mount has taken the command, and moves."""
        wait_until(lambda: self.heard("observation_manager", "Slew started"), what="the slew")

    def lost_in_mid_slew(self) -> None:
        """See that every device is lost, for the server was just killed, and that the slew has failed for that."""
        failed = wait_until(lambda: self.heard("observation_manager", "Slew failed"), what="the slew's failure")
        assert failed[0]["lost"]
        wait_until(lambda: len(self.heard("monitoring", "Instrument disconnected")) >= 6, what="all to be lost")

    def goes_on(self, exposing: Callable[[], Any]) -> None:
        """See that the alert comes to its first exposure, now that the server is back.

        The same observation goes on, unless its dome had to close meanwhile, because the guardian still had no word of
        it when the agent had: then it was begun once more.
        """
        wait_until(exposing, what="an exposure")
        failed = [each["reason"] for each in self.heard("scheduler", "Observation failed")]
        assert all("dome" in reason for reason in failed), failed
        assert len(self.heard("scheduler", "Observation started")) == 1 + len(failed) <= 2, failed
        assert self.heard("observation_manager", "Slew finished")[-1]["error"] < 2

    def retracted(self, exposing: Callable[[], Any]) -> None:
        """Retract the alert in mid-exposure, and see that the exposure is aborted."""
        assert not self.heard("observation_manager", "Exposure finished")
        file = self.packet.file.with_name("retraction.xml")
        ivorn = self.packet.ivorn
        file.write_bytes(voevent(f"{ivorn}-retracted", ra=None, citations=[("retraction", ivorn)]))
        send(self.config, file)
        wait_until(lambda: not exposing(), what="the exposure to be aborted")
        wait_until(
            lambda: any("withdrawn" in each["reason"] for each in self.heard("majordome", "Observation failed")),
            what="the observation's end",
        )

    def closes(self, is_closed: Callable[[], Any]) -> None:
        """See that the dome closes, for it rains now."""
        wait_until(is_closed, what="the dome to close")
        wait_until(lambda: self.heard("majordome", "Weather unsafe"), what="the reason")
        self.process.check()


def send(config: Config, file: Path) -> None:
    told = run("alert", file, "--no-follow", "--config", config.path)
    assert told.exit_code == 0, told.output


@contextmanager
def trouble(config: Config, folder: Path) -> Iterator[TroubledObservatory]:
    """Run the observatory, and tell it of the demo's burst; see that nothing crashes, and no aborted image is left.

    Its exposures end long after the test: nobody has to be quick to interrupt one.
    """
    rules = config.alert_rules.read_text()
    config.alert_rules.write_text(rules.replace("seconds: 3,", "seconds: 600,"))
    assert "seconds: 600," in config.alert_rules.read_text()
    with ObservatoryProcess(config, folder / "log") as process:
        process.wait_until_up(PATIENCE, lambda up, total: None)
        wait_until(lambda: heard(config, "majordome", "Weather safe"), what="weather")
        packet = fill(config.path.parent / "observatory" / "demo-alert.xml", config, folder)
        send(config, packet.file)
        yield TroubledObservatory(config, process, packet)
    log = (folder / "log").read_text()
    assert "Server Shut Down" in log
    assert "Traceback" not in log
    assert not list(config.data.glob("images/*/*.fits"))
