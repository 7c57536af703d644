"""Units: several telescopes in one file, and what each of them sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyros import config
from pyros.cli.common import load_unit
from pyros.config import Config
from pyros.errors import ConfigError, UnknownAgent
from pyros.observatory import load_agent

DEVICE = "driver = native\naddress = tcp:127.0.0.1:6010\n"


def write(folder: Path, *sections: str) -> Path:
    """Write a configuration of sections, each with a port of its own; those of instruments have a device."""
    (folder / "andes.yaml").touch()
    (folder / "site.yaml").touch()
    text = "[observatory]\nsite = site.yaml\n"
    for port, section in enumerate(sections, 5001):
        head, _, keys = section.partition(":")
        kind = "camera" if "kind=camera" in keys else head.split()[0]
        text += f"[{head}]\n" + (f"port = {port}\n" if kind != "unit" else "") + keys.replace(";", "\n") + "\n"
        text += DEVICE if kind in config.INSTRUMENTS else ""
    path = folder / config.FILE_NAME
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, *sections: str) -> Config:
    return config.load(write(folder, *sections))


def problems(folder: Path, *sections: str) -> list[str]:
    path = write(folder, *sections)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return [each.removeprefix(f"{path}: ") for each in caught.value.problems]


TWO = (
    "alert_manager", "central_scheduler", "notifier", "weather",
    "telescope east", "dome east:roof=yes", "scheduler east", "monitoring east:max_wind=9;option_coarse=wind",
    "telescope west", "dome west", "scheduler west", "monitoring west", "guardian west", "unit east:site=andes.yaml",
)  # fmt: skip


def test_a_short_name_means_the_agent_of_ones_own_unit(tmp_path: Path) -> None:
    whole = load(tmp_path, *TWO)
    east, west = whole.seen_from("east"), whole.seen_from("west")
    assert (east.receivers("telescope"), west.receivers("telescope")) == (("telescope east",), ("telescope west",))
    assert east.receivers("weather") == east.receivers("weather") == ("weather",)
    assert east.receivers("telescope west") == ("telescope west",)
    assert east.journal("dome") == whole.journal("dome east")
    assert east.agent("dome").roof
    assert "cover" not in east.agents
    assert not east.has("cover")


def test_what_is_said_to_a_kind_of_several_units_goes_to_each(tmp_path: Path) -> None:
    whole = load(tmp_path, *TWO)
    assert whole.receivers("monitoring") == ("monitoring east", "monitoring west")
    assert whole.receivers("scheduler") == ("central_scheduler",)
    with pytest.raises(UnknownAgent):
        whole.receivers("cover")


def test_a_unit_has_its_own_site_guardian_and_limits(tmp_path: Path) -> None:
    whole = load(tmp_path, *TWO)
    east, west = whole.seen_from("east"), whole.seen_from("west")
    assert (east.site.name, west.site.name, whole.site.name) == ("andes.yaml", "site.yaml", "site.yaml")
    assert (east.limits.max_wind, west.limits.max_wind) == (9.0, 15.0)
    assert east.guardian is None
    assert west.guardian is not None
    assert [seen.unit for seen in whole.guarded()] == ["west"]


def test_a_unit_sees_itself_and_what_is_around_it(tmp_path: Path) -> None:
    whole = load(tmp_path, *TWO)
    assert list(whole.agents) == [name.partition(":")[0] for name in TWO if name.split()[0] not in ("guardian", "unit")]
    assert list(whole.seen_from("west").agents) == [
        "alert_manager", "central_scheduler", "notifier", "weather", "telescope", "dome", "scheduler", "monitoring",
    ]  # fmt: skip
    assert whole.telescopes == ("east", "west")


def test_units_lie_within_others(tmp_path: Path) -> None:
    whole = load(
        tmp_path, "central_scheduler", "unit andes:site=andes.yaml", "weather andes", "telescope andes east",
        "monitoring andes east", "telescope andes west", "monitoring andes west", "telescope canary", "weather canary",
        "monitoring canary",
    )  # fmt: skip
    assert whole.seen_from("andes").receivers("monitoring") == ("monitoring andes east", "monitoring andes west")
    assert whole.seen_from("canary").receivers("monitoring") == ("monitoring canary",)
    assert whole.seen_from("andes west").receivers("weather") == ("weather andes",)
    assert whole.seen_from("andes west").site.name == "andes.yaml"
    assert whole.monitored(whole.agent("weather andes")) == ("monitoring andes east", "weather")
    assert whole.monitored(whole.agent("telescope andes west")) == ("monitoring andes west", "telescope")


def test_how_a_unit_calls_the_others(tmp_path: Path) -> None:
    east = load(tmp_path, *TWO).seen_from("east")
    names = ["telescope east", "telescope west", "weather", "program:someone"]
    assert [east.short_name(name) for name in names] == ["telescope", "telescope west", "weather", "program:someone"]


def test_a_second_device_of_a_kind_beside_the_telescopes_own(tmp_path: Path) -> None:
    whole = load(tmp_path, "telescope", "switch", "switch roof", "guide_camera:kind=camera", "camera", "monitoring")
    assert whole.receivers("camera") == ("camera",)
    assert whole.agent("guide_camera").kind == "camera"
    assert whole.seen_from("roof").receivers("monitoring") == ("monitoring",)
    assert whole.short_name("switch roof") == "switch roof"
    assert whole.telescopes == ()


def test_an_agent_takes_the_name_of_its_section(tmp_path: Path) -> None:
    agent = load_agent(load(tmp_path, *TWO), "monitoring east")
    assert agent.name == "monitoring east"
    assert agent.log.namespace == "monitoring east"


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    assert problems(
        tmp_path, "telescope east", "telescope west", "dome", "weather", "unit north", "guardian north"
    ) == [
        "[unit north]: no section belongs to this unit, such as [telescope north]",
        "[dome]: belongs to no telescope, and cannot be shared: name the unit of one, such as [dome east]",
        "[central_scheduler]: missing: it hands requests to the schedulers of east, west",
        "[guardian north]: needs a [dome north] section",
    ]
    assert problems(tmp_path, "telescope", "telescope west", "central_scheduler") == [
        "[telescope]: there is [telescope west], too: where there are several, each needs a unit of its own,"
        " and none lies within another's",
    ]


def test_mistakes_in_names_and_kinds(tmp_path: Path) -> None:
    assert problems(tmp_path, "telescope  east", "dome:kind=domme;unit=a-b") == [
        "[telescope  east] section: an agent's name is a letter, then letters, digits and _;"
        " its unit follows after a blank (64 at most)",
        f"[dome] kind: 'domme' is not one of: {', '.join(config.STANDARD_AGENTS)}",
        "[dome] unit: 'a-b' is no unit: letters, digits and _, and a blank where it lies within another one",
    ]


def test_a_command_shows_one_telescope(tmp_path: Path) -> None:
    path = write(tmp_path, *TWO)
    assert load_unit(path, "west").agent("dome").name == "dome west"
    for wrong in ("", "north"):
        with pytest.raises(ConfigError, match="name the telescope with --unit"):
            load_unit(path, wrong)
    one = write(tmp_path, "telescope east", "dome east")
    assert load_unit(one, "").agent("dome").name == "dome east"
    plain = write(tmp_path, "telescope", "dome")
    assert load_unit(plain, "").agent("dome").name == "dome"
    with pytest.raises(ConfigError, match="one without a name"):
        load_unit(plain, "east")
