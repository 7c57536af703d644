"""Journals that are copied, put back, lost and damaged on either side in any order, while clocks step.

On virtual time, in one thread; the journals are files. What was lost or came twice is known here, and the agents must
have said it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros import config as configuration
from pyros.agents.runtime.host import Host
from pyros.rehearsal.computer import Computer, ProcessClock
from pyros.rehearsal.network import Network
from pyros.rehearsal.reactor import MemoryReactor
from pyros.rehearsal.timeline import Timeline
from tests.sender.test_outbound import HearingAgent, TellingAgent

BEGIN = datetime(2026, 3, 20, tzinfo=UTC)
SIDES = ("telling", "hearing")


class CopiedPair:
    """Two agents that are started and stopped, and whose journals are exchanged."""

    def __init__(self, folder: Path) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline)
        self.computer = Computer(self.timeline, BEGIN, "copies")
        self.folder = folder
        text = "[observatory]\nname = copies\n"
        for port, name in enumerate(SIDES, 5001):
            text += f"[{name}]\nport = {port}\napp = none\n"
        (folder / "a.ini").write_text(text)
        self.config = configuration.load(folder / "a.ini")
        self.hosts: dict[str, Host] = {}
        self.alarms: set[str] = set()
        self.heard: list[int] = []
        self.said = 0
        for name in SIDES:
            self.start(name)

    def start(self, name: str) -> None:
        if name in self.hosts:
            return
        agent = TellingAgent() if name == "telling" else HearingAgent()
        if isinstance(agent, HearingAgent):
            agent.heard = self.heard
        reactor = MemoryReactor(self.timeline, self.network, name)
        host = Host(agent, self.config, reactor, ProcessClock(self.computer, reactor), threaded=False, durable=False)
        host.start()
        self.hosts[name] = host
        self.passes(0.0)  # its work() has returned

    def stop(self, name: str) -> None:
        """End an agent as SIGKILL does."""
        host = self.hosts.pop(name, None)
        if host is None:
            return
        self._note(host)
        host.reactor.alive = False  # type: ignore[attr-defined]
        self.network.vanish(name)
        host.kill()
        host.journal.close()

    def _note(self, host: Host) -> None:
        self.alarms |= {f"{host.agent.name}: {alarm.text}" for alarm in host.alarms.raised.values()}

    def say(self, count: int) -> None:
        host = self.hosts.get("telling")
        if host is None:
            return
        host.post("Tell", msgspec.json.encode({"from": self.said, "to": self.said + count}))
        self.said += count
        self.passes(0.0)  # the turn is committed

    def passes(self, seconds: float) -> None:
        self.timeline.run_until(self.timeline.now + seconds)

    def files(self, name: str) -> list[Path]:
        return list(self.config.journal(name).parent.glob(f"{name}.sqlite*"))

    def copy(self, name: str) -> None:
        self.stop(name)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        for file in self.files(name):
            shutil.copy2(file, self.folder / name)
        self.start(name)

    def put_back(self, name: str) -> None:
        if not (self.folder / name).exists():
            return
        self.stop(name)
        self.lose(name)
        for file in (self.folder / name).iterdir():
            shutil.copy2(file, self.config.journal(name).parent)

    def lose(self, name: str) -> None:
        self.stop(name)
        for file in self.files(name):
            file.unlink()

    def damage(self, name: str) -> None:
        self.stop(name)
        path = self.config.journal(name)
        if path.exists():
            path.write_bytes(b"x" * 100 + path.read_bytes()[100:])

    def clock(self, seconds: float) -> None:
        """Set the wall clock, as a bad time server does."""
        self.computer.step(seconds)

    def cut(self, _: str) -> None:
        self.network.cut(*SIDES)

    def ends(self) -> None:
        """Let everything flow for a while."""
        for name in SIDES:
            self.start(name)
        self.passes(60.0)
        begin = self.said
        self.say(3)
        self.passes(60.0)
        for host in self.hosts.values():
            self._note(host)
        assert self.heard[-3:] == list(range(begin, begin + 3)), f"the flow has ended: {self.alarms}"
        outbox: Any = self.hosts["telling"].status()["outbox"]
        assert outbox == {}, f"it waits for ever: {outbox}"


ACTIONS = ("stop", "start", "copy", "put_back", "lose", "damage", "cut")
STEP = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 4)),
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from(SIDES)),
    st.tuples(st.just("passes"), st.sampled_from([0.05, 5.0, 20.0])),
    st.tuples(st.just("clock"), st.sampled_from([-1e6, 90_000.0, 1e6])),
)


@pytest.mark.parametrize("examples", [12, pytest.param(500, marks=pytest.mark.long)])
def test_nothing_is_lost_or_doubled_in_silence(examples: int) -> None:
    settings(max_examples=examples)(given(st.lists(STEP, max_size=14))(_lives_through))()


def _lives_through(steps: list[tuple[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        pair = CopiedPair(Path(folder))
        try:
            for what, of in steps:
                getattr(pair, what)(of)
            pair.ends()
            lost = set(range(pair.said)) - set(pair.heard)
            doubled = {n for n, count in Counter(pair.heard).items() if count > 1}
            if {what for what, _ in steps} & {"put_back", "lose", "damage"}:
                assert pair.alarms or not (lost or doubled), f"in silence lost: {lost}, doubled: {doubled}"
            else:
                assert (pair.heard, pair.alarms) == (list(range(pair.said)), set())
        finally:
            for name in SIDES:
                pair.stop(name)
