"""How an agent that ends makes safe what it moves: once, and in no longer than it may take."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from pyros.agents.runtime.hosted import Hosted
from pyros.clock import cancel_call
from pyros.reactor import Reactor


class MakingSafe:
    """Makes safe what one agent moves; for the reactor's thread."""

    def __init__(self, agent: Hosted, reactor: Reactor) -> None:
        self._agent, self._reactor = agent, reactor
        self._safe: Deferred[None] | None = None
        self._limit: Any = None

    @property
    def begun(self) -> bool:
        """Whether `make` was called."""
        return self._safe is not None

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._safe is not None and bool(self._safe.called)

    def make(self, reason: str) -> Deferred[None]:
        """Have the agent make safe what it moves, at the first call; see `Host.make_safe`."""
        if self._safe is None:
            self._safe = Deferred()
            self._agent.made_safe = True
            self._limit = self._reactor.callLater(self._agent.SAFE_SECONDS, self._not_safe_in_time)
            making = maybeDeferred(self._agent.make_safe, reason)
            making.addErrback(lambda failure: self._agent.log.critical(
                "what {name} moves could not be made safe, look at it: {reason}",
                name=self._agent.name, reason=failure.getErrorMessage(), log_failure=failure,
            ))  # fmt: skip
            making.addCallback(lambda _: self._ended())
        return self._safe

    def close(self) -> None:
        """Wait no longer: everything is closed."""
        cancel_call(self._limit)

    def _ended(self) -> None:
        if self._safe is not None and not self._safe.called:
            self.close()
            self._safe.callback(None)

    def _not_safe_in_time(self) -> None:
        self._agent.log.critical(
            "{name} ends, though what it moves was not made safe within {seconds:.0f} s: look at it",
            name=self._agent.name, seconds=self._agent.SAFE_SECONDS,
        )  # fmt: skip
        if self._safe is not None:
            self._safe.callback(None)
