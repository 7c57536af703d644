"""The two lanes between two agents: what is bulk has a connection and numbers of its own, so that it holds nothing up.

In outboxes the lane of an agent's bulk has the agent's name with an ending, and so has the journal that it greets with:
to the receiver that is another series of numbers of the same sender.
"""

from __future__ import annotations

_BULK = "/bulk"  # a slash is in no agent's name, and in no journal's


def bulk_lane(name: str) -> str:
    """Return what stands for the bulk lane of an agent, or of a journal."""
    return name + _BULK


def is_bulk(lane: str) -> bool:
    """Return whether this is a bulk lane."""
    return lane.endswith(_BULK)


def main_lane(lane: str) -> str:
    """Return the agent, or the journal, of a lane."""
    return lane.removesuffix(_BULK)
