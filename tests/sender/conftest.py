"""What the tests of links and carriers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """Return what was logged since the test began, as one text."""
    events: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        events.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lambda: "\n".join(events)
    globalLogPublisher.removeObserver(observe)
