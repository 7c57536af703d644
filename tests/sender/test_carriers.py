"""What every carrier does: nothing is lost, doubled or out of order, whatever breaks, and nothing is taken unproved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from pyros.agents import Agent, Message
from pyros.agents.runtime import port
from pyros.config import Config
from pyros.keys import make_key
from pyros.messages import guard
from pyros.sender import Sender, carrier
from tests.conftest import PATIENCE, AgentsObservatory, free_port, wait_until
from tests.sender.carriers import CARRIERS, CarriedAgents, CarrierNetwork
from tests.sender.test_outbound import HearingAgent, TellingAgent, tell


@pytest.fixture(scope="module", params=["tcp", pytest.param("amqp", marks=pytest.mark.long)])
def carrier_in_use(request: pytest.FixtureRequest) -> Iterator[CarrierNetwork]:
    with CARRIERS[request.param]() as made:
        yield made


@pytest.fixture
def carried(carrier_in_use: CarrierNetwork, observatory: Callable[..., AgentsObservatory]) -> Iterator[CarriedAgents]:
    yield CarriedAgents(observatory("telling", **carrier_in_use.sections), carrier_in_use.wan, carrier_in_use.greeting)
    carrier_in_use.wan("reset")


@pytest.fixture
def place(carried: CarriedAgents) -> AgentsObservatory:
    return carried.place


@pytest.fixture
def hearing(place: AgentsObservatory, running: Callable[..., Any]) -> HearingAgent:
    """Both agents run, and one message has come: 0."""
    agent = HearingAgent()
    running(place, TellingAgent(), agent)
    tell(place, 0, 1)
    all_heard(place, agent, 1)
    return agent


def all_heard(place: AgentsObservatory, hearing: HearingAgent, count: int) -> None:
    """Wait until so many have come and are acknowledged: each once, in order."""
    wait_until(lambda: len(hearing.heard) >= count)
    wait_until(lambda: place.up("telling")["outbox"] == {})
    assert hearing.heard == list(range(count))


def test_many_and_large_messages_come_in_order(place: AgentsObservatory, hearing: HearingAgent) -> None:
    tell(place, 1, 10_000)
    tell(place, 10_000, 10_006, size=1_000_000)
    tell(place, 10_006, 10_100)
    all_heard(place, hearing, 10_100)


def test_what_waited_for_its_receiver_comes_when_that_starts(
    place: AgentsObservatory, running: Callable[..., Any]
) -> None:
    running(place, TellingAgent())
    tell(place, 0, 10)
    assert place.up("telling")["outbox"] == {"hearing": 10}
    hearing = HearingAgent()
    running(place, hearing)
    all_heard(place, hearing, 10)
    assert max(hearing.ages) < float("inf"), "its sender lives still, and knows when it was said"


def test_what_waited_comes_though_its_sender_was_stopped(place: AgentsObservatory, running: Callable[..., Any]) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    telling.start(place.config)
    tell(place, 0, 20_000)  # more than an outbox keeps in memory
    telling.stop()
    running(place, hearing, telling)
    wait_until(lambda: len(hearing.heard) == 20_000)
    tell(place, 20_000, 20_010)
    all_heard(place, hearing, 20_010)


def test_a_receiver_may_come_and_go(place: AgentsObservatory, running: Callable[..., Any]) -> None:
    running(place, TellingAgent())
    hearing = HearingAgent()
    for turn in range(3):
        hearing.start(place.config)
        tell(place, turn * 50, turn * 50 + 25)
        wait_until(lambda turn=turn: len(hearing.heard) == turn * 50 + 25)
        hearing.stop()
        tell(place, turn * 50 + 25, turn * 50 + 50)
    running(place, hearing)
    all_heard(place, hearing, 150)


@pytest.mark.parametrize("who", ["telling", "hearing"])
def test_the_flow_goes_on_after_a_journal_was_deleted(
    place: AgentsObservatory, running: Callable[..., Any], who: str
) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, telling, hearing)
    tell(place, 0, 10)
    all_heard(place, hearing, 10)
    agent: Agent = telling if who == "telling" else hearing
    agent.stop()
    for file in place.config.journal(who).parent.glob(f"{who}.*"):
        file.unlink()
    agent.start(place.config)
    tell(place, 10, 20)
    all_heard(place, hearing, 20)


def cut_at(
    carried: CarriedAgents, hearing: HearingAgent, way: str, counts: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tell three messages over a new connection that ends after so many bytes, for each count."""
    monkeypatch.setattr(carrier, "RECONNECT_SECONDS", (0.005,))
    tell(carried.place, 0, 1)
    all_heard(carried.place, hearing, 1)
    carried.wan("delay 0.001")
    for number, count in enumerate(counts):
        carried.wan("cut")
        carried.wan(f"break {way} {count}")
        end = number * 3 + 4
        tell(carried.place, end - 3, end)
        wait_until(lambda end=end: carried.wan("breaks") == "no" or len(hearing.heard) == end)
    all_heard(carried.place, hearing, len(counts) * 3 + 1)


@pytest.mark.parametrize("way", ["there", "back"])
def test_connections_that_end_anywhere_lose_and_double_nothing(
    carried: CarriedAgents, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    hearing = HearingAgent()
    running(carried.place, TellingAgent(), hearing)
    cut_at(carried, hearing, way, range(1, carried.greeting, carried.greeting // 25), monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("way", ["there", "back"])
def test_connections_that_end_at_many_more_bytes_lose_and_double_nothing(
    carried: CarriedAgents, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    hearing = HearingAgent()
    running(carried.place, TellingAgent(), hearing)
    cut_at(carried, hearing, way, range(1, carried.greeting, 1 if carried.greeting < 2000 else 40), monkeypatch)


def test_what_is_refused_is_acknowledged_and_holds_nothing_up(
    place: AgentsObservatory, hearing: HearingAgent, logged: Callable[[], str]
) -> None:
    tell(place, 1, 3)
    tell(place, 0, 2, name="Dance")
    tell(place, 3, 5)
    all_heard(place, hearing, 5)
    assert "hearing refused message 4: hearing takes no message 'Dance'" in logged()


def test_what_is_fleeting_follows_what_was_said_before(place: AgentsObservatory, running: Callable[..., Any]) -> None:
    running(place, TellingAgent())
    tell(place, 0, 1, glance=True)  # nobody is there: the next number makes this one old
    hearing = HearingAgent()
    running(place, hearing)
    wait_until(lambda: place.up("telling")["outbox"] == {})
    tell(place, 1, 3, glance=True)
    wait_until(lambda: 3 in hearing.glances)
    assert hearing.glances[-3:] == [1, 2, 3]
    assert 0 not in hearing.glances
    assert place.up("hearing")["failed"] == 0
    assert place.rows("hearing", "SELECT count(*) FROM received WHERE name <> 'Heard'") == [(0,)]


def test_a_sender_that_is_back_may_begin_with_a_fleeting_message(
    place: AgentsObservatory, running: Callable[..., Any]
) -> None:
    telling, hearing = TellingAgent(), HearingAgent()
    running(place, hearing, telling)
    tell(place, 0, 2)
    all_heard(place, hearing, 2)
    telling.stop()
    running(place, TellingAgent())
    tell(place, 2, 2, glance=True)
    wait_until(lambda: hearing.glances == [2])


class HeldAgent(HearingAgent):
    """Handles the first message when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def hear(self, message: Message) -> None:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        super().hear(message)


def test_a_receiver_that_is_behind_takes_no_more_than_it_can_hold(
    place: AgentsObservatory, running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "MAX_WAITING_BYTES", 1_000_000)
    hearing = HeldAgent()
    running(place, TellingAgent(), hearing)
    tell(place, 0, 1)
    assert hearing.begun.wait(PATIENCE)
    for part in range(12):
        tell(place, part * 10 + 1, part * 10 + 11, size=100_000)
    wait_until(lambda: place.up("hearing")["waiting"] >= 10)
    assert place.up("telling")["outbox"] == {"hearing": 121}
    assert place.up("hearing")["waiting"] < 20, "a mailbox of a megabyte, and a frame"
    hearing.go_on.set()
    all_heard(place, hearing, 121)


PICTURE = guard("Picture of the sender", bulk=True)


class PicturingAgent(Agent):
    """Sends pictures, and something else behind them, in one turn."""

    def __init__(self) -> None:
        super().__init__("telling")
        self.actions_by_message["Picture"] = self.picture

    def picture(self, message: Message) -> None:
        for n in range(message.payload["count"]):
            self.send_to("hearing", PICTURE, {"n": n, "data": "x" * 100_000})
        self.send_to("hearing", "Heard", {"n": message.payload["count"]})


class LookingAgent(Agent):
    """Notes what comes, in its order."""

    def __init__(self) -> None:
        super().__init__("hearing")
        self.came: list[int] = []
        self.actions_by_message |= {PICTURE: self.take, "Heard": self.take}

    def take(self, message: Message) -> None:
        assert message.sender == "telling"
        self.came.append(message.payload["n"])


def picture(place: AgentsObservatory, count: int) -> None:
    Sender.send_to("telling", "Picture", {"count": count}, config=place.config)


def test_what_is_bulk_holds_nothing_up_and_keeps_its_order(carried: CarriedAgents, running: Callable[..., Any]) -> None:
    place, looking = carried.place, LookingAgent()
    running(place, PicturingAgent(), looking)
    picture(place, 0)
    wait_until(lambda: looking.came == [0])
    wait_until(lambda: place.up("telling")["outbox"] == {})
    carried.wan("rate 300000")
    picture(place, 12)
    wait_until(lambda: len(looking.came) == 14)
    assert looking.came[1:].index(12) < 9, "it came before the last pictures"
    assert [n for n in looking.came[1:] if n != 12] == list(range(12))
    assert place.up("hearing")["alarms"] == []


def test_bulk_goes_on_after_a_restart(place: AgentsObservatory, running: Callable[..., Any]) -> None:
    looking, telling = LookingAgent(), PicturingAgent()
    running(place, looking)
    telling.start(place.config)
    picture(place, 0)
    wait_until(lambda: looking.came == [0])
    wait_until(lambda: place.up("telling")["outbox"] == {})
    looking.stop()
    picture(place, 10)
    assert place.up("telling")["outbox"] == {"hearing/bulk": 10, "hearing": 1}
    telling.stop()
    running(place, PicturingAgent(), looking)
    wait_until(lambda: len(looking.came) == 12)
    assert [n for n in looking.came[1:] if n != 10] == list(range(10))
    wait_until(lambda: place.up("telling")["outbox"] == {})


def elsewhere(place: AgentsObservatory, name: str) -> Config:
    """Return a configuration in which that agent has a journal, and a port, of its own."""
    section = msgspec.structs.replace(place.config.agent(name), port=free_port())
    return msgspec.structs.replace(
        place.config, data=place.folder / "elsewhere", key=place.config.key_file,
        agents=dict(place.config.agents) | {name: section},
    )  # fmt: skip


def test_nothing_is_taken_from_who_has_another_key(
    place: AgentsObservatory, running: Callable[..., Any], logged: Callable[[], str]
) -> None:
    hearing, telling = HearingAgent(), TellingAgent()
    running(place, hearing)
    other = place.folder / "other.key"
    make_key(other)
    strange = msgspec.structs.replace(elsewhere(place, "telling"), key=other)
    telling.start(strange)
    Sender.send_to("telling", "Tell", {"from": 0, "to": 3}, config=strange)
    wait_until(lambda: "the proof of 'telling' is wrong: it has another key than hearing" in logged())
    telling.stop()
    assert hearing.heard == []
    running(place, TellingAgent())
    tell(place, 0, 3)
    all_heard(place, hearing, 3)


def test_an_agent_ends_though_what_it_sent_is_not_taken(place: AgentsObservatory, running: Callable[..., Any]) -> None:
    hearing = HeldAgent()
    running(place, hearing)
    telling = TellingAgent()
    telling.start(place.config)
    tell(place, 0, 1)
    assert hearing.begun.wait(PATIENCE)
    tell(place, 1, 200, size=100_000)
    telling.stop()
    hearing.go_on.set()
