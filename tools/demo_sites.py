#!/usr/bin/env python3
"""Show two sites with three telescopes on this machine: who observes what, and which one an alert moves.

Run by ``make demo-sites``. All devices are simulated; the observatory's night is now. Ends with code 1 where something
isn't as it should be.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import program
from pyros.cli.demo.demo import fill
from pyros.cli.demo.observatory import ObservatoryProcess
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import PyrosError
from pyros.messages import Exposures, Observation
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.rehearsal.folder import write_observatory
from pyros.sender import Sender
from pyros.views.devices import devices
from pyros.views.observed import Observed
from pyros.views.states import Monitoring, ObservationManager

TELESCOPES = ("france east", "france west", "namibia one")
GAMSBERG = "name: Gamsberg, Namibia\nlatitude: -23.3425\nlongitude: 16.2258\nelevation: 2347\n"
KINDS = ("telescope", "camera", "dome", "weather", "filter_wheel")
UP_SECONDS, SAFE_SECONDS, OBSERVING_SECONDS, ALERT_SECONDS = 120.0, 60.0, 90.0, 180.0
LOOK_SECONDS = 0.2


class DemoFailed(Exception):
    """Something didn't happen in time."""


def main() -> None:
    """Run the demo in a folder that is removed at its end."""
    with tempfile.TemporaryDirectory(prefix="pyros-sites-") as folder:
        path = write(Path(folder))
        config = configuration.load(path)
        log = Path(folder) / "observatory.log"
        try:
            with ObservatoryProcess(config, log) as process:
                print(f"{len(config.agents)} agents of {len(config.telescopes)} telescopes start ...", flush=True)
                process.wait_until_up(UP_SECONDS, lambda up, total: None)
                show(config, Path(folder))
        except (DemoFailed, PyrosError) as error:
            lines = log.read_text(errors="replace").splitlines()
            print(*[each for each in lines if "#info" not in each][-30:], sep="\n", file=sys.stderr)
            sys.exit(f"demo-sites: {error}")


def write(folder: Path) -> Path:
    """Write the observatory, and return its configuration's path."""
    path = write_observatory(
        folder, KINDS, devices={"camera": {"width": 256, "height": 256}},
        options={"monitoring": {"option_safe_after": 1}, "majordome": {"option_close_after": 600}},
        rules=None, guardian=True, telescopes=TELESCOPES, sites={"namibia": GAMSBERG},
    )  # fmt: skip
    path.write_text(path.read_text("utf-8").replace("name = rehearsal", "name = two sites\nclock = night"), "utf-8")
    return path


def show(config: Config, folder: Path) -> None:
    """Ask for three observations, then send an alert, and print what each telescope does."""
    seen = Observed(config)
    units = {unit: Observed(config.seen_from(unit)) for unit in TELESCOPES}
    try:
        wait("safe weather", SAFE_SECONDS, lambda: all(is_safe(each) for each in units.values()))
        now = datetime.fromtimestamp(seen.time(), UTC)
        meridian = place_overhead(Site.load(config.site), now, 80, 180)[0]
        asked = {
            "north": request("north", (meridian, 75.0), 5), "south": request("south", (meridian, -65.0), 5),
            "anywhere": request("anywhere", (meridian, 12.0), 1),
        }  # fmt: skip
        for each in asked.values():
            Sender.send_to("scheduler", messages.OBSERVATION_REQUESTED, each, config=config)
        wait("three observations", OBSERVING_SECONDS, lambda: sorted(doing(units).values()) == sorted(asked))
        begun = tell(units)
        packet = fill(config.path.parent / "observatory" / "demo-alert.xml", config, folder)
        assert config.broker is not None
        print(f"\nalert {packet.ivorn}", flush=True)
        subprocess.run(
            [sys.executable, program("comet-sendvo"), "--host=127.0.0.1", f"--port={config.broker.receiver_port}",
             "-f", str(packet.file)],
            check=True, capture_output=True,
        )  # fmt: skip

        def preempted() -> list[str]:
            return [unit for unit, what in doing(units).items() if what not in (*asked, "")]

        wait("the alert's observation", ALERT_SECONDS, preempted)
        (moved,) = preempted()
        tell(units)
        others = [unit for unit in TELESCOPES if unit != moved]
        if any(doing(units)[unit] != begun[unit] for unit in others):
            raise DemoFailed(f"not only {moved} has moved")
        images = config.data / "images"
        begin = moved.replace(" ", "_")
        wait("an image of the alert", ALERT_SECONDS, lambda: list(images.rglob(f"{begin}_obs-*.fits")))
        wait("what devices say", OBSERVING_SECONDS, lambda: all(each.state != "unknown" for each in devices(seen)))
        print(f"\n{moved} was moved by the alert and took its image, and {' and '.join(others)} went on:")
        for device in devices(seen):
            print(f"  {device.name:26} {device.state}")
    finally:
        for each in (seen, *units.values()):
            each.close()


def request(name: str, place: tuple[float, float], priority: int) -> Observation:
    """Make a request that lasts longer than the demo."""
    exposures = (Exposures(filter="r", seconds=60, count=100),)
    return Observation(ra=place[0], dec=place[1], id=name, target=name, exposures=exposures, priority=priority)


def is_safe(unit: Observed) -> bool:
    """Whether the unit's monitoring says that it is safe."""
    return unit.state("monitoring", Monitoring).safe is True


def doing(units: dict[str, Observed]) -> dict[str, str]:
    """Return what each telescope observes, by request; '' for nothing."""
    now = {unit: seen.state("observation_manager", ObservationManager).current for unit, seen in units.items()}
    return {unit: current.id if current is not None else "" for unit, current in now.items()}


def tell(units: dict[str, Observed]) -> dict[str, str]:
    """Print what each telescope observes, and return it."""
    now = doing(units)
    for unit, what in now.items():
        print(f"  {unit:14} {what}", flush=True)
    return now


def wait(what: str, seconds: float, happens: Callable[[], object]) -> None:
    """Return when it has happened; raises DemoFailed."""
    deadline = Deadline(seconds)
    while not happens():
        if not deadline.left():
            raise DemoFailed(f"{what}: not within {seconds:g} s")
        deadline.pause(LOOK_SECONDS)


if __name__ == "__main__":
    main()
