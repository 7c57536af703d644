"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyros.files import whole


def test_it_is_there_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(path) as partial:
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
    with whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert synced == [(".a.txt.partial", False), (tmp_path.name, True)]


def test_what_was_there_stays_when_the_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(path) as partial:  # noqa: PT012
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"), whole(tmp_path / "nowhere" / "a.txt") as partial:
        partial.write_text("new")
