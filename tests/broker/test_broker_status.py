"""`pyros broker status`, asked of a running broker."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyros.broker import send_event
from pyros.broker.vtp.protocol import frame, transport
from pyros.cli.broker import lines
from pyros.clock import VirtualClock
from pyros.errors import MessageRefused
from pyros.health.asking import missing, receiving
from tests.broker.conftest import Configuration, make_event
from tests.broker.process import BrokerProgram
from tests.cli.conftest import run
from tests.conftest import PATIENCE, wait_until


@pytest.fixture
def running(configuration: Configuration, port: int) -> Iterator[tuple[Path, dict[str, int]]]:
    config = configuration(port=str(port), remotes="127.0.0.1:1")
    broker = BrokerProgram(config)
    yield config, broker.ports
    broker.close()


def test_receiving_from_whom_since_when_filtered_how(running: tuple[Path, dict[str, int]], clock: VirtualClock) -> None:
    config, ports = running
    send_event("127.0.0.1", ports["receiver_port"], make_event())
    with pytest.raises(MessageRefused):
        send_event("127.0.0.1", ports["receiver_port"], make_event(text="something else"))
    with socket.create_connection(("127.0.0.1", ports["broadcaster_port"])) as subscriber:
        hello = transport("authenticate", "ivo://x.y/z", clock.now(), response="ivo://x.y/z", filters=["//Param"])
        subscriber.sendall(frame(hello))
        wait_until(lambda: "//Param" in run("broker", "status", "-c", config).stdout)
        shown = run("broker", "status", "-c", config)
        said = json.loads(run("broker", "status", "--json", "-c", config).stdout)
    assert shown.exit_code == 1, "a remote broker is not there"
    assert "broker 127.0.0.1:1: NOT CONNECTED since 20" in shown.stdout
    assert "subscriber ivo://x.y/z at 127.0.0.1 since 20" in shown.stdout
    assert "came again with other content from author 127.0.0.1" in shown.stdout
    assert (said["received"], said["refused"], said["subscribers"][0]["filters"]) == (1, 1, ["//Param"])


def test_who_says_nothing_is_not_called_receiving() -> None:
    remote = {"connected": True, "since": 100.0, "heard": 50.0, "received": 3, "filters": ["//a"], "tls": True,
              "trouble": "it was silent for 180 seconds"}  # fmt: skip
    kafka = {"servers": "k:9092", "group": "g", "subscribed": ["a.*", "b"], "topics": ["a.x"], "missing": ["b"],
             "since": 0.0, "taken": 7, "lag": 12, "heard": None, "silent": False, "trouble": ""}  # fmt: skip
    subscriber = {"peer": "10.0.0.1", "ivo": "", "since": 0.0, "filters": [], "refused_filters": ["not an XPath: //["],
                  "sent": 1, "unacknowledged": 1}  # fmt: skip
    said: dict[str, Any] = {
        "since": 0.0, "events": 1, "received": 1, "duplicates": 0, "refused": 0, "failed": 0, "waiting": 0,
        "authors": 0, "remotes": {"a:8099": remote}, "kafka": {"gcn": kafka}, "subscribers": [subscriber],
        "conflicts": [],
    }  # fmt: skip
    assert list(lines(said))[2:] == [
        "broker a:8099: SAYS NOTHING since 1970-01-01 00:01:40, with TLS, last heard 1970-01-01 00:00:50, 3 events",
        "  asked for: //a",
        "  it was silent for 180 seconds",
        "kafka gcn (k:9092): receiving since 1970-01-01 00:00:00, never heard, 7 packets, 12 wait there",
        "  asked for: a.* b; there are 1 such topics",
        "  there is no topic (or none that we may read) for: b",
        "0 authors are connected",
        "subscriber (unnamed) at 10.0.0.1 since 1970-01-01 00:00:00: no filter; 1 events sent, 1 not acknowledged",
        "  a filter of it is not taken: not an XPath: //[",
    ]
    assert not receiving(said)
    assert list(missing(said)) == [
        "broker a:8099 SAYS NOTHING since 1970-01-01 00:01:40", "kafka gcn has no topic for b"
    ]  # fmt: skip
    remote["heard"] = 100.0
    assert not receiving(said), "a topic is missing"
    kafka["missing"] = []
    assert receiving(said)
    kafka["trouble"] = "its credentials are not taken"
    assert list(missing(said)) == ["kafka gcn: its credentials are not taken"]
    kafka["silent"] = True
    assert list(missing(said)) == ["kafka gcn SILENT since 1970-01-01 00:00:00"]
    assert not receiving(said)


def test_the_status_of_all_tells_from_where_no_alerts_come(running: tuple[Path, dict[str, int]]) -> None:
    config, ports = running
    text = config.read_text()
    for key in ("receiver_port", "broadcaster_port"):  # as they are: the process took others than the file says
        text = re.sub(rf"^{key} = .*$", f"{key} = {ports[key]}", text, flags=re.MULTILINE)
    config.write_text(text)
    shown = run("status", "-c", config).stdout
    assert re.search(r"^broker +127\.0\.0\.1:\d+ +up +20\d\d-", shown, re.MULTILINE), "since when is told, too"
    assert re.search(r"^No alerts from: broker 127\.0\.0\.1:1 NOT CONNECTED since 20.* \(pyros broker status\)$", shown,
                     re.MULTILINE)  # fmt: skip
    lines = [json.loads(line) for line in run("status", "--json", "-c", config).stdout.splitlines()]
    said = next(line for line in lines if line.get("agent") == "broker")
    assert [each.partition(" since ")[0] for each in said["missing"]] == ["broker 127.0.0.1:1 NOT CONNECTED"]


def test_other_questions_are_refused(running: tuple[Path, dict[str, int]]) -> None:
    for said, answer in ((b"hello\n", b"ERR this is the broker"), (b"\0\0\0\2{}", b"\0\0\0"), (b"\1\0\0\1", b"\0\0\0")):
        with socket.create_connection(("127.0.0.1", running[1]["port"]), timeout=PATIENCE) as one:
            one.sendall(said)
            assert b"".join(iter(lambda one=one: one.recv(1000), b"")).startswith(answer)  # type: ignore[misc]


def test_a_broker_that_is_not_there(configuration: Configuration, port: int) -> None:
    shown = run("broker", "status", "-c", configuration("a", port=str(port)))
    assert (shown.exit_code, shown.stderr.count("\n")) == (1, 1)
    assert "Connection refused" in shown.stderr
    shown = run("broker", "status", "-c", configuration("b"))
    assert "[broker] port: missing; give one" in shown.stderr
