"""The report of rehearsed nights, in Markdown, and the fault scripts of those that broke a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pyros.rehearsal.plan import NightPlan, NightResult
from pyros.rehearsal.rehearse import command

_MOST_NOTES = 40
_COLUMNS = ("kills", "faults", "alerts", "slews", "exposures")


def clock(seconds: float) -> str:
    """Return seconds since a night's beginning as hours, minutes and seconds."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def write_report(folder: Path, plan: NightPlan, results: Sequence[NightResult]) -> Path:
    """Write ``report.md`` and, for each night that broke a rule, its fault script and the end of its log."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        if result.violations:
            script_file(folder, result).write_text(result.script, "utf-8")
            (folder / f"seed-{result.seed}.log").write_text("\n".join(result.tail) + "\n", "utf-8")
    path = folder / "report.md"
    path.write_text(_text(folder, plan, results), "utf-8")
    return path


def script_file(folder: Path, result: NightResult) -> Path:
    """Return where the fault script of a night is written."""
    return folder / f"seed-{result.seed}.faults"


def _text(folder: Path, plan: NightPlan, results: Sequence[NightResult]) -> str:
    broken = [result for result in results if result.violations]
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.counts)
    lines = [
        "# Rehearsed nights",
        "",
        f"Configuration: `{plan.config}`. Nights: {len(results)}, from the evening of {plan.date} on, seeds from"
        f" {min((result.seed for result in results), default=plan.seed)} on. Faults: "
        f"{'a script' if plan.script is not None else plan.faults}. Alerts:"
        f" {plan.alerts_folder or f'{plan.alerts:g} new events in ten hours'}. Images: {plan.images}.",
        "",
        f"**{len(broken)} of {len(results)} nights broke a rule.**" if broken else "**No rule was broken.**",
        "",
    ]
    notes = sorted({note for result in results for note in result.notes})
    if notes:
        lines += ["## What is not as configured", "", *(f"* {note}" for note in notes[:_MOST_NOTES]), ""]
    if broken:
        lines += ["## Broken rules", ""]
        for result in broken:
            for violation in result.violations:
                lines.append(f"* seed {result.seed}, {clock(violation.time)}: **{violation.rule}**: {violation.text}")
            seeded = msgspec.structs.replace(plan, seed=result.seed, date=result.date)
            lines += [f"  `{command(seeded)}`", f"  script: `{script_file(folder, result).name}`", ""]
    heads = ("seed", "evening", "virtual hours", "CPU s", *_COLUMNS)
    lines += ["## Nights", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for result in results:
        counts = result.counts
        cells = [result.seed, result.date, f"{result.hours:.1f}", f"{result.cpu:.1f}",
                 *(counts.get(key, 0) for key in _COLUMNS)]  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", "In all: " + ", ".join(f"{count} {name}" for name, count in sorted(total.items())) + ".", ""]
    return "\n".join(lines)
