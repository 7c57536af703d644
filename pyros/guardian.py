"""The guardian: closes the dome when the dome's agent is silent.

It is a process of its own, with its own link to the dome's device; it keeps no journal, imports no agent, and opens
nothing. The dome's agent connects to it and beats. Without a beat for a few seconds, while the device isn't closed, the
guardian closes the device itself, again and again until it says that it is closed, and raises an alarm. It tells the
majordome, which stops what is observed. Where a roof needs the mount parked it parks that first, for a minute at most,
and again where somebody else has moved it meanwhile. All times are monotonic.

What is said, in lines of ASCII; numbers grow on each connection, and the key is the observatory's (`pyros.keys`):

    guardian, first              GUARDIAN 1 <nonce>
    the dome's agent             BEAT <number> <signature of "beat", the nonce and the number>
    ... of a dome at rest        BEAT <number> <signature> rest <signature of "rest", the nonce and the number>
    guardian, to each beat       OK <what the dome does; unknown: it cannot be asked; starting: it was not yet>
    ... of a dome at rest        OK closed rest, where it sees that, too; and unasked OK <...> once it doesn't
    anybody, once, and answer    STATUS, one line of JSON
    guardian, to the rest        ERR <reason>, and the connection ends

A beat that was said before, or that a stranger says, counts for nothing. After a beat at rest the guardian bears a
longer silence while it finds the dome closed and the connection stands. From another computer all this is said in TLS,
by certificates like the agents': the guardian's has its section's name, and only who shows that of the dome's agent may
beat. Where TLS is awaited, the guardian says its first line after what comes. Everything runs in the reactor's thread.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from pyros import keys, messages
from pyros.alarms import Alarms
from pyros.clock import Clock, Timer, cancel_call
from pyros.config import Config, GuardianConfig, StandardAgents
from pyros.errors import AgentError, ConfigError, WireError
from pyros.instruments import connect
from pyros.instruments.parking import park
from pyros.messages.cover import CLOSE_COVER, CoverOrder
from pyros.reactor import Reactor
from pyros.sender import Sender
from pyros.sender.handshake import observatory_key
from pyros.sender.inbound_tls import InboundTls, PortTls
from pyros.sender.tcp import bound_silence

NAME = "guardian"
SILENT = "the dome's agent is silent"
"""The key of the alarm while it closes the dome, or keeps it closed, instead of the agent."""
NOT_CLOSED = "the guardian cannot close the dome"

_STATE_SECONDS = 4.5  # for the device to say what it does: question and answer may each be on their way for 2 s
_PARK_SECONDS = 60.0  # for the mount, before the roof closes anyway
_CLOSE_SECONDS = 120.0  # for one attempt to close
_AGAIN_SECONDS = 2.0  # from a failed attempt to the next
_ALARM_SECONDS = 10.0  # from an alarm that nobody took to the next attempt
_JUST_AFTER_SECONDS = 0.01  # after the end of the silence that it bears, for rounding
_RESTING_BEATS = 2
"""A closed device, whose agent beats, is asked again after so many times the silence that it bears."""
_STIRRED_SECONDS = 2.0
"""How long an agent may take to beat that is told that its dome doesn't rest."""
_REST_SECONDS = 20.0
"""How long a silence it bears at least of an agent whose dome rests, for both."""
_IDLE_SECONDS = 30.0  # without a line, after which a connection ends
_MAX_CONNECTIONS = 16


class Guardian:
    """Watches one dome. ``send(agent, name, payload)`` delivers a message and may block; it runs in a thread."""

    def __init__(
        self, config: Config, reactor: Reactor, clock: Clock, *, send: Callable[[str, str, Any], object] | None = None
    ) -> None:
        if config.guardian is None:
            raise ConfigError([f"{config.path}: [guardian]: the section is missing"])
        self.section: GuardianConfig = config.guardian
        self.config, self.reactor, self.clock = config, reactor, clock
        self.log = Logger(NAME)
        self.state = "starting"
        """What the device last said it does; ``unknown`` while it cannot be asked, ``starting`` before it was."""
        self.beats, self._told = 0, ""
        self.connections: list[_GuardianConnection] = []
        self.tls = PortTls(self.section.place)
        self._send = send or partial(Sender.send_to, config=config, timeout=2.0)
        self._alarms = Alarms(NAME, config.on_alarm, clock, self.log, self._tell_monitoring)
        self._looking = False
        self._looked = -math.inf
        """When the device was asked last, monotonic seconds."""
        self._rests = False
        """The last beat was of a dome at rest."""
        self.closing = False
        self._task: Deferred[None] = succeed(None)
        self._timers: dict[str, Timer] = {}
        self._ended = False

    def start(self) -> None:
        """Open the port and begin to look at the device. Raises AgentError or ConfigError."""
        self.key = observatory_key(self.config)
        dome = self.config.agent("dome")
        self._dome = connect("dome", dome.driver, dome.address, self.reactor, self.clock)
        try:
            self._port = self.reactor.listenTCP(self.section.port, _Connections(self), interface=self.section.ip)
        except CannotListenError as error:
            self._dome.disconnect()
            where = f"{self.config.path}: [guardian] port: cannot listen on {self.section.where}"
            raise AgentError(f"{where}: {error.socketError}; is the guardian running already?") from None
        self.since, self._last_beat = self.clock.time(), self.clock.monotonic()
        self._look()

    def stop(self) -> Deferred[Any]:
        """Forget everything; what the device does goes on."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._ended = True
        for timer in self._timers.values():
            cancel_call(timer)
        self._alarms.close()
        self._task.cancel()
        await maybeDeferred(self._port.stopListening)
        for connection in list(self.connections):
            connection.transport.abortConnection()
        await self._dome.disconnect()

    @property
    def silence(self) -> float:
        """Seconds since the last beat, or since the start."""
        return self.clock.monotonic() - self._last_beat

    @property
    def patience(self) -> float:
        """Seconds of silence that it bears."""
        rests = self._rests and self.state == "closed"
        return max(self.section.beat, _REST_SECONDS) if rests else self.section.beat

    @property
    def silent(self) -> bool:
        """Whether nobody else closes the dome."""
        return self.silence > self.patience

    def beat(self, rests: bool) -> str:
        """Take a beat of the dome's agent, whose dome ``rests`` for it; returns what the dome does."""
        self.beats += 1
        self._told, self._rests = self.state, rests and self.state == "closed"
        self._last_beat = self.clock.monotonic()
        self._alarms.end_alarm(SILENT)
        return f"{self.state} rest" if self._rests else self.state

    def lost(self) -> None:
        """Bear no longer silence: a connection has ended, on which the agent may have said that its dome rests."""
        if self._rests and not self._ended:
            self._rests = False
            self._later("look", self._pause(), self._look)

    def status(self) -> dict[str, Any]:
        """How it is doing, for people and programs; ``beat`` is the seconds since the last one."""
        return {
            "guardian": self.config.name, "data": str(self.config.data), "pid": os.getpid(), "since": self.since,
            "dome": self.state, "beats": self.beats, "told": self._told, "beat": round(self.silence, 1),
            "closing": self.closing, "alarms": [alarm._asdict() for alarm in self._alarms.raised.values()],
        }  # fmt: skip

    def _look(self) -> None:
        """Ask the device what it does, unless it rests; see `_pause`."""
        self._later("look", self._pause(), self._look)
        now = self.clock.monotonic()
        for connection in list(self.connections):
            if now - connection.heard > _IDLE_SECONDS:
                connection.transport.abortConnection()
        rests = self.state == "closed" and not self.silent and now - self._looked < _RESTING_BEATS * self.section.beat
        if not self._looking and not rests:
            self._looking, self._looked = True, now
            Deferred.fromCoroutine(self.look())

    def _pause(self) -> float:
        """Seconds to the next look: to the end of the silence it bears while the device and the agent's beat are there.

        Else `poll`.
        """
        if self.state in ("starting", "unknown"):
            return self.section.poll
        most = _RESTING_BEATS * self.section.beat
        return max(self.section.poll, min(most, self.patience - self.silence + _JUST_AFTER_SECONDS))

    async def look(self) -> None:
        """Ask the device once, and close it if it must be closed. Raises nothing."""
        try:
            self.state = await self._dome.state().addTimeout(_STATE_SECONDS, self.reactor)
        except Exception:  # of whatever kind: it isn't known to be closed
            self.state = "unknown"
        self._looking = False
        if self.state == "closed":
            self._alarms.end_alarm(NOT_CLOSED)
        elif self._rests:
            self._stirred()
        elif self.silent and not self.closing and not self._ended:
            self._task = Deferred.fromCoroutine(self._close()).addErrback(self._not_closed)

    def _stirred(self) -> None:
        """Tell the agent, whose dome rests, that it doesn't: it has a moment to beat."""
        self._rests = False
        self._last_beat = max(self._last_beat, self.clock.monotonic() - self.section.beat + _STIRRED_SECONDS)
        self._later("look", self._pause(), self._look)
        for connection in self.connections:
            if connection.number:
                connection.sendLine(f"OK {self.state}".encode())

    async def _close(self) -> None:
        """Close the dome, again and again until it says that it is closed, or its agent is back."""
        self.closing, began = True, self.clock.monotonic()
        try:
            text = f"the dome is {self.state}, its agent silent for {self.silence:.0f} s: the guardian closes it"
            self.log.warn("{text}", text=text)
            self._alarms.raise_alarm(SILENT, f"{text}; look why, and start the agent again")
            self._stop_observing("the guardian closes it, for the dome's agent is silent")
            if self.config.agent("dome").roof and "telescope" in self.config.agents:
                await self._park()
            while self.silent and self.state != "closed":
                try:
                    await self._dome.close().addTimeout(_CLOSE_SECONDS, self.reactor)
                except CancelledError:
                    raise
                except Exception as error:  # of whatever kind: it is tried again
                    self.log.error("the dome does not close, and is told again: {why}", why=error)
                    self._alarms.raise_alarm(NOT_CLOSED, f"the guardian cannot close the dome, and goes on: {error}")
                    await deferLater(self.reactor, _AGAIN_SECONDS)
                await self.look()
            if self.silent:
                closed = messages.Reason(reason="the guardian has closed it")
                self._tell(StandardAgents.COVER, messages.DOME_CLOSED, messages.DOME_CLOSED, closed)
            self.log.info(
                "the dome is {state} after {seconds:.1f} s", state=self.state, seconds=self.clock.monotonic() - began
            )
        finally:
            self.closing = False  # whatever has failed: the next look begins again

    async def _park(self) -> None:
        """Park the mount, so that the roof cannot hit it, within `_PARK_SECONDS`."""
        try:
            await park(self.config, self.reactor, self.clock, self.log, _PARK_SECONDS)
        except Exception as error:
            self.log.critical("the mount isn't parked, and the roof closes all the same: {why}", why=error)

    def _not_closed(self, failure: Failure) -> None:
        if not self._ended:
            self.log.failure("the guardian's closing of the dome has failed: it looks again", failure)

    def _tell_monitoring(self, name: str, payload: Any) -> None:
        """Tell of an alarm, or of its end, until there is something newer to tell of it."""
        self._tell(StandardAgents.MONITORING, payload.key, name, payload)

    def _stop_observing(self, reason: str) -> None:
        """Say in the agent's place why the dome may not be open: nobody else stops what is observed in time.

        The majordome, which hears it, may be dead, too; so the observation manager is told itself, as the majordome
        tells it: what it observes, or calibrates on the sky, it would send the mount back to, under a roof that closes.
        """
        report = messages.DomeReport(state=self.state, may_open=reason)
        self._tell(StandardAgents.MAJORDOME, messages.KEPT_OPEN, messages.KEPT_OPEN, report)
        order = CoverOrder(f"the dome closes: {reason}")
        self._tell(StandardAgents.OBSERVATION_MANAGER, CLOSE_COVER, CLOSE_COVER, order)

    def _tell(self, agent: str, key: str, name: str, payload: Any) -> None:
        """Tell an agent, until it has taken it, or there is something newer with the same ``key``."""
        counts = self.silent or name in (messages.ALARM, messages.ALARM_OVER)  # else its own agent tells it again
        if agent in self.config.agents and not self._ended and counts:
            self._later(key, _ALARM_SECONDS, self._tell, agent, key, name, payload)
            pool = self.reactor.getThreadPool()
            told = maybeDeferred(deferToThreadPool, self.reactor, pool, self._send, agent, name, payload)
            told.addCallbacks(lambda _, timer=self._timers[key]: timer.active() and timer.cancel(), lambda _: None)

    def _later(self, what: str, seconds: float, function: Callable[..., object], *args: Any) -> None:
        cancel_call(self._timers.get(what))
        self._timers[what] = self.clock.call_later(seconds, function, *args)


class _GuardianConnection(LineOnlyReceiver):
    """Somebody who beats, or asks how it is."""

    transport: ITCPTransport
    delimiter = b"\n"
    MAX_LENGTH = 256

    def __init__(self, guardian: Guardian) -> None:
        self._guardian, self._nonce = guardian, keys.nonce()
        self._tls, self._greeted = InboundTls(guardian.tls), False
        self.heard = guardian.clock.monotonic()
        self.number = 0
        """That of its last beat; 0: it has not proved the key."""

    def connectionMade(self) -> None:
        self._guardian.connections.append(self)
        bound_silence(self.transport)
        if not self._tls.is_expected(self.transport):
            self._greet()

    def _greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            self.sendLine(f"GUARDIAN 1 {self._nonce}".encode())

    def dataReceived(self, data: bytes) -> None:
        try:
            taken = self._tls.takes(self.transport, data)
        except WireError as error:
            if self._guardian.tls.is_news(str(error)):
                self._guardian.log.warn("{host} is refused: {why}", host=self.transport.getPeer().host, why=error)
            self.sendLine(f"ERR {error}".encode())
            self.transport.loseConnection()
            return
        self._greet()
        if not taken:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        self.heard = self._guardian.clock.monotonic()
        word, *rest = line.decode("ascii", "replace").split() or [""]
        if word == "BEAT" and self._is_from_dome() and self._is_new(*rest[:2]):
            self.sendLine(f"OK {self._guardian.beat(self._is_at_rest(*rest[2:4]))}".encode())
            return
        if word == "STATUS":
            self.sendLine(json.dumps(self._guardian.status()).encode())
        else:
            self.sendLine(b"ERR say STATUS, or BEAT, a number, and its signature by the key; none comes twice")
        self.transport.loseConnection()

    def _is_from_dome(self) -> bool:
        shown, wanted = self._tls.certified, self._guardian.config.agent("dome").name
        if shown in (None, wanted):
            return True
        told = f"a beat with the certificate of {shown!r}, and not of {wanted!r}, counts for nothing"
        if self._guardian.tls.is_news(told):
            self._guardian.log.warn("{told}", told=told)
        return False

    def _is_new(self, number: str = "", signature: str = "") -> bool:
        if not re.fullmatch("[0-9]{1,15}", number) or int(number) <= self.number:
            return False
        proved = keys.is_signed(signature, self._guardian.key, "beat", self._nonce, int(number))
        self.number = int(number) if proved else self.number
        return proved

    def _is_at_rest(self, word: str = "", signature: str = "") -> bool:
        return word == "rest" and keys.is_signed(signature, self._guardian.key, word, self._nonce, self.number)

    def give_way(self) -> None:
        """Close at once, for another connection; it counts no more, though its end comes with the reactor's next round.

        In one round some hundred may be accepted.
        """
        self._guardian.connections.remove(self)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self in self._guardian.connections:
            self._guardian.connections.remove(self)
        if self.number:
            self._guardian.lost()
        if trouble := self._tls.trouble(reason):
            self._guardian.log.warn("{trouble}", trouble=trouble)


class _Connections(ServerFactory):
    """Takes connections from allowed networks; of too many, the oldest that hasn't proved the key goes."""

    noisy = False

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian

    def buildProtocol(self, addr: Any) -> _GuardianConnection | None:
        ip = ip_address(addr.host.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if not any(ip in network for network in self._guardian.section.allow):
            return None
        connections = self._guardian.connections
        if len(connections) >= _MAX_CONNECTIONS:
            strangers = [each for each in connections if not each.number]
            (strangers or connections)[0].give_way()
        return _GuardianConnection(self._guardian)
