"""The same over real sockets on 127.0.0.1: all four devices of the demo, as ``nc`` would talk to them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twisted.internet import threads

from pyros.clock import RealClock
from pyros.errors import SimulatorError
from pyros.simulators import Simulator, load
from tests.conftest import PATIENCE, free_port, reactor_in_a_thread

blockingCallFromThread: Any = threads.blockingCallFromThread  # its types know only Deferreds of Never

DEMO = Path(__file__).parents[2] / "observatory" / "simulators"


def local() -> str:
    """Choose a port to which nothing can be connected after it was closed, not even a connection to itself."""
    return f"tcp:{free_port()}:interface=127.0.0.1:backlog=1024"


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """Run a reactor of this file's own, in a thread of its own."""
    with reactor_in_a_thread() as running:
        yield running


@pytest.fixture
def start(reactor: Any) -> Iterator[Callable[..., Simulator]]:
    started = []

    def begin(device: str, **changed: Any) -> Simulator:
        description = load(DEMO / f"{device}.yaml").changed(listen=local(), **changed)
        simulator = Simulator(description, reactor, RealClock(reactor))
        blockingCallFromThread(reactor, simulator.start)
        started.append(simulator)
        return simulator

    yield begin
    for simulator in started:
        port = simulator.port
        blockingCallFromThread(reactor, simulator.stop)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), PATIENCE)
    timers = blockingCallFromThread(reactor, reactor.getDelayedCalls)
    assert timers == []


def netcat(simulator: Simulator, *lines: str) -> bytes:
    """``printf ... | nc -N``: send, close the sending side, read to the end."""
    with socket.create_connection(("127.0.0.1", simulator.port), PATIENCE) as client:
        client.sendall("\n".join(lines).encode())
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def test_a_follow_up_by_hand(start: Callable[..., Simulator]) -> None:
    telescope = start("telescope", speed=1000, parked=True)
    camera = start("camera", speed=1000, telescope=f"tcp:127.0.0.1:{telescope.port}")
    dome, weather = start("dome", speed=1000), start("weather")

    assert netcat(weather, "GET readings").startswith(b"OK temperature=")
    assert netcat(dome, "DO open").splitlines()[1:] == [b"EVT opened"]
    ra, dec = netcat(telescope, "DO unpark", "GET position").splitlines()[1].split()[1:]
    slewed = netcat(telescope, f"DO slew ra={ra.decode()} dec={dec.decode()} tag=t").decode().splitlines()
    assert slewed[0].startswith("BUSY")
    assert slewed[1].startswith("EVT slew_finished")
    exposed = netcat(camera, "DO expose seconds=20 tag=x").decode().splitlines()
    assert [line.split()[1] for line in exposed[1:]] == ["exposure_started", "exposure_finished", "image_ready"]

    data = netcat(camera, "#1 GET image", "#2 GET state")
    line, _, rest = data.partition(b"\n")
    assert line == b"#1 OK 768 768 16 block=1179648"
    assert rest[1179648:] == b"#2 OK ready\n"
    image = np.frombuffer(rest[:1179648], "<u2")
    assert np.median(image) > 1000 + 20  # the sky's light: it knew where it looked
    assert [line for _, line in telescope.requests][-1] == "GET true_position"


def test_a_port_in_use_is_named(start: Callable[..., Simulator], reactor: Any) -> None:
    taken = start("dome").port
    description = load(DEMO / "dome.yaml").changed(listen=f"tcp:{taken}:interface=127.0.0.1")
    second = Simulator(description, reactor, RealClock(reactor))
    with pytest.raises(SimulatorError) as error:
        blockingCallFromThread(reactor, second.start)
    assert str(error.value).startswith(f"{description.file}: listen: tcp:{taken}:interface=127.0.0.1 cannot be opened")
    assert "in use" in str(error.value)
    assert second.port == 0
    blockingCallFromThread(reactor, second.stop)


def test_a_client_that_asks_for_images_and_never_reads_is_not_fed(start: Callable[..., Simulator]) -> None:
    camera = start("camera", speed=10_000)
    netcat(camera, "DO expose seconds=1")
    with socket.create_connection(("127.0.0.1", camera.port), PATIENCE) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(b"GET image\n" * 500)
        assert netcat(camera, "GET state") == b"OK ready\n"
        asked = sum(line == "GET image" for _, line in camera.requests)
        assert asked < 20
    assert netcat(camera, "GET state") == b"OK ready\n"


def test_many_idle_clients_are_no_trouble(start: Callable[..., Simulator]) -> None:
    dome = start("dome")
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", dome.port), PATIENCE))
        assert netcat(dome, "GET state") == b"OK closed\n"
