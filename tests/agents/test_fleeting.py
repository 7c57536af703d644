"""Fleeting messages: no journal keeps them, and nothing of a turn is ever half durable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyros.agents import Agent, Message
from pyros.agents.runtime.batches import Batch
from pyros.errors import JournalError
from pyros.journal import Effects, StoredTimer
from pyros.messages import FLEETING, GUARDED, guard, register
from pyros.wire import Entry
from tests.rig import AgentRig

GLANCE = guard("Glance", fleeting=True)


class Seen(msgspec.Struct):
    glances: list[int] = []
    value: float = 0.0


class WatchingAgent(Agent):
    """What its handler does beside remembering stands in the message."""

    state: Seen

    def __init__(self) -> None:
        super().__init__("watching")
        self.called: list[int] = []
        self.actions_by_message |= {GLANCE: self.glance, "Note": self.glance}

    def glance(self, message: Message) -> None:
        number: int = message.payload["n"]
        self.state.glances.append(number)
        for what in message.payload.get("do", []):
            match what:
                case "send":
                    self.send_to("other", "Glances", {"glances": self.state.glances})
                case "tell":
                    self.send_to("other", GLANCE, {"n": number})
                case "keep":
                    self.send_to("other", GLANCE, {"n": number}, durable=True)
                case "timer":
                    self.call_later(10, "Note", {"n": -number})
                case "fleeting timer":
                    self.call_later(10, GLANCE, {"n": -number})
                case "command":
                    self.after_commit(self.called.append, number)
                case "nan":
                    self.state.value = float("nan")
                case "fail":
                    raise RuntimeError(f"no luck with {number}")


@pytest.fixture
def rig(inline: Callable[..., Any]) -> Any:
    return inline(WatchingAgent(), "other")


def batch(rig: Any, number: int, *do: str, name: str = GLANCE) -> Batch:
    json = msgspec.json.encode({"n": number, "do": do})
    entry = Entry(0, f"g-{number}", name, rig.clock.time(), msgspec.Raw(json), rig.clock.monotonic())
    return Batch([entry], "other", proved=True, fleeting=True)


def glance(rig: Any, number: int, *do: str) -> Any:
    return rig.turns.run([batch(rig, number, *do)], Effects(), hurry=False)


def test_in_a_rehearsal_too_a_patient_message_waits_for_another(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyros.agents.runtime.loop.PATIENT", {GLANCE: 5.0})
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(4.0)
    assert rig.agent.state.glances == []
    rig.host.loop.receive(batch(rig, 2, name="Note"))
    rig.reactor.advance(0.0)
    assert rig.agent.state.glances == [1, 2]
    rig.host.loop.receive(batch(rig, 3))
    rig.reactor.advance(5.0)
    assert rig.agent.state.glances == [1, 2, 3]


def stored(rig: Any) -> list[int]:
    """Return what the journal has of the state."""
    rows = rig.rows("SELECT value FROM state")
    return msgspec.json.decode(rows[0][0], type=Seen).glances if rows else []


def again(inline: Callable[..., Any], rig: Any) -> Any:
    """Kill the agent, and start it on the same journal."""
    rig.host.kill()
    return inline(WatchingAgent(), "other")


def test_what_it_changes_waits_for_the_next_commit(rig: Any) -> None:
    assert not glance(rig, 1).stored
    assert (stored(rig), rig.agent.state.glances) == ([], [1])
    rig.turn(("Note", b'{"n": 2}'))
    assert stored(rig) == [1, 2]
    assert rig.rows("SELECT name FROM received") == [("Note",)]


@pytest.mark.parametrize("effect", ["send", "keep", "timer", "command", "fail"])
def test_an_effect_that_a_restart_needs_is_committed_at_once(rig: Any, effect: str) -> None:
    glance(rig, 1)
    outcome = glance(rig, 2, effect)
    assert outcome.stored
    assert stored(rig) == ([1] if effect == "fail" else [1, 2])
    assert [name for (name,) in rig.rows("SELECT name FROM received")] == [GLANCE]  # it tells why


@pytest.mark.parametrize("effect", ["tell", "fleeting timer"])
def test_a_fleeting_effect_needs_no_commit(rig: Any, effect: str) -> None:
    outcome = glance(rig, 1, effect)
    assert not outcome.stored
    assert [(each.seq, each.name) for each in outcome.outgoing] == ([(0, GLANCE)] if effect == "tell" else [])
    assert rig.rows("SELECT * FROM outbox") == rig.rows("SELECT * FROM timers") == []


def test_a_fleeting_timer_fires_and_a_restart_forgets_it(rig: Any, inline: Callable[..., Any]) -> None:
    glance(rig, 1, "fleeting timer")
    glance(rig, 2, "fleeting timer")
    for call in rig.reactor.getDelayedCalls():
        call.cancel()
    rig.agent.actions_by_message["Note"] = lambda: rig.agent.cancel_timer(-1)
    rig.turn("Note")
    rig.reactor.advance(10)
    rig.turns.run(rig.turns.due_timers(), Effects(), hurry=False)
    assert rig.agent.state.glances == [1, 2, -2]
    glance(rig, 3, "fleeting timer")
    assert again(inline, rig).turns.next_due() is None


def test_timers_of_an_older_version_are_forgotten(rig: Any, inline: Callable[..., Any]) -> None:
    effects = Effects()
    effects.timers_set = [StoredTimer(number, 0.0, name, b'{"n": 1}') for number, name in ((1, GLANCE), (2, "Note"))]
    rig.journal.commit(effects)
    anew = again(inline, rig)
    assert anew.agent.state.glances == [1]
    assert anew.rows("SELECT * FROM timers") == []


def test_one_that_fails_undoes_what_it_did_alone(rig: Any) -> None:
    glance(rig, 1)
    glance(rig, 2, "send", "fail")
    assert rig.agent.state.glances == [1]
    assert rig.rows("SELECT * FROM outbox") == []
    assert rig.turns.failed == 1


def test_one_that_leaves_an_unreadable_state_is_blamed(rig: Any) -> None:
    glance(rig, 1)
    rig.turns.run([batch(rig, 2, "nan"), batch(rig, 3)], Effects(), hurry=False)
    assert rig.agent.state.glances == [1, 3]
    ((error,),) = rig.rows("SELECT error FROM failed")
    assert "could not be read back" in error
    rig.turn(("Note", b'{"n": 4}'))
    assert stored(rig) == [1, 3, 4]


def test_a_commit_that_fails_leaves_what_fleeting_turns_did(rig: Any) -> None:
    glance(rig, 1)
    rig.journal.limit_growth(0)
    with pytest.raises(JournalError):
        rig.turn(("Note", msgspec.json.encode({"n": 2, "data": "x" * 50_000})))
    assert rig.agent.state.glances == [1]
    rig.journal.limit_growth(None)
    rig.turn(("Note", b'{"n": 3}'))
    assert stored(rig) == [1, 3]


def test_acknowledgements_wait_for_a_turn_that_is_committed(rig: Any) -> None:
    glance(rig, 1, "send")
    effects = Effects()
    effects.acknowledged = {"other": 1}
    assert not rig.turns.run([batch(rig, 2)], effects, hurry=False).stored
    assert rig.rows("SELECT seq FROM outbox") == [(1,)]
    rig.turns.run([batch(rig, 3, "command")], effects, hurry=False)
    assert rig.rows("SELECT seq FROM outbox") == []


def test_a_refused_one_is_told_in_the_log_once(rig: Any) -> None:
    for number in (1, 2):
        outcome = rig.turns.run([batch(rig, number, name="Nonsense")], Effects(), hurry=False)
        assert [refusal.reason for refusal in outcome.answers[0][1].refused]
    assert rig.turns.refused == 2
    assert rig.rows("SELECT * FROM received") == []


# By the host ------------------------------------------------------------------------------------------------------


def test_the_state_is_stored_at_the_latest_after_half_a_minute(rig: Any) -> None:
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(0)
    rig.reactor.advance(29)
    assert (rig.agent.state.glances, stored(rig)) == ([1], [])
    rig.host.loop.receive(batch(rig, 2))
    rig.reactor.advance(0)
    rig.reactor.advance(1.1)
    assert stored(rig) == [1, 2]


def test_an_end_stores_the_state(rig: Any) -> None:
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(0)
    rig.stop()
    assert stored(rig) == [1]


def test_a_kill_loses_what_was_not_stored(rig: Any, inline: Callable[..., Any]) -> None:
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(0)
    assert again(inline, rig).agent.state.glances == []


def test_fleeting_messages_do_not_hide_a_full_disk(rig: Any) -> None:
    """Who cannot store says nothing: a lease that it gives would look like health."""
    rig.journal.limit_growth(0)
    rig.host.loop.receive(Batch(
        [Entry(1, "n", "Note", 0.0, msgspec.Raw(msgspec.json.encode({"n": 1, "data": "x" * 50_000})))], "other",
        ("other", "epoch"), proved=True,
    ))  # fmt: skip
    rig.reactor.advance(0)
    for number in (2, 3):
        rig.host.loop.receive(batch(rig, number, "tell"))
        rig.reactor.advance(1.1)
    assert rig.agent.state.glances == []
    rig.journal.limit_growth(None)
    rig.reactor.advance(4.1)
    assert stored(rig) == [1, 3]  # what has come since the last attempt is taken with the rest


# Without a turn -----------------------------------------------------------------------------------------------------


@pytest.fixture
def posted(rig: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Catch what goes to the links."""
    sent: list[Any] = []
    monkeypatch.setattr(rig.host.outbound, "post", sent.extend)
    return sent


def test_what_a_device_says_goes_out_without_a_turn(rig: Any, posted: list[Any]) -> None:
    rig.reactor.advance(7)
    assert rig.agent.pass_on("other", GLANCE, {"n": 1})
    assert rig.agent.pass_on("other", GLANCE, {"n": 2})
    assert [(each.agent, each.seq, each.name, each.payload) for each in posted] == [
        ("other", 0, GLANCE, b'{"n":1}'), ("other", 0, GLANCE, b'{"n":2}'),
    ]  # fmt: skip
    assert {each.said for each in posted} == {rig.clock.monotonic()}
    assert posted[0].id != posted[1].id
    assert rig.agent.pass_on("nobody", GLANCE, {"n": 3}), "an observatory may do without it"
    assert (len(posted), rig.turns.taken, rig.rows("SELECT * FROM outbox")) == (2, 0, [])


def test_what_an_older_version_must_have_by_number_needs_a_turn(rig: Any, posted: list[Any]) -> None:
    rig.host.outbound.without_fleeting.add("other")
    assert not rig.agent.pass_on("other", GLANCE, {"n": 1})
    assert posted == []


def test_who_cannot_store_says_nothing_without_a_turn_either(rig: Any, posted: list[Any]) -> None:
    rig.journal.limit_growth(0)
    rig.host.loop.receive(Batch(
        [Entry(1, "n", "Note", 0.0, msgspec.Raw(msgspec.json.encode({"n": 1, "data": "x" * 50_000})))], "other",
        ("other", "epoch"), proved=True,
    ))  # fmt: skip
    rig.reactor.advance(0)
    assert not rig.agent.pass_on("other", GLANCE, {"n": 1})
    rig.journal.limit_growth(None)
    rig.reactor.advance(4.1)
    assert rig.agent.pass_on("other", GLANCE, {"n": 1})


def test_a_reflex_that_is_everything_begins_no_turn(rig: Any) -> None:
    seen: list[int] = []
    rig.agent.reflexes[GLANCE] = lambda message: seen.append(message.payload["n"])
    rig.agent.reflexes_alone = frozenset({GLANCE})
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(0)
    assert (seen, rig.agent.state.glances) == ([1], [])
    rig.host.loop.receive(Batch(batch(rig, 2).entries, "other", proved=True))  # one that its sender keeps
    rig.host.loop.receive(Batch(batch(rig, 3).entries, "other", fleeting=True))  # one that nobody has proved
    rig.reactor.advance(0)
    assert (seen, rig.agent.state.glances, rig.turns.refused) == ([1, 2], [2], 1)


def test_a_reflex_that_fails_is_followed_by_a_turn(rig: Any) -> None:
    rig.agent.reflexes[GLANCE] = lambda message: message.payload["no such key"]
    rig.agent.reflexes_alone = frozenset({GLANCE})
    rig.host.loop.receive(batch(rig, 1))
    rig.reactor.advance(0)
    assert rig.agent.state.glances == [1]


# The mix ----------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["fleeting", "durable"]),
            st.lists(
                st.sampled_from(["send", "tell", "keep", "timer", "fleeting timer", "command", "fail"]), max_size=2
            ),
        ),
        st.tuples(st.sampled_from(["kill", "full", "together"]), st.just([])),
    ),
    max_size=25,
)


@pytest.fixture
def folders() -> Iterator[Callable[[], Path]]:
    with tempfile.TemporaryDirectory() as name:
        count = iter(range(1_000_000))
        yield lambda: Path(name) / str(next(count))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_kill_loses_an_end_of_fleeting_turns_only(folders: Callable[[], Path], steps: Any) -> None:
    """The journal is always that of some instant between two turns, and nothing with an effect came after it."""
    rig = AgentRig(WatchingAgent(), folders(), "other")
    seq = 0
    glances: list[int] = []  # the truth of the life that runs
    needed = 0  # so many of them a restart must know
    kept: list[list[int]] = []  # what the outbox must have of "Glances"
    try:
        for number, (kind, do) in enumerate(steps, 1):
            match kind:
                case "kill":
                    rig.host.kill()
                    rig = AgentRig(WatchingAgent(), rig.host.config.data, "other")
                    life = rig.agent.state.glances
                    assert life == glances[: len(life)]
                    assert len(life) >= needed
                    glances = list(life)
                    continue
                case "full":
                    rig.journal.limit_growth(0)
                    big = ("Note", msgspec.json.encode({"n": number, "data": "x" * 50_000}))
                    with pytest.raises(JournalError):
                        rig.turn(big, first=seq + 1)
                    rig.journal.limit_growth(None)
                    assert rig.agent.state.glances == glances
                    continue
                case "together":
                    seq += 1
                    entry = Entry(seq, f"n-{seq}", "Note", 0.0, msgspec.Raw(msgspec.json.encode({"n": number})))
                    durable = Batch([entry], "other", ("other", "epoch"), proved=True)
                    rig.turns.run([batch(rig, 1000 + number), durable], Effects(), hurry=False)
                    glances += [1000 + number, number]
                    needed = len(glances)
                    continue
                case "durable":
                    seq += 1
                    rig.turn(("Note", msgspec.json.encode({"n": number, "do": do})), first=seq)
                case "fleeting":
                    glance(rig, number, *do)
            if "fail" not in do:
                glances.append(number)
                kept += [list(glances)] * do.count("send")
            if kind == "durable" or {"send", "keep", "timer", "command", "fail"} & set(do):
                needed = len(glances)
            assert rig.agent.state.glances == glances
            sent = rig.rows("SELECT payload FROM outbox WHERE name = 'Glances' ORDER BY seq")
            assert [msgspec.json.decode(payload)["glances"] for (payload,) in sent] == kept
            assert stored(rig) == glances[: len(stored(rig))]
            numbers = [row[0] for row in rig.rows("SELECT seq FROM outbox ORDER BY seq")]
            assert numbers == list(range(1, len(numbers) + 1))
    finally:
        rig.stop()


def test_what_says_that_it_is_unsafe_or_moves_something_is_not_fleeting() -> None:
    assert FLEETING.isdisjoint({"Weather unsafe", "Open", "Close", "Slew", "Park", "Expose", "Hold", "Alarm"})
    assert {"Weather reading", "Safety reading", "Weather safe", "Keep open", "Kept open", "Telemetry"} <= FLEETING
    assert register("Glance at type", Seen, fleeting=True) in FLEETING
    assert GLANCE in GUARDED
