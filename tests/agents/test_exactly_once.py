"""Agents are killed again and again while messages flow, and every message takes effect exactly once, in order.

Fleeting ones flow beside them: each at most once, and never before what it follows.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyros.sender import Sender
from tests.conftest import wait_until

PROGRAM = Path(__file__).parent / "programs" / "numbers_agents.py"
SENDERS = ("north", "south")
AT_ONCE = 312
"""Numbers that a sender is allowed at once: it needs 0.15 s and more for them, for it pauses between."""


class Nursery:
    """The process that forks agents. Speaks to `numbers_agents.py`."""

    def __init__(self, observatory: Any) -> None:
        self._observatory = observatory
        self._program = observatory.run("-u", PROGRAM)
        self._started = 0
        self.pids: dict[str, int] = {}

    def start(self, name: str) -> None:
        kind = "numbering" if name in SENDERS else "counting"
        stdin = self._program.process.stdin
        stdin.write(f"start {name} {kind}\n".encode())
        stdin.flush()
        self._started += 1
        pids = wait_until(self._pids, what=f"{name} to be forked; {self._program.errors}")
        self.pids[name] = pids[-1]

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{self.pids[name]}").exists(), what=f"{name} to be gone")

    def close(self) -> str:
        """End all agents; returns what they complained of."""
        self._program.process.stdin.close()
        self._program.wait()
        errors: str = self._program.errors
        return errors

    def _pids(self) -> list[int]:
        words = self._program.output.split()
        return [int(word) for word in words] if len(words) == self._started else []


@pytest.mark.parametrize("kills", [4, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.parametrize("forward", [False, True], ids=["counted", "sent-on"])
@pytest.mark.parametrize("victim", ["receiver", "north"])
def test_exactly_once_under_kill_9(observatory: Callable[..., Any], victim: str, forward: bool, kills: int) -> None:
    """The effect is a count in the receiver's state, and in the other runs a message to a third agent besides."""
    instants = random.Random(f"{victim} {forward}")
    last = "third" if forward else "receiver"
    keys = {"receiver": {"option_forward": "third"} if forward else {}}
    place = observatory("third", *SENDERS, **keys)
    nursery = Nursery(place)
    for name in {"receiver", last, *SENDERS}:
        nursery.start(name)
    for name in nursery.pids:
        place.up(name)
    in_the_middle = rounds = allowed = 0
    longest = 0.13  # seconds from then on until the kill

    def allow(number: int) -> None:
        for sender in SENDERS:
            place.up(sender)
            Sender.send_to(sender, "Up to", {"number": number}, config=place.config)

    while in_the_middle < kills:
        rounds += 1
        assert rounds < 10 * kills, f"only {in_the_middle} kills came before all was sent"
        allow(allowed + 1)
        wait_until(lambda: place.up(victim)["taken"], what=f"{victim} to take messages again")
        allowed += AT_ONCE
        allow(allowed)
        time.sleep(instants.uniform(0.0, longest))  # any instant will do, and no event is to tell it
        nursery.kill(victim)
        if place.rows("receiver", "SELECT count(*) FROM received")[0][0] < 2 * allowed:
            in_the_middle += 1
        else:
            longest *= 0.8  # we are not let in as often as the agents are
        nursery.start(victim)

    def done() -> bool:
        state = place.state(last)
        return bool(state) and state["last"] == dict.fromkeys(SENDERS, allowed)

    wait_until(done, what="the last messages")
    for name in nursery.pids:
        wait_until(lambda name=name: not place.up(name)["outbox"], what=f"the outbox of {name} to be empty")
    errors = nursery.close()

    assert "Traceback" not in errors
    counted = {"handled": dict.fromkeys(SENDERS, allowed), "last": dict.fromkeys(SENDERS, allowed), "out_of_order": []}
    assert place.state("receiver")["glimpsed"].keys() == set(SENDERS)
    assert place.rows("receiver", "SELECT name, error FROM failed") == []
    assert place.rows("receiver", "SELECT count(*) FROM received WHERE name = 'Glimpse'") == [(0,)]
    for name in {"receiver", last}:
        assert place.state(name) | counted == place.state(name)
        taken = [payload for _, payload, error in place.received(name) if error is None]
        assert len(taken) == 2 * allowed
    order = place.rows("receiver", "SELECT sender, json_extract(payload, '$.number') FROM received ORDER BY number")
    for sender in SENDERS:
        assert [number for origin, number in order if origin == sender] == list(range(1, allowed + 1))
