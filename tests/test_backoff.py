"""Pauses between failed attempts."""

from __future__ import annotations

from pyros.backoff import Backoff


def test_the_last_pause_is_repeated_and_a_success_begins_anew() -> None:
    backoff = Backoff(0.1, 0.2, 2.0)
    assert [backoff.next_pause() for _ in range(5)] == [0.1, 0.2, 2.0, 2.0, 2.0]
    assert backoff.failures == 5
    backoff.reset()
    assert backoff.next_pause() == 0.1
