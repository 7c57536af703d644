"""The feed of frames by itself: when one is made, and who is told."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import msgspec
import pytest

from pyros.console.feed import Feed
from tests.conftest import PATIENCE


class Look(msgspec.Struct):
    """A frame that only has what was to be seen."""

    seen: str


class Sky:
    """What frames are made of: something that a test changes."""

    def __init__(self) -> None:
        self.shows = self.told = "clear"

    def changed(self) -> bool:
        before, self.told = self.told, self.shows
        return before != self.told

    def frame(self, number: int) -> Look:
        return Look(self.shows)

    def panels(self, frame: object) -> dict[str, str]:
        return {}

    def alive(self) -> bool:
        return True


@pytest.fixture
def sky() -> Sky:
    return Sky()


@pytest.fixture
def feed(sky: Sky) -> Iterator[Feed]:
    feed = Feed(sky, lambda function, *args: function(*args))
    yield feed
    feed.stop()


def test_a_page_shows_what_is_there_when_nobody_listens(feed: Feed, sky: Sky) -> None:
    first = feed.latest
    assert feed.latest is first
    sky.shows = "rain"
    assert (feed.latest.frame.seen, feed.latest.number) == ("rain", first.number + 1)


def test_who_listens_is_told_every_change(feed: Feed, sky: Sky) -> None:
    said: queue.Queue[tuple[str, bytes]] = queue.Queue()
    feed.start()
    unsubscribe = feed.subscribe(lambda event, data: said.put((event, data)))
    for word in ("clear", "rain"):
        sky.shows = word
        while word.encode() not in said.get(timeout=PATIENCE)[1]:
            pass  # a pulse
    unsubscribe()
