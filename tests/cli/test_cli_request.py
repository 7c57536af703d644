"""``pyros request`` and ``pyros plan``: with a scheduler that runs in this process, and without one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyros import config as configuration
from pyros.agents.scheduler import SchedulerAgent
from pyros.cli.app import app
from pyros.config import Config
from pyros.errors import AgentUnreachable
from pyros.journal import Effects, Journal, JournalReader
from pyros.planning import night_log
from pyros.planning.intake.names import NamedPosition
from pyros.planning.night_log import NightLine
from tests.conftest import wait_until

NAMES = "name,ra,dec,aliases\nPole Field,2:31:49,+88:00:00,NGP\nM 31,00:42:44.3,+41:16:09,\n"


@pytest.fixture
def config(observatory: Path) -> Config:
    """Give the demo observatory names of its own, no SIMBAD, and the true time."""
    (observatory.parent / "targets.csv").write_text(NAMES)
    text = observatory.read_text().replace("clock = night", "targets = targets.csv\nsimbad = no\nclock = real")
    observatory.write_text(text)
    return configuration.load(observatory)


@pytest.fixture
def scheduler(config: Config) -> Iterator[SchedulerAgent]:
    """Start the scheduler where it is three in the afternoon: a whole night is to come, whenever the test runs."""
    now = datetime.now(UTC)
    longitude = (15 - now.hour - now.minute / 60 + 12) % 24 * 15 - 180
    config.site.write_text(re.sub(r"longitude: \S+", f"longitude: {longitude:.2f}", config.site.read_text()))
    agent = SchedulerAgent()
    agent.start(config, timeout=60.0)
    yield agent
    agent.stop(60.0)


@pytest.fixture
def run(config: Config) -> Callable[..., Any]:
    def run(*arguments: str | Path) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), "--config", str(config.path)])

    return run


def test_a_request_is_with_the_scheduler_until_it_is_cancelled(scheduler: SchedulerAgent, run: Any) -> None:
    added = run("request", "add", "ngp", "--expose", "r:60x3", "-e", "g:30", "--priority", "10", "--owner", "anna",
                "--every", "1 d", "--comment", "is the pole there?")  # fmt: skip
    assert added.exit_code == 0, added.stderr
    assert added.stdout.startswith("ngp: next up: ")
    listed = run("request", "list")
    assert listed.stdout.splitlines()[1].split() == ["ngp", "ngp", "10", "anna", "r:60x3;", "g:30", "waits"]
    assert run("request", "list", "--owner", "ben").stdout == "no requests\n"
    shown = run("request", "show", "ngp").stdout
    for fact in ("position          02h31m49.00s +88d00m00.0s", "cadence           every 24 h, 6 h earlier or later",
                 "comment           is the pole there?", "owner             anna", "next up: "):  # fmt: skip
        assert fact in shown
    assert json.loads(run("request", "show", "ngp", "--json").stdout)["next_up"]["begin"] > 0
    cancelled = run("request", "cancel", "ngp")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "ngp is withdrawn\n")
    assert run("request", "list", "--json").stdout == ""


def test_a_file_is_taken_whole_or_not_at_all(scheduler: SchedulerAgent, run: Any, tmp_path: Path) -> None:
    good = "requests:\n  - {target: M 31, exposures: 'r:60'}\n  - {target: Pole Field, exposures: 'g:60'}\n"
    file = tmp_path / "requests.yaml"
    file.write_text(good + "  - {target: Pole Feld, exposures: 'r:60'}\n")
    refused = run("request", "import", file)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"pyros: {file}: line 4 (Pole Feld) target: 'Pole Feld' is not in ")
    assert refused.stderr.endswith("did you mean Pole Field?\n")
    file.write_text(good)
    checked = run("request", "import", file, "--check")
    assert checked.stdout.endswith("2 requests are right; nothing was sent\n")
    assert run("request", "list").stdout == "no requests\n"
    taken = run("request", "import", file)
    assert taken.exit_code == 0
    assert taken.stdout.endswith("2 requests are with the scheduler\n")
    again = run("request", "add", "M 31", "-e", "r:60")
    assert again.stdout.startswith("m-31-2: next up: ")
    known = run("request", "add", "M 31", "-e", "r:60", "--id", "m-31")
    assert "'m-31' is there already; pyros request cancel m-31 withdraws that" in known.stderr


def test_pocs_fields_are_known_by_what_is_in_them(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "fields.yaml"
    file.write_text("- field: {name: M 31}\n  observation: {exptime: 30}\n")
    assert run("request", "import", file, "--check", "--filter", "r").exit_code == 0
    assert "observation filter_name: missing" in run("request", "import", file, "--check").stderr


def test_a_target_that_never_rises_is_told_with_the_reason(run: Any) -> None:
    told = run("request", "add", "South", "--ra", "0", "--dec", "-85", "-e", "r:60", "--check")
    assert told.exit_code == 0
    assert told.stdout.startswith("south: never up within a year: ")
    assert "never up: at most -" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "M 31"], 2, "--expose"),
        (["add", "M 31", "-e", "r60"], 2, "--expose: must be FILTER:SECONDS"),
        (["add", "M 31", "-e", "r:60", "--min-altitude", "95"], 1, "M 31 --min-altitude: must be a number of degrees"),
        (["add", "M 31", "-e", "r:60", "--simbad"], 1, "[observatory] simbad = no: SIMBAD is not asked here"),
        (["add", "M 33", "-e", "r:60"], 1, "M 33 TARGET: 'M 33' is not in "),
        (["import", "nothing.yaml"], 1, "nothing.yaml: cannot be read: No such file or directory"),
        (["import", "night.esl", "--timezone", "Moon/Base"], 2, "'Moon/Base' is not a time zone"),
        (["cancel", "nothing"], 1, "there is no request nothing; pyros request list shows them all"),
        (["show", "nothing"], 1, "there is no request nothing; pyros request list shows them all"),
        (["add", "M 31", "-e", "r:60"], 1, "agent 'scheduler' at 127.0.0.1:"),
    ],
)
def test_a_mistake_of_a_person_is_told_in_one_line(run: Any, arguments: list[str], code: int, said: str) -> None:
    result = run("request", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_what_the_camera_cannot_set_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyros.cli.request.common.ask", lambda *_: {"can_set": ["gain"]})
    refused = run("request", "add", "M 31", "-e", "r:60,gain=5,binning=2", "--check")
    assert refused.stderr == ("pyros: m-31 exposures: binning: this camera's driver cannot set it; leave it out\n")


def test_a_readout_mode_that_the_camera_has_not_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    can = {"can_set": ["readout_mode"], "max_binning": 1, "readout_modes": ["Normal", "Fast"]}
    monkeypatch.setattr("pyros.cli.request.common.ask", lambda *_: can)
    refused = run("request", "add", "M 31", "-e", "r:60,readout_mode=Slow", "--check")
    assert refused.stderr == "pyros: m-31 exposures: readout_mode: the camera has no 'Slow'; there are: Normal, Fast\n"
    assert run("request", "add", "M 31", "-e", "r:60,readout_mode=Fast", "--check").exit_code == 0


def test_more_binning_than_the_camera_has_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    can = {"can_set": ["gain", "binning"], "max_binning": 2}
    monkeypatch.setattr("pyros.cli.request.common.ask", lambda *_: can)
    refused = run("request", "add", "M 31", "-e", "r:60,binning=3", "--check")
    assert refused.stderr == "pyros: m-31 exposures: binning: 3 is more than the camera has, 2\n"
    assert run("request", "add", "M 31", "-e", "r:60,binning=2", "--check").exit_code == 0


def night(run: Any) -> str:
    """Return the evening of the night that is or comes next."""
    return str(run("plan").stdout.split()[2])


def test_the_plan_says_what_is_observed_when_and_why_the_rest_is_not(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "requests.yaml"
    file.write_text(
        "requests:\n  - {target: Pole Field, exposures: 'r:60x3; g:60', cadence: {every: 2 h, tolerance: 50 min}}\n"
        "  - {target: South, ra: 0, dec: -85, exposures: 'r:60'}\n"
    )
    told = run("plan", "--what-if", file, "--date", "2030-12-01", "--picture", tmp_path / "night.png")
    assert told.exit_code == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].startswith("night of 2030-12-01 at Haute-Provence: dark from 17:0")
    assert lines[1].split() == ["start", "end", "target", "id", "priority", "airmass", "filters", "why"]
    assert [line.split()[2:5] for line in lines[2:8]] == [["Pole", "Field", line.split()[4]] for line in lines[2:8]]
    assert "r g" in lines[2]
    refused = lines[lines.index("not planned:") :]
    assert any("South" in line and "it is never up" in line for line in refused)
    assert any(line.startswith("with 2 more requests, ") for line in lines)
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")
    assert run("request", "list").stdout == "no requests\n", "nothing was sent"
    asked = [json.loads(line) for line in run("plan", "--what-if", file, "--json").stdout.splitlines()]
    assert {line["request"] for line in asked} == {"pole-field", "south"}


def test_the_plan_of_tonight_is_the_schedulers(scheduler: SchedulerAgent, run: Any) -> None:
    assert run("request", "add", "Pole Field", "-e", "r:60").exit_code == 0
    planned = run("plan", "--json")
    (line,) = [json.loads(each) for each in planned.stdout.splitlines()]
    assert (line["observation"], line["night"]) == ("pole-field", night(run))
    assert line["start"] is not None
    assert run("request", "cancel", "pole-field", "--why", "clouds").exit_code == 0
    assert "withdrawn: clouds" in run("plan").stdout


def test_a_better_plan_comes_from_the_worker(scheduler: SchedulerAgent, config: Config, run: Any) -> None:
    for name in ("a", "b", "c"):
        assert run("request", "add", name, "--ra", "30", "--dec", "80", "-e", "r:60x5").exit_code == 0
    with closing(JournalReader(config.journal("scheduler"))) as journal:
        wait_until(lambda: any(each.name == "Plan improved" for _, each in journal.received()))
    assert len([line for line in run("plan", "--json").stdout.splitlines() if json.loads(line)["start"]]) == 3


def test_a_night_of_the_past_is_answered_from_what_was_kept(config: Config, run: Any) -> None:
    line = NightLine(night="2026-03-20", observation="a", target="A", reason="outranked by B", planned=1.0)
    done = NightLine(night="2026-03-20", observation="b", target="B", fate="observed", began=1774049400.0,
                     ended=1774050000.0, images=3, start=1774049400.0, end=1774050000.0)  # fmt: skip
    journal = Journal(config.journal("scheduler"), durable=False)
    effects = Effects()
    effects.also += [
        night_log.prepare,
        lambda db: night_log.write(db, [line, done]),
        lambda db: night_log.write_fate(db, [done]),
    ]
    journal.commit(effects)
    journal.close()
    told = run("plan", "--date", "2026-03-20").stdout
    assert "23:30  23:40  B       b " in told
    assert "observed, 3 images" in told
    assert told.splitlines()[-1].split() == ["A", "a", "0", "outranked", "by", "B"]
    nothing = run("plan", "--date", "2026-03-21")
    assert nothing.stderr.startswith("pyros: nothing is kept of the night of 2026-03-21: nothing was asked for then")
    assert nothing.stderr.endswith("kept are 1 nights from 2026-03-20 to 2026-03-20\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--date", "tomorrow"], 2, "--date: 'tomorrow' is not a date such as 2026-12-01"),
        (["--date", "9999-12-31"], 2, "--date: '9999-12-31' is not a date such as 2026-12-01"),
        (["--date", "0001-01-01"], 2, "--date: '0001-01-01' is not a date such as 2026-12-01"),
        (["--picture", "night.jpg"], 2, "must end in .png"),
        (["--date", "2020-01-01", "--what-if", "x.yaml"], 1, "the night of 2020-01-01 is over"),
    ],
)
def test_a_mistake_in_asking_for_a_plan_is_told(run: Any, arguments: list[str], code: int, said: str) -> None:
    result = run("plan", *arguments)
    assert (result.exit_code, said in result.stderr) == (code, True)


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("own.yaml", ("--timezone", "Europe/Paris"), "--timezone: only an Ekos schedule (.esl) has local times"),
        ("own.csv", ("--timezone", "Europe/Paris"), "--timezone: only an Ekos schedule (.esl) has local times"),
        ("own.yaml", ("--filter", "r"), "--filter: only entries of POCS and Ekos name none"),
        ("own.csv", ("--filter", "r"), "--filter: only entries of POCS and Ekos name none"),
    ],
)
def test_an_option_that_a_file_has_no_use_for_is_refused(
    run: Any, tmp_path: Path, name: str, option: tuple[str, str], said: str
) -> None:
    file = tmp_path / name
    if file.suffix == ".csv":
        file.write_text("target,exposures,from\nM 31,r:60,2036-12-01T20:00\n")
    else:
        file.write_text("requests:\n  - {target: M 31, exposures: 'r:60', from: 2036-12-01T20:00}\n")
    for command in (("request", "import", "--check", file), ("plan", "--what-if", file)):
        refused = run(*command, *option)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert said in refused.stderr
    alone = run("plan", *option)
    assert alone.exit_code == 2
    assert f"{option[0]}: is for the file of --what-if" in alone.stderr


def test_json_is_alone_on_standard_output(
    scheduler: SchedulerAgent, config: Config, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.path.write_text(config.path.read_text().replace("simbad = no\n", ""))
    found = NamedPosition("M  33", 23.46, 30.66, "SIMBAD")
    monkeypatch.setattr("pyros.planning.intake.simbad.resolve", lambda *_, **__: found)
    file = tmp_path / "requests.yaml"
    file.write_text("requests:\n  - {target: M 33, exposures: 'r:60'}\n")
    told = run("plan", "--what-if", file, "--json")
    assert told.exit_code == 0, told.stderr
    assert [json.loads(line)["target"] for line in told.stdout.splitlines()] == ["M 33"]
    assert "M 33: 01h33m50.40s +30d39m36.0s by SIMBAD, as M  33" in told.stderr


def test_a_delivery_that_breaks_off_says_what_was_delivered(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_to(_agent: str, _name: str, request: Any, **_: Any) -> None:
        if request.id == "pole-field":
            raise AgentUnreachable("scheduler", "127.0.0.1:5002", "timed out")

    monkeypatch.setattr("pyros.sender.Sender.send_to", send_to)
    file = tmp_path / "requests.yaml"
    entries = "".join(f"  - {{target: {name}, exposures: 'r:60'}}\n" for name in ("M 31", "Pole Field", "NGP"))
    file.write_text(f"requests:\n{entries}")
    broken = run("request", "import", file)
    assert broken.exit_code == 1
    assert "timed out" in broken.stderr
    assert "pyros: it has: m-31; it may have: pole-field; it has not: ngp" in broken.stderr
