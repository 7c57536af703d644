"""The beat of the dome's agent towards the guardian stops with the agent's own turns, in real threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from pyros.agents.dome import DomeAgent
from pyros.clock import steady_seconds
from pyros.config import GuardianConfig
from tests.conftest import DEMO, PATIENCE, wait_until

SILENCE = 4.5
"""Seconds: several beats would have come meanwhile."""


class HangingDomeAgent(DomeAgent):
    """A handler of it does not return."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.goes_on = threading.Event(), threading.Event()
        self.actions_by_message["Hang"] = self.hang

    def hang(self) -> None:
        self.hangs.set()
        assert self.goes_on.wait(2 * PATIENCE)


class ListeningGuardian:
    """Takes every beat, and remembers when."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.beats: list[float] = []
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    @property
    def port(self) -> int:
        port: int = self.server.getsockname()[1]
        return port

    def silent_for(self) -> float:
        return steady_seconds() - self.beats[-1]

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                self.client, _ = self.server.accept()
                with self.client, self.client.makefile("rwb") as lines:
                    lines.write(b"GUARDIAN 1 nonce\n")
                    lines.flush()
                    for line in lines:
                        assert line.startswith(b"BEAT ")
                        self.beats.append(steady_seconds())
                        lines.write(b"OK closed\n")
                        lines.flush()

    def close(self) -> None:
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.thread.join(PATIENCE)


@pytest.fixture
def guardian() -> Iterator[ListeningGuardian]:
    guardian = ListeningGuardian()
    yield guardian
    guardian.close()


def test_the_beat_stops_when_a_handler_hangs_and_goes_on_with_it(
    observatory: Callable[..., Any], guardian: ListeningGuardian, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyros.agents.shutter_control.AWAY_SECONDS", 0.1)  # there is no device, whose end to wait for
    place = observatory("monitoring", dome={"driver": "native", "address": "tcp:127.0.0.1:9"})
    config = msgspec.structs.replace(place.config, site=DEMO.site, guardian=GuardianConfig(port=guardian.port))
    agent = HangingDomeAgent()
    agent.start(config)
    try:
        wait_until(lambda: len(guardian.beats) > 2)
        with place.connect("dome") as person:
            person.sendall(b"Hang\n")
            assert agent.hangs.wait(PATIENCE)
        wait_until(lambda: guardian.silent_for() > SILENCE)
        before = len(guardian.beats)
        agent.goes_on.set()
        wait_until(lambda: len(guardian.beats) > before + 1)
    finally:
        agent.goes_on.set()
        agent.stop(PATIENCE)
