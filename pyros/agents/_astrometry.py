"""Plate solving by astrometry.net's ``solve-field`` (Lang et al. 2010), as a process of its own with limits.

It is given the sources that were found, not the image, and the scale and place that the header claims, with a margin;
and when it finds nothing, once more without the place. A field that can be solved is by its brightest sources, with a
second of CPU; one that cannot (a sky that isn't ours, clouds) would cost a minute each time if it were asked for all.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.wcs import WCS
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from pyros.analysis.pipeline import Detected, scale_of
from pyros.analysis.positions import centre_and_radius, world
from pyros.clock import Clock, Timer

log = Logger()

_SOURCES = 200  # the brightest; more only take time
_SCALE = 0.15  # by which the header's scale may be wrong
_RADIUS = 5.0  # degrees around the header's place
_NEAR, _BLIND = ("10,20,30,40,60", 15), ("10,20,30", 10)
"""How many of the brightest sources it tries, step by step, and seconds of CPU: at the header's place, and anywhere."""
_FEWEST = 8  # sources; astrometry.net wants quads, and some more to believe them
_SAID = 2000  # bytes of what it said that are kept
_REAP = 0.5  # seconds


def can_solve(reactor: Any, program: str) -> str | None:
    """The path of the solver, or None where it isn't installed or this reactor runs no processes (a rehearsal)."""
    return shutil.which(program) if hasattr(reactor, "spawnProcess") else None


async def solve(reactor: Any, clock: Clock, program: str, detected: Detected, seconds: float) -> WCS | None:
    """World coordinates of an image, or None when it cannot be solved within so many seconds; the log says why.

    In the reactor's thread. Cancelling kills the process and all that it started.
    """
    scale = scale_of(detected)
    if scale is None or len(detected.found.sources) < _FEWEST:
        return None
    pool = reactor.getThreadPool()
    folder = Path(tempfile.mkdtemp(prefix="pyros-solve-"))
    end = clock.monotonic() + seconds
    try:
        for blind in (False, True):
            left = max(1.0, end - clock.monotonic())
            arguments: list[str] = await deferToThreadPool(
                reactor, pool, _prepare, folder, program, detected, scale, left, blind
            )  # type: ignore[func-returns-value,unused-ignore]
            run = _Run(reactor, clock, arguments, folder, left)
            code = await run.ended
            solution: WCS | None = await deferToThreadPool(reactor, pool, _read, folder)
            if solution is not None:
                return solution
            if run.late or clock.monotonic() >= end:
                break
        why = f"no end within {seconds:g} s" if run.late else run.said() or f"exit code {code}"
        log.warn("{program} found no solution for {path}: {why}", program=program, path=detected.path, why=why)
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(
    folder: Path, program: str, detected: Detected, scale: float, seconds: float, blind: bool = False
) -> list[str]:
    """Write the list of sources; returns the command line. In a thread."""
    sources = detected.found.sources.chosen(slice(0, _SOURCES))
    columns = [
        fits.Column("X", "E", array=sources.x + 1),  # FITS counts from 1
        fits.Column("Y", "E", array=sources.y + 1),
        fits.Column("FLUX", "E", array=sources.flux),
    ]
    table = folder / "sources.xyls"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(table, overwrite=True)
    height, width = detected.shape
    coordinates = world(detected.header)
    assert coordinates is not None  # it has a scale
    ra, dec, _ = centre_and_radius(coordinates, detected.shape)
    depth, cpu = _BLIND if blind else _NEAR
    options: dict[str, object] = {
        "--x-column": "X", "--y-column": "Y", "--sort-column": "FLUX", "--width": width, "--height": height,
        "--scale-units": "arcsecperpix", "--scale-low": scale * (1 - _SCALE), "--scale-high": scale * (1 + _SCALE),
        "--tweak-order": 1, "--depth": depth, "--cpulimit": max(1, round(min(seconds, cpu))),
        "--dir": folder, "--temp-dir": folder, "--new-fits": "none", "--rdls": "none", "--match": "none",
        "--corr": "none", "--index-xyls": "none", "--solved": "none",
    }  # fmt: skip
    if not blind:
        options |= {"--ra": ra, "--dec": dec, "--radius": _RADIUS}
    # A group of its own, so that what it starts can be killed with it; and the night goes first.
    before = [[path, *words] for name, *words in (["setsid"], ["nice", "-n", "10"]) if (path := shutil.which(name))]
    return [
        *(word for words in before for word in words), program, "--no-plots", "--overwrite", "--crpix-center",
        *(str(word) for pair in options.items() for word in pair), str(table),
    ]  # fmt: skip


def _read(folder: Path) -> WCS | None:
    try:
        header = fits.getheader(folder / "sources.wcs")
    except OSError:
        return None
    for keyword in ("NAXIS1", "NAXIS2"):
        header.pop(keyword, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its header has words of its own
        return world(header)


class _Run(ProcessProtocol):
    """One process: ``ended`` fires with its exit code (None when it was killed), however it ends."""

    def __init__(self, reactor: Any, clock: Clock, arguments: list[str], folder: Path, seconds: float) -> None:
        self.ended: Deferred[int | None] = Deferred(lambda _: self._kill())
        self.late = False
        self._said = b""
        self._clock = clock
        self._timers: list[Timer] = [clock.call_later(seconds, self._too_late)]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(folder), "HOME": str(folder)}
        self._process = reactor.spawnProcess(self, arguments[0], arguments, environment, str(folder))
        self._process.closeStdin()
        self._reap()

    def said(self) -> str:
        """Its last line."""
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def outReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-_SAID:]

    errReceived = outReceived

    def processEnded(self, reason: Any) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._kill_group()  # what it may have left behind
        if not self.ended.called:
            self.ended.callback(reason.value.exitCode)

    def _reap(self) -> None:
        """Where the reactor doesn't run in the main thread no signal tells that a child has ended."""
        if self._process.pid is not None:
            self._process.reapProcess()
        if self._process.pid is not None:
            self._timers[1:] = [self._clock.call_later(_REAP, self._reap)]

    def _too_late(self) -> None:
        self.late = True
        self._kill()

    def _kill(self) -> None:
        self._kill_group()
        with suppress(Exception):  # it has ended already
            self._process.signalProcess("KILL")

    def _kill_group(self) -> None:
        pid = self._process.pid or self._group
        if pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    _group: int | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._group = self.transport.pid
