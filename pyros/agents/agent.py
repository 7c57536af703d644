"""Agent: one thread, one mailbox, one port, and a table from message names to handlers.

A handler takes the message, or nothing; it must be short and must not block. What it sends, the timers it sets, the
commands it gives and the changes it makes to ``self.state`` take effect together when its turn is committed, or not at
all when it raises.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar, get_type_hints

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pyros.agents.options import OptionTable, why_not
from pyros.agents.runtime import program
from pyros.agents.runtime.batches import NotTaken
from pyros.agents.runtime.host import Host
from pyros.agents.runtime.hosted import Reflex
from pyros.clock import Clock
from pyros.config import NOWHERE, AgentConfig, Config, StandardAgents
from pyros.errors import AgentError, ConfigError
from pyros.hold import Hold, Holds
from pyros.messages import (
    ALARM,
    ALARM_OVER,
    HOLD,
    RELEASE,
    RELOAD_SITE,
    SERVICE,
    STOP,
    TELL_ALARM,
    TELL_ALARM_OVER,
    AlarmEnded,
    HoldOrder,
    Message,
    NoPayload,
    ServiceOrder,
    encode_payload,
    guard,
    register,
)
from pyros.prepared import prepared
from pyros.reactor import Reactor
from pyros.site import Site

Handler = Callable[..., Any]
_SERVICE_SECONDS = 60.0  # an order of service that is older begins none
_T = TypeVar("_T")


class RetryFailed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which failed message to handle again."""

    number: int


class Agent(StandardAgents):
    """The base of every agent.

    A subclass calls ``super().__init__(name)``, fills ``actions_by_message``, and may annotate ``state`` with a
    msgspec.Struct (or dataclass) whose fields all have defaults: that is what survives a restart.
    """

    OPTIONS: ClassVar[OptionTable] = ()
    """The keys ``option_...`` of its section, which are looked at before it starts.

    PYROS's own agents have no others; an agent of one's own may ask for any (`option`)."""
    SAFE_SECONDS: ClassVar[float] = 180.0
    """How long `make_safe` may take at the agent's end."""

    LEFT: ClassVar[str] = "what {name} moves is not made safe"
    """What is told when the process is ended at once, before `make_safe` is done."""

    SHUTDOWN: ClassVar = "Shutdown"
    """Every agent takes this message: it ends after the turn that handles it."""

    RETRY_FAILED: ClassVar = "Retry failed message"
    """Every agent takes this message: it handles again the failed message whose number it names."""

    HOLD_CHANGED: ClassVar[str] = "Hold changed"
    """What every agent says to itself when a hold has begun or ended without a message."""

    TELL_ALARM: ClassVar[str] = TELL_ALARM
    TELL_ALARM_OVER: ClassVar[str] = TELL_ALARM_OVER
    """What every agent says to itself, so that monitoring hears of its alarms."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Keys of [observatory] that name files which this agent cannot do without: ``site``, ``alert_rules``."""

    schema: ClassVar[str] = ""
    """Tables of the agent's own in its journal: ``CREATE TABLE IF NOT EXISTS ...``; `in_transaction` writes them."""

    many: ClassVar[bool] = False
    """One class runs several sections: it is made with the section's name."""

    state: Any = None

    site: Site
    """Where the observatory stands: of agents that need it, from the time on when they have loaded it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = Logger(name)
        self.actions_by_message: dict[str, Handler] = {
            self.SHUTDOWN: self._shutdown_wanted,
            self.RETRY_FAILED: self._retry_failed,
            self.TELL_ALARM: self._tell_alarm,
            self.TELL_ALARM_OVER: self._tell_alarm,
            HOLD: self._hold_ordered,
            STOP: self._hold_ordered,
            RELEASE: self._release_ordered,
            SERVICE: self._service_ordered,
            self.HOLD_CHANGED: self._hold_changed,
            RELOAD_SITE: self._reload_site,
        }
        self._to_every_agent = frozenset(self.actions_by_message)
        self.reflexes: dict[str, Reflex] = {HOLD: self._hold_at_once, STOP: self._hold_at_once}
        """What is done at once when such a message arrives: in the reactor's thread, before its turn and whatever
        becomes of that. Only for what makes safe and may be repeated (close, abort, stop, park); see decision 0040."""
        self.reflexes_alone: frozenset[str] = frozenset()
        """Names of messages of which a fleeting one begins no turn, for its reflex is everything (decision 0128)."""
        self.guarded: set[str] = set()
        """Further names, besides `messages.GUARDED`, that this agent takes only from who has proved the observatory's
        key."""
        self.ending = False
        self.made_safe = False
        """`make_safe` was called: nothing may be begun (opened, slewed, exposed) any more. Any thread may ask."""
        self._takes_message: dict[str, tuple[Handler, bool]] = {}
        self._host: Host | None = None

    def rename(self, name: str) -> None:
        """Take the name of a section that says more than the kind, such as ``telescope east``; before it is started."""
        self.name, self.log = name, Logger(name)

    # To be overridden --------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Begin: runs once, in the agent's thread, before the first message; must return. It is a turn of its own."""

    def site_changed(self, site: Site) -> None:
        """Take what is new in the file of the site; runs in the agent's thread, in a turn."""
        self.site = site

    def shutdown(self) -> None:
        """End: runs in the agent's thread, as the last turn."""

    def receive(self, message: Message) -> None:
        """Handle one message: look its handler up and call it. Runs in the agent's thread."""
        self.analyze_message(message)

    def analyze_message(self, message: Message) -> None:
        """Call the handler of this message's name. A name without a handler is refused."""
        try:
            handler = self.actions_by_message[message.name]
        except KeyError:
            known = ", ".join([*sorted(self.actions_by_message.keys() - self._to_every_agent), *_OF_EVERY_AGENT])
            raise NotTaken(f"{self.name} takes no message {message.name!r} (it takes: {known})") from None
        known_handler, takes_message = self._takes_message.get(message.name, (None, False))
        if known_handler is not handler:
            takes_message = _takes_argument(handler)
            self._takes_message[message.name] = (handler, takes_message)
        if takes_message:
            handler(message)
        else:
            handler()

    def obey_hold(self, hold: Hold, stop: bool) -> None:
        """Stop at once for a hold: runs in the reactor's thread, before the hold's turn and whatever becomes of that.

        Stop what the device does for the automation; with ``stop`` (the message *Stop*) whatever it does, and make it
        safe. It may come again: the limits of a reflex hold (decision 0040).
        """

    def on_hold(self, hold: Hold, stop: bool) -> None:
        """Handle a hold that began now or earlier: nothing may begin to move."""

    def on_release(self) -> None:
        """Handle the end of a hold or a service."""

    def make_safe(self, reason: str) -> Deferred[None] | None:
        """Close, park, stop what moves: runs in the reactor's thread when the agent is about to end, or cannot begin.

        The host waits until the Deferred fires, `SAFE_SECONDS` at most; meanwhile the agent goes on taking messages,
        but begins nothing (`made_safe`). What takes time says in the log what it does, and when it is done.
        """

    def report_alarm(self, message: Message) -> None:
        """Tell monitoring and the notifier that an alarm of this agent was raised (`TELL_ALARM`), or is over."""
        name = ALARM if message.name == self.TELL_ALARM else ALARM_OVER
        for agent in self._who_hears_alarms():
            self.send_if_there(agent, name, message.payload)

    def figures(self) -> dict[str, Any]:
        """Return further figures for `pyros status`, JSON values. Runs in the reactor's thread."""
        return {}

    def attach(self, reactor: Reactor) -> None:
        """Open the device's connection: runs in the reactor's thread before the agent's thread begins."""

    def detach(self) -> Deferred[None] | None:
        """Close what `attach` opened: runs in the reactor's thread after the agent has ended."""

    # For handlers ------------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The configuration the agent was started with, as its unit sees it."""
        return (self._host or self._settled).config

    @property
    def section(self) -> AgentConfig:
        """The agent's own section of it."""
        return self._settled.section

    def option(self, key: str, convert: Callable[[str], _T], default: _T) -> _T:
        """Convert ``option_<key>`` of the agent's section; raises AgentError naming file and key.

        ``convert`` raises ValueError with what follows the text in a sentence, such as "is not a positive number".
        """
        text = self.section.options.get(key)
        if text is None:
            return default
        try:
            return convert(text)
        except ValueError as error:
            where = f"{self.config.path}: [{self.section.name}] option_{key}"
            raise AgentError(f"{where}: {text!r} {why_not(convert, error)}") from None

    @property
    def clock(self) -> Clock:
        """Where the agent gets its time from."""
        return (self._host or self._settled).clock

    def send_to(self, agent: str, name: str, payload: Any = None, *, durable: bool = False) -> None:
        """Put a message into the outbox; it leaves when the turn is committed, and arrives exactly once.

        ``agent`` is looked up as `Config.receivers` says: a kind means the agent of one's own unit.

        One with a fleeting name arrives at most once, and only where its receiver is there now; ``durable`` sends it
        like all others, for once. Raises UnknownAgent, or ValueError naming the field of the payload that is wrong.
        """
        self._settled.turns.send(agent, name, payload, durable)

    def send_if_there(self, agent: str, name: str, payload: Any = None, *, durable: bool = False) -> None:
        """`send_to` an agent that an observatory may do without; nothing when it has no section."""
        if self.config.has(agent):
            self.send_to(agent, name, payload, durable=durable)

    def call_later(self, seconds: float, name: str, payload: Any = None) -> int:
        """Have a message sent to this agent itself after so many seconds; it survives a restart.

        One with a fleeting name doesn't: `work` sets it again, and its number is for an attribute, not for the state.
        Returns a number for `cancel_timer`.
        """
        return self._settled.turns.set_timer(seconds, name, payload)

    def cancel_timer(self, number: int | None) -> None:
        """Forget a timer; one that has fired already, or was never set (None), is no error."""
        if number is not None:
            self._settled.turns.cancel_timer(number)

    def after_commit(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the reactor's thread once the turn is committed: how a device gets its commands."""
        self._settled.turns.after_commit(function, args)

    def at_once(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the reactor's thread now: neither after the commit, nor undone with the turn.

        Only for what makes safe and may be repeated (close, abort, stop, park): everything else is for `after_commit`.
        """
        self._settled.at_once(function, args)

    def age(self, message: Message) -> float:
        """How long ago (seconds) a message was said, through every queue; infinite when that cannot be known."""
        return self.clock.monotonic() - message.said

    @property
    def heeds_hold(self) -> bool:
        """Whether a hold ends something here: the agent has a method of its own for that."""
        kind = type(self)
        return kind.obey_hold is not Agent.obey_hold or kind.on_hold is not Agent.on_hold

    @property
    def holds(self) -> Holds:
        """The observatory's hold and service by hand; any thread."""
        return self._settled.holds

    def alarm(self, key: str, text: str) -> None:
        """Tell that a person is needed, once until `alarm_over`.

        It goes out as a critical log line, to monitoring, and by the site's own command. Any thread; not undone with
        the turn.

        ``key`` says in a few words that never change what it is about; ``text`` is a sentence for a person at 3 a.m.
        """
        self._settled.raise_alarm(key, text)

    def alarm_over(self, key: str) -> None:
        """Tell that an alarm is over; nothing when it isn't raised. Any thread."""
        self._settled.end_alarm(key)

    def in_transaction(self, write: Callable[[sqlite3.Connection], None]) -> None:
        """Have ``write(connection)`` called inside the turn's transaction: for a table of the agent's own.

        A message whose write raises is kept as failed; the write may be called again for the rest of its turn.
        `stored_rows` reads such a table.
        """
        self._settled.turns.also(write)

    def stored_rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT of the agent's own tables, as of the last turn; only for handlers.

        What `in_transaction` was given in this turn is not there yet: see `pending_writes`. Raises JournalError.
        """
        return self._settled.turns.journal.rows(query, *values)

    def pending_writes(self) -> Sequence[Callable[[sqlite3.Connection], None]]:
        """Return what `in_transaction` was given in this turn so far; what handlers that raised had given is gone."""
        return self._settled.turns.writes

    def post_to_self(self, name: str, payload: Any = None) -> None:
        """Post a message to this agent from any thread: how a device's answer becomes a turn.

        Unlike `call_later` it is lost when the process dies before the turn, as the device's connection is.
        """
        self._settled.post(name, encode_payload(name, payload))

    def pass_on(self, agent: str, name: str, payload: Any) -> bool:
        """Send a fleeting message at once, without a turn; in the reactor's thread: what a device says means no more.

        Nothing where the observatory does without that agent. Returns False where only a handler can send it (decision
        0128).
        """
        return not self.config.has(agent) or self._settled.pass_on(agent, name, payload)

    # Running -----------------------------------------------------------------------------------------------------

    def start(self, config: Config | str | None = None, *, timeout: float = 5.0) -> None:
        """Run the agent in a thread of its own; returns when its port is open and ``work`` has returned.

        ``config`` is a loaded configuration or a file's path; by default the file that ``$PYROS_AGENT_CONFIG`` or the
        working directory gives. ``work`` is waited for at most ``timeout`` seconds. Works in a plain program (the
        program then lives until the agents have ended) and under twistd.

        Raises ConfigError, UnknownAgent, AgentError (the port is taken, Django's reloader ...), JournalError, or what
        ``work`` raised.
        """
        program.start(self, config, timeout)

    def stop(self, timeout: float = 5.0) -> None:
        """End the agent as `Agent.SHUTDOWN` does, and wait for it. Not for handlers: they send SHUTDOWN to themselves.

        Raises AgentError when it has not ended within ``timeout`` seconds.
        """
        program.stop(self, timeout)

    def check_needs(self, config: Config) -> None:
        """Raise ConfigError naming every key that the agent needs and the configuration lacks."""
        problems: list[str] = []
        for key in self.needs:
            try:
                config.required(key, f"[{self.name}]")
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    @classmethod
    def state_type(cls) -> Any:
        """Return the annotated type of ``state``, or None; raises AgentError when it needs arguments."""
        for klass in cls.__mro__:
            if klass is not Agent and "state" in inspect.get_annotations(klass):
                try:
                    type_ = get_type_hints(klass)["state"]
                    msgspec.json.decode(msgspec.json.encode(type_()), type=prepared(type_))
                except (TypeError, NameError, msgspec.DecodeError) as error:
                    raise AgentError(f"{cls.__name__}.state: every field needs a default and a type: {error}") from None
                return type_
        return None

    def begin(self) -> None:
        """Run the first turn, for the host. Alarms of an earlier life are over, unless they are raised again."""
        for agent in self._who_hears_alarms():
            self.send_if_there(agent, ALARM_OVER, AlarmEnded(source=self.name))
        self.work()

    def settle(self, host: Host) -> None:
        """Take a host: the agent lives there now."""
        self._host = host
        self.ending = self.made_safe = False

    @property
    def _settled(self) -> Host:
        if self._host is None:
            raise AgentError(f"agent {self.name!r} is not running: start() it first")
        return self._host

    def _who_hears_alarms(self) -> list[str]:
        """Two agents, so that an alarm comes through with one of them down; each hears of its own by itself."""
        return [agent for agent in (self.MONITORING, self.NOTIFIER) if agent != self.section.kind]

    def _shutdown_wanted(self) -> None:
        self.at_once(self._settled.stop)

    def _tell_alarm(self, message: Message) -> None:
        if message.sender != self.name:
            raise NotTaken(f"{message.name} is what {self.name} says to itself")
        self.report_alarm(message)

    # Holds --------------------------------------------------------------------------------------------------------

    def _hold_at_once(self, message: Message) -> None:
        """In the reactor's thread: the hold counts, on disk or not, before anything else is done."""
        order: HoldOrder = message.payload
        self.set_hold(order.who or message.sender, order.why)
        hold = self._settled.hold_seen = self.holds.hold
        if hold is not None:
            self.obey_hold(hold, message.name == STOP)

    def set_hold(self, who: str, why: str) -> None:
        """Begin a hold of the observatory, which counts for this agent though it may not reach the disk."""
        try:
            self.holds.set(who, why)
        except OSError as error:
            self.log.critical(
                "the hold is in memory only and ends with this agent, for it cannot be written: {error}", error=error
            )

    def _hold_ordered(self, message: Message) -> None:
        """Its reflex has set the hold. A release that was said later has ended it: then there is nothing to do."""
        hold = self.holds.hold
        if hold is not None:
            self.log.warn("{name}: {hold}", name=message.name, hold=str(hold))
            self.on_hold(hold, message.name == STOP)

    def _release_ordered(self, message: Message) -> None:
        if not self.holds.release(message.said):
            raise NotTaken(f"{self.holds.hold}: that began after this release was said; release it again")
        self._settled.hold_seen = None
        self.log.warn("the hold is released by {who}", who=message.payload.who or message.sender)
        self.on_release()

    def _service_ordered(self, message: Message) -> None:
        order: ServiceOrder = message.payload
        if self.age(message) > _SERVICE_SECONDS:
            raise NotTaken("this service was ordered long ago; order it again")
        self.holds.serve(order.who or message.sender, order.why, message.said + 60 * order.minutes)
        self._hold_changed()

    def _reload_site(self) -> None:
        if self.config.site == NOWHERE:
            return
        try:
            self.site_changed(Site.load(self.config.site))
        except ConfigError as error:
            self.log.error("the site is as before: {problems}", problems="; ".join(error.problems))
            raise NotTaken(f"the site is as before: {'; '.join(error.problems)}") from None
        self.log.info("{file} is read again", file=self.config.site)

    def _hold_changed(self) -> None:
        hold = self._settled.hold_seen = self.holds.hold
        if hold is not None:
            self.log.warn("{hold}", hold=str(hold))
            self.on_hold(hold, False)
        else:
            self.log.warn("nobody holds the observatory any more")
            self.on_release()

    def _retry_failed(self, message: Message) -> None:
        self._settled.turns.retry(message.payload.number)


_OF_EVERY_AGENT = (Agent.SHUTDOWN, Agent.RETRY_FAILED, HOLD, RELEASE, SERVICE, STOP)
"""What every agent takes from others."""

guard(Agent.SHUTDOWN)
register(Agent.RETRY_FAILED, RetryFailed, guarded=True)
register(Agent.HOLD_CHANGED, NoPayload, guarded=True)


def _takes_argument(handler: Handler) -> bool:
    parameters = inspect.signature(handler).parameters.values()
    return any(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
        for parameter in parameters
    )
