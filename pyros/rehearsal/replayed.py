"""One agent that takes again what it took in a night of the past, with today's code.

It begins with the state, and the tables of its own, that its journal has kept of the day's beginning, and begins anew
where it did so then. Nothing that it sends leaves it, no device, worker or other agent is there: what they answered
then stands among the recorded messages. Its journal is of Python objects; the recorded one is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from pyros.agents import Agent
from pyros.agents.runtime.batches import Batch
from pyros.agents.runtime.turns import Turns
from pyros.alerts import past_events
from pyros.clock import VirtualClock
from pyros.config import Config, StandardAgents
from pyros.errors import JournalError
from pyros.hold import Hold, Holds
from pyros.journal import AnyReader, Effects, JournalReader, MemoryJournal, MemoryJournals, Outgoing, Received, past
from pyros.journal.past import DayBegun
from pyros.messages import encode_payload
from pyros.observatory import load_agent
from pyros.rehearsal.reactor import MemoryReactor
from pyros.wire import Entry

MAX_MESSAGES = 200_000
"""Messages of one agent that are replayed at most."""
START = "start"
"""What a turn is called in which the agent began."""

_TABLES: dict[str, Callable[[JournalReader, int], Any]] = {StandardAgents.ALERT_MANAGER: past_events.as_of}
"""By agents that decide by tables of their own: what fills them as they were when a day began."""


class ReplayedTurn(NamedTuple):
    """A message that was taken again, and what came of it."""

    taken: float
    """When it was taken then, Unix seconds."""
    name: str
    """The message's name, or `START`."""
    sender: str
    """Who had sent it."""
    outgoing: list[Outgoing]
    """What the agent sends, now."""
    then: str
    """Why its handler failed then; '' where it didn't."""
    now: str
    """Why its handler fails now, or the message is refused; '' where it isn't."""


class ReplayedAgent:
    """An agent of the past, and its host; for one thread."""

    hold_seen: Hold | None = None

    def __init__(self, config: Config, name: str, journal: JournalReader, scratch: Path) -> None:
        """Take the journal that the agent has left, and an empty folder for what it may want to write.

        Raises ConfigError, UnknownAgent or AgentError where the configuration has no such agent.
        """
        self.config, self.name, self.recorded = config, name, journal
        self.section = config.agent(name)
        self._reactor = MemoryReactor()
        self.clock = VirtualClock(self._reactor, datetime.fromtimestamp(0, UTC))
        self.holds = Holds(scratch, self.clock)
        self._path = scratch / "journal"
        self._journals = MemoryJournals()
        self._journal: MemoryJournal
        self.turns: Turns

    def run(self, begin: float, end: float) -> Iterator[ReplayedTurn]:
        """Take again what was taken from the beginning of ``begin``'s day, or later, until ``end``, both Unix seconds.

        Raises JournalError where the journal doesn't reach back so far or cannot be read, StateError where the state
        of then doesn't fit the agent's any more, or what the agent's ``work`` raises.
        """
        day = self._day(begin, end)
        messages = self._messages(day, end)
        starts = [each for each in past.starts(self.recorded, day.number) if day.day <= past.day_of(each.at)]
        moments = [each.at for each in starts[:1]] + [each.taken for _, each in messages[:1]]
        self._go_to(min(moments, default=begin))
        self._open(day)
        if not starts or starts[0].number > day.number:
            self._begin_day(day)
        for number, message in messages:
            while starts and starts[0].number < number:
                yield self._start_again(starts.pop(0).at)
            yield self._take(_renumbered(message, day.number))
        for start in starts:
            if start.at <= end:
                yield self._start_again(start.at)

    def reader(self) -> AnyReader:
        """Return a view of the journal that is written now."""
        return self._journal.reader()

    # What the agent asks of its host -----------------------------------------------------------------------------

    def raise_alarm(self, key: str, text: str) -> None:
        """Tell nobody: the night is over."""

    def end_alarm(self, key: str) -> None:
        """Tell nobody."""

    def post(self, name: str, payload: bytes) -> None:
        """Drop it: what the agent said to itself then is among the recorded messages."""

    def at_once(self, function: Any, args: tuple[Any, ...]) -> None:
        """Do nothing: no device is there."""

    def stop(self) -> None:
        """Go on: the start after this end is recorded."""

    # The day's beginning -----------------------------------------------------------------------------------------

    def _day(self, begin: float, end: float) -> DayBegun:
        """Return the last day's beginning before ``begin``, else the first one in which the agent ran."""
        kept = past.days(self.recorded)
        before = [each for each in kept if each.day <= past.day_of(begin)]
        after = [each for each in kept if past.day_of(begin) < each.day <= past.day_of(end)]
        day = before[-1] if before else after[0] if after else None
        if day is None or (not before and day.number > 0):
            since = f"; it has kept that since {_date(kept[0].day)}" if kept else ": it is of an earlier PYROS"
            raise JournalError(f"{self.recorded.path}: doesn't tell how {self.name} was when that night began{since}")
        return day._replace(state=past.state(self.recorded, day.day))

    def _messages(self, day: DayBegun, end: float) -> list[tuple[int, Received]]:
        taken = self.recorded.taken_between(day.day * past.DAY_SECONDS, end, MAX_MESSAGES)
        messages = [row for row in taken if row[0] > day.number]
        if messages and messages[0][0] > day.number + 1:
            raise JournalError(
                f"{self.recorded.path}: the messages from number {day.number + 1} on that {self.name} took that day"
                " are not kept any more"
            )
        return messages

    def _open(self, day: DayBegun) -> None:
        """Make a journal with the state, and the tables of the agent's own, as they were then."""
        schema = past.SCHEMA + load_agent(self.config, self.name).schema
        self._journal = self._journals.open(self._path, schema=schema)
        effects = Effects()
        effects.state = day.state
        if self.name in _TABLES:
            effects.also = [_TABLES[self.name](self.recorded, day.day)]
        self._journal.commit(effects)

    def _begin_day(self, day: DayBegun) -> None:
        """Put an agent that ran already into the state of then: what it does when it begins here counts for nothing."""
        agent = load_agent(self.config, self.name)
        self._start(agent)
        effects = Effects()
        effects.state = day.state
        self._journal.commit(effects)
        self.turns = Turns(agent, self._journal, self.clock)

    def _start(self, agent: Any) -> list[Outgoing]:
        agent.settle(self)
        agent.attach(self._reactor)
        self.turns = Turns(agent, self._journal, self.clock)
        return self.turns.begin().outgoing

    # Turns -------------------------------------------------------------------------------------------------------

    def _go_to(self, when: float) -> None:
        """Let time pass until ``when``, or set the clock back, as it was then."""
        ahead = when - self.clock.time()
        if ahead > 0:
            self._reactor.run_until(self._reactor.seconds() + ahead)
        else:
            self.clock.step(ahead)

    def _start_again(self, when: float) -> ReplayedTurn:
        self._go_to(when)
        outgoing = self._start(load_agent(self.config, self.name))
        return ReplayedTurn(when, START, self.name, outgoing, "", "")

    def _take(self, message: Received) -> ReplayedTurn:
        self._go_to(message.taken)
        entry = Entry(0, message.id, message.name, message.sent, Raw(message.payload), self.clock.monotonic())
        outcome = self.turns.run([Batch([entry], message.sender, proved=True)], Effects())
        refused = [each.reason for _, answer in outcome.answers for each in answer.refused]
        failed = self._journal.failed_message(self._journal.received_number) if not refused else None
        now = f"refused: {refused[0]}" if refused else _last_line(failed.error) if failed is not None else ""
        return ReplayedTurn(
            message.taken, message.name, message.sender, outcome.outgoing, _last_line(message.error), now
        )


def _renumbered(message: Received, before: int) -> Received:
    """Return a message as it has to be in a journal whose first message had the number after ``before``."""
    if message.name != Agent.RETRY_FAILED:
        return message
    number = msgspec.json.decode(message.payload)["number"] - before
    return replace(message, payload=encode_payload(message.name, {"number": number}))


def _last_line(error: str | None) -> str:
    return (error or "").rstrip().rpartition("\n")[2]


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * past.DAY_SECONDS, UTC):%Y-%m-%d}"
