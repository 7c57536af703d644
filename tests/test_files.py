"""Files that are whole or not there, and YAML."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from pyros.files import LARGEST_YAML, LinedMappings, atomic_write, quick_loader, read_yaml


def test_it_is_there_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_synced_before_it_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, (tmp_path / "a.txt").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert synced == [(".a.txt.partial", False), (tmp_path.name, True)]


def test_what_was_there_stays_when_the_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:  # noqa: PT012
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), atomic_write(tmp_path / "nowhere" / "a.txt") as partial:
        partial.write_text("new")


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, é]\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, "é"]}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: 1\nb: [2\n", "line 3: is not YAML: expected ',' or ']', but got '<stream end>'"),
        (b"a: 1\na: 2\n", "line 2: is not YAML: key 'a' twice"),
        (b"a: !!python/object:os.system x\n", "line 1: is not YAML: could not determine a constructor"),
        (b"a: \xff\n", "is not UTF-8"),
        (b"[" * 1100, "is not YAML"),
        (b"a: 2026-99-99\n", "is not YAML: month must be in 1..12"),
        (b"#" * (LARGEST_YAML + 1), f"is larger than {LARGEST_YAML} bytes"),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="^" + re.escape(told)) as raised:
        read_yaml(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML is without libyaml")
def test_both_parsers_of_yaml_read_the_same() -> None:
    texts = [path.read_text("utf-8") for path in (Path(__file__).parents[1] / "observatory").rglob("*.yaml")]
    assert len(texts) > 10
    for text in [*texts, "a: {b: [1, 2.5, 2026-01-02]}\n'5': yes\n"]:
        ours = yaml.load(text, LinedMappings)
        quick = yaml.load(text, quick_loader(LinedMappings))
        assert quick == ours
        assert quick.lines == ours.lines
    with pytest.raises(yaml.MarkedYAMLError, match="key 'a' twice"):
        yaml.load("a: 1\na: 2\n", quick_loader(LinedMappings))


def test_yaml_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^cannot be read: No such file or directory$"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match=r"^cannot be read: Is a directory$"):
        read_yaml(tmp_path)
