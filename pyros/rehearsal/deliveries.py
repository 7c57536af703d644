"""No message lost, doubled or reordered: what every agent has committed, compared with what was committed for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pyros import messages
from pyros.config import BROKER
from pyros.journal import Effects


class _Sent(NamedTuple):
    """A message of an outbox."""

    id: str
    name: str


class Deliveries:
    """Fed with every commit. ``report(what, text)`` is told what must not be."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._sent: dict[tuple[str, str, str], list[_Sent]] = {}  # by sender, epoch and receiver
        self._taken: dict[tuple[str, str, str], int] = {}
        self.decided: set[str] = set()
        """The ivorns of the alerts about which something was decided."""
        self.refused = 0
        """How many messages their receivers have refused."""
        self.failed: list[str] = []
        """What handlers have failed at."""
        self.alarms: list[str] = []
        """The texts of the alarms that were raised."""
        self.names: dict[str, int] = {}
        """How many messages of each name were committed."""

    @property
    def messages(self) -> int:
        """How many messages were taken from other agents."""
        return sum(self._taken.values())

    def committed(self, who: str, epoch: str, effects: Effects) -> None:
        """Compare one commit with the commits of those who had sent what it took."""
        for out in effects.outgoing:
            sent = self._sent.setdefault((who, epoch, out.agent), [])
            if out.seq != len(sent) + 1:
                self._report("message", f"{who} numbers {out.name} to {out.agent} {out.seq} after {len(sent)}")
            sent.append(_Sent(out.id, out.name))
            self._hear(out.name, out.payload)
        for (sender, peer_epoch), last in effects.seen.items():
            if (sender, peer_epoch, who) in self._sent:
                self._compare(who, sender, peer_epoch, last, effects)
        for row in effects.received:
            if row.error is not None:
                self.failed.append(f"{who}: {row.name}: {row.error.rstrip().rpartition(chr(10))[2]}")
        self.refused += len(effects.refused)

    def _hear(self, name: str, payload: bytes) -> None:
        self.names[name] = self.names.get(name, 0) + 1
        if name == messages.ALERT_DECIDED:
            self.decided.add(messages.decode_payload(name, payload).alert)
        elif name == messages.ALARM:
            self.alarms.append(messages.decode_payload(name, payload).text)

    def _compare(self, who: str, sender: str, epoch: str, last: int, effects: Effects) -> None:
        key = (sender, epoch, who)
        sent, before = self._sent[key], self._taken.get(key, 0)
        if last > len(sent):
            self._report("message", f"{who} has taken message {last} of {sender}, which has committed {len(sent)}")
        numbered = {message.id for message in sent[before:last]}
        ids = [
            row.id
            for row in effects.received
            if row.sender == sender and (row.name not in messages.FLEETING or row.id in numbered)
        ]  # others come without numbers
        wanted = iter(message.id for message in sent[before:last])
        if not all(id_ in wanted for id_ in ids):
            self._report("message", f"{who} has taken {ids} of {sender}, not in the order of {sent[before:last]}")
        if last < before:
            self._report("message", f"{who} goes back from message {before} of {sender} to {last}")
        self._taken[key] = last

    def sent(self) -> dict[tuple[str, str, str], int]:
        """Return how many messages were sent, by sender, its journal and receiver."""
        return {key: len(sent) for key, sent in self._sent.items()}

    def missing(self, sent: dict[tuple[str, str, str], int]) -> list[str]:
        """Return in words what of ``sent`` was never taken: after a calm hour that is lost.

        The broker, which is no agent, takes what is published by its name, not by its number.
        """
        found = []
        for key, count in sent.items():
            (sender, _, receiver), taken = key, self._taken.get(key, 0)
            if taken < count and receiver != BROKER:
                first = self._sent[key][taken].name
                found.append(f"{receiver} has not taken {count - taken} of {sender}, the first is {first}")
        return found
