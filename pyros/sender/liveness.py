"""Whether the other end of a connection lives: by the bytes that come from it, whatever they say.

Two rules, one for each side of the wire, without sockets. Both sides say in their greeting that they know them; to a
peer of an older PYROS nothing is said, and TCP alone finds out.

* The receiver answers whatever comes within a second: by its acknowledgement, or else by ``{"alive": bytes}``, which
  says how many bytes of the connection have come. So does one that reads nothing for a while, as its mailbox is full. A
  frame that comes slowly is answered all the while, which is why a link of 64 kbit/s is not taken for dead.
* The sender says the same when it has said nothing for 15 s, which also keeps a router from forgetting the connection.
  It gives up a connection on which something that it has said isn't answered, and nothing comes for 4 s.

Between two processes of one computer there is no router, and the kernel tells when the other has ended. On such a
*local* connection nobody pings and silence is no sign of death; what is said is still answered, so that the next word
finds one that has died all the same. Only what is fleeting isn't, where there was a sign of life within `SIGN_SECONDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pyros.clock import cancel_call
from pyros.reactor import Reactor

PING_SECONDS = 15.0
"""After so long without a word the sender says that it is there."""

PATIENCE_SECONDS = 4.0
"""How long a sender waits at least for a sign of life."""

MAX_PATIENCE_SECONDS = 30.0
"""How long it waits at most, on a path that was slow from the beginning."""

ANSWER_SECONDS = 1.0
"""Within so long a receiver shows that it lives, when something has come."""

STALE_SECONDS = 45.0
"""After so long without a byte a receiver closes the connection of a sender that knows these rules."""

INBOUND_PATIENCE_SECONDS = 12.0
"""How long it waits while bytes come from the other agent's own connection: its answers may stand behind what that
says on a narrow line. But then our connection may have died all the same, as where a router has forgotten it alone."""

SIGN_SECONDS = 30.0
"""Within a computer a sign of life counts for so long: what is fleeting is not answered again before. Half a lease, so
that a connection which has died all the same is replaced before a lease ends by it."""

_DOUBT_SECONDS = 0.5
"""A process that was held up reads first what has come meanwhile, and judges then."""


class Path:
    """The way to another computer, which several connections share: what one hears tells that the others may wait.

    Where a narrow line is full of one's frames, the words of another stand behind them.
    """

    def __init__(self) -> None:
        self.heard = -math.inf
        """When bytes came last on any of our connections, seconds of the reactor."""
        self.heard_inbound = -math.inf
        """The same of the connections that were made from there."""

    def patience(self, now: float) -> float:
        """How many seconds a connection may be silent, as something has come on another one of late; 0: as ever."""
        if now - self.heard < PATIENCE_SECONDS:
            return MAX_PATIENCE_SECONDS
        return INBOUND_PATIENCE_SECONDS if now - self.heard_inbound < PATIENCE_SECONDS else 0.0


class SenderWatch:
    """The sender's side of one connection; for the reactor's thread."""

    def __init__(self, reactor: Reactor, path: Path, ping: Callable[[], None], give_up: Callable[[str], None]) -> None:
        """``ping()`` says that we are there; ``give_up(reason)`` ends the connection, and is called once.

        While others on its ``path`` hear something, a connection is given up later: after the path's patience.
        """
        self._reactor = reactor
        self._path = path
        self._ping = ping
        self._give_up = give_up
        self._patience = PATIENCE_SECONDS
        self._local = False
        self._spoke: float | None = None
        """Since when an answer is waited for, or a further sign of life; None: all that was said has arrived."""
        self._last_word = 0.0
        self._sign = -math.inf
        self._doubted = False
        self._timer: Any = None
        self.watching = False
        """Whether it has begun to watch."""

    def start(self, round_trip: float, *, local: bool = False) -> None:
        """Begin to watch; ``round_trip`` (seconds) is how long the other side took to answer so far."""
        self.watching = True
        self._local = local
        self._patience = min(max(PATIENCE_SECONDS, 2 * round_trip), MAX_PATIENCE_SECONDS)
        self._last_word = self._reactor.seconds()
        if not local:
            self._timer = self._reactor.callLater(PING_SECONDS, self._look)

    def wrote(self, *, fleeting: bool = False) -> None:
        """Note that something was said; what is ``fleeting`` gets no acknowledgement."""
        if not self.watching:
            return
        now = self._reactor.seconds()
        if fleeting and self._local and now - self._sign < SIGN_SECONDS:
            return
        self._last_word = now
        if self._spoke is None:
            self._spoke = now
            if self._timer is None:
                self._timer = self._reactor.callLater(self._patience, self._look)
            elif self._timer.getTime() > now + self._patience:
                self._timer.reset(self._patience)

    def heard(self, everything: bool) -> None:
        """Note that bytes have come; ``everything`` that was said has arrived by what they say."""
        now = self._path.heard = self._reactor.seconds()
        self._spoke = None if everything or not self.watching else now
        self._doubted = False
        if self._local and everything and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def signed(self) -> None:
        """Note that a sign of life has come."""
        self._sign = self._reactor.seconds()

    def stop(self) -> None:
        """Watch no more."""
        self.watching = False
        cancel_call(self._timer)
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        silent = 0.0 if self._spoke is None else now - self._spoke
        waits = silent < self._path.patience(now)
        if silent >= self._patience and self._doubted and not waits:
            self.watching = False
            self._give_up(f"no sign of life for {silent:.1f} s")
            return
        if silent >= self._patience:
            self._doubted = True
            pause = _DOUBT_SECONDS
        elif self._spoke is not None:
            pause = self._patience - silent
        elif self._local:
            return
        else:
            pause = self._last_word + PING_SECONDS - now
        ping = pause <= 0
        self._timer = self._reactor.callLater(PING_SECONDS if ping else pause, self._look)
        if ping:
            self._ping()


class ReceiverWatch:
    """The receiver's side of one connection, whose sender knows the rules; for the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        is_unread: Callable[[], bool],
        say_alive: Callable[[], None],
        give_up: Callable[[str], None],
        *,
        local: bool = False,
        seldom: bool = False,
    ) -> None:
        """``is_unread()`` tells whether nothing is being read now. The others are as a sender's.

        ``seldom``: for that sender a sign of life within a computer counts for `SIGN_SECONDS`.
        """
        self._reactor = reactor
        self._is_unread = is_unread
        self._say_alive = say_alive
        self._give_up = give_up
        self._local, self._seldom = local, seldom
        self._signed = -math.inf
        self._heard = reactor.seconds()
        self._owed = False
        self._timer: Any = None if local else reactor.callLater(ANSWER_SECONDS, self._look)
        self._quick = not local
        """Whether the timer is one for an answer, and not for silence."""

    def heard(self) -> None:
        """Note that bytes have come."""
        self._owed = True
        self._hasten()

    def answered(self) -> None:
        """Note that something was said: it tells as much as a sign of life."""
        self._owed = False

    def on_fleeting(self) -> None:
        """Note that something has come which no acknowledgement will answer, and which `heard` was not told of."""
        if not self._local:
            self.heard()
        elif not self._seldom or self._reactor.seconds() - self._signed >= SIGN_SECONDS:
            self._sign()

    def held(self) -> None:
        """Note that nothing is read from now on."""
        self._hasten()

    def stop(self) -> None:
        """Watch no more."""
        self._quick = True  # nothing begins anew
        cancel_call(self._timer)

    def _sign(self) -> None:
        self._signed = self._reactor.seconds()
        self._say_alive()

    def _hasten(self) -> None:
        if self._quick:
            return
        self._quick = True
        self._heard = self._reactor.seconds()
        if self._timer is None:
            self._timer = self._reactor.callLater(ANSWER_SECONDS, self._look)
        else:
            self._timer.reset(ANSWER_SECONDS)

    def _look(self) -> None:
        now = self._reactor.seconds()
        unread = self._is_unread()
        self._timer = None
        if self._owed or unread:
            self._heard = now
            self._owed = False
            self._quick = unread or not self._local
            if self._quick:
                self._timer = self._reactor.callLater(ANSWER_SECONDS, self._look)
            self._sign()
        elif self._local:
            self._quick = False
        elif now - self._heard >= STALE_SECONDS:
            self._give_up(f"nothing was heard for {now - self._heard:.0f} s")
        else:
            self._quick = False
            self._timer = self._reactor.callLater(STALE_SECONDS, self._look)
