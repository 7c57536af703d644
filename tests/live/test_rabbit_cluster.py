"""Agents through a cluster of RabbitMQs whose nodes are killed, stopped and parted while messages flow."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from bench._sites import Heard, SiteAgent, SiteComputers, SitePlace, host_of, why_not
from pyros.keys import make_key
from tests.conftest import wait_until
from tests.jobs.rabbit import RabbitNode, rabbit_cluster
from tests.sender.carriers import needs_rabbit

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

NODES = ("one", "two", "three")
SITES = ("west", "east")
WAYS = [("west", "east"), ("east", "west")]
PLACES = {node: SitePlace(f"203.0.113.{at}") for at, node in enumerate(NODES, 11)} | {
    site: SitePlace(f"10.{at}.0.2", f"198.51.100.{at}") for at, site in enumerate(SITES, 1)
}
"""The nodes are in the open; the sites' routers lead nothing inside."""
OLD_ENOUGH_SECONDS = 20.0
"""RabbitMQ 3.10 forgets who leads a queue that is younger when its node dies, for good."""


class Flow:
    """Two sites that speak with each other through the cluster, and how it goes."""

    def __init__(self, network: SiteComputers, nodes: dict[str, RabbitNode]) -> None:
        self.network, self.nodes = network, nodes
        self._queue: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.came: dict[tuple[str, str], list[int]] = {way: [] for way in WAYS}
        self._longest = 0.0
        self._looker = threading.Thread()
        self._last = dict.fromkeys(WAYS, time.monotonic())
        folder = network.folder
        make_key(folder / "observatory.key")
        lines = [
            "[observatory]",
            "name = sites",
            "tls = DANGEROUSLY_OFF",
            f"amqp = amqp://{','.join(map(host_of, NODES))}",
        ]
        for site, port in zip(SITES, (5001, 5002), strict=True):
            lines += [f"[{site}]", "app = bench._site", f"port = {port}", "at = amqp"]
        self._agents: dict[str, SiteAgent] = {}
        for site in SITES:
            (folder / site / "var").mkdir(parents=True, mode=0o700)
            (folder / site / "sites.ini").write_text("\n".join([*lines, ""]))
            (folder / site / "var" / "observatory.key").touch(mode=0o600)
            (folder / site / "var" / "observatory.key").write_bytes((folder / "observatory.key").read_bytes())
            self._agents[site] = SiteAgent(network, site, folder / site / "sites.ini", self._queue)
        for agent in self._agents.values():
            agent.up()
        self._said = dict.fromkeys(WAYS, 0)

    def heal(self) -> None:
        self.network("heal")

    def say(self) -> None:
        """Say something on each way, and take what has come."""
        for source, target in WAYS:
            self._said[source, target] = self._agents[source].say(target, "Urgent", 1, 200) + 1
        time.sleep(0.05)
        self._take()

    def _take(self) -> None:
        while not self._queue.empty():
            heard = self._queue.get()
            way = (heard.sender, heard.at)
            self.came[way].append(heard.n)
            self._longest = max(self._longest, heard.instant - self._last[way])
            self._last[way] = heard.instant

    def lasts(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.say()

    def silence(self) -> float:
        """Return the longest time without a message on one of the ways since this was asked last, seconds."""
        longest, self._longest = self._longest, 0.0
        return longest

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
        """Go on until something is so."""

        def is_so() -> bool:
            self.say()
            return condition()

        wait_until(is_so, seconds, what)

    def goes_on(self) -> None:
        """Go on until what is said from now on comes, on every way."""
        begun = dict(self._said)
        self.until(lambda: all(len(came) > begun[way] for way, came in self.came.items()), "messages to come", 180.0)

    def is_whole(self) -> None:
        """Go on until each node sees all nodes."""
        looking: list[bool] = []

        def look() -> None:  # it takes a second and more, in which messages should flow
            looking.append(all(node.sees() == len(NODES) for node in self.nodes.values()))

        def sees_all() -> bool:
            if looking == [True]:
                return True
            if not self._looker.is_alive():
                looking.clear()
                self._looker = threading.Thread(target=look, daemon=True)
                self._looker.start()
            return False

        self.until(sees_all, "a cluster to be whole")
        self._looker.join()

    def ends(self) -> None:
        """Wait until all has come, and look at it."""

        def all_there() -> bool:
            self._take()
            return not any(agent.waiting() for agent in self._agents.values())

        wait_until(all_there, 180.0, "nothing to wait")
        self._take()
        for way, count in self._said.items():
            assert self.came[way] == list(range(count)), f"{way}: lost, doubled, or out of order"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Let the nodes that a test has started again live on: `Computers.close` ends all of them after the last test."""


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    needs_rabbit()
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with closing(SiteComputers(tmp_path_factory.mktemp("cluster"), **PLACES)) as network:
        network("delay 0.01")
        lines = "cluster_partition_handling = pause_minority\nnet_ticktime = 10"
        with rabbit_cluster(network, *NODES, config=lines) as nodes:
            made = Flow(network, nodes)
            made.goes_on()
            made.lasts(OLD_ENOUGH_SECONDS)
            yield made


def start(flow: Flow, name: str) -> None:
    flow.nodes[name].begin()
    flow.until(flow.nodes[name].is_ready, "a node to be ready")


def kill(flow: Flow, name: str) -> Callable[[], None]:
    flow.nodes[name].kill()
    return lambda: start(flow, name)


def go_on(flow: Flow, name: str) -> None:
    """Go on for a while with a node that was away, and start it again.

    RabbitMQ 3.10.8 may stay alone after that and say nothing, or wait for Erlang's ``global`` for ever as it begins.
    """
    flow.lasts(10.0)
    flow.nodes[name].kill()
    start(flow, name)


def stop(flow: Flow, name: str) -> Callable[[], None]:
    flow.nodes[name].send(signal.SIGSTOP)

    def mend() -> None:
        flow.nodes[name].send(signal.SIGCONT)
        go_on(flow, name)

    return mend


def part(flow: Flow, name: str) -> Callable[[], None]:
    """Cut a node off from the other nodes; the sites still reach it."""
    for other in NODES:
        if other != name:
            flow.network(f"part {name} {other}")

    def mend() -> None:
        flow.heal()
        go_on(flow, name)

    return mend


@pytest.mark.parametrize(("trouble", "times"), [(kill, 3), (stop, 1), (part, 1)])
def test_trouble_with_each_node_loses_and_doubles_nothing(
    flow: Flow, trouble: Callable[[Flow, str], Callable[[], None]], times: int
) -> None:
    for name in NODES * times:
        mend = trouble(flow, name)
        flow.goes_on()  # through the two others
        flow.lasts(5.0)
        mend()
        flow.is_whole()
        flow.goes_on()
        flow.lasts(OLD_ENOUGH_SECONDS)
        print(f"{trouble.__name__} {name}: {flow.silence():.1f} s without a message at most")
    flow.ends()
