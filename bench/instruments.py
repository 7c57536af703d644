"""What the instruments cost: the grammar's speed, a large image from camera to disk, an observatory with nothing to do.

    python bench/instruments.py            the figures of the README
    python bench/instruments.py --quick    fewer commands, a smaller image, a shorter look

Simulators run in a process of their own, as they do in an observatory. The CPU is that of the demo's whole observatory
in one process (agents, broker, simulators), as the kernel counts it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from astropy.io import fits
from twisted.python.failure import Failure

from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import config as configuration
from pyros.agents.runtime.program import background_reactor, in_reactor
from pyros.cli.common import program, twistd
from pyros.clock import Deadline, RealClock
from pyros.health.asking import of_agent
from pyros.instruments import Image, connect
from pyros.instruments.fits import ImageFacts, write_image

HERE = Path(__file__).resolve().parent.parent
WINDOW = 64
EXPOSURE, SPEED = 20.0, 10_000


def copy_demo(folder: Path) -> Path:
    """The demo observatory on free ports; returns its configuration."""
    shutil.copytree(HERE / "observatory", folder / "observatory")
    shutil.copy(HERE / configuration.FILE_NAME, folder)
    files = [folder / configuration.FILE_NAME, *(folder / "observatory" / "simulators").glob("*.yaml")]
    known = sorted({port for file in files for port in re.findall(r"\b(?:50|60|80)\d\d\b", file.read_text())})
    other = dict(zip(known, map(str, free_ports(len(known))), strict=True))
    for file in files:
        file.write_text(re.sub(r"\b(?:50|60|80)\d\d\b", lambda found: other[found[0]], file.read_text()))
    return files[0]


@contextmanager
def process(command: list[str], log: Path) -> Iterator[int]:
    """A program for as long as the ``with`` statement lasts; gives its process's number."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield running.pid
    finally:
        running.terminate()
        running.wait(PATIENCE)


def simulator(folder: Path, name: str, **changed: Any) -> tuple[list[str], int]:
    """The command that runs one of the demo's simulators with some keys changed, and its port."""
    (port,) = free_ports(1)
    path = folder / "observatory" / "simulators" / f"{name}.yaml"
    changed |= {"listen": f"tcp:{port}:interface=127.0.0.1"}
    kept = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in changed]
    path.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in changed.items())]) + "\n")
    return [sys.executable, program("twistd"), "-n", "--pidfile=", "pyros-simulator", str(path)], port


def dial(port: int) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = Deadline(PATIENCE)
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            if not deadline.left():
                raise SystemExit(f"nobody listens on port {port}") from None
            deadline.pause(0.05)
        else:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return client


def grammar(folder: Path, commands: int, clock: RealClock) -> dict[str, float]:
    """``GET position`` of a simulated telescope, one at a time and with many under way."""
    command, port = simulator(folder, "telescope")
    with process(command, folder / "telescope.log"), dial(port) as client, client.makefile("rb") as answers:
        seconds = []
        for _ in range(commands):
            began = clock.monotonic()
            client.sendall(b"GET position\n")
            answers.readline()
            seconds.append(clock.monotonic() - began)
        began = clock.monotonic()
        for _ in range(commands // WINDOW):
            client.sendall(b"GET position\n" * WINDOW)
            for _ in range(WINDOW):
                answers.readline()
        many = commands // WINDOW * WINDOW / (clock.monotonic() - began)
    return {
        "per_second": commands / sum(seconds), "p50": median(seconds), "p99": quantile(seconds, 0.99),
        "pipelined_per_second": many,
    }  # fmt: skip


def wait(reactor: Any, give: Any) -> Any:
    """The result of a Deferred of the background's reactor."""
    done: SimpleQueue[Any] = SimpleQueue()
    reactor.callFromThread(lambda: give().addBoth(done.put))
    result = done.get()
    if isinstance(result, Failure):
        result.raiseException()
    return result


def large_image(
    folder: Path, side: int, times: int, clock: RealClock, doing: Callable[[str], None]
) -> dict[str, float]:
    """From the command *expose* to a synced file of a sky with stars, where exposure and readout take next to no time;
    and the bare array."""
    mount, mount_port = simulator(folder, "telescope")
    changed = {"width": side, "height": side, "readout": 0, "telescope": f"tcp:127.0.0.1:{mount_port}"}
    changed |= {"filter_wheel": '""', "speed": SPEED}
    command, port = simulator(folder, "camera", **changed)
    reactor = background_reactor()
    whole, fetched, bare = [], [], []
    with process(mount, folder / "telescope.log"), process(command, folder / "camera.log"):
        dial(mount_port).close()
        dial(port).close()
        # The first image is drawn when the stars have been read.
        address = f"tcp:127.0.0.1:{port}?readout_seconds={PATIENCE:g}"
        camera = in_reactor(reactor, lambda: connect("camera", "native", address, reactor, clock))
        wait(reactor, lambda: camera.expose(EXPOSURE, "r"))  # what is made only once
        for number in range(times):
            doing(f"an image of {side} x {side}, {number + 1} of {times}")
            began = clock.monotonic()
            image: Image = wait(reactor, lambda: camera.expose(EXPOSURE, "r"))
            fetched.append(clock.monotonic() - began)
            write_image(folder / f"{number}.fits", image, ImageFacts("bench", 10.0, 20.0, "bench", number))
            whole.append(clock.monotonic() - began)
        wait(reactor, camera.disconnect)
    chance = np.random.default_rng(1)
    for number in range(times):
        doing(f"the bare array, {number + 1} of {times}")
        began = clock.monotonic()
        pixels = chance.normal(1000, 8, (side, side)).astype(np.uint16)
        with (folder / f"bare-{number}.fits").open("wb") as file:
            fits.PrimaryHDU(pixels).writeto(file)
            file.flush()
            os.fsync(file.fileno())
        bare.append(clock.monotonic() - began)
    return {"whole": median(whole), "camera": median(fetched), "bare": median(bare)}


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5): utime and stime)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def idle(folder: Path, settle: float, seconds: float, clock: RealClock) -> float:
    """The share of one core that the demo's observatory needs while nothing happens, ``settle`` after its start."""
    config = configuration.load(copy_demo(folder))
    with process(twistd(config.path), folder / "observatory.log") as pid:
        deadline = Deadline(PATIENCE)
        while not all(of_agent(section, 1.0)["up"] for section in config.agents.values()):
            if not deadline.left():
                raise SystemExit(f"the observatory does not start; see {folder / 'observatory.log'}")
            deadline.pause(0.2)
        Deadline(settle).pause(settle)  # the first readings
        began, used = clock.monotonic(), cpu_of(pid)
        Deadline(seconds).pause(seconds)
        return (cpu_of(pid) - used) / (clock.monotonic() - began)


def main() -> None:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    commands, side, times = (2000, 1024, 2) if options.quick else (10_000, 4096, 5)
    settle, seconds = (2.0, 2.0) if options.quick else (10.0, 30.0)
    report = BenchReport("instruments", options.json, ("numpy", "astropy"))
    clock = RealClock(background_reactor())
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as name:
        folder = Path(name)
        for part in ("devices", "idle"):
            (folder / part).mkdir()
        shutil.copytree(HERE / "observatory", folder / "devices" / "observatory")
        report.doing(f"{commands} commands of the grammar, one at a time and {WINDOW} at a time")
        told = grammar(folder / "devices", commands, clock)
        report.figures("grammar", commands=commands, **told)
        image = large_image(folder / "devices", side, times, clock, report.doing)
        report.figures("image", side=side, **image)
        report.doing(f"an observatory with nothing to do, for {settle + seconds:.0f} s")
        share = idle(folder / "idle", settle, seconds, clock)
        report.figures("idle", seconds=seconds, share_of_a_core=share)
    report.table(
        f"the grammar: {commands} GET position to a simulated telescope",
        ("", "a second", "p50", "p99"),
        [
            (
                "one at a time",
                f"{told['per_second']:.0f}",
                f"{told['p50'] * 1e3:.2f} ms",
                f"{told['p99'] * 1e3:.2f} ms",
            ),
            (f"{WINDOW} at a time", f"{told['pipelined_per_second']:.0f}", "", ""),
        ],
    )
    report.table(
        f"an image of {side} x {side}, seconds",
        ("", "median"),
        [
            ("expose to synced FITS file", f"{image['whole']:.2f}"),
            ("of that, simulated, sent and received", f"{image['camera']:.2f}"),
            ("the bare array: random numbers, written and synced", f"{image['bare']:.2f}"),
        ],
    )
    report.table(
        "an observatory with nothing to do", ("", "of one core"), [("agents, broker, simulators", f"{share:.1%}")]
    )
    report.ends()


if __name__ == "__main__":
    main()
