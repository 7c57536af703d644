"""Pauses between failed attempts."""

from __future__ import annotations

from pyros.backoff import STEADY_SECONDS, Backoff


def test_the_last_pause_is_repeated_and_a_success_begins_anew() -> None:
    backoff = Backoff(0.1, 0.2, 2.0)
    assert [backoff.next_pause() for _ in range(5)] == [0.1, 0.2, 2.0, 2.0, 2.0]
    assert backoff.failures == 5
    backoff.reset()
    assert backoff.next_pause() == 0.1


def test_only_what_has_lasted_begins_anew() -> None:
    backoff = Backoff(0.1, 0.2, 2.0)
    assert backoff.next_pause() == 0.1
    backoff.ended(STEADY_SECONDS - 0.1)
    assert backoff.next_pause() == 0.2
    backoff.ended(STEADY_SECONDS)
    assert backoff.next_pause() == 0.1
