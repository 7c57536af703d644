"""The feed of frames by itself: when one is made, and who is told."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from pyros.console.feed import Feed
from tests.conftest import PATIENCE, wait_until


class SkyFrame(msgspec.Struct):
    """A frame that only has what was to be seen."""

    seen: str


class ChangingSky:
    """What frames are made of: something that a test changes."""

    def __init__(self) -> None:
        self.shows = self.told = "clear"
        self.looks = self.heads = 0

    def changed(self) -> bool:
        before, self.told = self.told, self.shows
        self.looks += 1
        return before != self.told

    def frame(self, number: int) -> SkyFrame:
        return SkyFrame(self.shows)

    def head(self) -> SkyFrame:
        self.heads += 1
        return SkyFrame(self.shows)

    def panels(self, frame: object) -> dict[str, str]:
        return {}

    def alive(self) -> bool:
        return True


@pytest.fixture
def sky() -> ChangingSky:
    return ChangingSky()


@pytest.fixture
def feed(sky: ChangingSky) -> Iterator[Feed]:
    feed = Feed(sky, lambda function, *args: function(*args))
    yield feed
    feed.stop()


def test_a_page_shows_what_is_there_when_nobody_listens(feed: Feed, sky: ChangingSky) -> None:
    first = feed.latest
    assert feed.latest is first
    sky.shows = "rain"
    assert (feed.latest.frame.seen, feed.latest.number) == ("rain", first.number + 1)


def test_a_page_that_shows_the_head_alone_has_no_frame_made(feed: Feed, sky: ChangingSky) -> None:
    first = feed.head
    assert (first.frame.seen, first.number, feed.head) == ("clear", 0, first)
    whole = feed.latest
    assert feed.head is whole
    sky.shows = "rain"
    assert (feed.head.frame.seen, feed.latest.frame.seen) == ("rain", "rain")
    assert feed.latest.number == whole.number + 1
    sky.shows = "hail"
    assert feed.head is not feed.latest
    assert sky.heads == 3


def test_who_listens_is_told_every_change(feed: Feed, sky: ChangingSky) -> None:
    said: queue.Queue[tuple[str, bytes]] = queue.Queue()
    feed.start()
    unsubscribe = feed.subscribe(lambda event, data: said.put((event, data)))
    for word in ("clear", "rain"):
        sky.shows = word
        while word.encode() not in said.get(timeout=PATIENCE)[1]:
            pass  # a pulse
    unsubscribe()


def test_who_listens_is_told_a_frame_that_a_page_had_made(feed: Feed, sky: ChangingSky) -> None:
    said: queue.Queue[bytes] = queue.Queue()
    feed.subscribe(lambda event, data: said.put(data))
    for word in ("rain", "hail", "snow"):
        sky.shows = word
        assert feed.latest.frame.seen == word
        if word == "rain":
            feed.start()
        feed.refresh()
        while word.encode() not in said.get(timeout=PATIENCE):
            pass


def test_who_asks_while_a_frame_is_made_gets_what_has_changed_since(feed: Feed, sky: ChangingSky) -> None:
    begun, going_on = threading.Event(), threading.Event()
    made = sky.frame

    def frame(number: int) -> SkyFrame:
        look = made(number)
        begun.set()
        assert going_on.wait(PATIENCE)
        return look

    sky.frame = frame  # type: ignore[method-assign]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(lambda: feed.latest)
        assert begun.wait(PATIENCE)
        sky.shows = "rain"
        others = [pool.submit(lambda: feed.latest) for _ in range(2)]
        wait_until(lambda: sky.looks == 3)
        going_on.set()
        assert first.result().frame.seen == "clear"
        assert [(each.result().frame.seen, each.result().number) for each in others] == [("rain", 2)] * 2
