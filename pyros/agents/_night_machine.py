"""The night's state, moved by the table: an event gives the next state and the actions; a state has a longest time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyros import messages
from pyros.agents.agent import Agent
from pyros.agents.night_state import MajordomeState
from pyros.agents.night_table import OPEN_STATES, TABLE, Cell, NightAction, NightEvent, State
from pyros.messages import Payload
from pyros.nights import diary
from pyros.planning import Site
from pyros.planning.night_log import night_name


class Limit(Payload, frozen=True):
    """That a state has lasted as long as it may: the number of the change that it began with."""

    number: int


STATE_OVERDUE = messages.register("State overdue", Limit, guarded=True)
LIMIT_SECONDS = {
    State.PREPARING: 1800.0, State.OPENING: 300.0, State.FLATS: 14_400.0, State.FOCUSING: 1800.0, State.CLOSING: 300.0,
    State.FINISHING: 7200.0, State.FAULT: 60.0,
}  # fmt: skip
"""For how long a state may last; of a fault it is the minute between two alarms.

Flats of a morning begin at first light and wait for more: at 58 degrees of latitude for up to 2.8 hours. Day, work and
the weather end them.
"""


class NightMachine:
    """Moves the majordome's state; its methods are for the agent's turns. ``site`` is known when the agent works."""

    site: Site

    def __init__(self, agent: Agent, actions: Mapping[NightAction, Callable[[str], None]]) -> None:
        self._agent, self._actions = agent, actions
        self.impossible = 0
        """How often an event came up that the table has no cell for."""
        self.mount_clear = False
        """The mount has said in this state that it is parked, for a roof that is about to open."""
        self.was_open = self.was_closing = False
        """Whether the dome was wanted open, or was being closed, before the event that is being handled."""

    @property
    def _state(self) -> MajordomeState:
        state: MajordomeState = self._agent.state
        return state

    @property
    def dome_wanted(self) -> bool:
        """Whether the dome shall be open now, or be opened."""
        return self._state.state in OPEN_STATES

    def happen(self, event: NightEvent, reason: str) -> None:
        """Go to the next state, and do what the table says; ``reason`` is for people, and goes with the orders."""
        before = self._state.state
        cell = TABLE.get((before, event))
        if cell is None:
            self.impossible += 1
            self._agent.log.error("{event} while {state}: the table has no such cell", event=event, state=before)
            return
        self.was_open = self.dome_wanted
        if before is not State.OPENING:
            self.was_closing = before is State.CLOSING and Agent.DOME not in self._state.shut
        if cell.state is not before:
            self._enter(cell, reason or event)
        for action in cell.actions:
            self._actions[action](reason or event)

    def _enter(self, cell: Cell, reason: str) -> None:
        self._agent.log.info("{old} -> {new}: {reason}", old=self._state.state, new=cell.state, reason=reason)
        self._agent.cancel_timer(self._state.end_timer)
        self._state.end_timer = None
        self._state.state = cell.state
        self.note("state", cell.state, reason)
        self.mount_clear = False
        self.limit_state()

    def note(self, what: diary.What, value: str, reason: str = "", alert: str = "") -> None:
        """Write a line into the diary, with this turn."""
        now = self._agent.clock.time()
        line = diary.DiaryLine(night_name(self.site, now), now, what, value, reason, alert)
        self._agent.in_transaction(lambda db: diary.write(db, line))

    def limit_state(self) -> None:
        """Hear of it when the state has lasted as long as it may."""
        self._state.change += 1
        self._agent.cancel_timer(self._state.limit_timer)
        self._state.limit_timer = None
        if (seconds := LIMIT_SECONDS.get(self._state.state)) is not None:
            self._state.limit_timer = self._agent.call_later(seconds, STATE_OVERDUE, Limit(number=self._state.change))
