from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from pyros.simulators import server

Rigs = Callable[..., Any]


def test_pipelined_requests_are_answered_in_order_with_their_numbers(rig: Rigs) -> None:
    client = rig("dome").client()
    client.send("#1 GET state", "#2 GET nothing", "#3 GET id", "GET state")
    assert [line.split()[0] for line in client.read()] == ["#1", "#2", "#3", "OK"]


def test_the_answer_comes_before_the_events_that_the_request_caused(rig: Rigs) -> None:
    dome = rig("dome", speed=1, travel=20)
    client, other = dome.client(), dome.client()
    client.send("DO open", "#2 DO stop")
    assert client.read() == ["BUSY 20.000", "#2 OK", "EVT stopped"]
    assert other.read() == ["EVT stopped"]


def test_requests_are_kept_with_their_time(rig: Rigs) -> None:
    dome = rig("dome", speed=10)
    dome.send("#1 GET state")
    dome.advance(2.5)
    dome.send("nonsense")
    assert list(dome.simulator.requests) == [(0.0, "#1 GET state"), (2.5, "nonsense")]


def test_a_client_that_has_said_all_is_answered_and_let_go(rig: Rigs) -> None:
    client = rig("dome").client()
    client.connection.dataReceived(b"GET state\nGET id")
    client.connection.readConnectionLost()
    assert client.read() == ["OK closed", 'OK "Demo dome" dome']
    assert client.transport.disconnecting


def test_it_may_stay_for_the_end_of_what_it_began(rig: Rigs) -> None:
    dome = rig("dome", speed=1, travel=20)
    client, curious = dome.client(), dome.client()
    client.connection.dataReceived(b"DO open\n")
    client.connection.readConnectionLost()
    assert client.read() == ["BUSY 20.000"]
    curious.connection.dataReceived(b"GET state\n")
    curious.connection.readConnectionLost()
    assert curious.transport.disconnecting  # what runs is not its business
    assert not client.transport.disconnecting
    dome.advance(20)
    assert client.read() == ["EVT opened"]
    assert client.transport.disconnecting


def test_a_line_without_end_is_refused_and_closed(rig: Rigs) -> None:
    client = rig("dome").client()
    client.connection.dataReceived(b"x" * 5000)
    assert client.read() == ["ERR SYNTAX the line is longer than 4096 bytes"]
    assert client.transport.disconnecting
    client.connection.dataReceived(b"GET state\n")
    assert client.read() == []


def test_who_does_not_read_is_not_read_from(rig: Rigs) -> None:
    dome = rig("dome")
    dome.connection.pauseProducing()
    assert dome.transport.producerState == "paused"
    dome.send("#1 GET state", "#2 GET state")
    assert dome.read() == []
    dome.connection.resumeProducing()
    assert dome.read() == ["#1 OK closed", "#2 OK closed"]
    assert dome.transport.producerState == "producing"


def test_who_sends_on_and_never_reads_is_cut_off(rig: Rigs) -> None:
    client = rig("dome").client()
    client.connection.pauseProducing()
    for _ in range(20):
        client.connection.dataReceived(b"GET state\n" * 6554)
    assert client.transport.disconnected or client.transport.disconnecting


def test_who_lets_a_megabyte_of_events_wait_is_cut_off(rig: Rigs) -> None:
    dome = rig("dome", speed=1)
    deaf, client = dome.client(), dome.client()
    deaf.connection.pauseProducing()
    sent = 0
    while not deaf.transport.disconnecting:
        client.send(*["DO open", "DO stop"] * 500)
        client.read()
        sent += 500 * len("EVT stopped\n")
        assert sent < 2 << 20
    assert sent > 1 << 20
    assert not client.transport.disconnecting


def test_who_reads_nothing_for_minutes_is_cut_off_and_an_idle_client_is_not(rig: Rigs) -> None:
    dome = rig("dome")
    deaf, slow, idle = dome.client(), dome.client(), dome.client()
    deaf.connection.pauseProducing()
    slow.connection.pauseProducing()
    dome.advance(100)
    slow.connection.resumeProducing()
    dome.advance(100)
    assert deaf.transport.disconnecting
    assert not slow.transport.disconnecting
    dome.advance(100_000)
    assert not idle.transport.disconnecting
    assert idle.ask("GET state") == "OK closed"


def test_stop_waits_for_the_connections_and_then_nothing_is_left(rig: Rigs) -> None:
    dome = rig("dome")
    client, other = dome.client(), dome.client()
    client.send("DO open")
    other.lose()
    stopped = dome.simulator.stop()
    assert client.transport.disconnecting
    assert not stopped.called
    client.lose()
    assert stopped.called
    assert dome.timers() == 0


def test_stop_does_not_wait_for_ever(rig: Rigs) -> None:
    dome = rig("dome")
    deaf = dome.client()
    deaf.connection.readConnectionLost()
    deaf.transport.disconnecting = False
    dome.simulator.stop()
    dome.advance(server.FAREWELL_SECONDS + 0.1)
    assert deaf.transport.disconnecting  # aborted
    deaf.lose()


@pytest.mark.parametrize("device", ["telescope", "camera", "dome", "weather"])
def test_whatever_is_asked_and_whenever_the_device_goes_on(rig: Rigs, device: str) -> None:
    each = rig(device, **({"width": 32, "height": 32} if device == "camera" else {}))
    client = each.client()
    names = [*each.device.properties, *each.device.settable, *each.device.actions]
    names = [name for name in names if name != "image"]  # its answer is not a line
    values = [
        "0",
        "1",
        "359.9999",
        "-90",
        "45",
        "on",
        "off",
        "r",
        "auto",
        '""',
        "nan",
        "1e999",
        '"a b"',
        "9" * 500,
        "é",
    ]
    keys = ["ra", "dec", "seconds", "tag", "x"]
    random = Random(1)
    for _ in range(1500):
        verb, name = random.choice(["GET", "SET", "DO"]), random.choice(names)
        words = [random.choice(values) for _ in range(random.randrange(3))]
        if verb == "DO":
            words = [f"{key}={word}" for key, word in zip(random.sample(keys, len(words)), words, strict=True)]
            if name in ("slew", "expose") and random.random() < 0.7:
                words = ["ra=150", f"dec={random.uniform(0, 60)}"] if name == "slew" else ["seconds=3"]
        answer = client.ask(" ".join(["#5", verb, name, *(words if verb != "GET" else [])]))
        assert answer.startswith(("#5 OK", "#5 BUSY ", "#5 ERR ")), answer
        for event in client.read():
            assert event.startswith("EVT "), event
        if random.random() < 0.3:
            each.advance(random.choice([0.01, 1, 10, 1000]))


@pytest.mark.parametrize("device", ["telescope", "camera", "dome", "weather"])
@pytest.mark.parametrize(
    "data", [b"\x00\xff" * 3000, b"GET\n" * 2000, b"#1 \n\n\r\n", b'SET name "\n', b"POST / HTTP/1.1\r\n\r\n"]
)
def test_garbage_is_refused_line_by_line(rig: Rigs, device: str, data: bytes) -> None:
    each = rig(device)
    client, other = each.client(), each.client()
    client.connection.dataReceived(data)
    answers = client.read()
    assert answers
    assert all("ERR SYNTAX " in answer for answer in answers)
    assert other.ask("GET state").startswith("OK ")
