"""Two agents with a carrier and a network between them: what the conformance suite of carriers runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.conftest import AgentsObservatory, free_port
from tests.jobs.rabbit import RABBIT, RabbitNode, rabbit_node


class Wan:
    """The program `bench._wan` between others and one port."""

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


@contextmanager
def wan_before(target: int) -> Iterator[tuple[int, Wan]]:
    """Run a network before a port; gives the port at its other side."""
    near = free_port()
    with closing(Wan(near, target)) as wan:
        yield near, wan


class CarrierNetwork(NamedTuple):
    """The network of a carrier, and what the configuration says."""

    wan: Wan
    sections: dict[str, dict[str, str]]
    """The sections of ``hearing`` and of what the carrier needs."""
    greeting: int = 1000
    """Bytes each way, about, until messages flow on a new connection."""
    node: RabbitNode | None = None
    """The RabbitMQ, where there is one."""


class CarriedAgents(NamedTuple):
    """The agents ``telling`` and ``hearing``, and the network by which one reaches the other."""

    place: AgentsObservatory
    wan: Wan
    greeting: int


@contextmanager
def tcp() -> Iterator[CarrierNetwork]:
    """Have ``hearing`` reached by TCP, through the network."""
    port = free_port()
    with wan_before(port) as (near, wan):
        yield CarrierNetwork(wan, {"hearing": {"port": str(port), "at": f"localhost:{near}"}})


def needs_rabbit() -> None:
    """Skip the test where there is no RabbitMQ, and in CI."""
    if os.environ.get("CI") or not RABBIT.exists():
        pytest.skip("never in CI" if os.environ.get("CI") else f"RabbitMQ is not installed: there is no {RABBIT}")


@contextmanager
def amqp() -> Iterator[CarrierNetwork]:
    """Have ``hearing`` reached by a RabbitMQ of its own, with the network before that; skips where there is none."""
    needs_rabbit()
    with (
        TemporaryDirectory(prefix="rabbit-") as folder,
        rabbit_node(Path(folder)) as node,
        wan_before(node.port) as (near, wan),
    ):
        yield CarrierNetwork(wan, through_rabbit(near), 3000, node)


def through_rabbit(port: int) -> dict[str, dict[str, str]]:
    """Return the sections of a configuration whose ``hearing`` is reached by the RabbitMQ at a port."""
    return {
        "observatory": {"amqp": f"amqp://localhost:{port}", "tls": "DANGEROUSLY_OFF"},
        "hearing": {"port": str(free_port()), "at": "amqp"},
    }


CARRIERS: dict[str, Callable[[], AbstractContextManager[CarrierNetwork]]] = {"tcp": tcp, "amqp": amqp}
"""What runs each carrier, by its name."""
