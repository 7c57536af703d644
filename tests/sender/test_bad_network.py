"""Between two sites, over a network that breaks, forgets and crawls: the flow goes on, in order, each message once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyros.wire import Frame
from tests.conftest import AgentsObservatory, wait_until
from tests.sender.carriers import CarriedAgents, CarrierNetwork, tcp
from tests.sender.test_carriers import PICTURE, PicturingAgent, picture
from tests.sender.test_outbound import HandPlayedAgent, HearingAgent, TellingAgent, tell


@pytest.fixture(scope="module")
def network() -> Iterator[CarrierNetwork]:
    with tcp() as made:
        yield made


@pytest.fixture
def sites(network: CarrierNetwork, observatory: Callable[..., AgentsObservatory]) -> Iterator[CarriedAgents]:
    """Two agents, of which one reaches the other through the network ``wan``."""
    yield CarriedAgents(observatory("telling", **network.sections), network.wan, network.greeting)
    network.wan("reset")


@pytest.fixture
def hearing(sites: CarriedAgents, running: Callable[..., Any]) -> HearingAgent:
    agent = HearingAgent()
    running(sites.place, TellingAgent(), agent)
    tell(sites.place, 0, 1)
    wait_until(lambda: agent.heard == [0])
    return agent


def test_messages_go_on_after_the_connection_was_forgotten(sites: CarriedAgents, hearing: HearingAgent) -> None:
    sites.wan("forget")
    tell(sites.place, 1, 20)
    wait_until(lambda: len(hearing.heard) == 20)
    assert hearing.heard == list(range(20))


@pytest.mark.parametrize("broken", ["outage", "cut"])
def test_messages_go_on_after_the_network_was_down(sites: CarriedAgents, hearing: HearingAgent, broken: str) -> None:
    sites.wan(broken)
    tell(sites.place, 1, 20)
    sites.wan("heal")
    wait_until(lambda: len(hearing.heard) == 20)
    assert hearing.heard == list(range(20))


def test_an_older_receiver_gets_bulk_with_everything_else(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("telling", "hearing")
    running(place, PicturingAgent())
    picture(place, 0)
    peer = HandPlayedAgent(place)
    peer.welcome(0)
    peer.read()
    peer.say(Frame(ack=1))
    wait_until(lambda: place.up("telling")["outbox"] == {})
    picture(place, 2)
    came: list[Any] = []
    while len(came) < 3:
        came += [entry for frame in peer.read() for entry in frame.messages]
    assert [(entry.seq, entry.name) for entry in came] == [(2, PICTURE), (3, PICTURE), (4, "Heard")]
    peer.close()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_twenty_partitions_lose_and_double_nothing(sites: CarriedAgents, hearing: HearingAgent) -> None:
    sites.wan("delay 0.1")
    for part in range(20):
        tell(sites.place, part * 50 + 1, part * 50 + 26)
        sites.wan(("outage", "forget", "cut")[part % 3])
        tell(sites.place, part * 50 + 26, part * 50 + 51)
        sites.wan("heal")
        wait_until(lambda part=part: len(hearing.heard) > part * 50 + 40)
    wait_until(lambda: len(hearing.heard) == 1001)
    assert hearing.heard == list(range(1001))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_narrow_line_is_no_dead_one(sites: CarriedAgents, hearing: HearingAgent) -> None:
    sites.wan("rate 8000")
    made = sites.wan("count")
    tell(sites.place, 1, 5, size=200_000)  # two of them are a frame; all take 100 s
    wait_until(lambda: len(hearing.heard) == 5, 500)
    assert sites.wan("count") == made, "no connection was given up"
