"""What is rehearsed in the place of the configured observatory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from pyros import config as configuration
from pyros.rehearsal.configuration import rehearsed


def test_what_nobody_looks_at_is_measured_seldom_unless_the_section_says_how_often(tmp_path: Path) -> None:
    config = configuration.load(configuration.demo_file())
    wheel = msgspec.structs.replace(config.agents["filter_wheel"], options={"telemetry": "7"})
    config = msgspec.structs.replace(config, agents={**config.agents, "filter_wheel": wheel})
    agents = rehearsed(config, tmp_path / "night", rules=None, images="none").config.agents
    assert agents["filter_wheel"].options["telemetry"] == "7"
    assert agents["camera"].options["telemetry"] == "60"
    assert "telemetry" not in agents["dome"].options
    assert "telemetry" not in agents["telescope"].options


def test_a_rehearsal_says_which_calibrations_its_images_show_nothing_of(tmp_path: Path) -> None:
    config = configuration.load(configuration.demo_file())
    majordome = msgspec.structs.replace(config.agents["majordome"], options={"focus": "2", "flats": "r"})
    config = msgspec.structs.replace(config, agents={**config.agents, "majordome": majordome})

    def told(images: str) -> list[str]:
        notes = rehearsed(config, tmp_path / images, rules=None, images=images).notes
        return [note for note in notes if "--images" in note]

    assert told("none") == ["no focus is found and no flats are taken, for nothing is drawn: --images full is for that"]
    assert told("small") == ["no focus is found, for 64 x 64 pixels show too few stars: --images full is for that"]
    assert told("full") == []


def test_a_camera_sees_the_rehearsed_sky_and_no_device_of_the_configuration(tmp_path: Path) -> None:
    for path in (configuration.demo_file(), configuration.demo_file().parent / "observatory"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    camera = tmp_path / "observatory" / "simulators" / "camera.yaml"
    camera.write_text(camera.read_text().replace("# weather: ", "weather: ").replace("# cover: ", "cover: "))
    made = rehearsed(
        configuration.load(tmp_path / configuration.FILE_NAME), tmp_path / "night", rules=None, images="small"
    )
    settings: Any = made.devices["camera"].settings
    assert settings.weather == made.config.agents["weather"].address
    assert settings.cover == "", "there is no cover in the configuration"


def test_a_camera_looks_through_the_rehearsed_cover(tmp_path: Path) -> None:
    for path in (configuration.demo_file(), configuration.demo_file().parent / "observatory"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    camera = tmp_path / "observatory" / "simulators" / "camera.yaml"
    camera.write_text(camera.read_text().replace("# cover: ", "cover: "))
    ini = tmp_path / configuration.FILE_NAME
    ini.write_text(f"{ini.read_text()}\n[cover]\nport = 5019\ndriver = native\naddress = tcp:127.0.0.1:6021\n")
    made = rehearsed(configuration.load(ini), tmp_path / "night", rules=None, images="small")
    settings: Any = made.devices["camera"].settings
    assert settings.cover == made.config.agents["cover"].address
