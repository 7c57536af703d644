"""What the log says of stored events."""

from __future__ import annotations

import pytest

from pyros.broker import event_log
from pyros.broker.event_log import EventLog
from tests.builders import InlineReactor


def test_a_line_at_once_and_then_one_a_second(reactor: InlineReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(event_log.log, "info", lambda text, **values: said.append(text.format(**values)))
    told = EventLog(reactor)
    told.add([("ivo://a/b#1", "author 10.0.0.1", 1)])
    assert said == ["stored: ivo://a/b#1 from author 10.0.0.1 as event 1"]
    told.add([("ivo://a/b#2", "author 10.0.0.1", 2), ("ivo://a/b#3", "broker x", 3)])
    told.add([("ivo://a/b#4", "broker x", 4)])
    assert len(said) == 1
    reactor.advance(1)
    assert said[1:] == ["stored: ivo://a/b#2 from author 10.0.0.1 as event 2, and 2 more events, up to number 4"]
    told.add([("ivo://a/b#5", "broker x", 5)])
    assert len(said) == 2
    told.stop()
    assert said[2:] == ["stored: ivo://a/b#5 from broker x as event 5"]
    assert not reactor.getDelayedCalls()


def test_silence_needs_no_timer(reactor: InlineReactor) -> None:
    told = EventLog(reactor)
    told.add([("ivo://a/b#1", "x", 1)])
    reactor.advance(1)
    assert not reactor.getDelayedCalls()
    told.stop()
