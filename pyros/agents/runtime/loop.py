"""The loop of an agent: what comes is put into a mailbox, taken through a turn, and what the turn wants is done.

In production the turns run in a thread of the agent's own, and what they want is done in the reactor's. In a rehearsal
(``threaded=False``) all of it runs inline, on a virtual reactor.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from msgspec import Raw
from twisted.python.failure import Failure

from pyros.agents.runtime.answers import Acknowledgements
from pyros.agents.runtime.batches import Batch, BatchAnswer, TurnOutcome
from pyros.agents.runtime.hosted import Hosted
from pyros.agents.runtime.turns import Turns
from pyros.backoff import Backoff
from pyros.clock import Clock, cancel_call
from pyros.config import Config
from pyros.errors import JournalError, PyrosError
from pyros.messages import FLEETING, PATIENT, Message
from pyros.reactor import Reactor
from pyros.sender.outbound import Outbound
from pyros.wire import Entry, Refusal

_TURN_MESSAGES = 4096
_MAX_MAILBOX = 1000  # beyond that the agent's own fleeting messages are dropped
_UNSTORED_SECONDS = 30.0  # so long the journal's state may lack what fleeting messages have changed
_LONGEST_WAIT = 5.0
_TOLD_SECONDS = 0.1  # so long the reactor's thread needn't hear of messages that are acknowledged
_RETRY_STORING = (1.0, 2.0, 4.0)  # seconds; until then no message begins a turn
_PRUNE_SECONDS = 60.0
_WAKE = Batch([], "")

STEPS = ("taken", "handled", "committed", "acknowledged", "sent", "command", "commanded")
"""The steps of a turn between which a process may die, in their order; the last two come around each command."""


def _may_wait(batch: Batch) -> float:
    """Return how long (seconds) a batch may wait for others before its turn begins."""
    if any(entry.name not in PATIENT for entry in batch.entries):  # the first of most batches
        return 0.0
    return min((PATIENT[entry.name] for entry in batch.entries), default=0.0)


def _awaits_reactor(answered: tuple[Batch, BatchAnswer], told: bool) -> bool:
    """Whether the reactor's thread must hear of a batch at once; ``told`` is what `Origin.acknowledge` has said."""
    origin = answered[0].origin
    return origin is not None and (not told or origin.awaits_reactor)


class TurnLoop:
    """Takes what comes for one agent through its turns. Its host makes it, and tells it to begin and to end."""

    turns: Turns
    outbound: Outbound

    def __init__(
        self,
        agent: Hosted,
        config: Config,
        reactor: Reactor,
        clock: Clock,
        *,
        threaded: bool,
        on_step: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_end`` is called in the reactor's thread when the last turn is over; for ``on_step`` see `Host`."""
        self.agent = agent
        self.config = config
        self.reactor = reactor
        self.clock = clock
        self.ready = threading.Event()
        """Set when work() has returned, or has failed: then `failure` is what it raised."""
        self.failure: BaseException | None = None
        """Why the agent could not begin or, when it has `worked`, could not go on."""
        self.worked = False
        self.closed = False
        """Whether everything is closed: what turns want is not done any more."""
        self.not_stored = False
        """The last turn could not be stored: the next attempt comes after a pause, also where only a timer was due."""
        self._heard = clock.monotonic()
        self._threaded = threaded
        self._on_step = on_step
        self._on_end = on_end
        self._mailbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._answers = Acknowledgements()
        self._told: deque[tuple[Batch, BatchAnswer]] = deque()
        """What is on disk and acknowledged, but not counted yet by the reactor's thread, which isn't woken for it."""
        self._stop_wanted = threading.Event()
        self._calls: dict[str, Any] = {}
        self._kept: list[Batch] = []
        self._unstored_due = math.inf
        """When the state must be stored that fleeting messages have changed, monotonic seconds."""
        self._journal_gone = False
        self._store_retry = Backoff(*_RETRY_STORING)
        self._store_pause = 0.0
        self._pruned = -math.inf
        self._timer_due = math.inf
        """When a rehearsal's turn comes though no message does, monotonic seconds."""

    def open(self, turns: Turns, outbound: Outbound) -> None:
        """Take what turns need; until then nothing leaves the mailbox."""
        self.turns, self.outbound = turns, outbound

    def start(self) -> None:
        """Begin a rehearsal's turns; in production the agent's thread calls `run`."""
        self.call("start", 0, self._inline_start)

    @property
    def ending(self) -> bool:
        """Whether no further turn begins."""
        return self._stop_wanted.is_set()

    def end(self) -> None:
        """Begin no further turn; shutdown() comes next: here in a rehearsal, and else in the agent's thread."""
        self._stop_wanted.set()
        if self._threaded:
            self._mailbox.put(None)
        else:
            self._shut_down()

    def close(self) -> None:
        """End, and do nothing more of what turns want: everything is being closed."""
        self.closed = True
        self._stop_wanted.set()
        for call in self._calls.values():
            cancel_call(call)

    def call(self, what: str, seconds: float, function: Callable[[], None]) -> None:
        """Call a function later, in the reactor's thread; of each kind a new call replaces the old."""
        cancel_call(self._calls.get(what))
        self._calls[what] = self.reactor.callLater(seconds, function)

    def post(self, name: str, json: bytes) -> None:
        """See `Host.post`."""
        fleeting = name in FLEETING
        if fleeting and self._mailbox.qsize() > _MAX_MAILBOX:
            return  # the agent is behind
        entry = Entry(0, f"self-{name}", name, self.clock.time(), Raw(json), self.clock.monotonic())
        self._put(Batch([entry], self.agent.name, proved=True, fleeting=fleeting))

    def receive(self, batch: Batch) -> None:
        """Take messages from the port: run their reflexes at once, then put them into the mailbox.

        Fleeting ones whose reflex was everything begin no turn.
        """
        self.count_told()
        last = self.last_seq(batch.peer) if batch.peer else 0
        done = batch.fleeting
        for entry in batch.entries:
            reflex = self.agent.reflexes.get(entry.name)
            if reflex is not None and not (batch.peer and entry.seq <= last):
                done &= self._reflex(reflex, batch, entry) and entry.name in self.agent.reflexes_alone
            else:
                done = False
        if not done:
            self._put(batch)
        elif batch.origin is not None:
            batch.origin.committed(batch, BatchAnswer(0, [], []), True)

    def _reflex(self, reflex: Callable[[Message], None], batch: Batch, entry: Entry) -> bool:
        """Run a reflex; False where it was not, or failed, and a turn must look at the message."""
        message = batch.message(entry, self.clock.monotonic(), self.clock.time())
        if not message.proved and self.turns.is_guarded(entry.name):
            return False  # its turn will refuse it
        try:
            message.check()
        except ValueError:
            return False  # its turn will refuse it
        try:
            reflex(message)
        except Exception:
            self.agent.log.failure("the reflex to {name} failed", name=entry.name)
            return False
        return True

    def _put(self, batch: Batch) -> None:
        self._mailbox.put(batch)
        if self._threaded or self.not_stored or self.closed:
            return
        pause = _may_wait(batch)
        if not self._turn_comes_within(pause):
            self.call("turn", pause, self._inline_turn)

    def _turn_comes_within(self, seconds: float) -> bool:
        """Whether a rehearsal's turn comes at this instant already, or so many seconds later."""
        call = self._calls.get("turn")
        return call is not None and call.active() and call.getTime() <= self.reactor.seconds() + seconds

    def last_seq(self, peer: tuple[str, str]) -> int:
        """Return the number of the last message that was taken from an agent's journal."""
        return self.turns.journal.seen.get(peer, 0)

    def answered(self, agent: str, seq: int, refusals: list[Refusal]) -> None:
        """From a link: to be stored with the next turn that is committed, or soon."""
        if self.closed:
            return  # the next welcome tells it again
        now = self.clock.monotonic()
        if self._answers.add(agent, seq, refusals, now):
            if not self._threaded:
                self.call("answers", self._answers.due - now, self._inline_turn)
            elif refusals:
                self._mailbox.put(_WAKE)

    def confirmed(self, agent: str, last: int) -> None:
        """From a link: to be stored at once."""
        if self.closed:
            return
        self._answers.confirm(agent, last, self.clock.monotonic())
        if self._threaded:
            self._mailbox.put(_WAKE)
        else:
            self.call("answers", 0, self._inline_turn)

    def still_waiting(self) -> dict[str, int]:
        """Return how many messages wait for each agent."""
        return self._answers.still_waiting(self.turns.journal.waiting, self.turns.journal.destinations)

    def _carry_out(self, outcome: TurnOutcome, told: list[bool]) -> None:
        """After the commit: acknowledge, send, command."""
        self.count_told()
        for (batch, answer), was_told in zip(outcome.answers, told, strict=True):
            if batch.origin is not None:
                batch.origin.committed(batch, answer, was_told)
        if self.closed:
            return
        self._on_step("acknowledged")
        if outcome.outgoing:
            self.outbound.post(outcome.outgoing)
        self._on_step("sent")
        for function, args in outcome.calls:
            self._on_step("command")
            try:
                function(*args)
            except Exception:  # the turn is committed; the next call may be the one that closes
                self.agent.log.failure("{name} could not do what a handler wanted", name=self.agent.name)
            self._on_step("commanded")

    def count_told(self) -> None:
        """Let the port count what was acknowledged by the agent's thread. In the reactor's thread."""
        while self._told:
            batch, answer = self._told.popleft()
            if batch.origin is not None:
                batch.origin.committed(batch, answer, True)

    def heard_of_thread(self) -> float:
        """When the agent's thread last passed between two turns (monotonic seconds): it doesn't hang since then.

        Asks it to pass again. A beat that is to stop with the agent's turns depends on it.
        """
        if not self._threaded:
            return self.clock.monotonic()
        self._mailbox.put(_WAKE)
        return self._heard

    def look_at_journal(self) -> None:
        """End the agent by its next turn when its journal's file is gone."""
        if self.turns.journal.is_gone() and not self._journal_gone:
            self._journal_gone = True
            self._mailbox.put(_WAKE)

    # The agent's side --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take turns until the agent ends: the agent's thread."""
        try:
            if self._work():
                while not self.ending and not self.agent.ending:
                    self._heard = self.clock.monotonic()
                    self._take_turn(*self._gather())
                    if self.not_stored:
                        self._stop_wanted.wait(self._store_pause)
                self._shut_down()
        except BaseException as error:
            self._cannot_go_on(error)
        finally:
            self.ready.set()

    def _cannot_go_on(self, error: BaseException) -> None:
        """Something happened that is no message's fault; the process ends with a code that says so."""
        self.failure = error
        self.agent.log.failure(
            "{name} cannot go on and ends; its journal keeps what waits until it is started again",
            Failure(error),
            name=self.agent.name,
        )

    def _inline_start(self) -> None:
        if self._work():
            self._inline_turn()
        else:
            self._on_end()

    def _inline_turn(self) -> None:
        """One turn of a rehearsal."""
        if self.closed or not self.ready.is_set():
            return
        batches = []
        while not self._mailbox.empty():
            batches.append(self._mailbox.get())
        self._take_turn([batch for batch in batches if batch is not None], idle=True)
        if self.agent.ending:
            self._shut_down()
            self._on_end()
        elif self.not_stored:
            self.call("turn", self._store_pause, self._inline_turn)
        elif (due := self._next_due()) < math.inf and not (due == self._timer_due and self._calls["timer"].active()):
            self._timer_due = due
            self.call("timer", max(0.0, due - self.clock.monotonic()), self._inline_turn)

    def _work(self) -> bool:
        try:
            self._tell(self.turns.begin())
        except BaseException as error:
            self.failure = error
            if isinstance(error, PyrosError):  # its words are enough
                self.agent.log.critical("{error}", error=error)
            else:
                self.agent.log.failure(
                    "{name} cannot begin, for its work() failed: mend it and start the agent again",
                    name=self.agent.name,
                )
            return False
        finally:
            self.ready.set()
        self.worked = True
        return True

    def _shut_down(self) -> None:
        try:
            self._tell(self.turns.run_hook(self.agent.shutdown, self._answers.take()[0]))
        except BaseException:
            self.agent.log.failure("shutdown() of {name} failed", name=self.agent.name)

    def _gather(self) -> tuple[list[Batch], bool]:
        """Wait for the mailbox or a timer: what is there now, up to the size of a turn; True when nothing came.

        Where nothing but reports came that can wait, more is waited for.
        """
        batches: list[Batch] = []
        count = 0
        try:
            batch = self._mailbox.get(timeout=self._patience())
        except Empty:
            if self._told:
                self.reactor.callFromThread(self.count_told)
            return batches, True
        until = self._next_due()
        while True:
            if batch is None or not batch.entries:  # the end, or something that doesn't wait
                until = 0.0
            else:
                batches.append(batch)
                count += len(batch.entries)
                until = min(until, self.clock.monotonic() + _may_wait(batch))
            if count >= _TURN_MESSAGES:
                return batches, False
            left = until - self.clock.monotonic()
            try:
                batch = self._mailbox.get(timeout=left) if left > 0 else self._mailbox.get_nowait()
            except Empty:
                return batches, False

    def _patience(self) -> float:
        if self.not_stored:
            return 0.0
        longest = _TOLD_SECONDS if self._told else _LONGEST_WAIT
        return min(longest, max(0.0, self._next_due() - self.clock.monotonic()))

    def _next_due(self) -> float:
        """When there is something to do though no message comes (monotonic seconds): a timer, or something to store."""
        timer = self.turns.next_due()
        return min(math.inf if timer is None else timer, self._unstored_due, self._answers.due)

    def _take_turn(self, batches: list[Batch], idle: bool) -> None:
        """Run a turn if there is anything to do. What the journal could not store is kept for the next one.

        Raises JournalError when the journal's file is gone: what is stored now would be lost at the end.
        """
        if self._journal_gone:
            journal = self.turns.journal
            saved = journal.save()
            raise JournalError(
                f"{journal.path}: the journal was removed, or another file put in its place, while the agent used"
                f" it; all that it knows is kept in {saved}"
            )
        batches = self._kept + self.turns.due_timers() + batches
        self._kept = []
        hurry = min(self._unstored_due, self._answers.due) <= self.clock.monotonic() or self.not_stored
        if not batches and not hurry:
            if idle and self.clock.monotonic() - self._pruned > _PRUNE_SECONDS:
                self._prune()
            return
        answers, due = self._answers.take()
        self._on_step("taken")
        try:
            outcome = self.turns.run(batches, answers, hurry=hurry)
        except JournalError as error:
            self.not_stored = True
            self._store_pause = self._store_retry.next_pause()
            self.agent.log.error("{error}", error=error)
            self._answers.put_back(answers, due)
            for batch in batches:
                if batch.timer is None:
                    self._keep(batch, str(error))
        else:
            self.not_stored = False
            self._store_retry.reset()
            if not outcome.stored:
                self._answers.put_back(answers, due)
            if not self.turns.unstored:
                self._unstored_due = math.inf
            elif self._unstored_due == math.inf:
                self._unstored_due = self.clock.monotonic() + _UNSTORED_SECONDS
            self._on_step("committed")
            self._tell(outcome)
            if self.clock.monotonic() - self._pruned > _PRUNE_SECONDS:
                self._prune()

    def _keep(self, batch: Batch, reason: str) -> None:
        """Keep what the journal could not store for the next turn; what is fleeting is dropped."""
        if batch.fleeting and batch.origin is None:
            return
        if batch.origin is None or batch.peer is not None:
            self._kept.append(batch)
        else:
            self._tell_origin(batch, reason)

    def _prune(self) -> None:
        """Forget a chunk of what is old or too much; the next turn goes on where there is more."""
        self._pruned = self.clock.monotonic()
        before = set(+self.turns.journal.forgotten)
        try:
            if self.turns.journal.prune(self.clock.time(), self.config.agents):
                self._pruned = -math.inf
        except JournalError as error:
            self.agent.log.error("{error}", error=error)
        for what in set(+self.turns.journal.forgotten) - before:  # said once; the status counts
            self.agent.log.warn("{name} has too many {what}: the oldest are forgotten", name=self.agent.name, what=what)

    def _tell(self, outcome: TurnOutcome) -> None:
        """Acknowledge a turn, and have the reactor's thread do the rest.

        Where nothing is left but to count, it isn't woken: the next message or, after a while, `_gather` does that.
        """
        told = [
            batch.origin is not None and batch.origin.acknowledge(batch, answer) for batch, answer in outcome.answers
        ]
        if not self._threaded:
            self._carry_out(outcome, told)
        elif outcome.outgoing or outcome.calls or any(map(_awaits_reactor, outcome.answers, told)):
            self.reactor.callFromThread(self._carry_out, outcome, told)
        else:
            self._told.extend(outcome.answers)

    def _tell_origin(self, batch: Batch, reason: str) -> None:
        assert batch.origin is not None
        if self._threaded:
            self.reactor.callFromThread(batch.origin.not_stored, batch, reason)
        else:
            batch.origin.not_stored(batch, reason)
