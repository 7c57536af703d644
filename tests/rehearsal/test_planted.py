"""Planted bugs are found within a hundred seeds, and reduced to a few lines; or by a few lines on purpose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pyros import config
from pyros.rehearsal.night import RehearsedNight
from pyros.rehearsal.plan import NightPlan
from pyros.rehearsal.reduce import reduce_night
from pyros.rehearsal.script import parse, write
from tests.rehearsal.planted import SEARCHED, WITH_A_SCRIPT, Found, Plant, roof_before_the_mount_is_parked

SEEDS = 100
MOST_LINES = 5
LATER_SECONDS = (0, 4, 8, 12, 16)
ALERTS = 90.0


def observatory(folder: Path, *, roof: bool) -> Path:
    """Copy the demo observatory; ``roof``: with a roof that would hit the telescope."""
    demo = config.demo_file()
    shutil.copytree(demo.parent / "observatory", folder / "observatory")
    text = demo.read_text("utf-8")
    path = folder / demo.name
    path.write_text(text.replace("; roof = yes", "roof = yes") if roof else text, "utf-8")
    return path


def make_nights(folder: Path) -> Callable[[NightPlan], RehearsedNight]:
    """Return what makes a night of a plan, in the same folder again and again."""

    def make(plan: NightPlan) -> RehearsedNight:
        shutil.rmtree(folder, ignore_errors=True)
        return RehearsedNight(plan, folder)

    return make


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("plant", SEARCHED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found_and_reduced(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    file = observatory(tmp_path, roof=plant is roof_before_the_mount_is_parked)
    make = make_nights(tmp_path / "night")
    plant(monkeypatch)
    rules, nights = SEARCHED[plant]
    for seed in range(SEEDS):
        plan = msgspec.structs.replace(nights, config=str(file), seed=seed)
        result = make(plan).run(rules)
        if any(violation.rule in rules for violation in result.violations):
            break
    else:
        pytest.fail(f"not found within {SEEDS} seeds")
    found = tuple(violation for violation in result.violations if violation.rule in rules)
    monkeypatch.undo()
    assert not {each.rule for each in make(plan).run(rules).violations} & set(rules), f"seed {seed}, without the bug"
    plant(monkeypatch)
    result = msgspec.structs.replace(result, violations=found)
    shorter = reduce_night(plan, result, make, lambda *_: None)
    lines = (shorter.script or "").splitlines()
    record_property("told", f"{plant.__name__}: seed {seed}: {found[0]}; {lines}")
    assert len(lines) <= MOST_LINES


def scripted(found: Found, later: float = 0.0) -> NightPlan:
    """Return the plan of a night in which a bug is found; its faults come so many seconds later."""
    faults = parse(found.script, "a planted bug")
    moved = write(msgspec.structs.replace(fault, time=fault.time + later) for fault in faults)
    return NightPlan(str(config.demo_file()), "2026-03-20", 1, script=moved, hours=found.hours, alerts=ALERTS)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("plant", WITH_A_SCRIPT, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_seen_with_a_few_lines(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = WITH_A_SCRIPT[plant]
    make = make_nights(tmp_path / "night")
    assert make(scripted(found)).run().violations == (), "without the bug"
    assert len(parse(found.script, "a planted bug")) <= MOST_LINES
    plant(monkeypatch)
    for later in LATER_SECONDS:
        broken = {violation.rule for violation in make(scripted(found, later)).run().violations}
        if broken & set(found.rules):
            return
    pytest.fail("no rule was broken")
