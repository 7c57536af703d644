"""What is done before a turn and without it; ages that count from when something was said; clocks that step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents import Agent, Message
from pyros.agents.runtime.batches import Batch
from pyros.config import STANDARD_AGENTS
from pyros.errors import JournalError
from pyros.journal import Journal, JournalReader
from pyros.observatory import load_agent
from pyros.wire import Entry
from tests.conftest import DEMO


class ReflexDomeAgent(Agent):
    """Closes by reflex; its turns may fail."""

    def __init__(self) -> None:
        super().__init__("dome")
        self.said: list[str] = []
        self.ages: list[float] = []
        self.safe: Deferred[None] = Deferred()
        self.actions_by_message |= {"Close": self.close, "Open": self.open, "Tick": lambda: self.said.append("tick")}
        self.reflexes["Close"] = self.close_now

    def close_now(self, message: Message) -> None:
        self.said.append("reflex")

    def close(self, message: Message) -> None:
        self.ages.append(self.age(message))
        self.at_once(self.said.append, "at once")
        raise RuntimeError("the turn fails")

    def open(self) -> None:
        self.call_later(12, "Tick")

    def make_safe(self, reason: str) -> Deferred[None]:
        self.said.append("safe")
        return self.safe


def batch(name: str, said: float | None, *, ahead: float | None = 0.0, seq: int = 1) -> Batch:
    return Batch(
        [Entry(seq, f"x-{seq}", name, 0.0, msgspec.Raw(b"{}"), said)],
        "other",
        ("other", "epoch"),
        clock_offset=ahead,
        proved=True,
    )


def test_a_reflex_comes_before_its_turn_and_whatever_becomes_of_it(inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.host.loop.receive(batch("Close", 0.0))
    assert rig.agent.said == ["reflex"]
    rig.reactor.advance(0)
    rig.reactor.advance(0)
    assert rig.agent.said == ["reflex", "at once"]
    assert rig.turns.failed == 1


def test_a_message_that_comes_again_has_its_reflex_once(inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    for _ in range(2):
        rig.host.loop.receive(batch("Close", 0.0))
        rig.reactor.pump([0, 0])
    assert rig.agent.said == ["reflex", "at once"]


@pytest.mark.parametrize(
    ("said", "ahead", "age"), [(70.0, 0.0, 30.0), (70.0, -20.0, 50.0), (500.0, 0.0, 0.0), (None, 0.0, float("inf"))]
)
def test_a_message_is_as_old_as_its_being_said(
    said: float | None, ahead: float, age: float, inline: Callable[..., Any]
) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.reactor.advance(100 - rig.reactor.seconds())
    rig.run(batch("Close", said, ahead=ahead))
    assert rig.agent.ages == [age]


def test_what_waited_through_a_restart_is_of_unknown_age(tmp_path: Path, inline: Callable[..., Any]) -> None:
    class ClosingAgent(Agent):
        def __init__(self) -> None:
            super().__init__("sender")
            self.actions_by_message["Go"] = lambda: self.send_to("other", "Close")

    rig = inline(ClosingAgent(), "other")
    outcome = rig.turn("Go")
    assert outcome.outgoing[0].entry().said == rig.clock.monotonic()
    rig.stop()
    reader = JournalReader(tmp_path / "journals" / "sender.sqlite")
    assert [entry.said for entry in reader.outbox("other", 0, 10)] == [None]
    reader.close()


@pytest.mark.parametrize("step", [-3e7, -3600.0, -1.0, 1.0, 3600.0, 3e7])
def test_a_timer_fires_when_it_is_due_whatever_the_wall_clock_does(step: float, inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.host.loop.receive(batch("Open", 0.0))
    rig.reactor.advance(0)
    rig.clock.step(step)
    rig.reactor.pump([0] * 3 + [11.5])
    assert rig.agent.said == []
    rig.reactor.pump([0.5, 0, 0])
    assert rig.agent.said == ["tick"]


def test_an_agent_ends_when_what_it_moves_is_safe(inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.host.stop()
    rig.reactor.pump([0, 10])
    assert rig.agent.said == ["safe"]
    assert rig.host.running
    rig.agent.safe.callback(None)
    rig.reactor.pump([0, 0])
    assert not rig.host.running


def test_an_agent_whose_device_never_gets_safe_ends_late(inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.host.stop()
    rig.reactor.pump([Agent.SAFE_SECONDS - 1])
    assert rig.host.running
    rig.reactor.pump([2, 0])
    assert not rig.host.running


def test_an_agent_without_its_journal_makes_safe_what_it_moves(tmp_path: Path, inline: Callable[..., Any]) -> None:
    agent = ReflexDomeAgent()
    agent.safe.callback(None)
    with closing(Journal(tmp_path / "journals" / "dome.sqlite")), pytest.raises(JournalError, match="in use"):
        inline(agent, "other")
    assert agent.said == ["safe"]


@pytest.mark.parametrize("name", ["Open", "Close", "Shutdown", "Tick", "Retry failed message"])
def test_what_commands_is_not_taken_from_who_has_not_proved_the_key(name: str, inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.agent.guarded.add("Tick")
    payload = msgspec.Raw(b'{"number": 1}' if name == Agent.RETRY_FAILED else b"{}")
    unproved = Batch([Entry(1, "x", name, 0.0, payload)], "program:x", ("program:x", "epoch"))
    rig.host.loop.receive(unproved)
    rig.reactor.advance(0)
    assert rig.agent.said == []
    assert rig.turns.refused == 1
    ((_, answer),) = rig.run(unproved._replace(peer=("program:y", "epoch"))).answers
    assert answer.refused[0].reason.startswith(f"'{name}' moves a device, ends an agent or says that it is safe")
    assert "`pyros send`" in answer.refused[0].reason
    assert rig.host.running
    assert rig.agent.ages == []


OPEN_NAMES = {
    "analyzer": {"Image taken"},
    "dome": {"Park failed", "Weather unsafe"},
    "majordome": {"Dome failed", "Park failed", "Weather unsafe"},
    "monitoring": {"Alert decided", "Alerts heard", "Alerts silent", "Image analysed", "Instrument disconnected"},
    "notifier": {
        "Alert decided", "Alerts heard", "Alerts silent", "Instrument disconnected", "Notice", "Notice over",
        "Observation failed", "Weather unsafe",
    },
    "observation_manager": {
        "Calibrator off failed", "Calibrator on failed", "Close cover failed", "Dither failed", "Exposure failed",
        "Exposure started", "Filter failed", "Focus failed", "Guide failed", "Guiding lost", "Instrument disconnected",
        "Open cover failed", "Slew failed", "Slit failed",
    },
    "scheduler": {"Plan again"},
    "telescope": {"Weather unsafe"},
}  # fmt: skip
MAKES_SAFE = {"Alarm", "Hold", "Tell state"}
"""What each standard agent takes from anybody: it moves nothing, says of nothing that it is safe, begins nothing."""


@pytest.mark.parametrize("name", STANDARD_AGENTS)
def test_what_a_stranger_may_say_is_known(name: str) -> None:
    agent = load_agent(DEMO, name) if name in DEMO.agents else None
    if agent is None:
        pytest.skip("the demo has no such agent")
    taken = agent.actions_by_message.keys() - messages.GUARDED - agent.guarded - MAKES_SAFE
    assert taken <= OPEN_NAMES.get(name, set()), "register(..., guarded=True), or messages.guard, or list it here"


def test_an_agent_that_cannot_begin_makes_safe_before_it_has_ended(inline: Callable[..., Any]) -> None:
    agent = ReflexDomeAgent()
    vars(agent)["work"] = lambda: 1 // 0
    rig = inline(agent, "other")
    rig.reactor.pump([0, 0, 1])
    assert agent.said == ["safe"]
    assert rig.host.running
    agent.safe.callback(None)
    rig.reactor.pump([0, 0])
    assert not rig.host.running


def test_what_is_made_safe_is_made_so_once(inline: Callable[..., Any]) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    assert not rig.agent.made_safe
    assert rig.host.make_safe("the observatory ends") is rig.host.make_safe("the agent ends")
    rig.host.stop()
    assert rig.agent.said == ["safe"]
    assert rig.agent.made_safe
    assert rig.host.unsafe
    rig.agent.safe.callback(None)
    assert not rig.host.unsafe
    rig.reactor.pump([0, 0])


def test_an_agent_that_cannot_make_safe_ends_all_the_same(inline: Callable[..., Any]) -> None:
    agent = ReflexDomeAgent()
    rig = inline(agent, "other")
    rig.host.stop()
    agent.safe.errback(RuntimeError("no power"))
    rig.reactor.pump([0, 0])
    assert not rig.host.running


def test_a_timer_that_cannot_be_stored_is_tried_again_after_a_pause(
    inline: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = inline(ReflexDomeAgent(), "other")
    rig.host.loop.receive(batch("Open", 0.0))
    rig.reactor.pump([0, 0])
    attempts: list[float] = []

    def full(_: object) -> None:
        attempts.append(rig.clock.monotonic())
        raise JournalError("cannot store: database or disk is full")

    monkeypatch.setattr(rig.journal, "commit", full)
    rig.reactor.pump([12] + [0.1] * 100)
    assert len(attempts) == 4  # after 1, 2 and 4 s
    monkeypatch.undo()
    rig.reactor.pump([0.1] * 41)
    assert rig.agent.said[-1] == "tick"
