"""Rehearsed nights: the same each time, in every process and folder; and what a broken rule looks like."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import weakref
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from pyros import config
from pyros.agents.night_state import MajordomeState
from pyros.agents.runtime.loop import STEPS
from pyros.nights.report import write_report
from pyros.rehearsal import night
from pyros.rehearsal.night import RehearsedNight
from pyros.rehearsal.plan import NightPlan, NightResult, ends_dark, nights_of
from pyros.rehearsal.rehearse import command, night_folder, plans
from pyros.rehearsal.stand_ins import stand_in
from pyros.site import Site

JOBS = """
[jobs]
port = 5020
app = pyros.agents.jobs
option_at_a_time = 2
[job often]
every = 1 min
command = pyros image reduce
on_crash = rerun
retries = 2
[job reduce]
every = 3 min
command = pyros image reduce
on_crash = rerun
[job tidy]
every = 7 min
command = pyros jobs clean --older 30d
seconds = 60
"""


def demo(folder: Path, more: str = "") -> Path:
    """Copy the demo observatory, which then has a data folder of its own, and return its configuration."""
    shutil.copytree(config.demo_file().parent / "observatory", folder / "observatory")
    made = folder / config.FILE_NAME
    made.write_text(config.demo_file().read_text() + more)
    return made


def rehearsed(**keys: object) -> NightResult:
    plan = NightPlan(str(config.demo_file()), "2026-03-20", 1, **keys)  # type: ignore[arg-type]
    with night_folder() as folder:
        return RehearsedNight(plan, folder).run()


def digest(folder: Path, hash_seed: str) -> str:
    """Rehearse in a process of its own, with other hashes of strings and another folder, and return what it prints."""
    folder.mkdir()
    line = [sys.executable, "-c", "from pyros.cli import main; main()", "rehearse", "--config", str(config.demo_file()),
            "--hours", "0.15", "--seed", "11"]  # fmt: skip
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "TMPDIR": str(folder)}
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    (found,) = re.findall(r"[0-9a-f]{32}", done.stderr)
    assert not list(folder.iterdir()), "nothing is left behind"
    return str(found)


def test_the_same_seed_is_the_same_night_in_every_process(tmp_path: Path) -> None:
    assert digest(tmp_path / "one", "1") == digest(tmp_path / "the-other-folder", "2")


def test_a_short_night_without_faults_observes_and_breaks_no_rule() -> None:
    plan = NightPlan(str(config.demo_file()), "2026-03-20", 1, faults="none", hours=0.4, alerts=150)

    def run() -> tuple[NightResult, weakref.ref[RehearsedNight]]:
        with night_folder() as folder:
            world = RehearsedNight(plan, folder)
            return world.run(), weakref.ref(world)

    result, kept = run()
    assert result.violations == ()
    assert result.counts["alerts"] >= 5
    assert result.counts["exposures"] >= 7
    assert result.counts["kills"] == 0
    gc.collect()
    assert kept() is None, "a thousand nights would not fit"


def under_a_roof(folder: Path) -> Path:
    """Copy the demo observatory, whose roof would hit the telescope."""
    made = demo(folder)
    made.write_text(made.read_text().replace("; roof = yes", "roof = yes"))
    return made


@pytest.mark.parametrize("dead", ["dome", "dome,majordome"])
def test_the_guardians_roof_waits_for_a_mount_that_is_sent_back_to_its_target(dead: str, tmp_path: Path) -> None:
    made = under_a_roof(tmp_path / "own")
    script = f"00:12:00 kill {dead} away=150"
    plan = NightPlan(str(made), "2026-03-20", 1, script=script, alerts=200, hours=0.3)
    world = RehearsedNight(plan, tmp_path / "night")
    assert world.run().violations == ()
    assert any("the guardian closes it" in line.text for line in world.log.lines)


@pytest.mark.parametrize("step", ["", "step=committed"])
def test_a_roof_waits_for_a_mount_whose_agent_is_dead(step: str, tmp_path: Path) -> None:
    made = under_a_roof(tmp_path / "own")
    script = f"00:12:00 kill telescope away=600 {step}\n00:13:00 weather rain=1 for=300\n"
    plan = NightPlan(str(made), "2026-03-20", 1, script=script, alerts=200, hours=0.4)
    world = RehearsedNight(plan, tmp_path / "night")
    assert world.run().violations == ()
    assert any("the mount is parked by its device" in line.text for line in world.log.lines)


def test_a_night_under_a_roof_closes_parks_and_goes_on(tmp_path: Path) -> None:
    """The dome's agent orders the mount to park as well as the majordome, and both hear that it has."""
    made = under_a_roof(tmp_path / "own")
    plan = NightPlan(str(made), "2026-03-20", 1, "none", alerts=60, hours=0.5)
    result = RehearsedNight(plan, tmp_path / "night").run()
    assert result.violations == ()
    assert result.counts["openings"] >= 2


def test_a_hold_that_lasts_beyond_the_night_does_not_end_the_one_at_the_end(tmp_path: Path) -> None:
    script = "00:05:00 hold for=1250"
    plan = NightPlan(str(config.demo_file()), "2026-03-20", 1, "none", script, alerts=0, hours=0.2)
    world = RehearsedNight(plan, tmp_path / "night")
    assert world.run().violations == ()
    assert world.held


def test_nobody_closes_for_smoke_that_a_frozen_safety_monitor_hides(tmp_path: Path) -> None:
    script = "00:00:30 device safety frozen for=600\n00:04:20 safety for=900\n"
    plan = NightPlan(str(config.demo_file()), "2026-04-18", 30, script=script, alerts=200, hours=0.3)
    result = RehearsedNight(plan, tmp_path / "night").run()
    assert result.violations == ()
    assert result.counts["exposures"] > 3


def test_every_night_has_its_own_seed_and_evening() -> None:
    plan = NightPlan("observatory.ini", "2026-12-31", 7)
    assert [(each.seed, each.date) for each in plans(plan, 3)] == [
        (7, "2026-12-31"), (8, "2027-01-01"), (9, "2027-01-02"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("latitude", "evening", "dark"),
    [
        pytest.param(43.9, "2026-03-20", False, id="mid-latitude"),
        pytest.param(78.2, "2026-01-07", True, id="polar night"),
        pytest.param(78.2, "2026-06-21", False, id="midnight sun"),
        pytest.param(66.9, "2026-12-21", True, id="the Sun is up for less than the calm hour"),
    ],
)
def test_a_rehearsal_that_ends_in_the_dark_is_known(latitude: float, evening: str, dark: bool) -> None:
    site = Site("far north", latitude, 15.5, 0.0)
    begin, _, seconds = nights_of([site], NightPlan("", evening, 1))
    assert ends_dark(site, begin + timedelta(seconds=seconds)) is dark


def test_nights_together_are_one_plan() -> None:
    plan = NightPlan("observatory.ini", "2026-12-31", 7, together=3)
    assert [(each.seed, each.date, each.together) for each in plans(plan, 5)] == [
        (7, "2026-12-31", 3), (8, "2027-01-03", 2),
    ]  # fmt: skip
    assert command(plan).endswith(" --nights 3 --together 3")


@pytest.mark.long
@pytest.mark.parametrize("script", ["", "00:08:00 weather rain=1 for=60"], ids=["calm", "shut"])
def test_a_night_goes_over_into_a_day_and_the_next_night(script: str, tmp_path: Path) -> None:
    """One that was shut until a person releases it is released before the next."""
    made = demo(tmp_path / "own")
    made.write_text(re.sub(r"(?m)^\[monitoring\]", "[monitoring]\nclosings_night = 1", made.read_text()))
    plan = NightPlan(str(made), "2026-03-20", 1, "none", script, alerts=4, hours=0.5, together=2)
    world = RehearsedNight(plan, tmp_path / "nights")
    result = world.run()
    assert result.violations == ()
    assert result.hours > 24
    assert result.counts["openings"] >= 2
    state = world.journals.reader(world.config.journal("majordome")).state()
    assert msgspec.json.decode(state or b"{}", type=MajordomeState).night == "2026-03-21"
    assert not config.load(made).data.exists(), "the observatory's own reports stay"


def test_a_rehearsal_leaves_the_observatorys_own_reports_alone(tmp_path: Path) -> None:
    made = demo(tmp_path)
    report = stand_in(write_report, images=True, full_disk=False)
    assert report((str(made), "2026-03-20", "")) == ["2026-03-20.md"]
    assert not config.load(made).data.exists()


def test_every_night_of_those_together_has_its_faults(tmp_path: Path) -> None:
    plan = NightPlan(str(config.demo_file()), "2026-03-20", 3, "heavy", together=4)
    script = RehearsedNight(plan, tmp_path / "nights").script
    assert [fault.kind for fault in script].count("latency") == 1
    assert {int(fault.time // 86_400) for fault in script} == {0, 1, 2, 3}
    assert script == sorted(script, key=lambda fault: fault.time)


def test_the_command_that_repeats_a_night() -> None:
    plan = NightPlan("my observatory.ini", "2026-03-20", 17, "light", alerts=12.5)
    said = command(plan, Path("a script.faults"))
    assert said == (
        "pyros rehearse --config 'my observatory.ini' --from 2026-03-20 --seed 17 --faults 'a script.faults'"
        " --alerts 12.5 --images none"
    )


def test_agents_killed_at_every_step_of_a_turn_go_on() -> None:
    agents = "scheduler,majordome,observation_manager,camera,telescope,dome"
    lines = [f"00:{4 + 2 * number:02d}:00 kill {agents} away=5 step={step}" for number, step in enumerate(STEPS)]
    result = rehearsed(script="\n".join(lines), hours=0.4, alerts=200)
    assert result.violations == ()
    assert result.counts["kills"] == 6 * len(STEPS)


def test_a_night_on_files_is_the_same_as_one_on_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for every in (1, 1000):
        monkeypatch.setattr(night, "SEEDS_ON_FILES", every)
        digests.add(rehearsed(hours=0.15).digest)
    assert len(digests) == 1


@pytest.mark.long
def test_the_nights_faults_hit_the_jobs_too(tmp_path: Path) -> None:
    """A queue is killed, the power fails, the disk is full: scheduled jobs begin and end, none is lost or doubled."""
    ini = demo(tmp_path / "observatory", JOBS)
    kills = [f"00:{5 + 4 * number:02}:30 kill jobs away=20 step={step}" for number, step in enumerate(STEPS)]
    power = ["00:30:20 power away=60", "00:36:20 power away=20"]
    script = "\n".join([*kills, *power, "00:40:00 disk for=120", "00:50:00 clock step=600 for=300"])
    results = []
    for number in range(2):
        plan = NightPlan(str(ini), "2026-03-20", 1, script=script, hours=1.2, alerts=0)
        world = RehearsedNight(plan, tmp_path / f"night-{number}")
        result = world.run()
        results.append(result.digest)
        assert result.violations == ()
        assert result.counts["jobs"] >= 30
    assert results[0] == results[1]
    rows = world.journals.reader(world.config.journal("jobs")).rows(
        "SELECT state, count(*), sum(crashes), max(attempt) FROM jobs GROUP BY state"
    )
    states = {state: count for state, count, *_ in rows}
    assert states["succeeded"] >= 20
    assert sum(crashes for _, _, crashes, _ in rows) >= 1
