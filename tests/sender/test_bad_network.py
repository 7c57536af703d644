"""Between two sites, over a network that breaks, forgets and crawls: the flow goes on, in order, each message once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, wait_until
from tests.sender.test_outbound import HearingAgent, TellingAgent, tell


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
