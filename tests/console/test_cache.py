"""Views' answers that are kept: for how long, where, by which names, and never more than so many."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.config import ConsoleConfig
from pyros.console import cache as module
from pyros.console.cache import Cache
from pyros.console.pages import Page
from pyros.views import Observed


class Counted(msgspec.Struct):
    """An answer that tells how often it was made."""

    number: int


def counted(observed: Observed) -> Counted:
    raise NotImplementedError


PAGE = Page(name="counts", title="Counts", path="counts", view=counted)


class Counter:
    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Counted:
        self.made += 1
        return Counted(self.made)


def asked(cache: Cache, counter: Counter, **values: Any) -> int:
    answer: Counted = cache.answer(PAGE, values, counter)
    return answer.number


def section(where: str, seconds: float) -> ConsoleConfig:
    return ConsoleConfig(1, Path(), cache=where, lifetimes={"counts": seconds})


@pytest.mark.parametrize(("where", "seconds", "numbers"), [("none", 60.0, [1, 2]), ("memory", 60.0, [1, 1]),
                                                           ("memory", 0.0, [1, 2])])  # fmt: skip
def test_an_answer_is_kept_for_its_lifetime(where: str, seconds: float, numbers: list[int]) -> None:
    cache, counter = Cache(section(where, seconds)), Counter()
    assert [asked(cache, counter, limit=5) for _ in numbers] == numbers
    assert asked(cache, counter, limit=6) == numbers[-1] + 1


def test_a_folder_has_names_that_people_can_read_and_another_console_knows_them(tmp_path: Path) -> None:
    counter, folder = Counter(), tmp_path / "kept"
    cache = Cache(section(str(folder), 60.0))
    assert [asked(cache, counter, event="a/../b", limit=5) for _ in range(2)] == [1, 1]
    (file,) = folder.iterdir()
    assert file.name == "counts event=a%2F..%2Fb limit=5.json"
    assert asked(Cache(section(str(folder), 60.0)), counter, event="a/../b", limit=5) == 1
    os.utime(file, (time.time() - 61, time.time() - 61))
    assert asked(cache, counter, event="a/../b", limit=5) == 2
    file.write_text("{")
    assert asked(cache, counter, event="a/../b", limit=5) == 3


def test_whoever_asks_for_ever_other_things_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 5)
    (tmp_path / "mine.json").write_text("{}")
    cache, counter = Cache(section(str(tmp_path), 60.0)), Counter()
    for number in range(12):
        asked(cache, counter, hours=number / 7)
    kept = {file.name for file in tmp_path.iterdir()}
    assert len(kept) == 6
    assert "mine.json" in kept
