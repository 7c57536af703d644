"""A night's report, gathered from journals that a test has written."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner, Result

from pyros import config as configuration
from pyros import messages, views
from pyros.cli.app import app
from pyros.config import AgentConfig, Config
from pyros.journal import Effects, Journal, Received
from pyros.messages import Exposures, Observation
from pyros.nights import diary
from pyros.nights.altitude_plot import as_svg
from pyros.nights.diary import DiaryLine
from pyros.nights.lateness import seconds_late
from pyros.nights.render import as_html, as_markdown
from pyros.nights.report import NightReport, Span, gather, newest_night, worked, write_report
from pyros.planning import Site, night_log
from pyros.planning.night_log import NightLine
from pyros.planning.visibility import place_overhead
from pyros.rehearsal.folder import write_observatory
from pyros.views.reports import report as report_view
from pyros.views.reports import reports

NIGHT = "2026-03-20"
SITE_FILE = Path(__file__).resolve().parents[2] / "observatory" / "site.yaml"
SITE = Site.load(SITE_FILE)


def at(hour: float) -> float:
    """Return the Unix time of an hour of that night: 20 is the evening, 26 the next morning at two."""
    return datetime(2026, 3, 20, tzinfo=UTC).timestamp() + 3600 * hour


def line(what: diary.What, hour: float, value: str, reason: str = "", alert: str = "") -> DiaryLine:
    return DiaryLine(NIGHT, at(hour), what, value, reason, alert)


DIARY = [
    line("state", 17.2, "preparing", "the night of 2026-03-20 begins"),
    line("state", 17.2, "ready", "nothing to calibrate"),
    line("weather", 17.3, "safe"),
    line("state", 20.0, "opening", "for grb"),
    line("observe", 20.0, "grb", alert="ivo://x#1"),
    line("state", 20.01, "observing", "the dome is open"),
    line("observe", 21.0, "m31"),
    line("weather", 22.0, "unsafe", "weather unsafe: rain"),
    line("state", 22.0, "closing", "weather unsafe: rain"),
    line("ended", 22.0, "m31", "Observation failed weather unsafe: rain"),
    line("weather", 24.0, "safe"),
    line("state", 24.5, "fault", "the dome: stuck"),
    line("state", 25.0, "ready", "closed and parked"),
    line("state", 28.6, "finishing", "the night is over"),
]


def requests() -> list[NightLine]:
    ra, dec = place_overhead(SITE, datetime.fromtimestamp(at(22), UTC), 60.0, 150.0)
    other = place_overhead(SITE, datetime.fromtimestamp(at(24), UTC), 45.0, 60.0)
    return [
        NightLine(night=NIGHT, observation="grb", target="GRB 260320A", priority=100, ra=ra, dec=dec, start=at(20),
                  end=at(21), fate="observed", began=at(20), ended=at(21), images=4, reason="an alert"),
        NightLine(night=NIGHT, observation="m31", target="M 31", priority=5, ra=other[0], dec=other[1], start=at(21),
                  end=at(23), fate="interrupted", fate_reason="weather unsafe: rain", began=at(21), ended=at(22),
                  images=7),
        NightLine(night=NIGHT, observation="ngc", target="NGC 1", ra=10.0, dec=-40.0, reason="never above 10°"),
    ]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Name a data folder that is still empty."""
    names = ("majordome", "scheduler", "monitoring", "telescope")
    agents = {name: AgentConfig(name, "127.0.0.1", 5001 + n, "x") for n, name in enumerate(names)}
    return Config(tmp_path / "a.ini", "demo", tmp_path, SITE_FILE, SITE_FILE, agents)


def report(**changes: object) -> NightReport:
    made = NightReport(
        observatory="demo", site=SITE.name, night=NIGHT, sunset=at(18), sunrise=at(29.8), dusk=at(19), dawn=at(28.75),
        requests=tuple(requests()),
        spans=(Span(at(20.01), at(22), "observing"), Span(at(24.5), at(25), "fault", "the dome: stuck")),
        unsafe=(Span(at(22), at(24), "unsafe", "rain"),),
        working=(Span(at(20), at(21), "grb"), Span(at(21), at(22), "m31")),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def test_all_dark_hours_are_accounted_for() -> None:
    hours = report().hours()
    assert sum(hours.values()) == pytest.approx(9.75)
    assert (hours["weather"], hours["fault"], hours["observing"]) == pytest.approx((2.0, 0.5, 2.0))


def test_a_night_that_goes_on_is_told_up_to_now() -> None:
    hours = report(until=at(23)).hours()
    assert sum(hours.values()) == pytest.approx(4.0)
    assert (hours["weather"], hours["fault"]) == pytest.approx((1.0, 0.0))
    assert sum(report(until=at(18)).hours().values()) == 0


def test_weather_comes_before_what_else_went_on() -> None:
    hours = report(working=(Span(at(20), at(24), "x"),)).hours()
    assert (hours["weather"], hours["observing"]) == pytest.approx((2.0, 2.0))


def test_an_observation_that_goes_on_at_a_better_position_is_one_that_runs() -> None:
    lines = [
        line("observe", 20, "grb"), line("observe", 20.5, "grb"), line("ended", 20.5, "grb", "gave way to grb"),
        line("observe", 21, "m31"), line("ended", 21, "grb", "gave way to m31"), line("ended", 22, "m31"),
    ]  # fmt: skip
    spans = [(each.what, each.seconds) for each in worked(lines, at(29))]
    assert spans == [("grb", 1800), ("grb", 1800), ("m31", 3600)]


@pytest.mark.parametrize(("priority", "late"), [(60, None), (40, 720.0)])
def test_an_alert_waits_for_the_focus_only_where_more_urgent_work_does(
    config: Config, priority: int, late: float | None
) -> None:
    ra, dec = place_overhead(SITE, datetime.fromtimestamp(at(22), UTC), 60.0, 150.0)
    wanted = [
        Observation(id=name, target=name, ra=ra, dec=dec, exposures=(Exposures("r", 60.0),), priority=each)
        for name, each in (("grb", 50), ("m31", priority))
    ]
    lines = [line("state", 19.9, "focusing"), line("state", 20.2, "observing"), line("observe", 20.2, "grb")]
    decided = messages.AlertDecided("ivo://x#1", "GRB 260320A", True, "close", observation="grb")
    _write(config, "majordome", [diary.prepare, *(_diary(each) for each in lines)], [])
    _write(config, "scheduler", [night_log.prepare], [(messages.OBSERVATION_REQUESTED, each) for each in wanted])
    _write(config, "monitoring", [], [(messages.ALERT_DECIDED, decided)])
    _write(config, "telescope", [], [(messages.SLEW, messages.Slew("grb", ra, dec))], hour=20.2)
    (alert,) = gather(config, NIGHT, at(40)).alerts
    assert alert.late == (late and pytest.approx(late, abs=1))


def test_the_same_alarm_is_told_once_with_how_often_it_was() -> None:
    alarms = tuple((at(20 + n), f"monitoring has said nothing for {80 + n} s") for n in range(3))
    lines = report(alarms=(*alarms, (at(23), "it rains"))).to_look_at()
    assert lines[:2] == [
        "20:00 UTC: alarm (and 2 times more until 22:00): monitoring has said nothing for 80 s",
        "23:00 UTC: alarm: it rains",
    ]


def test_only_an_alert_that_nothing_kept_waiting_was_late() -> None:
    ra, dec = place_overhead(SITE, datetime.fromtimestamp(at(22), UTC), 60.0, 150.0)
    wanted = Observation(id="grb", target="GRB", ra=ra, dec=dec, exposures=(Exposures("r", 60.0),), min_altitude=15.0)

    def late(decided: float, told: float, *kept: tuple[float, float]) -> float | None:
        return seconds_late(SITE, wanted, at(decided), at(told), [(at(begin), at(end)) for begin, end in kept])

    assert late(22, 22 + 1 / 3600) is None
    assert late(22, 22.1) == pytest.approx(360)
    assert late(22, 22.1, (21.9, 22.1)) is None
    assert late(22, 23, (22.1, 22.5), (22.4, 22.7)) == pytest.approx(1440)
    assert late(18, 18.9) is None, "it was not dark"


def test_each_of_several_telescopes_has_reports_of_its_own(tmp_path: Path) -> None:
    path = write_observatory(tmp_path, ("telescope", "dome"), devices={}, options={}, rules=None, guardian=False,
                             telescopes=("east", "andes one"))  # fmt: skip
    whole = configuration.load(path)
    for unit in whole.telescopes:
        seen = whole.seen_from(unit)
        _write(seen, "majordome", [diary.prepare, _diary(line("state", 20, f"ready {unit}"))], [])
        files = write_report((str(path), NIGHT, unit))
        assert files[0] == str(whole.data / "nights" / unit / f"{NIGHT}.md")
        assert f"rehearsal, {unit}: the night of {NIGHT}" in Path(files[0]).read_text()
    observed = views.observed(whole)
    assert [(each.unit, each.written) for each in reports(observed)] == [("east", True), ("andes one", True)]
    detail = report_view(observed, NIGHT, "andes one")
    assert detail is not None
    assert [span.what for span in detail.report.spans] == ["ready andes one"]
    observed.close()


def test_an_empty_night_has_a_report_too(config: Config) -> None:
    made = gather(config, NIGHT)
    assert len(made.missing) == 4
    assert "The majordome's diary has nothing of this night." in as_markdown(made)
    assert made.hours()["idle"] > 8


def test_a_night_is_gathered_from_its_journals(config: Config) -> None:
    analysed = messages.ImageAnalysed("grb", "a.fits", fwhm=2.5, zero_point=21.3)
    decided = messages.AlertDecided("ivo://x#1", "GRB 260320A", True, "close", observation="grb")
    alarm = messages.AlarmRaised(source="dome", key="x", text="the dome does not close")
    own = messages.AlarmRaised(source="monitoring", key="flapping", text="the dome stays shut until you release it")
    heard = [(messages.IMAGE_ANALYSED, analysed), (messages.ALERT_DECIDED, decided), (messages.ALARM, alarm),
             (messages.TELL_ALARM, own)]  # fmt: skip
    slew = messages.Slew("grb", 10.0, 20.0)
    _write(config, "majordome", [diary.prepare, *(_diary(each) for each in DIARY)], [])
    _write(config, "scheduler", [night_log.prepare, lambda db: night_log.write(db, requests()),
                                 lambda db: night_log.write_fate(db, requests())], [])  # fmt: skip
    _write(config, "monitoring", [], heard)
    _write(config, "telescope", [], [(messages.SLEW, slew)])
    going_on = gather(config, NIGHT, at(29))
    assert (going_on.until, going_on.spans[-1].end) == (at(29), at(29))
    made = gather(config, NIGHT, at(40))
    assert made.until is None
    assert made.missing == ()
    assert [span.what for span in made.working] == ["grb", "m31"]
    assert [round(span.seconds / 3600, 2) for span in made.unsafe] == [2.0]
    assert made.images[0].fwhm == 2.5
    assert (made.alerts[0].to_observe, made.alerts[0].to_slew) == (0.0, 0.0)  # monitoring heard of it later
    text = as_markdown(made)
    assert "alarm: the dome does not close" in text
    assert "alarm: the dome stays shut until you release it" in text
    assert "| GRB 260320A | 100 |" in text
    assert "| zero point (mag) | 21.30 | 21.30 | 21.30 |" in text


def test_the_picture_is_well_formed_and_names_its_units() -> None:
    root = ElementTree.fromstring(as_svg(report(), SITE))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {
        "altitude (degrees)",
        f"UTC (hours), night of {NIGHT}; thick: observed; yellow: twilight",
        "GRB 260320A",
        "unsafe",
        "fault",
    } <= set(texts)
    points = [float(number) for line in root.iter() if line.tag.endswith("polyline")
              for number in re.split("[ ,]", line.get("points") or "0")]  # fmt: skip
    assert 0 <= min(points) <= max(points) <= 960


def test_names_from_outside_do_no_harm() -> None:
    evil = msgspec.structs.replace(requests()[0], target="<script>|", fate="failed", fate_reason="a | b\n# c")
    made = report(requests=(evil,))
    assert "<script>" not in as_html(made, SITE)
    assert "\\|" in as_markdown(made)


@pytest.mark.parametrize(("hour", "night"), [(13, "2026-03-19"), (19.5, "2026-03-20"), (34, "2026-03-20")])
def test_the_last_night_is_the_one_that_has_begun(hour: float, night: str) -> None:
    assert newest_night(SITE, at(hour)) == night


def test_the_command_prints_and_writes_a_report(tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    file.write_text(f"[observatory]\nname = demo\nsite = {SITE_FILE}\n\n[majordome]\nport = 5001\n")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["report", *arguments, "--config", str(file)])

    assert "# demo: the night of 2026-03-20" in run("2026-03-20").output
    run("2026-03-20", "--write")
    assert sorted(path.name for path in (tmp_path / "var" / "nights").iterdir()) == ["2026-03-20.html", "2026-03-20.md"]
    for day in ("yesterday", "9999-12-31"):
        failed = run(day)
        assert failed.exit_code != 0
        assert f"{day!r} is no date" in failed.output


def _diary(each: DiaryLine) -> Callable[[sqlite3.Connection], None]:
    return lambda db: diary.write(db, each)


def _write(
    config: Config, name: str, writes: list[Callable[[sqlite3.Connection], None]], heard: list[tuple[str, Any]],
    hour: float = 20,
) -> None:  # fmt: skip
    """Write an agent's journal: tables of its own, and messages that it has taken at that hour."""
    config.journal(name).parent.mkdir(exist_ok=True, parents=True)
    journal = Journal(config.journal(name), durable=False)
    effects = Effects()
    effects.also = writes
    effects.received = [
        Received(
            f"{name}-{number}", kind, "other", at(hour), at(hour) + 0.1 * number, messages.encode_payload(kind, payload)
        )
        for number, (kind, payload) in enumerate(heard)
    ]
    journal.commit(effects)
    journal.close()
