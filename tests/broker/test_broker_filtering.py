"""The process that evaluates filters: a real one, on a reactor of the test's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from twisted.internet.selectreactor import SelectReactor

from pyros.broker.vtp import filtering as filtering_module
from pyros.broker.vtp.filtering import Job, ProcessFiltering
from pyros.broker.vtp.filters import Filter
from tests.conftest import PATIENCE, another_reactor

BOMB = "//a != //a"
EVENT = f"<v>{'<a/>' * 20_000}</v>".encode()


class FilteringRig:
    """Asks, and keeps what is answered."""

    def __init__(self, budget: float) -> None:
        self.reactor = another_reactor(SelectReactor)
        self.filtering = ProcessFiltering(self.reactor, budget=budget)
        self.answers: list[tuple[str, bool]] = []
        self.refused: list[tuple[str, str]] = []
        self.gone: set[str] = set()

    def ask(self, who: str, *texts: str, host: str = "", event: bytes = EVENT) -> list[Filter]:
        filters = [Filter(text, text) for text in texts]
        framed = len(event).to_bytes(4, "big") + event
        self.filtering.ask(
            Job(host or who, filters, id(event), framed, lambda: who not in self.gone,
                lambda passes: self.answers.append((who, passes)),
                lambda filter_, reason: self.refused.append((who, reason))),
            None,
        )  # fmt: skip
        return filters

    def run(self, done: Callable[[], bool]) -> None:
        """Run the reactor until something is so."""
        late = self.reactor.callLater(PATIENCE, self.reactor.crash)

        def look() -> None:
            if done():
                late.cancel()
                self.reactor.crash()
            else:
                self.reactor.callLater(0.005, look)

        self.reactor.callLater(0, look)
        self.reactor.run(installSignalHandlers=False)
        assert done()

    def close(self) -> None:
        closed: list[Any] = []
        self.filtering.close().addCallback(closed.append)
        self.run(lambda: bool(closed))
        self.reactor.disconnectAll()
        self.reactor.removeReader(self.reactor.waker)
        self.reactor.waker.connectionLost(None)


@pytest.fixture
def make() -> Iterator[Callable[..., FilteringRig]]:
    with ExitStack() as stack:
        yield lambda budget=60.0: stack.enter_context(closing(FilteringRig(budget)))


def test_filters_are_evaluated_in_another_process(make: Callable[..., FilteringRig]) -> None:
    place = make()
    place.ask("one", "//b", "//a")
    place.ask("two", "//b")
    place.ask("three", "/undeclared:prefix")
    place.run(lambda: len(place.answers) == 3)
    assert sorted(place.answers) == [("one", True), ("three", False), ("two", False)]
    assert place.filtering.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, place.filtering.pid) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)


def test_a_filter_over_its_budget_is_taken_out(make: Callable[..., FilteringRig]) -> None:
    place = make(0.1)
    filters = place.ask("one", "//b", BOMB, "//c")
    only = place.ask("two", BOMB)
    place.run(lambda: len(place.answers) == 2)
    assert sorted(place.answers) == [("one", False), ("two", True)], "without any filter left, it passes"
    assert [filter_.text for filter_ in filters] == ["//b", "//c"]
    assert only == []
    reason = f"took more than 0.1 s for one event: {BOMB}"
    assert sorted(place.refused) == [("one", reason), ("two", reason)]
    assert place.filtering.condemned(BOMB) == reason
    place.ask("three", "//a")
    place.run(lambda: len(place.answers) == 3)


def test_an_authors_packet_takes_no_filter_out(make: Callable[..., FilteringRig]) -> None:
    """Texts parted by 16,000 comments took a second and a half to be put in order: the filter went, and all passed."""
    place = make(0.2)
    for nothing in ("<!---->", "<?a?>"):
        place.ask("one", "//b", "//text()", "/*/node()", event=f"<v>{('x' + nothing) * 12_000}</v>".encode())
    place.run(lambda: len(place.answers) == 2)
    assert place.refused == []


def test_costly_filters_wait_for_cheap_ones(make: Callable[..., FilteringRig]) -> None:
    place = make(0.1)
    place.ask("bomber", BOMB)
    place.run(lambda: len(place.answers) == 1)
    place.ask("first", "//b")
    for number in range(3):
        place.ask(f"bomber {number}", "//b", host="bomber")
    place.ask("other", "//b")
    place.run(lambda: len(place.answers) == 6)
    assert [who for who, _ in place.answers[1:3]] == ["first", "other"]


def test_who_has_gone_is_not_answered(make: Callable[..., FilteringRig]) -> None:
    place = make()
    place.ask("one", "//a")
    place.ask("two", "//a")
    place.gone.add("two")
    place.run(lambda: bool(place.answers))
    place.ask("three", "//a")
    place.run(lambda: len(place.answers) == 2)
    assert place.answers == [("one", True), ("three", True)]


def test_a_process_that_is_killed_is_replaced(make: Callable[..., FilteringRig]) -> None:
    place = make()
    place.ask("one", "//a")
    place.run(lambda: bool(place.answers))
    assert place.filtering.pid is not None
    os.kill(place.filtering.pid, signal.SIGKILL)
    place.run(lambda: place.filtering.pid is None)
    place.ask("two", "//b")
    place.run(lambda: len(place.answers) == 2)
    assert place.answers[1] == ("two", False)
    assert not place.refused


def test_without_a_process_everything_passes(
    make: Callable[..., FilteringRig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtering_module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    place = make()
    place.ask("one", "//b")
    place.run(lambda: bool(place.answers))
    assert place.answers == [("one", True)]
