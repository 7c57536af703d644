"""Many nights, over processes; and the command that repeats one."""

from __future__ import annotations

import gc
import multiprocessing
import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import msgspec
from twisted.logger import globalLogBeginner

from pyros.rehearsal.night import RehearsedNight
from pyros.rehearsal.plan import NightPlan, NightResult
from pyros.rehearsal.reduce import reduce_night

_PATH_LENGTH = 200
"""Characters of a night's folder: the same everywhere, so that what holds its path has the same length."""


def plans(plan: NightPlan, nights: int) -> list[NightPlan]:
    """Return the plans of so many nights: each the evening after the one before, with the next seed.

    Those that follow each other on the same journals have one plan, and one seed.
    """
    evening = date.fromisoformat(plan.date)
    return [
        msgspec.structs.replace(
            plan, seed=plan.seed + number, date=str(evening + timedelta(days=first)),
            together=min(plan.together, nights - first),
        )
        for number, first in enumerate(range(0, nights, plan.together))
    ]  # fmt: skip


@contextmanager
def night_folder() -> Iterator[Path]:
    """Give a folder for one night, which is removed afterwards."""
    outer = Path(tempfile.mkdtemp(prefix="pyros-rehearsal-", dir=_among[0] if _among else None))
    try:
        yield outer / "night".ljust(max(5, _PATH_LENGTH - len(str(outer)) - 1), "-")
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def rehearse_night(plan: NightPlan) -> NightResult:
    """Rehearse one night in a folder that is removed afterwards. Raises ConfigError or SimulatorError."""
    with night_folder() as folder:
        return RehearsedNight(plan, folder).run()


def rehearse(every: Iterable[NightPlan], jobs: int) -> Iterator[NightResult]:
    """Rehearse nights, so many at once, each in one of ``jobs`` processes; yields each result as it comes.

    One that is given up (the generator is closed, or Ctrl-C) leaves no process behind.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="pyros-rehearsals-", ignore_cleanup_errors=True) as folder:
        pool = context.Pool(jobs, _begin, (folder,))
        try:
            yield from pool.imap_unordered(rehearse_night, every)
        finally:
            pool.terminate()
            pool.join()


def reduce(plan: NightPlan, result: NightResult, on_try: Callable[[int, int], None]) -> NightPlan:
    """Return the plan with the shortest fault script that breaks the same rule; see `reduce_night`."""
    quiet()
    with night_folder() as outer:
        count = 0

        def make(fewer: NightPlan) -> RehearsedNight:
            nonlocal count
            shutil.rmtree(outer, ignore_errors=True)
            count += 1
            return RehearsedNight(fewer, outer)

        return reduce_night(plan, result, make, on_try)


def command(plan: NightPlan, script: Path | None = None) -> str:
    """Return the command that repeats a night; ``script`` is the file of its faults, if they aren't drawn."""
    words = ["pyros", "rehearse", "--config", plan.config, "--from", plan.date, "--seed", str(plan.seed)]
    words += ["--faults", str(script) if script is not None else plan.faults]
    words += ["--alerts", plan.alerts_folder or f"{plan.alerts:g}", "--images", plan.images]
    words += ["--rules", plan.rules] if plan.rules else []
    words += ["--requests", plan.requests_file] if plan.requests_file else []
    words += ["--hours", f"{plan.hours:g}"] if plan.hours else []
    words += ["--nights", str(plan.together), "--together", str(plan.together)] if plan.together > 1 else []
    return shlex.join(words)


def quiet() -> None:
    """Have nothing in this process disturb its nights. Once is enough.

    Twisted neither keeps nor prints what is logged, and the garbage collector looks through no modules.
    """
    if not _begun:
        _begun.append(True)
        globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)


_begun: list[bool] = []
_among: list[str] = []
"""The folder among whose folders each night of this process has its own."""


def _begin(folder: str) -> None:
    """Begin a process of nights: Ctrl-C is for the one that has started it, which ends this one and its folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _among.append(folder)
    quiet()
