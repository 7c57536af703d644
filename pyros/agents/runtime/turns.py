"""Turns: take messages, run their handlers, commit everything at once, and only then tell the world.

`Turns` knows no socket and no thread: a host gives it batches and carries out what it returns. It runs in the agent's
thread.

A turn of nothing but fleeting messages is committed when it has an effect that a restart needs: it took or sent a
message that isn't fleeting, set or cancelled such a timer, gave a command, wrote a row, or failed. Otherwise what it
changed in the state waits for the next commit. Each commit stores the state as a whole, so that what a crash loses is
always the end: the fleeting turns since the last commit, as if their messages had been dropped (decision 0065).
"""

from __future__ import annotations

import heapq
import math
import sqlite3
import threading
import traceback
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import msgspec

from pyros.agents.runtime.batches import Batch, BatchAnswer, NotTaken, TurnOutcome
from pyros.agents.runtime.hosted import Hosted
from pyros.clock import Clock
from pyros.errors import AgentError, JournalError, StateError, WriteFailed
from pyros.journal import AnyJournal, Effects, Outgoing, Received, StoredTimer, past
from pyros.messages import BULK, FLEETING, GUARDED, Message, encode_payload, unproved
from pyros.prepared import prepared
from pyros.printable import printable
from pyros.sender import outbox_of_this_thread
from pyros.sender.lanes import bulk_lane, main_lane
from pyros.wire import MAX_FRAME, Entry, Refusal, valid_name

_TRACEBACK_LIMIT = 16_000
_state_encoder = msgspec.json.Encoder()
_REASON_LIMIT = 300


def no_step(_: str) -> None:
    """Pass a named step of a turn: nobody waits for it."""


class _Blamed(Exception):
    """The message was found to blame for a commit that failed."""


class _SentMessage(NamedTuple):
    """A message that a handler sends."""

    agent: str
    name: str
    json: bytes
    sent: float
    said: float
    fleeting: bool


class Turns:
    """One agent's turns, its state and its timers."""

    def __init__(
        self, agent: Hosted, journal: AnyJournal, clock: Clock, on_step: Callable[[str], None] = no_step
    ) -> None:
        """Take the stored state; raises StateError when it does not fit the agent's state type.

        ``on_step`` is called with ``handled`` before each commit.
        """
        self._agent = agent
        self._on_step = on_step
        self.journal = journal
        self._clock = clock
        self._state_type = agent.state_type()
        self._decode_state = msgspec.json.Decoder(prepared(self._state_type)).decode
        self._state_bytes = self._settled = journal.state
        """The state after the last handler, and after the last turn: newer than the journal's after a fleeting one."""
        self.without_fleeting: Container[str] = ()
        """Agents to whom fleeting messages must be sent like all others."""
        self.with_lanes: Container[str] = ()
        """Agents to whom bulk is sent on a lane of its own."""
        self.taken = 0
        self.refused = 0
        # The wall clock has bridged the restart; from here on the monotonic one counts.
        begun = clock.monotonic() - clock.time()
        self._timers = {
            timer.number: timer._replace(steady=timer.due + begun)
            for timer in journal.timers
            if timer.name not in FLEETING
        }
        # An older PYROS kept these; work() sets them again.
        self._former_timers = [timer.number for timer in journal.timers if timer.name in FLEETING]
        self._due = [(timer.steady, timer.number) for timer in self._timers.values()]
        heapq.heapify(self._due)
        self._timer_number = journal.timer_number
        self._message_number = sum(journal.destinations.values())
        self._fleeting_prefix = f"{journal.epoch[:8]}-{clock.time():.3f}"
        self._fleeting_number = 0
        self._fleeting_timers = 0
        self._fleeting_set: list[StoredTimer] = []
        self._fleeting_gone: list[int] = []
        self._unheard: set[str] = set()  # names of fleeting messages whose refusal was logged
        self._effects: Effects | None = None
        self._out: list[_SentMessage] = []
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._marks: list[tuple[list[Any], int]] | None = None
        self._durable = 0
        """How many effects the turn has so far that a restart needs, beside the state."""
        self._handling: tuple[str, float] | None = None
        self._entry = 0  # the identity of the message that is being handled; 0 for work() and shutdown()
        self._writers: list[int] = []  # by whom the further writes are wanted
        self._blamed: dict[int, str] = {}  # messages that must not be handled, and why
        self._careful = False
        self._day = -1
        """Whose beginning the journal has, see `past`."""
        self._put_back_state()

    @property
    def failed(self) -> int:
        """How many failed messages are kept."""
        return self.journal.failed

    def handling(self) -> dict[str, Any] | None:
        """Tell what the agent's thread does: the message and for how many seconds; None between turns. Any thread."""
        handling = self._handling
        if handling is None:
            return None
        return {"message": handling[0], "seconds": max(0.0, self._clock.monotonic() - handling[1])}

    # What a handler may do ---------------------------------------------------------------------------------------

    @property
    def unstored(self) -> bool:
        """Whether the journal doesn't have the state yet that fleeting messages have changed."""
        return self._settled != self.journal.state

    def send(self, agent: str, name: str, payload: Any, durable: bool = False) -> None:
        self._inside()
        json, clock = _encode(name, payload), self._clock
        for receiver in self._agent.config.receivers(agent):
            fleeting = name in FLEETING and not durable and receiver not in self.without_fleeting
            self._durable += not fleeting
            lane = bulk_lane(receiver) if name in BULK and receiver in self.with_lanes else receiver
            self._out.append(_SentMessage(lane, name, json, clock.time(), clock.monotonic(), fleeting))

    def set_timer(self, seconds: float, name: str, payload: Any) -> int:
        effects = self._inside()
        if not math.isfinite(seconds):
            raise ValueError(f"a timer of {seconds} seconds never fires")
        json = _encode(name, payload)
        due, steady = self._clock.time() + seconds, self._clock.monotonic() + seconds
        if name in FLEETING:
            self._fleeting_timers += 1
            timer = StoredTimer(-self._fleeting_timers, due, name, json, steady)
            self._fleeting_set.append(timer)
            return timer.number
        self._durable += 1
        self._timer_number += 1
        timer = StoredTimer(self._timer_number, due, name, json, steady)
        effects.timers_set.append(timer)
        return timer.number

    def cancel_timer(self, number: int) -> None:
        effects = self._inside()
        self._durable += number >= 0
        (self._fleeting_gone if number < 0 else effects.timers_gone).append(number)

    def after_commit(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._inside()
        self._durable += 1
        self._calls.append((function, args))

    def also(self, write: Callable[[sqlite3.Connection], None]) -> None:
        self._inside().also.append(write)
        self._durable += 1
        self._writers.append(self._entry)

    @property
    def writes(self) -> Sequence[Callable[[sqlite3.Connection], None]]:
        """The further writes of the turn that runs, in order, without those of handlers that raised."""
        if self._effects is None:
            self._inside()  # which says why not
        return self._effects.also if self._effects is not None else ()

    def retry(self, number: int) -> None:
        """Handle a failed message again, as part of the turn that runs."""
        effects = self._inside()
        kept = self.journal.failed_message(number)
        if kept is None or (None, number) in effects.retried:
            raise NotTaken(f"no failed message has number {number}")
        # Who wants it handled again has proved the key, and so had its sender when it was taken.
        message = Message(kept.id, kept.name, kept.sender, kept.sent, bytes(kept.payload), proved=True)
        reason, error = self._attempt(message, effects)
        if reason is not None:
            raise NotTaken(reason)
        effects.retried.append((error, number))
        self._durable += 1
        self._marks = None

    def _inside(self) -> Effects:
        if self._effects is None:
            raise AgentError(
                "send_to, call_later and commands belong in a handler, work() or shutdown(), in the agent's own"
                " thread; elsewhere use Sender.send_to"
            )
        self._marks = None  # most handlers only change the state: for those, nothing has to be marked again
        return self._effects

    # The turn ----------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When the next timer is due (monotonic seconds), or None."""
        while self._due and self._due[0][1] not in self._timers:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def due_timers(self) -> list[Batch]:
        """Return the timers that are due, as messages from the agent to itself."""
        now = self._clock.monotonic()
        batches = []
        while (due := self.next_due()) is not None and due <= now:
            timer = self._timers[heapq.heappop(self._due)[1]]
            raw = msgspec.Raw(timer.payload or b"{}")
            entry = Entry(0, f"timer-{timer.number}", timer.name, timer.due, raw, due)
            batch = Batch([entry], self._agent.name, timer=timer.number, proved=True, fleeting=timer.number < 0)
            batches.append(batch)
        return batches

    def run(self, batches: list[Batch], effects: Effects, *, hurry: bool = True) -> TurnOutcome:
        """Run the handlers of all messages and commit.

        ``effects`` may bring acknowledgements to store along. Without ``hurry`` a turn of fleeting messages
        that have no other effect than on the state isn't committed.

        Raises JournalError when the disk refuses the commit: then nothing has happened, and the same batches may be run
        again. When a message is to blame, by a further write that raises or a state that cannot be read back,
        everything is run again without that message, which is kept as failed.
        """
        blamed: dict[int, str] = {}
        self._blamed, self._careful = blamed, False
        while True:
            tried = Effects()  # a turn adds nothing to what came along
            tried.acknowledged, tried.refused, tried.confirmed = (
                effects.acknowledged, effects.refused, effects.confirmed
            )  # fmt: skip
            try:
                return self._run(batches, tried, hurry)
            except WriteFailed as error:
                owner = self._writers[error.place]
                if owner in blamed:
                    raise
                blamed[owner] = _traceback(error.__cause__ or error)
            except JournalError:
                raise
            except Exception as error:
                if not self._careful:  # whose state is it that cannot be read back?
                    self._careful = True
                elif len(blamed) < sum(len(batch.entries) for batch in batches):
                    text = _traceback(error)
                    blamed.update({id(entry): text for batch in batches for entry in batch.entries})
                else:
                    raise

    def _run(self, batches: list[Batch], effects: Effects, hurry: bool) -> TurnOutcome:
        self._begin(effects)
        try:
            answers = [(batch, self._run_batch(batch, effects)) for batch in batches]
            return self._commit(effects, answers, hurry)
        except BaseException:
            self._undo(batches)
            raise
        finally:
            self._end()

    def begin(self) -> TurnOutcome:
        """Run the agent's ``begin`` as its first turn, and note in the journal that it has started; see `run_hook`."""
        effects = Effects()
        effects.also.append(past.keep_start(past.AgentStart(self.journal.received_number, self._clock.time())))
        return self.run_hook(self._agent.begin, effects)

    def run_hook(self, hook: Callable[[], object], effects: Effects | None = None) -> TurnOutcome:
        """``begin`` or ``shutdown`` as a turn of its own; whatever it raises undoes it and is raised.

        ``effects`` may bring acknowledgements to store along.
        """
        effects = Effects() if effects is None else effects
        effects.timers_gone += self._former_timers
        self._former_timers = []
        self._begin(effects)
        try:
            self._handling = (f"{hook.__name__}()", self._clock.monotonic())
            hook()
            self._save_state()
            return self._commit(effects, [], hurry=True)
        except BaseException:
            self._undo([])
            raise
        finally:
            self._end()

    def _begin(self, effects: Effects) -> None:
        self._effects = effects
        self._out, self._calls, self._writers = [], [], [0] * len(effects.also)
        self._fleeting_set, self._fleeting_gone = [], []
        self._marks, self._durable, self._entry = None, 0, 0
        outbox_of_this_thread.send, outbox_of_this_thread.config = self.send, self._agent.config

    def _end(self) -> None:
        self._effects = self._handling = None
        outbox_of_this_thread.send = outbox_of_this_thread.config = None

    def _run_batch(self, batch: Batch, effects: Effects) -> BatchAnswer:
        peer, sender = batch.peer, batch.sender
        last = effects.seen.get(peer, self.journal.seen.get(peer)) if peer else None
        refused: list[Refusal] = []
        ids: list[str] = []
        missing: int | None = None
        if peer is not None and last is None:
            self._look_for_older_journal(*peer)
        taken = self._clock.time()
        if batch.timer is not None and batch.timer in (self._fleeting_gone if batch.fleeting else effects.timers_gone):
            return BatchAnswer(0, refused, ids)  # a handler of this turn has cancelled it
        for entry in batch.entries:
            if peer is not None:
                if last is not None and entry.seq <= last:
                    continue  # it came again over a new connection
                if entry.seq - 1 != last and (missing := self._first_missing(batch, entry.seq, last)) is not None:
                    break
                last = entry.seq
            now = self._clock.monotonic()
            message = batch.message(entry, now, taken)
            self._handling = (entry.name, now)
            self._entry = id(entry)
            before = self._durable
            reason, error = self._attempt(message, effects)
            if batch.fleeting:
                if reason is not None:
                    self._tell_unheard(message, reason)
                elif error is None and self._durable == before:
                    ids.append(entry.id)
                    continue  # no journal keeps it
            if reason is not None:
                refused.append(Refusal(entry.seq, reason))
                continue
            ids.append(entry.id)
            effects.received.append(Received(entry.id, entry.name, sender, entry.sent, taken, message.json, error))
        if peer is not None and last is not None:
            effects.seen[peer] = last
            effects.seen_at = taken
        if batch.timer is not None:
            (self._fleeting_gone if batch.fleeting else effects.timers_gone).append(batch.timer)
            self._durable += not batch.fleeting
            self._marks = None
        return BatchAnswer(last or 0, refused, ids, missing)

    def _first_missing(self, batch: Batch, seq: int, last: int | None) -> int | None:
        """Return the number that is missing before ``seq``, where ``last`` was taken last; None for none.

        Numbers that the sender itself has forgotten were taken once: that this journal doesn't know them is told, and
        they aren't waited for.
        """
        if batch.after is None or batch.after <= (last or 0) or seq != batch.after + 1:
            return last + 1 if last is not None and seq > last + 1 else None
        text = (
            f"the messages {(last or 0) + 1} to {batch.after} of {batch.sender} were taken once, and this journal"
            " doesn't know them: it is new, or an old copy was put in its place; what they have changed here is"
            " lost"
        )
        self._tell_of_agent(batch.sender, "messages forgotten", text)
        return None

    def _tell_of_agent(self, sender: str, key: str, text: str) -> None:
        """Raise an alarm about an agent after the commit; of other senders the log is told."""
        if sender in self._agent.config.agents:
            self._calls.append((self._agent.alarm, (f"{key}: {sender}", text)))
            self._durable += 1
            self._marks = None
        else:
            self._agent.log.error("{text}", text=text)

    def _look_for_older_journal(self, sender: str, epoch: str) -> None:
        """Tell after the commit that an agent whose messages were taken before comes with another journal."""
        journals = {main_lane(epoch) for name, epoch in self.journal.seen if name == sender} - {main_lane(epoch)}
        if sender in self._agent.config.agents and journals:
            text = f"{sender} has begun a new journal; what waited for this agent in its old one is lost"
            self._tell_of_agent(sender, "new journal", text)

    def _tell_unheard(self, message: Message, reason: str) -> None:
        """Log, once for each name, why a fleeting message was refused: its sender hears nothing of it."""
        if message.name not in self._unheard:
            self._unheard.add(message.name)
            self._agent.log.error(
                "{name} from {sender} is refused: {reason}", name=message.name, sender=message.sender, reason=reason
            )

    def is_guarded(self, name: str) -> bool:
        """Whether the agent takes such a message only from who has proved the observatory's key."""
        return name in GUARDED or name in self._agent.guarded

    def _attempt(self, message: Message, effects: Effects) -> tuple[str | None, str | None]:
        """Run one handler; (why it was refused, or None; the traceback if it failed, or None)."""
        marks, durable = self._marks or self._mark(effects), self._durable
        self._marks = marks
        try:
            message.check()
            if not message.proved and self.is_guarded(message.name):
                raise NotTaken(unproved(message.name))
            if self._blamed and self._entry in self._blamed:
                raise _Blamed
            self._agent.receive(message)
            self._save_state()
        except BaseException as error:
            for made, mark in marks:
                del made[mark:]
            self._marks, self._durable = None, durable
            self._put_back_state()
            if isinstance(error, NotTaken) or (isinstance(error, ValueError) and message.unreadable):
                return printable(str(error))[:_REASON_LIMIT], None
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # a rehearsal is interrupted
            text = self._blamed[self._entry] if isinstance(error, _Blamed) else _traceback(error)
            self._agent.log.error(
                "{name} from {sender} failed: {error}; it is kept, see pyros messages failed",
                name=message.name, sender=message.sender, error=text.rstrip().rpartition("\n")[2],
            )  # fmt: skip
            return None, text
        return None, None

    def _mark(self, effects: Effects) -> list[tuple[list[Any], int]]:
        """How much each list of effects holds: what is added from here on can be undone."""
        lists = (
            self._out,
            self._calls,
            effects.timers_set,
            effects.timers_gone,
            effects.retried,
            effects.also,
            self._writers,
            self._fleeting_set,
            self._fleeting_gone,
        )
        return [(made, len(made)) for made in lists]

    def _commit(self, effects: Effects, answers: list[tuple[Batch, BatchAnswer]], hurry: bool) -> TurnOutcome:
        outgoing = self._number()
        if outgoing:
            effects.outgoing = [message for message in outgoing if message.seq]
        if self._state_bytes != self._settled:
            self._check_state(self._state_bytes)
        stored = hurry or bool(effects.received or effects.seen or effects.refused or self._durable)
        if stored:
            if self._state_bytes != self.journal.state:
                effects.state = self._state_bytes
            if effects:
                day = past.day_of(self._clock.time())
                if day != self._day:
                    effects.also.append(past.keep_day(past.DayBegun(day, self.journal.received_number, self._settled)))
                    self._writers.append(0)
                self._on_step("handled")
                self._handling = ("the commit", self._clock.monotonic())
                self.journal.commit(effects)
                self._day = day
        self._settled = self._state_bytes
        for made in (effects.timers_set, self._fleeting_set):
            for timer in made:
                self._timers[timer.number] = timer
                heapq.heappush(self._due, (timer.steady, timer.number))
        for gone in (effects.timers_gone, self._fleeting_gone):
            for number in gone:
                self._timers.pop(number, None)
        self._message_number += len(effects.outgoing)
        self._fleeting_number += len(outgoing) - len(effects.outgoing)
        for _, answer in answers:
            self.taken += len(answer.ids)
            self.refused += len(answer.refused)
        return TurnOutcome(answers, outgoing, self._calls, stored)

    def _number(self) -> list[Outgoing]:
        """Give the outgoing messages their numbers; done last, so that an undone handler leaves no hole."""
        if not self._out:
            return []
        last = dict(self.journal.destinations)
        outgoing = []
        count, fleeting = self._message_number, self._fleeting_number
        for agent, name, json, sent, said, is_fleeting in self._out:
            if is_fleeting:
                fleeting += 1
                seq, id_ = 0, f"{self._fleeting_prefix}-{fleeting}"
            else:
                count += 1
                seq = last[agent] = last.get(agent, 0) + 1
                id_ = f"{self.journal.epoch[:8]}-{count}"
            outgoing.append(Outgoing(agent, seq, id_, name, sent, json, said))
        return outgoing

    def _undo(self, batches: list[Batch]) -> None:
        """Undo the turn: the state is that of the turn before, and the timers are due again."""
        self._state_bytes = self._settled
        self._put_back_state()
        for batch in batches:
            if batch.timer is not None and (timer := self._timers.get(batch.timer)):
                heapq.heappush(self._due, (timer.steady, timer.number))

    # State -------------------------------------------------------------------------------------------------------

    def _save_state(self) -> None:
        """Remember the state as bytes after every handler, so that the next one can be undone alone."""
        if self._state_type is not None:
            made = _state_encoder.encode(self._agent.state)
            if self._careful:
                self._check_state(made)
            self._state_bytes = made

    def _check_state(self, made: bytes | None) -> None:
        """Raise AgentError where the state could not be read back at the next start: NaN has no JSON, for example."""
        try:
            self._decode_state(made or b"")
        except Exception as error:
            raise AgentError(f"{self._state_type.__name__} could not be read back: {error}") from None

    def _put_back_state(self) -> None:
        if self._state_type is None:
            return
        if self._state_bytes is None:
            self._agent.state = self._state_type()
            return
        try:
            self._agent.state = self._decode_state(self._state_bytes)
        except Exception as error:
            reason = f"{self.journal.path}: the stored state does not fit {self._state_type.__name__}: {error}"
            if self._effects is not None:  # what a message of this turn has left there; it is found by being careful
                raise AgentError(reason) from None
            raise StateError(f"{reason}; give new fields a default, or remove the journal to begin anew") from None


def _traceback(error: BaseException) -> str:
    """Format an error's traceback, or less of it where even that cannot be had."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:  # no memory, or an error whose words raise one
        text = f"{type(error).__name__}, without a traceback\n"
    return text[-_TRACEBACK_LIMIT:].encode("utf-8", "replace").decode()


def _encode(name: str, payload: Any) -> bytes:
    """Encode a payload as JSON; raises ValueError for what could never be delivered."""
    if not valid_name(name):
        raise ValueError("a message's name has 1 to 200 printable characters and no blank at its ends")
    json = encode_payload(name, payload)
    if len(json) > MAX_FRAME - 1024:
        raise ValueError(f"payload of {len(json)} bytes; a frame holds {MAX_FRAME}")
    return json
