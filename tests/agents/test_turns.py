"""Turns: all effects of a turn or none, a failing handler undoes its own only, each message once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyros.agents import Agent, Message
from pyros.agents.runtime.batches import Batch
from pyros.errors import AgentError, JournalError, StateError, UnknownAgent
from pyros.sender import Sender
from pyros.wire import MAX_FRAME, Entry


class Log(msgspec.Struct):
    done: list[str] = []


class WorkingAgent(Agent):
    """Its handlers do every kind of thing, and some fail afterwards."""

    state: Log

    def __init__(self) -> None:
        super().__init__("working")
        self.works = True
        self.called: list[str] = []
        self.actions_by_message |= {"Do": self.do, "Fail": self.fail, "Send": self.send, "Tick": self.tick}

    def effects(self, what: str) -> None:
        self.state.done.append(what)
        self.send_to("other", "Done", {"what": what})
        Sender.send_to("other", "Sent", {"what": what})
        self.call_later(10, "Tick", {"what": what})
        self.after_commit(self.called.append, what)

    def do(self, message: Message) -> None:
        self.effects(message.payload.get("what", ""))

    def fail(self, message: Message) -> None:
        self.effects("failing")
        if not self.works:
            raise RuntimeError(f"no luck with {message.name}")

    def send(self, message: Message) -> None:
        self.send_to(**message.payload)

    def tick(self, message: Message) -> None:
        self.state.done.append("tick " + message.payload["what"])


def do(what: str) -> tuple[str, bytes]:
    return ("Do", msgspec.json.encode({"what": what}))


@pytest.fixture
def agent() -> WorkingAgent:
    return WorkingAgent()


@pytest.fixture
def rig(inline: Callable[..., Any], agent: WorkingAgent) -> Any:
    return inline(agent, "other")


def outgoing(outcome: Any) -> list[tuple[int, str, Any]]:
    return [(each.seq, each.name, msgspec.json.decode(each.payload)["what"]) for each in outcome.outgoing]


def test_a_failing_handler_undoes_its_own_effects_only(rig: Any, agent: WorkingAgent) -> None:
    agent.works = False
    outcome = rig.turn(do("a"), "Fail", do("b"))
    assert agent.state.done == ["a", "b"]
    assert outgoing(outcome) == [(1, "Done", "a"), (2, "Sent", "a"), (3, "Done", "b"), (4, "Sent", "b")]
    assert [function_and_args[1] for function_and_args in outcome.calls] == [("a",), ("b",)]
    assert [msgspec.json.decode(row[0])["what"] for row in rig.rows("SELECT payload FROM timers")] == ["a", "b"]
    (kept,) = rig.rows("SELECT number, name, error FROM received WHERE error IS NOT NULL")
    assert kept[:2] == (2, "Fail")
    assert "RuntimeError: no luck with Fail" in kept[2]
    assert "in fail" in kept[2]
    ((_, answer),) = outcome.answers
    assert (answer.last, answer.refused) == (3, [])
    assert rig.turns.failed == 1


def test_a_failed_message_is_retried_and_handled_once(rig: Any, agent: WorkingAgent) -> None:
    agent.works = False
    rig.turn("Fail")
    retry = (Agent.RETRY_FAILED, b'{"number": 1}')
    rig.turn(retry, first=2)
    assert (rig.turns.failed, agent.state.done) == (1, [])
    agent.works = True
    outcome = rig.turn(retry, retry, first=3)  # two in one turn
    assert agent.state.done == ["failing"]
    assert outgoing(outcome) == [(1, "Done", "failing"), (2, "Sent", "failing")]
    assert rig.turns.failed == 0
    assert rig.journal.failed_message(1) is None
    ((_, answer),) = outcome.answers
    assert [(refusal.seq, refusal.reason) for refusal in answer.refused] == [(4, "no failed message has number 1")]


def test_a_failing_handler_leaves_what_came_before_it_in_its_turn(rig: Any, agent: WorkingAgent) -> None:
    """Also what is recorded between two handlers: that a timer has fired, that a failed message was handled again."""
    agent.works = False
    rig.turn(("Send", b'{"agent": "other", "name": "x"}'), do("a"), "Fail")
    agent.works = True
    for call in rig.reactor.getDelayedCalls():
        call.cancel()
    rig.reactor.advance(10)
    bad = ("Send", b'{"agent": "nobody", "name": "x"}')
    retried = Batch(
        [Entry(4, "r", Agent.RETRY_FAILED, 0.0, msgspec.Raw(b'{"number": 3}'))], "other", ("other", "epoch"),
        proved=True,
    )  # fmt: skip
    failing = [Entry(seq, "f", bad[0], 0.0, msgspec.Raw(bad[1])) for seq in (5, 6)]
    rig.run(retried, *rig.turns.due_timers(), Batch(failing, "other", ("other", "epoch"), proved=True))
    assert agent.state.done == ["a", "failing", "tick a"]
    assert rig.rows("SELECT number FROM received WHERE error IS NOT NULL") == [(6,), (7,)]
    assert [msgspec.json.decode(row[0])["what"] for row in rig.rows("SELECT payload FROM timers")] == ["failing"]


def test_a_retried_message_that_nobody_takes_any_more_stays_failed(rig: Any, agent: WorkingAgent) -> None:
    agent.works = False
    rig.turn("Fail")
    del agent.actions_by_message["Fail"]
    outcome = rig.turn((Agent.RETRY_FAILED, b'{"number": 1}'), first=2)
    assert "takes no message 'Fail'" in outcome.answers[0][1].refused[0].reason
    assert rig.turns.failed == 1
    assert rig.journal.failed_message(1) is not None


@pytest.mark.parametrize("payload", [b"{}", b'{"number": "one"}', b'{"number": 99}'])
def test_a_retry_of_nothing_is_refused(rig: Any, payload: bytes) -> None:
    outcome = rig.turn((Agent.RETRY_FAILED, payload))
    assert "number" in outcome.answers[0][1].refused[0].reason
    assert rig.rows("SELECT count(*) FROM received") == [(0,)]


def test_messages_that_come_again_are_acknowledged_and_not_handled(rig: Any, agent: WorkingAgent) -> None:
    rig.turn(do("1"), do("2"))
    outcome = rig.turn(do("2"), do("3"), first=2)
    assert agent.state.done == ["1", "2", "3"]
    assert outcome.answers[0][1].last == 3
    twice = [Batch([Entry(4, "x", *do_entry("4"))], "other", ("other", "epoch"), proved=True)] * 2
    assert [answer.last for _, answer in rig.run(*twice).answers] == [4, 4]
    assert agent.state.done[-2:] == ["3", "4"]


def do_entry(what: str) -> tuple[str, float, Any]:
    name, json = do(what)
    return (name, 0.0, msgspec.Raw(json))


def test_what_came_before_a_gap_is_handled_once(rig: Any, agent: WorkingAgent) -> None:
    """A sender that leaves out a number is cut off; what it then sends again must not be handled again."""
    rig.turn(do("1"))
    entries = [Entry(seq, "x", *do_entry(str(seq))) for seq in (2, 4)]
    outcome = rig.run(Batch(entries, "other", ("other", "epoch"), proved=True))
    assert outcome.answers[0][1].missing == 3
    assert agent.state.done == ["1", "2"]
    assert rig.journal.seen["other", "epoch"] == 2
    rig.turn(do("2"), do("3"), do("4"), first=2)
    assert agent.state.done == ["1", "2", "3", "4"]


def test_a_sender_with_a_new_journal_is_not_mistaken_for_a_repetition(rig: Any, agent: WorkingAgent) -> None:
    rig.turn(do("old 1"), do("old 2"))
    rig.run(Batch([Entry(1, "x", *do_entry("new 1"))], "other", ("other", "another epoch"), proved=True))
    assert agent.state.done == ["old 1", "old 2", "new 1"]


def test_a_receiver_with_a_new_journal_goes_on_where_the_sender_is(rig: Any, agent: WorkingAgent) -> None:
    outcome = rig.turn(do("41"), do("42"), first=41)
    assert agent.state.done == ["41", "42"]
    assert outcome.answers[0][1].last == 42


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (("Dance", b"{}"), r"working takes no message 'Dance' \(it takes: Do, Fail, "),
        (("Do", b"[1]"), "payload of 'Do' must be a JSON object"),
        ((Agent.RETRY_FAILED, b'{"number": 1.5}'), r"\$.number"),
        (("Slew", b'{"observation": "1", "ra": 400, "dec": 0}'), r"\$.ra"),
    ],
)
def test_what_is_refused_is_not_kept_and_says_why(rig: Any, message: tuple[str, bytes], told: str) -> None:
    outcome = rig.turn(do("a"), message, do("b"))
    ((_, answer),) = outcome.answers
    (refusal,) = answer.refused
    assert refusal.seq == 2
    assert re.search(told, refusal.reason)
    assert answer.last == 3
    assert rig.rows("SELECT name, error FROM received") == [("Do", None), ("Do", None)]


def test_a_refusal_is_short_whatever_was_sent(rig: Any) -> None:
    payload = msgspec.json.encode({"observation": "1", "x" * 100_000: 1})
    outcome = rig.turn(("Slew", payload))
    assert len(outcome.answers[0][1].refused[0].reason) <= 300


def test_a_commit_that_fails_changes_nothing_and_the_batch_can_be_run_again(rig: Any, agent: WorkingAgent) -> None:
    rig.turn(do("a"))
    rig.journal.limit_growth(0)
    with pytest.raises(JournalError, match="cannot store: database or disk is full"):
        rig.turn(do("b"), ("Do", b'{"what": "' + b"x" * 100_000 + b'"}'), first=2)
    assert agent.state.done == ["a"]
    assert rig.turns.taken == 1
    rig.journal.limit_growth(None)
    outcome = rig.turn(do("b"), first=2)
    assert agent.state.done == ["a", "b"]
    assert [each.seq for each in outcome.outgoing] == [3, 4]


def test_timers_fire_in_order_of_their_times_and_survive_a_restart(rig: Any, agent: WorkingAgent, inline: Any) -> None:
    rig.turn(do("a"))
    rig.reactor.advance(5)
    rig.turn(do("b"), first=2)
    rig.reactor.advance(4)
    assert rig.turns.due_timers() == []
    rig.stop()
    again = WorkingAgent()
    rig = inline(again, "other")
    assert again.state.done == ["a", "b"]
    rig.reactor.advance(9)  # the clock of the rig began anew
    assert again.state.done == ["a", "b"]
    rig.reactor.advance(1)
    assert again.state.done == ["a", "b", "tick a"]
    rig.reactor.advance(5)
    assert again.state.done == ["a", "b", "tick a", "tick b"]
    assert rig.rows("SELECT * FROM timers") == []
    assert rig.rows("SELECT sender, id FROM received WHERE name = 'Tick'") == [
        ("working", "timer-1"),
        ("working", "timer-2"),
    ]


class CancellingAgent(Agent):
    def __init__(self) -> None:
        super().__init__("cancelling")
        self.heard: list[str] = []
        self.numbers: list[int] = []
        self.actions_by_message |= {
            "Set": self.set_timers,
            "Cancel": self.cancel,
            "First": self.first,
            "Second": self.second,
        }

    def set_timers(self) -> None:
        self.numbers = [self.call_later(1, "First"), self.call_later(2, "Second")]

    def cancel(self) -> None:
        for number in self.numbers:
            self.cancel_timer(number)

    def first(self) -> None:
        self.heard.append("first")
        self.cancel_timer(self.numbers[1])

    def second(self) -> None:
        self.heard.append("second")


def test_a_cancelled_timer_is_silent_even_when_it_is_due_in_the_same_turn(inline: Callable[..., Any]) -> None:
    agent = CancellingAgent()
    rig = inline(agent)
    rig.turn("Set", "Cancel")
    rig.reactor.advance(5)
    assert (agent.heard, rig.turns.due_timers()) == ([], [])
    rig.turn("Set", first=3)
    for call in rig.reactor.getDelayedCalls():
        call.cancel()
    rig.reactor.advance(5)
    rig.run(*rig.turns.due_timers())
    assert agent.heard == ["first"]
    assert rig.rows("SELECT * FROM timers") == []


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"agent": "nobody", "name": "x"}, UnknownAgent.__name__),
        ({"agent": "other", "name": ""}, "1 to 200 printable characters"),
        ({"agent": "other", "name": "Slew", "payload": {}}, "missing required field `observation`"),
        ({"agent": "other", "name": "x", "payload": [1]}, "must be a JSON object"),
        ({"agent": "other", "name": "x", "payload": {"a": "x" * MAX_FRAME}}, "a frame holds"),
    ],
)
def test_what_cannot_be_sent_fails_in_the_handler_that_sends_it(rig: Any, payload: Any, told: str) -> None:
    outcome = rig.turn(("Send", msgspec.json.encode(payload)))
    assert outcome.outgoing == []
    ((error,),) = rig.rows("SELECT error FROM received")
    assert told in error


class TimingAgent(Agent):
    def __init__(self) -> None:
        super().__init__("timing")
        self.arguments: tuple[Any, ...] = ()
        self.actions_by_message["Set"] = lambda: self.call_later(*self.arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((math.nan, "x"), "seconds"),
        ((math.inf, "x"), "seconds"),
        ((1, ""), "1 to 200 printable characters"),
        ((1, "\ud800"), "1 to 200 printable characters"),
        ((1, "Slew", {}), "missing required field"),
    ],
)
def test_a_timer_that_makes_no_sense_fails_in_its_handler(
    inline: Callable[..., Any], arguments: tuple[Any, ...], told: str
) -> None:
    agent = TimingAgent()
    rig = inline(agent)
    agent.arguments = arguments
    rig.turn("Set")
    ((error,),) = rig.rows("SELECT error FROM received")
    assert "ValueError" in error
    assert told in error


def test_handlers_only_act_in_their_turn(rig: Any, agent: WorkingAgent) -> None:
    for act in (lambda: agent.send_to("other", "x"), lambda: agent.call_later(1, "x"), lambda: agent.cancel_timer(1)):
        with pytest.raises(AgentError, match="belong in a handler"):
            act()
    with pytest.raises(AgentError, match="agent 'working' is not running"):
        WorkingAgent().send_to("other", "x")


class Other(msgspec.Struct):
    done: int = 0


def test_a_state_that_does_not_fit_is_told(rig: Any, inline: Callable[..., Any], tmp_path: Path) -> None:
    rig.turn(do("a"))
    rig.stop()

    class ChangedAgent(Agent):
        state: Other

    # the annotation must be found from the module's names
    ChangedAgent.__annotations__["state"] = Other
    with pytest.raises(StateError, match=r"working.sqlite: the stored state does not fit Other: .*\$.done"):
        inline(ChangedAgent("working"), "other")
    again = WorkingAgent()
    inline(again, "other")
    assert again.state.done == ["a"]


class Demanding(msgspec.Struct):
    field: int


class DemandingAgent(Agent):
    state: Demanding


def test_a_state_without_defaults_is_told(inline: Callable[..., Any]) -> None:
    with pytest.raises(AgentError, match=r"DemandingAgent\.state: every field needs a default"):
        inline(DemandingAgent("demanding"))
