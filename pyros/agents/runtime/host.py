"""What makes an agent live: its journal, its port, its links to the others, and the thread of its loop.

In production the agent's turns run in a thread of its own and everything that touches a socket in the reactor's. In a
rehearsal (``threaded=False``) the same turns run inline on a virtual reactor.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from pyros import __version__
from pyros.agents.runtime.hosted import Hosted
from pyros.agents.runtime.loop import TurnLoop
from pyros.agents.runtime.making_safe import MakingSafe
from pyros.agents.runtime.port import AgentPort
from pyros.agents.runtime.turns import Turns, no_step
from pyros.alarms import Alarms
from pyros.clock import Clock
from pyros.config import Config
from pyros.errors import AgentError, ConfigError, JournalError
from pyros.hold import Hold, Holds
from pyros.journal import SQLITE, AnyJournal, AnyJournals, Outgoing, past
from pyros.logs import limit
from pyros.messages import ALARM, Payload, encode_payload
from pyros.reactor import Reactor
from pyros.sender.amqp import AmqpIntake
from pyros.sender.handshake import observatory_key
from pyros.sender.outbound import Outbound

_STOP_GRACE = 4.0
HOLD_LOOK_SECONDS = 10.0
_HEEDLESS = 3  # so many times as long where a hold ends nothing
_CLOSING = 2.0


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
        self._threaded = threaded
        self._daemon = daemon
        self._durable = durable
        self._journals = journals
        self._epoch = epoch
        self._on_step = on_step
        self._intake: AmqpIntake | None = None
        self._closed = threading.Event()
        self._ending = False
        self._safe = MakingSafe(agent, reactor)
        self.loop = TurnLoop(
            agent, config, reactor, clock, threaded=threaded, on_step=on_step, on_end=self._thread_ended
        )
        self.ready = self.loop.ready
        """Set when work() has returned, or has failed: then `failure` is what it raised."""

    @property
    def failure(self) -> BaseException | None:
        """Why the agent could not begin or, when it has `worked`, could not go on."""
        return self.loop.failure

    @property
    def worked(self) -> bool:
        """Whether work() has returned."""
        return self.loop.worked

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
                self.loop.answered, self.loop.confirmed, self.raise_alarm,
            )  # fmt: skip
            self.turns.without_fleeting = self.outbound.without_fleeting
            self.turns.with_lanes = self.outbound.with_lanes
            self.loop.open(self.turns, self.outbound)
            self.port = AgentPort(
                self.section, self.reactor, self.clock, self.agent.log, self.loop.receive, self.loop.last_seq,
                self.status, key, self.config.agents,
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
            self.loop.start()

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
        if not self.loop.ending:
            self.loop.end()
            if self._threaded:
                self.loop.call("grace", _STOP_GRACE, self._give_up)
            else:
                self._finish()

    def _live(self) -> None:
        """Run the agent's turns: the agent's thread."""
        try:
            self.loop.run()
        finally:
            self.reactor.callFromThread(self._thread_ended)
            if not self._daemon:  # a plain program ends with this thread: first the last answers must leave
                while not self._closed.wait(_CLOSING) and self.unsafe:
                    continue

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
        if self.loop.closed:
            return
        self.loop.close()
        self.alarms.close()
        self._safe.close()
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
        self.outbound.close()

    def post(self, name: str, json: bytes) -> None:
        """Post a message of the agent to itself, such as an instrument's answer: a turn like any other; any thread."""
        self.loop.post(name, json)

    def pass_on(self, agent: str, name: str, payload: Any) -> bool:
        """Send a fleeting message without a turn; in the reactor's thread.

        Returns False where only a turn can send it: its receiver takes numbered messages alone, or the journal cannot
        store now.
        """
        receivers = self.config.receivers(agent)
        if self.loop.not_stored or not self.outbound.without_fleeting.isdisjoint(receivers):
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

    def _look_at_hold(self) -> None:
        """Look for a hold that began or ended without a message: by another process, or while this agent was away."""
        hold = self.holds.hold
        if (hold and (hold.who, hold.why)) != (self.hold_seen and (self.hold_seen.who, self.hold_seen.why)):
            self.hold_seen = hold
            if hold is not None and self.ready.is_set():
                self._obey(hold)
            self.post(self.agent.HOLD_CHANGED, b"{}")
        self.loop.call("hold", HOLD_LOOK_SECONDS * (1 if self.agent.heeds_hold else _HEEDLESS), self._look_around)

    def _look_around(self) -> None:
        """Look every few seconds for what happens to the agent's files without a word."""
        self._look_at_hold()
        self.loop.look_at_journal()

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
        if not self.loop.closed:
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
            "outbox": self.loop.still_waiting(),
        }
