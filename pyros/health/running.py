"""Runs the checks: side by side, so that one that hangs holds no other."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

from pyros.clock import steady_seconds, system_time
from pyros.health.check import HealthCheck
from pyros.health.loading import explain, load
from pyros.health.observatory import Observatory
from pyros.health.report import CheckResult, Report, Verdict
from pyros.printable import printable
from pyros.views import Observed

_SIDE_BY_SIDE = 8
_LONGEST_TEXT = 500


def look(observed: Observed, names: Iterable[str] = (), tags: Iterable[str] = ()) -> Report:
    """Run all checks, or those with one of these names (``disk.*``) or tags. Blocking, for any thread.

    Whatever a check does, the others run; mistakes in other people's checks are in the report as ``unknown``.
    """
    loaded = load(observed.config)
    observatory = Observatory(observed)
    cases = [case for each in loaded.classes for case in _cases(each, observatory)]
    names, tags = tuple(names), frozenset(tags)
    if names or tags:
        cases = [
            case for case in cases if tags & set(case.tags) or any(fnmatchcase(case.check_name, name) for name in names)
        ]
    with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE, thread_name_prefix="checks") as pool:
        results = list(pool.map(_run, cases))
    results += [
        CheckResult(name=source, verdict="unknown", text=_shown(text), about="These checks can be loaded.")
        for source, text in loaded.problems
        if not names or any(fnmatchcase(source, name) for name in names)
    ]
    return Report(observatory=observed.config.name, time=system_time(), checks=tuple(results))


_KEEP_SECONDS = 10.0
"""How long a report counts."""


class Doctor:
    """Looks again only when the last look is old: for whoever is asked over HTTP as often as others like."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self._lock = threading.Lock()
        self._report: Report | None = None
        self._looked = 0.0

    def report(self) -> Report:
        """Return how it is. Any thread; while one looks again, the others get the report before."""
        before = self._report
        if before is not None and steady_seconds() - self._looked <= _KEEP_SECONDS:
            return before
        if not self._lock.acquire(blocking=before is None):
            return before  # type: ignore[return-value]
        try:
            if self._report is None or steady_seconds() - self._looked > _KEEP_SECONDS:
                self._report, self._looked = look(self.observed), steady_seconds()
            return self._report
        finally:
            self._lock.release()


def _cases(of: type[HealthCheck], observatory: Observatory) -> list[HealthCheck]:
    cases = []
    for unit, seen in observatory.each(of.each) if of.each else (("", observatory),):
        for name in unittest.defaultTestLoader.getTestCaseNames(of):
            case = of(name)
            case.unit, case.observatory = unit, seen
            cases.append(case)
    return cases


def _run(case: HealthCheck) -> CheckResult:
    name, level, about = case.check_name, case.check_level, case.shortDescription() or ""
    begun, result = steady_seconds(), _Outcome(level)
    try:
        case.run(result)
    except BaseException as error:  # setUpClass is not ours; run is, but may be overridden
        result.keep("unknown", explain(error))
    return CheckResult(
        name=name, verdict=result.verdict, text=_shown(result.text), about=about, level=level, tags=tuple(case.tags),
        seconds=round(steady_seconds() - begun, 3),
    )  # fmt: skip


def _shown(text: str) -> str:
    return printable(" ".join(text.split()))[:_LONGEST_TEXT]


class _Outcome(unittest.TestResult):
    """Keeps the first bad thing that a check says."""

    def __init__(self, level: str) -> None:
        super().__init__()
        self._failed: Verdict = "fail" if level == "critical" else "warn"
        self.verdict: Verdict = "pass"
        self.text = ""

    def keep(self, verdict: Verdict, text: str) -> None:
        """Keep a verdict, unless a worse one is kept."""
        if self.verdict in ("pass", "skip"):
            self.verdict, self.text = verdict, text

    def addFailure(self, test: Any, err: Any) -> None:
        self.keep(self._failed, str(err[1]))

    def addError(self, test: Any, err: Any) -> None:
        self.keep("unknown", f"the check itself failed: {explain(err[1])}")

    def addSkip(self, test: Any, reason: str) -> None:
        self.keep("skip", reason)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            (self.addFailure if issubclass(err[0], test.failureException) else self.addError)(subtest, err)
