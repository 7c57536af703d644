"""What a device is asked together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from pyros.agents.instrument import asked_ahead
from pyros.errors import NoAnswer


async def _look(first: Deferred[str], second: Deferred[str]) -> tuple[str, str]:
    with asked_ahead(second) as later:
        return await first, await later


def _looking() -> tuple[Deferred[str], Deferred[str], Deferred[tuple[str, str]]]:
    first: Deferred[str] = Deferred()
    second: Deferred[str] = Deferred()
    return first, second, Deferred.fromCoroutine(_look(first, second))


def test_answers_may_come_in_any_order() -> None:
    first, second, looking = _looking()
    second.callback("here")
    first.callback("tracking")
    assert looking.result == ("tracking", "here")


def test_what_was_asked_ahead_is_taken_back_when_the_first_fails() -> None:
    first, second, looking = _looking()
    caught: list[type[BaseException] | None] = []
    looking.addErrback(lambda failure: caught.append(failure.type))
    first.errback(NoAnswer("no answer"))
    assert caught == [NoAnswer]
    assert second.called
    second.callback("too late")  # which nobody hears, and which is no error


def test_who_gives_up_gives_up_both() -> None:
    first, second, looking = _looking()
    caught: list[type[BaseException] | None] = []
    looking.addErrback(lambda failure: caught.append(failure.type))
    looking.cancel()
    assert caught == [CancelledError]
    assert first.called
    assert second.called


def test_a_failure_that_came_first_is_told_after_the_answer_before_it() -> None:
    first, second, looking = _looking()
    caught: list[str] = []
    looking.addErrback(lambda failure: caught.append(failure.getErrorMessage()))
    second.errback(NoAnswer("second"))
    assert caught == []
    first.callback("tracking")
    assert caught == ["second"]
