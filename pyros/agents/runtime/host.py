"""What makes an agent live: its journal, its port, its links to the others, and its thread.

In production the agent's turns run in a thread of its own and everything that touches a socket in the reactor's. In a
rehearsal (``threaded=False``) the same turns run inline on a virtual reactor.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
from msgspec import Raw
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from pyros import __version__
from pyros.agents.runtime.answers import Acknowledgements
from pyros.agents.runtime.batches import Batch, BatchAnswer, TurnOutcome
from pyros.agents.runtime.hosted import Hosted
from pyros.agents.runtime.making_safe import MakingSafe
from pyros.agents.runtime.port import AgentPort
from pyros.agents.runtime.turns import Turns, no_step
from pyros.alarms import Alarms
from pyros.backoff import Backoff
from pyros.clock import Clock, cancel_call
from pyros.config import Config
from pyros.errors import AgentError, ConfigError, JournalError, PyrosError
from pyros.hold import Hold, Holds
from pyros.journal import SQLITE, AnyJournal, AnyJournals, Outgoing, past
from pyros.logs import limit
from pyros.messages import ALARM, FLEETING, PATIENT, Message, Payload, encode_payload
from pyros.reactor import Reactor
from pyros.sender.amqp import AmqpIntake
from pyros.sender.handshake import observatory_key
from pyros.sender.outbound import Outbound
from pyros.wire import Entry, Refusal

_TURN_MESSAGES = 4096
_MAX_MAILBOX = 1000  # beyond that the agent's own fleeting messages are dropped
_UNSTORED_SECONDS = 30.0  # so long the journal's state may lack what fleeting messages have changed
_LONGEST_WAIT = 5.0
_RETRY_STORING = (1.0, 2.0, 4.0)  # seconds; until then no message begins a turn
_PRUNE_SECONDS = 60.0
_STOP_GRACE = 4.0
HOLD_LOOK_SECONDS = 10.0
_HEEDLESS = 3  # so many times as long where a hold ends nothing
_CLOSING = 2.0
_WAKE = Batch([], "")

STEPS = ("taken", "handled", "committed", "acknowledged", "sent", "command", "commanded")
"""The steps of a turn between which a process may die, in their order; the last two come around each command."""


def _may_wait(batch: Batch) -> float:
    """Return how long (seconds) a batch may wait for others before its turn begins."""
    return min((PATIENT.get(entry.name, 0.0) for entry in batch.entries), default=0.0)


class Host:
    """Runs one agent. `start` and `stop` are called in the reactor's thread (or before the reactor runs)."""

    def __init__(
        self,
        agent: Hosted,
        config: Config,
        reactor: Reactor,
        clock: Clock,
        *,
        threaded: bool = True,
        daemon: bool = True,
        durable: bool = True,
        epoch: str = "",
        journals: AnyJournals = SQLITE,
        on_step: Callable[[str], None] = no_step,
    ) -> None:
        """Take an agent; nothing is opened yet.

        ``daemon=False`` keeps a program alive as long as the agent lives. ``durable=False``, ``epoch``, ``journals``
        and ``on_step`` are for rehearsals: that is called at each step of a turn at which a process may die (`STEPS`).

        Raises UnknownAgent when the configuration has no section of the agent's name, ConfigError when it lacks what
        the agent needs.
        """
        self.agent = agent
        self.config = config = config.seen_from(config.agent(agent.name).unit)
        self.reactor = reactor
        self.clock = clock
        self.section = config.agent(agent.name)
        limit(agent.log, self.section.log)
        agent.check_needs(config)
        self.ready = threading.Event()
        """Set when work() has returned, or has failed: then `failure` is what it raised."""
        self.failure: BaseException | None = None
        """Why the agent could not begin or, when it has `worked`, could not go on."""
        self.worked = False
        self.stopped: Deferred[None] = Deferred()
        """Fires in the reactor's thread when the agent has ended and everything is closed."""
        self.since: float | None = None
        """When it was started, Unix seconds."""
        self._told = itertools.count(1)  # what it has sent without a turn
        self.holds = Holds(config.data, clock)
        self.alarms = Alarms(agent.name, config.on_alarm, clock, agent.log, self._tell_alarm)
        self._alarms_wanted: set[str] = set()  # what the agent has last said, before the reactor's thread knows
        self.hold_seen: Hold | None = None
        """The hold that the agent was told of last."""
        self._heard = clock.monotonic()
        self._threaded = threaded
        self._daemon = daemon
        self._durable = durable
        self._journals = journals
        self._epoch = epoch
        self._on_step = on_step
        self._mailbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._answers = Acknowledgements()
        self._intake: AmqpIntake | None = None
        self._stop_wanted = threading.Event()
        self._closed = threading.Event()
        self._finished = False
        self._ending = False
        self._safe = MakingSafe(agent, reactor)
        self._calls: dict[str, Any] = {}
        self._kept: list[Batch] = []
        self._unstored_due = math.inf
        """When the state must be stored that fleeting messages have changed, monotonic seconds."""
        self._journal_gone = False
        self._not_stored = False
        """The last turn could not be stored: the next attempt comes after a pause, also where only a timer was due."""
        self._store_retry = Backoff(*_RETRY_STORING)
        self._store_pause = 0.0
        self._pruned = -math.inf
        self._timer_due = math.inf
        """When a rehearsal's turn comes though no message does, monotonic seconds."""

    # The reactor's side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the journal and the port, then let the agent work.

        Raises JournalError, StateError, ConfigError (the observatory's key cannot be made or read) or AgentError.
        """
        self.agent.settle(self)
        try:
            key = observatory_key(self.config)
            self.journal: AnyJournal = self._journals.open(
                self.config.journal(self.agent.name), epoch=self._epoch, durable=self._durable,
                schema=past.SCHEMA + self.agent.schema,
            )  # fmt: skip
        except (JournalError, ConfigError) as error:
            self.make_safe_without_journal(str(error))
            raise
        try:
            self.turns = Turns(self.agent, self.journal, self.clock, self._on_step)
            self.outbound = Outbound(
                self.reactor, self.config, self.agent.name, self.journal,
                self._answered, self._confirmed, self.raise_alarm,
            )  # fmt: skip
            self.turns.without_fleeting = self.outbound.without_fleeting
            self.turns.with_lanes = self.outbound.with_lanes
            self.port = AgentPort(
                self.section, self.reactor, self.clock, self.agent.log, self.receive, self._last_seq, self.status,
                key, self.config.agents,
            )  # fmt: skip
            self.port.receiver.heard_from = self.outbound.heard_from
            self._listening = self._listen()
        except BaseException as error:
            self.journal.close()
            if isinstance(error, JournalError):  # such as a state that doesn't fit
                self.make_safe_without_journal(str(error))
            raise
        self.since = self.clock.time()
        try:
            if self.journal.damage:
                self.raise_alarm("journal", self.journal.damage)
            self.outbound.start()
            if self.section.amqp is not None:
                self._intake = AmqpIntake(self.reactor, self.section.amqp, self.agent.log, self.agent.name, self.port)
            self.agent.attach(self.reactor)
        except BaseException:
            self._finish()
            raise
        self._look_at_hold()
        if self._threaded:
            threading.Thread(target=self._live, name=f"pyros-{self.agent.name}", daemon=self._daemon).start()
        else:
            self._call("start", 0, self._inline_start)

    @property
    def begun(self) -> bool:
        """Whether it was started: then `stopped` fires one day."""
        return self.since is not None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.begun and not self.stopped.called

    def _listen(self) -> IListeningPort:
        try:
            port: IListeningPort = self.reactor.listenTCP(
                self.section.port, self.port, backlog=1024, interface=self.section.ip
            )
        except CannotListenError as error:
            raise AgentError(
                f"{self.config.path}: [{self.section.name}] port: cannot listen on {self.section.listens}:"
                f" {getattr(error.socketError, 'strerror', None) or error.socketError};"
                " is this agent running already?"
            ) from None
        return port

    def stop(self) -> Deferred[None]:
        """Make safe what the agent moves, let the turn that runs end, run shutdown(), close everything.

        Fires `stopped` when nothing is left.
        """
        if not self._ending:
            self._ending = True
            self.make_safe("the agent ends").addCallback(lambda _: self._end())
        return self.stopped

    @property
    def unsafe(self) -> bool:
        """Whether it is making safe what it moves, and hasn't done so yet."""
        return self._safe.begun and not self._safe.done

    def make_safe(self, reason: str) -> Deferred[None]:
        """Have the agent make safe what it moves, once; from then on it begins nothing, but goes on taking messages.

        Fires, and never fails, when that is done, or has taken `Agent.SAFE_SECONDS`.
        """
        return self._safe.make(reason)

    def make_safe_without_journal(self, reason: str) -> None:
        """Close, stop or park the device of an agent that cannot begin; `make_safe` tells when that is done."""
        if self._safe.begun or self.begun:
            return
        self.agent.settle(self)
        try:
            self.agent.attach(self.reactor)
        except Exception:
            self.agent.log.failure("{name} could not reach its device", name=self.agent.name)
            return
        self._safe.make(reason).addCallback(lambda _: self.agent.detach())

    def _end(self) -> None:
        """End the agent's thread, and then everything else, now that what the agent moves is safe."""
        if not self._stop_wanted.is_set() and not self._finished:
            self._stop_wanted.set()
            if self._threaded:
                self._mailbox.put(None)
                self._call("grace", _STOP_GRACE, self._give_up)
            else:
                self._shut_down()
                self._finish()

    def _give_up(self) -> None:
        self.agent.log.error("a handler of {name} does not return: the agent ends without it", name=self.agent.name)
        self._finish(hung=True)

    def _thread_ended(self) -> None:
        """Make safe and finish after the thread has ended, for whatever reason; it may have failed."""
        self.make_safe("the agent ends" if self.failure is None else "the agent cannot go on").addCallback(
            lambda _: self._finish()
        )

    def _finish(self, hung: bool = False) -> None:
        """Close what is open: the agent's thread has ended, or is left behind."""
        if self._finished:
            return
        self._finished = True
        self._stop_wanted.set()
        self.alarms.close()
        self._safe.close()
        for call in self._calls.values():
            cancel_call(call)
        closing: list[Deferred[Any]] = [
            self.port.close_all().addCallback(lambda _: self._intake.stop() if self._intake is not None else None),
            maybeDeferred(self._listening.stopListening),
            maybeDeferred(self.agent.detach),
            maybeDeferred(self.outbound.stop),
        ]

        def closed(_: object) -> None:
            if not hung:
                self.journal.close()
            self._closed.set()
            self.stopped.callback(None)

        DeferredList(closing, consumeErrors=True).addCallback(closed)

    def kill(self) -> None:
        """End the agent as SIGKILL ends its process: it makes nothing safe and tells nobody. For rehearsals."""
        self._finish()

    def post(self, name: str, json: bytes) -> None:
        """Post a message of the agent to itself, such as an instrument's answer: a turn like any other; any thread."""
        fleeting = name in FLEETING
        if fleeting and self._mailbox.qsize() > _MAX_MAILBOX:
            return  # the agent is behind
        entry = Entry(0, f"self-{name}", name, self.clock.time(), Raw(json), self.clock.monotonic())
        self._put(Batch([entry], self.agent.name, proved=True, fleeting=fleeting))

    def pass_on(self, agent: str, name: str, payload: Any) -> bool:
        """Send a fleeting message without a turn; in the reactor's thread.

        Returns False where only a turn can send it: its receiver takes numbered messages alone, or the journal cannot
        store now.
        """
        receivers = self.config.receivers(agent)
        if self._not_stored or not self.outbound.without_fleeting.isdisjoint(receivers):
            return False
        json, sent, said = encode_payload(name, payload), self.clock.time(), self.clock.monotonic()
        id_ = f"{self.journal.epoch[:8]}-{self.since:.3f}-told-{next(self._told)}"
        self.outbound.post([Outgoing(receiver, 0, id_, name, sent, json, said) for receiver in receivers])
        return True

    def at_once(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Call a function in the reactor's thread without waiting for a commit; any thread."""
        if self._threaded:
            self.reactor.callFromThread(function, *args)
        else:
            self.reactor.callLater(0, function, *args)

    def heard_of_thread(self) -> float:
        """When the agent's thread last passed between two turns (monotonic seconds): it doesn't hang since then.

        Asks it to pass again. A beat that is to stop with the agent's turns depends on it.
        """
        if not self._threaded:
            return self.clock.monotonic()
        self._mailbox.put(_WAKE)
        return self._heard

    def _look_at_hold(self) -> None:
        """Look for a hold that began or ended without a message: by another process, or while this agent was away."""
        hold = self.holds.hold
        if (hold and (hold.who, hold.why)) != (self.hold_seen and (self.hold_seen.who, self.hold_seen.why)):
            self.hold_seen = hold
            if hold is not None and self.ready.is_set():
                self._obey(hold)
            self.post(self.agent.HOLD_CHANGED, b"{}")
        self._call("hold", HOLD_LOOK_SECONDS * (1 if self.agent.heeds_hold else _HEEDLESS), self._look_around)

    def _look_around(self) -> None:
        """Look every few seconds for what happens to the agent's files without a word."""
        self._look_at_hold()
        if self.journal.is_gone() and not self._journal_gone:
            self._journal_gone = True
            self._mailbox.put(_WAKE)

    def _obey(self, hold: Hold) -> None:
        try:
            self.agent.obey_hold(hold, False)
        except Exception:
            self.agent.log.failure("{name} could not obey the hold at once", name=self.agent.name)

    def raise_alarm(self, key: str, text: str) -> None:
        """Raise an alarm unless it is raised already; any thread."""
        if key not in self._alarms_wanted:
            self._alarms_wanted.add(key)
            self.at_once(self.alarms.raise_alarm, (key, text))

    def end_alarm(self, key: str) -> None:
        """End an alarm if it is raised; any thread."""
        if key in self._alarms_wanted:
            self._alarms_wanted.discard(key)
            self.at_once(self.alarms.end_alarm, (key,))

    def _tell_alarm(self, name: str, payload: Payload) -> None:
        """To monitoring, through a turn of this agent."""
        if not self._finished:
            name = self.agent.TELL_ALARM if name == ALARM else self.agent.TELL_ALARM_OVER
            self.post(name, encode_payload(name, payload))

    def status(self) -> dict[str, Any]:
        """How the agent is doing; read in the reactor's thread while the agent works, so figures may lag by a turn."""
        hold = self.holds.hold
        return {
            "agent": self.agent.name,
            "version": __version__,
            "since": self.since,
            "taken": self.turns.taken,
            "failed": self.turns.failed,
            "refused": self.turns.refused,
            "waiting": self.port.waiting,
            "forgotten": dict(+self.journal.forgotten),
            "handling": self.turns.handling(),
            "hold": None if hold is None else msgspec.structs.asdict(hold),
            "alarms": [alarm._asdict() for alarm in list(self.alarms.raised.values())],
            **self.agent.figures(),
            "outbox": self._answers.still_waiting(self.journal.waiting, self.journal.destinations),
        }

    def _call(self, what: str, seconds: float, function: Callable[[], None]) -> None:
        """One delayed call of each kind at a time; a new one replaces the old."""
        cancel_call(self._calls.get(what))
        self._calls[what] = self.reactor.callLater(seconds, function)

    def receive(self, batch: Batch) -> None:
        """Take messages from the port: run their reflexes at once, then put them into the mailbox.

        Fleeting ones whose reflex was everything begin no turn.
        """
        last = self._last_seq(batch.peer) if batch.peer else 0
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
        message = batch.message(entry, self.clock.monotonic())
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
        if self._threaded or self._not_stored or self._finished:
            return
        pause = _may_wait(batch)
        if not self._turn_comes_within(pause):
            self._call("turn", pause, self._inline_turn)

    def _turn_comes_within(self, seconds: float) -> bool:
        """Whether a rehearsal's turn comes at this instant already, or so many seconds later."""
        call = self._calls.get("turn")
        return call is not None and call.active() and call.getTime() <= self.reactor.seconds() + seconds

    def _last_seq(self, peer: tuple[str, str]) -> int:
        return self.journal.seen.get(peer, 0)

    def _answered(self, agent: str, seq: int, refusals: list[Refusal]) -> None:
        """From a link: to be stored with the next turn that is committed, or soon."""
        if self._finished:
            return  # the next welcome tells it again
        now = self.clock.monotonic()
        if self._answers.add(agent, seq, refusals, now):
            if not self._threaded:
                self._call("answers", self._answers.due - now, self._inline_turn)
            elif refusals:
                self._mailbox.put(_WAKE)

    def _confirmed(self, agent: str, last: int) -> None:
        """From a link: to be stored at once."""
        if self._finished:
            return
        self._answers.confirm(agent, last, self.clock.monotonic())
        if self._threaded:
            self._mailbox.put(_WAKE)
        else:
            self._call("answers", 0, self._inline_turn)

    def _carry_out(self, outcome: TurnOutcome, told: list[bool]) -> None:
        """After the commit: acknowledge, send, command."""
        for (batch, answer), was_told in zip(outcome.answers, told, strict=True):
            if batch.origin is not None:
                batch.origin.committed(batch, answer, was_told)
        if self._finished:
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

    # The agent's side --------------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Take turns until the agent ends: the agent's thread."""
        try:
            if self._work():
                while not self._stop_wanted.is_set() and not self.agent.ending:
                    self._heard = self.clock.monotonic()
                    self._take_turn(*self._gather())
                    if self._not_stored:
                        self._stop_wanted.wait(self._store_pause)
                self._shut_down()
        except BaseException as error:
            self._cannot_go_on(error)
        finally:
            self.ready.set()
            self.reactor.callFromThread(self._thread_ended)
            if not self._daemon:  # a plain program ends with this thread: first the last answers must leave
                while not self._closed.wait(_CLOSING) and self.unsafe:
                    continue

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
            self._thread_ended()

    def _inline_turn(self) -> None:
        """One turn of a rehearsal."""
        if self._finished or not self.ready.is_set():
            return
        batches = []
        while not self._mailbox.empty():
            batches.append(self._mailbox.get())
        self._take_turn([batch for batch in batches if batch is not None], idle=True)
        if self.agent.ending:
            self._shut_down()
            self._thread_ended()
        elif self._not_stored:
            self._call("turn", self._store_pause, self._inline_turn)
        elif (due := self._next_due()) < math.inf and not (due == self._timer_due and self._calls["timer"].active()):
            self._timer_due = due
            self._call("timer", max(0.0, due - self.clock.monotonic()), self._inline_turn)

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
        if self._not_stored:
            return 0.0
        return min(_LONGEST_WAIT, max(0.0, self._next_due() - self.clock.monotonic()))

    def _next_due(self) -> float:
        """When there is something to do though no message comes (monotonic seconds): a timer, or something to store."""
        timer = self.turns.next_due()
        return min(math.inf if timer is None else timer, self._unstored_due, self._answers.due)

    def _take_turn(self, batches: list[Batch], idle: bool) -> None:
        """Run a turn if there is anything to do. What the journal could not store is kept for the next one.

        Raises JournalError when the journal's file is gone: what is stored now would be lost at the end.
        """
        if self._journal_gone:
            saved = self.journal.save()
            raise JournalError(
                f"{self.journal.path}: the journal was removed, or another file put in its place, while the agent used"
                f" it; all that it knows is kept in {saved}"
            )
        batches = self._kept + self.turns.due_timers() + batches
        self._kept = []
        hurry = min(self._unstored_due, self._answers.due) <= self.clock.monotonic() or self._not_stored
        if not batches and not hurry:
            if idle and self.clock.monotonic() - self._pruned > _PRUNE_SECONDS:
                self._prune()
            return
        answers, due = self._answers.take()
        self._on_step("taken")
        try:
            outcome = self.turns.run(batches, answers, hurry=hurry)
        except JournalError as error:
            self._not_stored = True
            self._store_pause = self._store_retry.next_pause()
            self.agent.log.error("{error}", error=error)
            self._answers.put_back(answers, due)
            for batch in batches:
                if batch.timer is None:
                    self._keep(batch, str(error))
        else:
            self._not_stored = False
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
        before = set(+self.journal.forgotten)
        try:
            if self.journal.prune(self.clock.time(), self.config.agents):
                self._pruned = -math.inf
        except JournalError as error:
            self.agent.log.error("{error}", error=error)
        for what in set(+self.journal.forgotten) - before:  # said once; the status counts
            self.agent.log.warn("{name} has too many {what}: the oldest are forgotten", name=self.agent.name, what=what)

    def _tell(self, outcome: TurnOutcome) -> None:
        told = [
            batch.origin is not None and batch.origin.acknowledge(batch, answer) for batch, answer in outcome.answers
        ]
        if self._threaded:
            self.reactor.callFromThread(self._carry_out, outcome, told)
        else:
            self._carry_out(outcome, told)

    def _tell_origin(self, batch: Batch, reason: str) -> None:
        assert batch.origin is not None
        if self._threaded:
            self.reactor.callFromThread(batch.origin.not_stored, batch, reason)
        else:
            batch.origin.not_stored(batch, reason)
