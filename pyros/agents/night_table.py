"""The night as a table: what the majordome does in each state at each event.

`TABLE` has a cell for every state and event: the next state and the actions, in their order. A cell that is listed
under ``ignores`` changes nothing, on purpose; what is in neither list cannot happen in that state, and the agent says
so in its log should it happen all the same. The agent (`pyros.agents.majordome`) makes events of messages and timers,
and has a method for each action; the state's name is in its journal. Plain data, for any thread.

``python -m pyros.agents.night_table`` prints the diagram and the table of docs/night.md.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where the night stands."""

    CLOSED = "closed"
    """Day: nothing moves."""
    PREPARING = "preparing"
    """Evening, closed: the detector cools; biases and darks."""
    READY = "ready"
    """Closed and parked; it waits for work and for safety."""
    OPENING = "opening"
    """The dome was told to open and hasn't said that it is open; over a roof the mount is parked first."""
    FLATS = "flats"
    """Open: flats of the twilight."""
    FOCUSING = "focusing"
    """Open: the focus is looked for."""
    OBSERVING = "observing"
    """Open: the plan runs, or nothing has been due for less than a minute."""
    CLOSING = "closing"
    """Told to close and to park; the dome and the mount haven't both said that they are."""
    FINISHING = "finishing"
    """Morning, closed: darks that match the night; the detector warms up."""
    HELD = "held"
    """A person holds the observatory: nothing moves, but closing."""
    FAULT = "fault"
    """The dome did not open three times, or does not close: an alarm each minute, and further attempts for ever."""


class NightEvent(StrEnum):
    """What may happen, in the words of docs/night.md."""

    RESTART = "restart"
    """The majordome begins, in whatever state it was left."""
    EVENING = "evening"
    """The Sun is below +5° and a night that wasn't begun, or not prepared yet, is here; in a polar night it is noon."""
    MORNING = "morning"
    """The night is over."""
    DAY = "day"
    """The Sun keeps an open dome from staying so."""
    WORK = "work"
    """The plan has an observation for now, and nothing is against it."""
    URGENT = "urgent"
    """The same for an alert's."""
    FLATS_DUE = "flats due"
    FOCUS_DUE = "focus due"
    """The focus is looked for before the next work, or because there is none; of a night whose focus was not looked for
    yet the dome opens for it."""
    MOUNT_CLEAR = "mount clear"
    """The mount says that it is parked, which a roof waits for."""
    OPENED = "opened"
    """The dome says that it is open."""
    OPENED_FOR_FLATS = "opened for flats"
    OPENED_FOR_FOCUS = "opened for focus"
    CALIBRATED = "calibrated"
    """The state's calibrations have ended, or there are none."""
    IDLE = "idle"
    """Nothing was due for a minute."""
    UNSAFE = "unsafe"
    """Monitoring says so, or is silent."""
    DOME_FAILED = "dome failed"
    """The dome could not be opened."""
    GIVEN_UP = "given up"
    """The same for the third time in a row, or later."""
    DOME_SHUT = "dome shut"
    """The dome has closed by itself, or its agent says that it may not be open."""
    DOME_SILENT = "dome silent"
    """The dome's agent has said nothing for a lease."""
    FOUND_OPEN = "found open"
    """Asked after a restart, the dome says that it isn't closed, or the mount that it moves or tracks."""
    SHUT = "shut"
    """Dome and mount have said that they are closed and parked."""
    SHUT_AT_MORNING = "shut at morning"
    OVERDUE = "overdue"
    """The state has lasted longer than it may."""
    HOLD = "hold"
    RELEASE = "release"
    RECOVERED = "recovered"
    """Closed and parked by their own words, and the pause is over."""
    MINUTE = "minute"
    """A minute of a fault has passed."""


class NightAction(StrEnum):
    """What the majordome does; each is a method of the agent."""

    ASK = "ask the devices"
    """Ask dome, mount and camera what they are doing."""
    BEGIN = "begin the night"
    """Count from here as the night of this date; the one before has its report, where it has none yet."""
    PREPARE = "prepare"
    """Cool, and order biases and darks."""
    OPEN = "open"
    """Have the dome opened and the observation begin; over a roof have the mount parked before the first, and the
    observation wait for the roof."""
    OBSERVE = "observe"
    """Have the plan's observation run; one that runs is superseded."""
    FLATS = "take flats"
    FOCUS = "focus"
    DECIDE = "look at the plan"
    ABORT = "abort the observation"
    STOP = "stop calibrating"
    CLOSE = "close and park"
    """Have the dome closed, the telescope parked, and then the cover closed."""
    PAUSE = "pause"
    """Have nothing opened for some time: the longer the more often it has failed."""
    ALARM = "alarm"
    FINISH = "finish"
    """Order darks, and warm up."""
    REPORT = "report"
    """Have the night's report written."""
    PLAN = "ask for a plan"
    WARN = "warn"
    """Say that the state has lasted too long."""


class Cell(NamedTuple):
    """The next state, and what is done on the way, in this order."""

    state: State
    actions: tuple[NightAction, ...] = ()


class _NightRow(NamedTuple):
    """One state's cells, and the events that change nothing in it."""

    cells: dict[NightEvent, Cell]
    ignores: frozenset[NightEvent]


_S, _E, _A = State, NightEvent, NightAction
_SUPERSEDE = (_A.STOP, _A.OPEN)
_SHUT_DOWN = (_A.STOP, _A.ABORT, _A.CLOSE)
_EVENING = (_A.BEGIN, _A.PREPARE)


def _row(
    *cells: tuple[tuple[NightEvent, ...] | NightEvent, State, tuple[NightAction, ...]], ignores: tuple[NightEvent, ...]
) -> _NightRow:
    row: dict[NightEvent, Cell] = {}
    for events, state, actions in cells:
        for event in (events,) if isinstance(events, NightEvent) else events:
            assert event not in row, event
            row[event] = Cell(state, actions)
    return _NightRow(row, frozenset(ignores))


_OPEN_ENDS = (
    ((_E.UNSAFE, _E.DAY, _E.DOME_SILENT), _S.CLOSING, _SHUT_DOWN),
    ((_E.DOME_SHUT, _E.DOME_FAILED), _S.CLOSING, (_A.PAUSE, *_SHUT_DOWN)),
    (_E.HOLD, _S.HELD, _SHUT_DOWN),
)
"""What ends every state in which the dome is open, or was told to open."""

_ROWS: dict[State, _NightRow] = {
    _S.CLOSED: _row(
        (_E.RESTART, _S.CLOSED, (_A.ABORT, _A.ASK)),
        (_E.EVENING, _S.PREPARING, _EVENING),
        ((_E.WORK, _E.URGENT), _S.OPENING, (_A.OPEN,)),
        (_E.UNSAFE, _S.CLOSED, (_A.CLOSE,)),
        (_E.FOUND_OPEN, _S.CLOSING, (_A.CLOSE,)),
        (_E.HOLD, _S.HELD, ()),
        ignores=(_E.DOME_FAILED,),
    ),
    _S.PREPARING: _row(
        (_E.RESTART, _S.PREPARING, (_A.ABORT, _A.ASK)),
        (_E.CALIBRATED, _S.READY, (_A.DECIDE,)),
        (_E.OVERDUE, _S.READY, (_A.WARN, _A.STOP, _A.DECIDE)),
        ((_E.WORK, _E.URGENT, _E.FLATS_DUE), _S.OPENING, _SUPERSEDE),
        (_E.UNSAFE, _S.PREPARING, (_A.CLOSE,)),
        (_E.FOUND_OPEN, _S.CLOSING, (_A.STOP, _A.CLOSE)),
        (_E.MORNING, _S.FINISHING, (_A.STOP, _A.FINISH)),
        (_E.HOLD, _S.HELD, (_A.STOP,)),
        ignores=(_E.DOME_FAILED,),
    ),
    _S.READY: _row(
        (_E.RESTART, _S.READY, (_A.ABORT, _A.ASK)),
        ((_E.WORK, _E.URGENT, _E.FLATS_DUE, _E.FOCUS_DUE), _S.OPENING, (_A.OPEN,)),
        (_E.UNSAFE, _S.READY, (_A.CLOSE,)),
        (_E.FOUND_OPEN, _S.CLOSING, (_A.CLOSE,)),
        (_E.EVENING, _S.PREPARING, _EVENING),
        (_E.MORNING, _S.FINISHING, (_A.FINISH,)),
        (_E.HOLD, _S.HELD, ()),
        ignores=(_E.DOME_FAILED,),
    ),
    _S.OPENING: _row(
        (_E.RESTART, _S.OPENING, (_A.ASK,)),
        (_E.EVENING, _S.OPENING, (_A.BEGIN,)),
        (_E.MOUNT_CLEAR, _S.OPENING, (_A.OPEN,)),
        ((_E.WORK, _E.URGENT), _S.OPENING, (_A.OBSERVE,)),
        (_E.OPENED, _S.OBSERVING, (_A.DECIDE,)),
        (_E.OPENED_FOR_FLATS, _S.FLATS, (_A.FLATS,)),
        (_E.OPENED_FOR_FOCUS, _S.FOCUSING, (_A.FOCUS,)),
        (_E.GIVEN_UP, _S.FAULT, (_A.PAUSE, *_SHUT_DOWN, _A.ALARM)),
        *_OPEN_ENDS,
        ignores=(_E.IDLE, _E.FLATS_DUE, _E.FOCUS_DUE),
    ),
    _S.FLATS: _row(
        (_E.RESTART, _S.FLATS, (_A.ASK,)),
        (_E.EVENING, _S.FLATS, (_A.BEGIN,)),
        (_E.CALIBRATED, _S.OBSERVING, (_A.DECIDE,)),
        (_E.OVERDUE, _S.OBSERVING, (_A.WARN, _A.STOP, _A.DECIDE)),
        ((_E.WORK, _E.URGENT), _S.OBSERVING, (_A.STOP, _A.OBSERVE)),
        *_OPEN_ENDS,
        ignores=(_E.IDLE, _E.OPENED, _E.OPENED_FOR_FLATS, _E.OPENED_FOR_FOCUS),
    ),
    _S.FOCUSING: _row(
        (_E.RESTART, _S.FOCUSING, (_A.ASK,)),
        (_E.EVENING, _S.FOCUSING, (_A.BEGIN,)),
        (_E.CALIBRATED, _S.OBSERVING, (_A.DECIDE,)),
        (_E.OVERDUE, _S.OBSERVING, (_A.WARN, _A.STOP, _A.DECIDE)),
        (_E.URGENT, _S.OBSERVING, (_A.STOP, _A.OBSERVE)),
        *_OPEN_ENDS,
        ignores=(
            _E.WORK,
            _E.IDLE,
            _E.OPENED,
            _E.OPENED_FOR_FLATS,
            _E.OPENED_FOR_FOCUS,
        ),
    ),
    _S.OBSERVING: _row(
        (_E.RESTART, _S.OBSERVING, (_A.ASK,)),
        (_E.EVENING, _S.OBSERVING, (_A.BEGIN,)),
        ((_E.WORK, _E.URGENT), _S.OBSERVING, (_A.OBSERVE,)),
        (_E.FLATS_DUE, _S.FLATS, (_A.FLATS,)),
        (_E.FOCUS_DUE, _S.FOCUSING, (_A.FOCUS,)),
        (_E.IDLE, _S.CLOSING, (_A.CLOSE,)),
        *_OPEN_ENDS,
        ignores=(
            _E.OPENED,
            _E.OPENED_FOR_FLATS,
            _E.OPENED_FOR_FOCUS,
        ),
    ),
    _S.CLOSING: _row(
        (_E.RESTART, _S.CLOSING, (_A.ABORT, _A.ASK, _A.CLOSE)),
        (_E.SHUT, _S.READY, (_A.DECIDE,)),
        (_E.SHUT_AT_MORNING, _S.FINISHING, (_A.FINISH,)),
        ((_E.WORK, _E.URGENT), _S.OPENING, (_A.OPEN,)),
        (_E.UNSAFE, _S.CLOSING, (_A.CLOSE,)),
        (_E.EVENING, _S.CLOSING, (_A.BEGIN,)),
        (_E.OVERDUE, _S.FAULT, (_A.CLOSE, _A.ALARM)),
        (_E.HOLD, _S.HELD, (_A.CLOSE,)),
        ignores=(_E.DOME_FAILED, _E.FOUND_OPEN, _E.MORNING),
    ),
    _S.FINISHING: _row(
        (_E.RESTART, _S.FINISHING, (_A.ABORT, _A.ASK)),
        (_E.CALIBRATED, _S.CLOSED, (_A.REPORT,)),
        (_E.OVERDUE, _S.CLOSED, (_A.WARN, _A.STOP, _A.REPORT)),
        (_E.EVENING, _S.PREPARING, (_A.STOP, *_EVENING)),
        ((_E.WORK, _E.URGENT), _S.OPENING, _SUPERSEDE),
        (_E.UNSAFE, _S.FINISHING, (_A.CLOSE,)),
        (_E.FOUND_OPEN, _S.CLOSING, (_A.STOP, _A.CLOSE)),
        (_E.HOLD, _S.HELD, (_A.STOP,)),
        ignores=(_E.DOME_FAILED, _E.MORNING),
    ),
    _S.HELD: _row(
        (_E.RESTART, _S.HELD, (_A.ABORT, _A.ASK)),
        (_E.UNSAFE, _S.HELD, (_A.CLOSE,)),
        (_E.RELEASE, _S.READY, (_A.PLAN,)),
        (_E.EVENING, _S.HELD, (_A.BEGIN,)),
        (_E.MORNING, _S.HELD, (_A.REPORT,)),
        ignores=(_E.HOLD, _E.FOUND_OPEN, _E.DOME_FAILED, _E.WORK, _E.URGENT),
    ),
    _S.FAULT: _row(
        (_E.RESTART, _S.FAULT, (_A.ABORT, _A.ASK, _A.CLOSE)),
        (_E.MINUTE, _S.FAULT, (_A.CLOSE, _A.ALARM)),
        (_E.RECOVERED, _S.CLOSING, (_A.CLOSE,)),
        (_E.UNSAFE, _S.FAULT, (_A.CLOSE,)),
        (_E.EVENING, _S.FAULT, (_A.BEGIN,)),
        (_E.MORNING, _S.FAULT, (_A.REPORT,)),
        (_E.HOLD, _S.HELD, (_A.CLOSE,)),
        ignores=(_E.FOUND_OPEN, _E.DOME_FAILED, _E.WORK, _E.URGENT),
    ),
}

TABLE: dict[tuple[State, NightEvent], Cell] = {
    (state, event): cell for state, row in _ROWS.items() for event, cell in row.cells.items()
} | {(state, event): Cell(state) for state, row in _ROWS.items() for event in row.ignores}
"""The cells; the ones that change nothing, too. The agent makes no event that a state has no cell for."""

OPEN_STATES = frozenset((State.OPENING, State.FLATS, State.FOCUSING, State.OBSERVING))
"""Those in which the dome is wanted open, and *Keep open* is said."""

_ALWAYS = (
    NightEvent.RESTART,
    NightEvent.HOLD,
    NightEvent.UNSAFE,
)  # in nearly every state: they would hide the night in the diagram


def diagram() -> str:
    """Draw the table as Mermaid's state diagram: an arrow for each change of state, with the events that cause it."""
    causes: dict[tuple[State, State], list[NightEvent]] = {}
    for (state, event), cell in TABLE.items():
        if cell.state is not state and event not in _ALWAYS:
            causes.setdefault((state, cell.state), []).append(event)
    lines = ["stateDiagram-v2", "    [*] --> closed"]
    for (state, to), events in causes.items():
        lines.append(f"    {state} --> {to}: {', '.join(events)}")
    return "\n".join(lines)


def as_markdown() -> str:
    """Write the table for people: a line for each cell that does something."""
    lines = ["| state | event | next | actions |", "|---|---|---|---|"]
    for state in State:
        groups: dict[Cell, list[NightEvent]] = {}
        for event, cell in _ROWS[state].cells.items():
            groups.setdefault(cell, []).append(event)
        for cell, events in groups.items():
            to = "" if cell.state is state else cell.state
            lines.append(f"| {state} | {', '.join(events)} | {to} | {', '.join(cell.actions)} |")
    return "\n".join(lines)


def for_document() -> str:
    """Return diagram and table as docs/night.md has them."""
    return f"```mermaid\n{diagram()}\n```\n\n{as_markdown()}"


if __name__ == "__main__":  # pragma: no cover
    sys.stdout.write(f"{for_document()}\n")
