from __future__ import annotations

from pathlib import Path

import pytest

from pyros.errors import ConfigError
from pyros.site import Site


def test_a_site_is_read(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: Pic du Midi\nlatitude: 42.9365\nlongitude: 0.1426\nelevation: 2877\n")
    assert Site.load(path) == Site("Pic du Midi", 42.9365, 0.1426, 2877.0)


def test_horizon_twilight_and_sun_have_defaults_and_limits(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    place = "name: Pic du Midi\nlatitude: 42.9365\nlongitude: 0.1426\nelevation: 2877\n"
    path.write_text(f"{place}horizon: [[180, 5], [0, 20.5]]\ntwilight: -15\ndome_sun_limit: -2\nsun_exclusion: 45\n")
    site = Site.load(path)
    assert (site.horizon, site.twilight) == (((0.0, 20.5), (180.0, 5.0)), -15.0)
    assert (site.dome_sun_limit, site.sun_exclusion) == (-2.0, 45.0)
    path.write_text(place)
    assert Site.load(path).twilight == -12.0


@pytest.mark.parametrize(
    "line",
    [
        "horizon: 20", "horizon: []", "horizon: [[0]]", "horizon: [[0, yes]]", "horizon: [[360, 1]]",
        "horizon: [[0, 91]]", "horizon: [[0, .nan]]", "horizon: [[1, 2], [1, 3]]", "horizon: {0: 1}",
        "twilight: 5", "twilight: night", "sun_exclusion: -1", "dome_sun_limit: .inf",
    ],
)  # fmt: skip
def test_a_horizon_or_limit_that_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"name: Pic du Midi\nlatitude: 42.9365\nlongitude: 0.1426\nelevation: 2877\n{line}\n")
    with pytest.raises(ConfigError, match=rf"{path}: {line.partition(':')[0]}: "):
        Site.load(path)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: ''\nlatitude: north\nlongitude: .nan\naltitude: 3\n")
    with pytest.raises(ConfigError) as caught:
        Site.load(path)
    told = caught.value.problems
    assert all(problem.startswith(f"{path}: ") for problem in told)
    assert [problem.split(": ")[1] for problem in told] == ["altitude", "name", "latitude", "longitude", "elevation"]
    assert "from -90 to 90 (degrees), not 'north'" in told[2]


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff\xfe", b"a: [", b"latitude: yes\n"])
def test_what_is_no_site_is_refused_in_one_line_each(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Site.load(path)
    assert all("\n" not in problem and str(path) in problem for problem in caught.value.problems)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        Site.load(tmp_path / "none.yaml")
