"""What a look at an observatory has found, and its four forms: lines, JSON, Nagios' and the exit code.

A check's verdict is the same in each: ``pass``; ``warn`` or ``fail`` by its level; ``unknown`` where the check itself
raised, or could not be loaded; ``skip`` where it doesn't apply.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from pyros import __version__

Verdict = Literal["pass", "skip", "warn", "unknown", "fail"]
ORDER: tuple[Verdict, ...] = ("pass", "skip", "warn", "unknown", "fail")
"""From good to bad: the worst one is the whole report's."""
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "skip": 0, "warn": 1, "fail": 2, "unknown": 3}
"""Of `pyros doctor`, the same as Nagios' (Monitoring Plugins Development Guidelines, 2.3)."""
_NAGIOS: dict[Verdict, str] = {"pass": "OK", "skip": "OK", "warn": "WARNING", "fail": "CRITICAL", "unknown": "UNKNOWN"}
_DRAFT: dict[Verdict, str] = {"pass": "pass", "skip": "pass", "warn": "warn", "fail": "fail", "unknown": "warn"}
"""By the words of the draft there is no unknown."""
MEDIA_TYPE = "application/health+json"


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one check has found."""

    name: str
    """The check's name, ``disk.space_for_images``."""
    verdict: Verdict
    """How it is."""
    text: str = ""
    """Why, where it isn't well or doesn't apply."""
    about: str = ""
    """What must hold, a sentence."""
    level: str = "critical"
    """What its failure means: ``critical`` or ``warning``."""
    tags: tuple[str, ...] = ()
    """Its words."""
    seconds: float = 0.0
    """How long it took."""

    @property
    def bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.verdict not in ("pass", "skip")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One look at an observatory."""

    observatory: str
    """Its name."""
    time: float
    """When, Unix seconds of the computer's clock."""
    checks: tuple[CheckResult, ...]
    """In the order of their files."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return max((check.verdict for check in self.checks), key=ORDER.index, default="unknown")

    @property
    def exit_code(self) -> int:
        """Return 0 for well, 1 for a warning, 2 for a failure, 3 for what isn't known."""
        return EXIT_CODES[self.verdict]

    @property
    def bad(self) -> tuple[CheckResult, ...]:
        """What somebody should look at, the worst first."""
        return tuple(sorted((each for each in self.checks if each.bad), key=lambda each: -ORDER.index(each.verdict)))

    @property
    def groups(self) -> dict[str, list[CheckResult]]:
        """The checks by the first part of their names."""
        found: dict[str, list[CheckResult]] = {}
        for check in self.checks:
            found.setdefault(check.name.partition(".")[0], []).append(check)
        return found

    @property
    def http_status(self) -> int:
        """Return 503 when something has failed, else 200."""
        return 503 if self.verdict == "fail" else 200


def health_json(report: Report, brief: bool = False) -> bytes:
    """Return the body of ``/health`` (draft-inadarei-api-health-check-06); ``brief``: without the checks.

    Its words have no unknown, which is a warning there; ``verdict`` beside ``status`` is ours.
    """
    body: dict[str, Any] = {
        "status": _DRAFT[report.verdict], "verdict": report.verdict, "version": "1", "releaseId": __version__,
        "description": f"health of {report.observatory}",
    }  # fmt: skip
    if brief:
        return msgspec.json.encode({"status": body["status"], "version": body["version"]})
    when = f"{datetime.fromtimestamp(report.time, UTC):%Y-%m-%dT%H:%M:%SZ}"
    body["output"] = "; ".join(f"{check.name}: {check.text}" for check in report.bad)
    body["checks"] = {
        check.name.replace(".", ":", 1): [
            {"componentType": "system", "status": _DRAFT[check.verdict], "verdict": check.verdict, "time": when}
            | ({"output": check.text} if check.text else {})
        ]
        for check in report.checks
    }
    return msgspec.json.encode(body)


def nagios(report: Report) -> str:
    """Return the report as a Nagios plugin prints it: a line, figures after a ``|``, and a line for each bad check."""
    bad = report.bad
    passed = sum(check.verdict == "pass" for check in report.checks)
    first = f"{bad[0].name}: {bad[0].text}" if bad else f"{passed} checks pass"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    counts = {verdict: sum(check.verdict == verdict for check in report.checks) for verdict in ORDER}
    figures = " ".join(f"{verdict}={count}" for verdict, count in counts.items())
    lines = [f"PYROS {_NAGIOS[report.verdict]} - {_bare(first)}{more} | {figures}"]
    lines += [f"{_NAGIOS[check.verdict]}: {_bare(f'{check.name}: {check.text}')}" for check in bad]
    return "\n".join(lines) + "\n"


def _bare(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
