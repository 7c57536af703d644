"""Between two sites, over a network that breaks, forgets and crawls: the flow goes on, in order, each message once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.agents import Agent, Message
from pyros.messages import guard
from pyros.sender import Sender
from pyros.wire import Frame
from tests.conftest import free_port, wait_until
from tests.sender.test_outbound import HearingAgent, Peer, TellingAgent, tell


class Wan:
    """The program `bench._wan` between others and one agent."""

    def __init__(self, port: int, target: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench._wan", str(port), str(target)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self("count")

    def __call__(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()


@pytest.fixture
def sites(observatory: Callable[..., Any]) -> Iterator[Any]:
    """Two agents, of which one reaches the other through the network ``wan``."""
    near, hearing = free_port(), free_port()
    place = observatory("telling", hearing={"port": str(hearing), "at": f"localhost:{near}"})
    place.wan = Wan(near, hearing)
    yield place
    place.wan.close()


@pytest.fixture
def hearing(sites: Any, running: Callable[..., Any]) -> HearingAgent:
    agent = HearingAgent()
    running(sites, TellingAgent(), agent)
    tell(sites, 0, 1)
    wait_until(lambda: agent.heard == [0])
    return agent


def test_messages_go_on_after_the_connection_was_forgotten(sites: Any, hearing: HearingAgent) -> None:
    sites.wan("forget")
    tell(sites, 1, 20)
    wait_until(lambda: len(hearing.heard) == 20)
    assert hearing.heard == list(range(20))


@pytest.mark.parametrize("broken", ["outage", "cut"])
def test_messages_go_on_after_the_network_was_down(sites: Any, hearing: HearingAgent, broken: str) -> None:
    sites.wan(broken)
    tell(sites, 1, 20)
    sites.wan("heal")
    wait_until(lambda: len(hearing.heard) == 20)
    assert hearing.heard == list(range(20))


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


def picture(place: Any, count: int) -> None:
    Sender.send_to("telling", "Picture", {"count": count}, config=place.config)


def test_what_is_bulk_holds_nothing_up_and_keeps_its_order(sites: Any, running: Callable[..., Any]) -> None:
    looking = LookingAgent()
    running(sites, PicturingAgent(), looking)
    picture(sites, 0)
    wait_until(lambda: looking.came == [0])
    wait_until(lambda: sites.up("telling")["outbox"] == {})
    sites.wan("rate 300000")
    picture(sites, 20)
    wait_until(lambda: len(looking.came) == 22)
    assert looking.came[1:].index(20) < 15, "it came before the last pictures"
    assert [n for n in looking.came[1:] if n != 20] == list(range(20))
    assert sites.up("hearing")["alarms"] == []


def test_bulk_goes_on_after_a_restart(sites: Any, running: Callable[..., Any]) -> None:
    looking, telling = LookingAgent(), PicturingAgent()
    running(sites, looking)
    telling.start(sites.config)
    picture(sites, 0)
    wait_until(lambda: looking.came == [0])
    wait_until(lambda: sites.up("telling")["outbox"] == {})
    looking.stop()
    picture(sites, 10)
    assert sites.up("telling")["outbox"] == {"hearing/bulk": 10, "hearing": 1}
    telling.stop()
    running(sites, PicturingAgent(), looking)
    wait_until(lambda: len(looking.came) == 12)
    assert [n for n in looking.came[1:] if n != 10] == list(range(10))
    wait_until(lambda: sites.up("telling")["outbox"] == {})


def test_an_older_receiver_gets_bulk_with_everything_else(
    observatory: Callable[..., Any], running: Callable[..., Any]
) -> None:
    place = observatory("telling", "hearing")
    running(place, PicturingAgent())
    picture(place, 0)
    peer = Peer(place)
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
def test_twenty_partitions_lose_and_double_nothing(sites: Any, hearing: HearingAgent) -> None:
    sites.wan("delay 0.1")
    for part in range(20):
        tell(sites, part * 50 + 1, part * 50 + 26)
        sites.wan(("outage", "forget", "cut")[part % 3])
        tell(sites, part * 50 + 26, part * 50 + 51)
        sites.wan("heal")
        wait_until(lambda part=part: len(hearing.heard) > part * 50 + 40)
    wait_until(lambda: len(hearing.heard) == 1001)
    assert hearing.heard == list(range(1001))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_narrow_line_is_no_dead_one(sites: Any, hearing: HearingAgent) -> None:
    sites.wan("rate 8000")
    made = sites.wan("count")
    tell(sites, 1, 5, size=200_000)  # two of them are a frame; all take 100 s
    wait_until(lambda: len(hearing.heard) == 5, 500)
    assert sites.wan("count") == made, "no connection was given up"
