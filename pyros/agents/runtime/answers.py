"""What other agents acknowledged, on its way from the links in the reactor's thread to a turn that stores it."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from pyros.journal import Effects
from pyros.wire import Refusal

_ANSWERS_SECONDS = 2.0  # an acknowledgement waits so long for a turn that is committed anyway
_REFUSALS_SECONDS = 0.2


class Acknowledgements:
    """What other agents acknowledged, gathered from the links until a turn stores it. Used by two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._effects = Effects()
        self._latest: dict[str, int] = {}
        self.due = math.inf
        """When they must be stored at the latest, monotonic seconds."""

    def add(self, agent: str, seq: int, refusals: list[Refusal], now: float) -> bool:
        """Add an acknowledgement; True when they must be stored sooner for it."""
        with self._lock:
            before = self.due
            self.due = min(before, now + (_REFUSALS_SECONDS if refusals else _ANSWERS_SECONDS))
            self._effects.acknowledged[agent] = self._latest[agent] = seq
            self._effects.refused += [(refusal.reason, agent, refusal.seq) for refusal in refusals]
            return self.due < before

    def still_waiting(self, waiting: Mapping[str, int], destinations: Mapping[str, int]) -> dict[str, int]:
        """Return how many messages wait for each agent: what it has acknowledged doesn't, though it isn't stored yet.

        ``waiting`` and ``destinations`` are the journal's: what it has, and the last number for each agent.
        """
        latest = self._latest
        counts = {
            agent: min(count, destinations.get(agent, 0) - latest.get(agent, 0))
            for agent, count in list(waiting.items())
        }
        return {agent: count for agent, count in counts.items() if count > 0}

    def confirm(self, agent: str, last: int, now: float) -> None:
        """Add which number an agent has, to be stored at once: until then it is sent nothing."""
        with self._lock:
            self.due = now
            self._effects.confirmed[agent] = last

    def take(self) -> tuple[Effects, float]:
        """Take what there is, and when it must be stored."""
        with self._lock:
            effects, self._effects = self._effects, Effects()
            due, self.due = self.due, math.inf
        return effects, due

    def put_back(self, effects: Effects, due: float) -> None:
        """Take effects back, for they are not stored."""
        if not effects:
            return
        with self._lock:
            self.due = min(self.due, due)
            self._effects.acknowledged = {**effects.acknowledged, **self._effects.acknowledged}
            self._effects.confirmed = {**effects.confirmed, **self._effects.confirmed}
            self._effects.refused[:0] = effects.refused
