"""What a turn is made of, and what comes of it: messages in batches, answers, and what is done after the commit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from pyros.errors import AgentError
from pyros.journal import Outgoing, Peer
from pyros.messages import Message
from pyros.wire import Entry, Refusal


class NotTaken(AgentError):
    """The agent has no use for this message: it is refused, not kept."""


class Origin(Protocol):
    """Who hears what became of a batch."""

    def acknowledge(self, batch: Batch, answer: BatchAnswer) -> bool:
        """Tell the sender at once that the batch is on disk, if the agent's thread can; returns whether it did."""
        ...

    @property
    def awaits_reactor(self) -> bool:
        """Whether the reactor's thread must hear of a batch at once, though its sender was told. Any thread."""
        ...

    def committed(self, batch: Batch, answer: BatchAnswer, told: bool) -> None:
        """Hear that the batch is on disk; ``told`` is what `acknowledge` said. Called in the reactor's thread."""
        ...

    def not_stored(self, batch: Batch, reason: str) -> None:
        """Hear that the journal cannot store now, and that the batch isn't tried again (text clients only).

        Called in the reactor's thread.
        """
        ...


class Batch(NamedTuple):
    """Messages that came together from one sender. ``peer`` is None for a text client and for the agent itself."""

    entries: list[Entry]
    sender: str
    peer: Peer | None = None
    origin: Origin | None = None
    timer: int | None = None
    size: int = 0
    """Bytes of all payloads, for the bound of the mailbox."""
    clock_offset: float | None = 0.0
    """How far (seconds) the agent's monotonic clock is ahead of the sender's, at least; None when that is unknown."""
    clock_doubt: float = 0.0
    """How much farther (seconds) it may be ahead."""
    proved: bool = False
    """The sender has proved the observatory's key."""
    fleeting: bool = False
    """Nobody sends them again, and no journal keeps them."""
    after: int | None = None
    """The number before that of the first one, which its sender does not have any more."""

    def message(self, entry: Entry, now: float, time: float) -> Message:
        """One of its messages as a handler sees it; ``now`` and ``time`` are the agent's monotonic and wall clock."""
        by_wall = math.inf
        if entry.said is None or self.clock_offset is None:
            said = -math.inf
            if self.clock_offset is not None:
                by_wall = now - (time - entry.sent)
        elif (said := entry.said + self.clock_offset) > now:
            said = now
        return Message(
            entry.id, entry.name, self.sender, entry.sent, bytes(entry.payload), said, self.proved, self.clock_doubt,
            by_wall=by_wall,
        )  # fmt: skip


class BatchAnswer(NamedTuple):
    """What became of a batch: acknowledged up to ``last``; some refused; or a number is missing before it."""

    last: int
    refused: list[Refusal]
    ids: list[str]
    missing: int | None = None


class TurnOutcome(NamedTuple):
    """What a committed turn wants from the reactor's thread."""

    answers: list[tuple[Batch, BatchAnswer]]
    outgoing: list[Outgoing]
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]]
    stored: bool = True
    """Whether everything is in the journal; else it was a turn of fleeting messages, and the acknowledgements that were
    to be stored along still are."""
