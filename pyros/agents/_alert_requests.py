"""One observation for what is one: which of the events that coincide asks for it, and what the scheduler is told.

Each event keeps what the rules want observed of it (``asked``), and at most one of a group of events that coincide has
an observation at the scheduler. That goes on at the most precise position of those that still ask, whichever came
first; it ends when none of them asks any more. Plain functions on the events of one handler.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pyros import messages
from pyros.alerts import identity
from pyros.alerts.events import StoredEvent
from pyros.alerts.rules.decisions import RequestChange
from pyros.messages import Observation, Withdrawal


class RequestNotice(NamedTuple):
    """What the scheduler is told of one observation."""

    change: RequestChange
    message: str
    payload: Observation | Withdrawal

    @property
    def observation(self) -> str:
        """The observation's id."""
        return self.payload.id if isinstance(self.payload, Observation) else self.payload.observation


def settle(group: Iterable[StoredEvent], reason: str) -> list[RequestNotice]:
    """Give a group of events that coincide one observation; changes the events, and returns what to tell.

    ``reason`` says why an observation is taken back that nobody asks for any more.
    """
    members = sorted(group, key=lambda each: each.number or math.inf)
    asking = [each for each in members if each.followed.asked is not None]
    holders = [each for each in members if each.followed.observation is not None]
    if not asking:
        return [_withdraw(each, reason) for each in holders]
    best = min(asking, key=lambda each: (_radius(each), each.number or math.inf))
    holder = holders[0] if holders else best
    requests = [_withdraw(each, f"{each.name} coincides with {holder.name}: one observation") for each in holders[1:]]
    wanted = _as_of(best, holder)
    known = holder.followed.observation
    holder.followed.observation = wanted
    if known is None:
        requests.append(RequestNotice("requested", messages.OBSERVATION_REQUESTED, wanted))
    elif known != wanted:
        requests.append(RequestNotice("changed", messages.OBSERVATION_REQUEST_CHANGED, wanted))
    return requests


def observation_id(event: str, number: int) -> str:
    """``obs-swift-1234``; an event that is observed anew after a retraction counts on: ``obs-lvc-S1a-2``."""
    words = re.sub(r"[^A-Za-z0-9.+-]+", "-", event).strip("-")[:80]
    return f"obs-{words}" if number == 1 else f"obs-{words}-{number}"


def _as_of(best: StoredEvent, holder: StoredEvent) -> Observation:
    """Return what the best of them asks for, as the observation that there is."""
    asked, known = best.followed.asked, holder.followed.observation
    assert asked is not None, "only of those that ask"
    if best is holder:
        return asked
    assert known is not None, "whoever asks best holds where nobody does"
    reason = f"{asked.reason}; {best.name} coincides with {holder.name}"
    return msgspec.structs.replace(asked, id=known.id, target=known.target, event=known.event, reason=reason)


def _withdraw(stored: StoredEvent, reason: str) -> RequestNotice:
    followed = stored.followed
    assert followed.observation is not None, "only what has one"
    withdrawal = Withdrawal(observation=followed.observation.id, reason=reason)
    followed.observation = None
    if followed.asked is not None:  # it may be asked for once more, by another name
        followed.requests += 1
        id_ = observation_id(stored.name, followed.requests)
        followed.asked = msgspec.structs.replace(followed.asked, id=id_)
    return RequestNotice("withdrawn", messages.OBSERVATION_REQUEST_WITHDRAWN, withdrawal)


def _radius(stored: StoredEvent) -> float:
    best = identity.believe(stored.followed.event).best
    return math.inf if best is None else best.radius
