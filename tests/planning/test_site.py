from __future__ import annotations

from pathlib import Path

import pytest

from pyros.errors import ConfigError
from pyros.planning.site import Site


def test_a_site_is_read(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: Pic du Midi\nlatitude: 42.9365\nlongitude: 0.1426\nelevation: 2877\n")
    assert Site.load(path) == Site("Pic du Midi", 42.9365, 0.1426, 2877.0)


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
