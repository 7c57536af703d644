"""Debian's indiserver with INDI's own simulators, in a process group of its own.

It has a free port and a folder of its own. There is no way to tell it to listen on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, free_port, wait_until

DRIVERS = {
    "Telescope Simulator": "indi_simulator_telescope",
    "CCD Simulator": "indi_simulator_ccd",
    "Dome Simulator": "indi_simulator_dome",
    "Weather Simulator": "indi_simulator_weather",
    "Focuser Simulator": "indi_simulator_focus",
    "Filter Simulator": "indi_simulator_wheel",
}
OTHERS = {
    "LX200 Basic": "indi_lx200basic",
    "LX200 Classic": "indi_lx200classic",
    "SkySafari": "indi_skysafari",
    "Roof": "indi_rolloff_dome",
    "Light Panel Simulator": "indi_simulator_lightpanel",
    "Rotator Simulator": "indi_simulator_rotator",
}
"""What is only run when it is asked for."""
needs_indi = pytest.mark.skipif(
    not shutil.which("indiserver") and not os.environ.get("CI"), reason="needs indi-bin: tools/system-packages"
)


class IndiServer:
    """An indiserver and its drivers."""

    def __init__(self, folder: Path, *devices: str) -> None:
        self.folder = folder
        self.devices = devices or tuple(DRIVERS)
        self.port = free_port()
        self._fifo = folder / "fifo"
        os.mkfifo(self._fifo)
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("INDI")}
        self._environment["HOME"] = str(folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        # The local socket's name is abstract: no file of it is left, and two servers must not share it.
        # When the tests themselves are killed, it is too.
        command = ["setpriv", "--pdeathsig", "KILL", "indiserver"]
        command += ["-p", str(self.port), "-u", f"/tmp/indi-test-{self.port}", "-f", str(self._fifo)]
        with (self.folder / "indiserver.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *((DRIVERS | OTHERS)[device] for device in self.devices)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True,
            )  # fmt: skip
        self._tool("indi_getprop", "-t", "10", "-1", f"{self.devices[0]}.CONNECTION.CONNECT")

    def kill(self) -> None:
        """End it and all its drivers at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop_driver(self, device: str) -> None:
        """As if the driver had died."""
        self._fifo.write_text(f"stop {DRIVERS[device]}\n")

    def start_driver(self, device: str, name: str = "") -> None:
        """Start its driver, under another name if one is given."""
        self._fifo.write_text(f"start {(DRIVERS | OTHERS)[device]}" + f' -n "{name}"' * bool(name) + "\n")

    def connect(self, device: str) -> None:
        """Connect a device to its hardware by another client's hand."""
        self.set(f"{device}.CONNECTION.CONNECT", "On")
        wait_until(lambda: self.get(f"{device}.CONNECTION.CONNECT") == "On", what=f"{device} to connect")

    def get(self, name: str) -> str:
        """Return the value of ``Device.VECTOR.MEMBER``."""
        return self._tool("indi_getprop", "-t", "5", "-1", name).strip()

    def set(self, name: str, *values: str) -> None:
        """Set ``Device.VECTOR.MEMBER;MEMBER``."""
        self._tool("indi_setprop", "-t", "5", f"{name}={';'.join(values)}")

    def _tool(self, program: str, *arguments: str) -> str:
        def attempt() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run(
                [program, "-p", str(self.port), *arguments],
                capture_output=True, text=True, check=False, env=self._environment, timeout=PATIENCE,
            )  # fmt: skip
            return done if done.returncode == 0 else None

        done: subprocess.CompletedProcess[str] = wait_until(attempt, what=f"{program} {arguments}")
        return done.stdout
