"""Rehearsed nights of two telescopes, each in its dome: who is who, and that each dome is judged by its own agents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyros import config as configuration
from pyros.config import Config
from pyros.errors import ConfigError
from pyros.rehearsal.configuration import rehearsed
from pyros.rehearsal.folder import write_observatory
from pyros.rehearsal.night import RehearsedNight
from pyros.rehearsal.plan import NightPlan
from pyros.rehearsal.script import Fault

KINDS = ("telescope", "camera", "dome", "weather", "filter_wheel")
GAMSBERG = "name: Gamsberg\nlatitude: -23.2717\nlongitude: 16.5\nelevation: 1800\n"


def write(folder: Path, *telescopes: str, **keys: Any) -> Path:
    """Write an observatory of several telescopes."""
    words: dict[str, Any] = {"devices": {}, "options": {}, "rules": None, "guardian": True} | keys
    return write_observatory(folder / "own", KINDS, telescopes=telescopes, **words)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return write(tmp_path, "east", "west")


def night(path: Path, folder: Path, **keys: Any) -> RehearsedNight:
    return RehearsedNight(NightPlan(str(path), "2026-03-20", 1, **keys), folder / "night")


def config_of(path: Path) -> Config:
    return configuration.load(path)


def test_each_telescope_has_the_devices_of_its_own_unit(two: Path, tmp_path: Path) -> None:
    made = rehearsed(config_of(two), tmp_path / "night", rules=None, images="small")
    assert {name for name in made.devices if name.startswith("dome")} == {"dome east", "dome west"}
    files = {name: device.file.name for name, device in made.devices.items()}
    assert (files["camera east"], files["camera west"], files["weather"]) == (
        "camera_east.yaml", "camera_west.yaml", "weather.yaml",
    )  # fmt: skip
    for unit in ("east", "west"):
        mount = made.config.agents[f"telescope {unit}"].address
        camera: Any = made.devices[f"camera {unit}"].settings
        assert camera.telescope == mount
        assert (camera.width, camera.height) == (64, 64)
        assert made.config.seen_from(unit).guardian is not None
    ports = [agent.port for agent in made.config.agents.values()]
    ports += [guardian.port for guardian in made.config.unit_guardians.values()]
    assert len(set(ports)) == len(ports)


def test_faults_are_drawn_for_the_agents_as_they_are_configured(two: Path, tmp_path: Path) -> None:
    world = night(two, tmp_path)
    cast = world.cast()
    assert cast.guardians == ("guardian east", "guardian west")
    assert cast.speakers("dome west") == ["monitoring west", "majordome west"]
    links = cast.links
    assert {("weather", "monitoring east"), ("weather", "monitoring west"), ("broker", "alert_manager")} < {*links}
    assert ("alert_manager", "central_scheduler") in links
    assert ("majordome east", "dome west") not in links


def test_the_weather_of_each_site_is_drawn_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "france one", "namibia one", sites={"namibia": GAMSBERG})
    world = night(path, tmp_path, together=10)
    weather = [fault for fault in world.script if fault.kind == "weather"]
    assert {fault.names for fault in weather} == {("weather france",), ("weather namibia",)}
    assert len({fault.time for fault in weather}) == len(weather)


def test_a_night_of_two_sites_is_that_of_both(tmp_path: Path) -> None:
    path = write(tmp_path, "france one", "chile one", sites={"chile": GAMSBERG.replace("16.5", "-70.4")})
    world = night(path, tmp_path)
    assert world.seconds > 15 * 3600, "the Sun sets five hours later in Chile"
    here, there = (rules.site.longitude for rules in world.invariants)
    assert here - there > 60


def test_a_dome_is_judged_by_its_own_majordome_and_monitoring(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = night(two, tmp_path)
    monkeypatch.setattr(world, "alive_since", lambda name: 0.0)
    hear = world.on_delivery
    for sender, words in (("monitoring east", b'"Weather safe"'), ("majordome east", b'"Open"')):
        hear(sender, "dome east", words)
        hear(sender, "dome west", words)
    world.on_request(world.nodes["dome east"], "#1 DO open")
    assert not world.violations
    world.on_request(world.nodes["dome west"], "#1 DO open")
    (violation,) = world.violations.values()
    assert violation.text == "west: the dome is told to open, and its agent has heard no 'Weather safe'"


def test_both_telescopes_observe_and_what_goes_wrong_with_one_leaves_the_other(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '00:10:00 kill "dome east" away=240\n'
    world = night(two, tmp_path, script=script, hours=0.4, alerts=150)
    heard: list[tuple[float, str, str]] = []
    say = world.log.say

    def listen(now: float, who: str, text: str) -> None:
        heard.append((now, who, text))
        say(now, who, text)

    monkeypatch.setattr(world.log, "say", listen)
    result = world.run()
    assert result.violations == ()
    assert world.script[0] == Fault(600.0, "kill", ("dome east",), {"away": "240"})
    opened = {who for _, who, text in heard if text == "open" and who.startswith("dome")}
    assert opened == {"dome east:device", "dome west:device"}
    assert all(rules.exposures for rules in world.invariants)
    closed = [who for time, who, text in heard if text == "closed" and 600 < time < 660]
    assert closed == ["dome east:device"], "its guardian has closed it"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
def test_heavy_nights_of_two_telescopes_break_no_rule(two: Path, tmp_path: Path, seed: int) -> None:
    plan = NightPlan(str(two), "2026-03-20", seed, "heavy", hours=1.5)
    assert RehearsedNight(plan, tmp_path / "night").run().violations == ()


def test_two_telescopes_under_one_roof_are_refused_and_one_without_a_dome_is_told_of(two: Path, tmp_path: Path) -> None:
    text = two.read_text("utf-8")
    without = re.sub(r"\[(dome|guardian) west\][^\[]*", "", text)
    two.write_text(without.replace("[dome east]", "[dome]").replace("[guardian east]", "[guardian]"), "utf-8")
    with pytest.raises(ConfigError, match="belongs to no telescope, and cannot be shared"):
        configuration.load(two)
    two.write_text(without, "utf-8")
    notes = rehearsed(config_of(two), tmp_path / "night", rules=None, images="small").notes
    assert [note for note in notes if note.startswith("telescope west has no dome, and isn't said")]


def in_the_open(path: Path, unit: str) -> Path:
    """Take a telescope's dome and guardian away, and say that it stands in the open."""
    text = re.sub(rf"\[(dome|guardian) {unit}\][^\[]*", "", path.read_text("utf-8"))
    path.write_text(text.replace(f"[telescope {unit}]", f"[telescope {unit}]\nopen_air = yes"), "utf-8")
    return path


def test_a_telescope_in_the_open_observes_beside_one_in_a_dome(two: Path, tmp_path: Path) -> None:
    world = night(
        in_the_open(two, "west"), tmp_path, script='00:20:00 kill "majordome west" away=600\n', hours=0.6, alerts=150
    )
    result = world.run()
    assert result.violations == ()
    assert all(rules.exposures for rules in world.invariants)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
def test_heavy_nights_in_the_open_break_no_rule(two: Path, tmp_path: Path, seed: int) -> None:
    plan = NightPlan(str(in_the_open(two, "west")), "2026-03-20", seed, "heavy", hours=1.5)
    assert RehearsedNight(plan, tmp_path / "night").run().violations == ()


def test_a_dome_above_a_telescope_in_the_open_is_refused(two: Path) -> None:
    two.write_text(two.read_text("utf-8").replace("[telescope west]", "[telescope west]\nopen_air = yes"), "utf-8")
    with pytest.raises(ConfigError, match=r"\[telescope west\] open_air: there is \[dome west\] above it"):
        configuration.load(two)
