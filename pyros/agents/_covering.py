"""The cover in front of the telescope, for the observation manager: open for the sky, closed with the dome.

What it was told last is told again until it says that it is so: an opening only while something needs the sky.

    told --the cover's word--> there
    told --it has failed, or says nothing in time--> told again after a pause; an alarm from the third time on
    there --its device was away--> told again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from pyros import messages
from pyros.agents.agent import Agent
from pyros.messages import Message
from pyros.messages.cover import CLOSE_COVER, FAILED, FINISHED, OPEN_COVER, CoverOrder

COVER_AGAIN = messages.guard("Cover again")
COVER_SECONDS = 600.0
"""Within so many seconds each of its commands has an end."""

_PAUSES = (5.0, 5.0, 60.0)
"""Seconds before it is told again, by how often in a row it has failed; the last is for all that follow."""
_MOVES: dict[str, Literal["open", "closed"]] = {OPEN_COVER: "open", CLOSE_COVER: "closed"}
_ALARMS = {"open": "the cover does not open", "closed": "the cover does not close"}
_NEEDED = {"open": "nothing is exposed on the sky", "closed": "dew and dust fall on the mirror"}


class ObservingCover(msgspec.Struct):
    """What the observation manager remembers of the cover."""

    wanted: Literal["", "open", "closed"] = ""
    """What it was told to be last; '' before the first time."""
    there: bool = False
    """Whether it has said since that it is so."""
    order: str = ""
    """The order whose answer is waited for, as the answer repeats it; '' for none."""
    of_calibration: bool = False
    """Whether a calibration gave that order, which gives it again itself."""
    orders: int = 0
    """How many of its own the observation manager gave."""
    failures: int = 0
    """How often in a row it has not done what it was told."""
    timer: int | None = None
    """When it is told again, or given up waiting for."""


class Covering:
    """Has the cover opened and closed, for the observation manager's turns.

    ``on_open`` is called when it has said that it is open; ``needed`` says whether an observation waits for that.
    """

    def __init__(self, manager: Agent, on_open: Callable[[], None], needed: Callable[[], bool]) -> None:
        self._manager, self._on_open, self._needed = manager, on_open, needed

    @property
    def _state(self) -> ObservingCover:
        state: ObservingCover = self._manager.state.cover
        return state

    @property
    def present(self) -> bool:
        """Whether there is one."""
        return Agent.COVER in self._manager.config.agents

    @property
    def is_open(self) -> bool:
        """Whether it is open by its own word, or there is none."""
        return not self.present or (self._state.wanted == "open" and self._state.there)

    def open(self, reason: str) -> None:
        """Have it opened, where there is one: it answers at once when it is open already."""
        self._order(OPEN_COVER, reason)

    def close(self, reason: str) -> None:
        """Have it closed, where there is one."""
        self._order(CLOSE_COVER, reason)

    def dome_closed(self) -> None:
        """Believe no longer that it is open, or about to be: its agent closes it with the dome."""
        if self._state.wanted == "open":
            self._state.there, self._state.order = False, ""
            self._expect(None)

    def dome_opened(self) -> None:
        """Have it opened for an observation that has waited for the dome to open again."""
        if self._needed() and not self.is_open and not self._state.order:
            self.open("the dome has opened")

    def told(self, name: str, order: str, *, of_calibration: bool = True) -> None:
        """Note that it was told to open or to close; not what concerns its lamp."""
        if name not in _MOVES:
            return
        state = self._state
        if state.wanted != _MOVES[name]:
            state.failures = 0
        state.wanted, state.there, state.order, state.of_calibration = _MOVES[name], False, order, of_calibration
        self._expect(None if of_calibration else COVER_SECONDS)

    def hears(self, message: Message) -> None:
        """Take the end of a movement, if it is of the last order; for every message of the observation manager's."""
        state, name = self._state, _COMMANDS.get(message.name)
        if name is None or message.payload.observation != state.order or _MOVES[name] != state.wanted:
            return
        if message.name == FAILED[name]:
            self._failed(message.payload.reason, lost=message.payload.lost)
            return
        state.there, state.order, state.failures = True, "", 0
        self._expect(None)
        self._manager.alarm_over(_ALARMS[state.wanted])
        if state.wanted == "open":
            self._on_open()

    def again(self) -> None:
        """Tell it again what it hasn't done, or has not said that it has."""
        state = self._state
        state.timer = None
        if state.order:
            reason = f"no end was heard within {COVER_SECONDS:.0f} s"
            self._manager.log.error("{what}: {reason}", what=_ALARMS[state.wanted], reason=reason)
            self._failed(reason, lost=False)
        else:
            self._tell_again("it is told again")

    def connected(self) -> None:
        """Tell its device, which was away, what it was told last: it may be elsewhere now."""
        state = self._state
        if state.wanted and not (state.order and state.of_calibration):
            state.there, state.order = False, ""
            self._expect(None)
            self._tell_again("its device is back")

    def overdue(self) -> None:
        """Raise the alarm: an observation has waited for it as long as one does."""
        self._alarm("it has not said that it is open")

    def _order(self, name: str, reason: str) -> None:
        if not self.present:
            return
        self._state.orders += 1
        order = f"cover {self._state.orders}"
        self.told(name, order, of_calibration=False)
        self._manager.send_to(Agent.COVER, name, CoverOrder(reason, order))

    def _tell_again(self, reason: str) -> None:
        if self._state.wanted == "closed":
            self.close(reason)
        elif self._needed():
            self.open(reason)

    def _failed(self, reason: str, *, lost: bool) -> None:
        """Have it told again; where its device was ``lost``, in a minute, or when that is back."""
        state = self._state
        state.order = ""
        state.failures += 1
        if state.failures >= len(_PAUSES):
            self._alarm(reason)
        if not state.of_calibration:
            self._expect(_PAUSES[-1] if lost else _PAUSES[min(state.failures, len(_PAUSES)) - 1])

    def _alarm(self, reason: str) -> None:
        what = self._state.wanted
        if what:
            text = f"{_ALARMS[what]}: {reason}; {_NEEDED[what]}, it is told again each minute: look at it"
            self._manager.alarm(_ALARMS[what], text)

    def _expect(self, seconds: float | None) -> None:
        self._manager.cancel_timer(self._state.timer)
        self._state.timer = None if seconds is None else self._manager.call_later(seconds, COVER_AGAIN)


_COMMANDS = {end: name for name in _MOVES for end in (FINISHED[name], FAILED[name])}
"""The command by its end."""
