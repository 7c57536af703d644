"""The night's table: every cell is listed once, and what it says keeps the dome shut when it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyros.agents.majordome import MajordomeAgent
from pyros.agents.night_table import OPEN_STATES, TABLE, NightAction, NightEvent, State, for_document

OPENING = (
    NightEvent.WORK, NightEvent.URGENT, NightEvent.FLATS_DUE, NightEvent.FOCUS_DUE, NightEvent.MOUNT_CLEAR,
)  # fmt: skip


def test_the_document_has_diagram_and_table_as_they_are() -> None:
    document = (Path(__file__).parents[2] / "docs" / "night.md").read_text("utf-8")
    assert for_document() in document, "write it anew: python -m pyros.agents.night_table"


@pytest.mark.parametrize("state", State)
def test_unsafe_is_taken_in_every_state_and_closes(state: State) -> None:
    cell = TABLE[state, NightEvent.UNSAFE]
    assert NightAction.CLOSE in cell.actions
    assert cell.state not in OPEN_STATES


@pytest.mark.parametrize("state", State)
def test_a_hold_is_taken_in_every_state_and_opens_nothing(state: State) -> None:
    cell = TABLE[state, NightEvent.HOLD]
    assert cell.state is State.HELD
    assert (NightAction.CLOSE in cell.actions) >= (state in OPEN_STATES)


def test_what_is_open_is_closed_on_the_way_to_closed() -> None:
    for (state, event), cell in TABLE.items():
        if state in OPEN_STATES:
            closes = cell.state not in OPEN_STATES
            assert (NightAction.CLOSE in cell.actions) == closes, (state, event)


def test_only_work_flats_and_focus_open() -> None:
    for (state, event), cell in TABLE.items():
        opens = NightAction.OPEN in cell.actions
        assert opens <= (event in OPENING and cell.state is State.OPENING), (state, event)
        assert opens >= (state not in OPEN_STATES and cell.state in OPEN_STATES), (state, event)


@pytest.mark.parametrize("state", [state for state in State if state not in {State.HELD, State.FAULT}])
def test_an_alert_preempts_in_one_step(state: State) -> None:
    assert set(TABLE[state, NightEvent.URGENT].actions) & {NightAction.OPEN, NightAction.OBSERVE}


@pytest.mark.parametrize("state", State)
def test_a_restart_asks_the_devices_and_opens_nothing(state: State) -> None:
    cell = TABLE[state, NightEvent.RESTART]
    assert cell.state is state
    assert NightAction.ASK in cell.actions
    assert NightAction.OPEN not in cell.actions


def test_from_every_state_the_night_goes_on_to_every_other() -> None:
    for start in State:
        reached, new = {start}, {start}
        while new:
            new = {cell.state for (state, _), cell in TABLE.items() if state in new} - reached
            reached |= new
        assert reached == set(State)


def test_the_agent_has_a_method_for_every_action() -> None:
    assert MajordomeAgent().actions.keys() == set(NightAction)
