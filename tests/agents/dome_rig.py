"""The dome's agent alone with a simulated dome, inline on virtual time.

What others say is given to the agent as its port would, and what it sends is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from pyros import messages, simulators
from pyros.agents.dome import DomeAgent
from pyros.agents.runtime.host import Host
from pyros.clock import VirtualClock
from pyros.config import AgentConfig, Config
from pyros.errors import JournalError
from pyros.rehearsal.reactor import MemoryReactor
from tests.rig import batch_of

REPOSITORY = Path(__file__).parents[2]
MIDNIGHT = datetime(2026, 3, 20, 23, 44, tzinfo=UTC)
"""The demo site's, to some minutes; at the equinox."""
TRAVEL = 2.0
SILENCE = 60.0
PORT = 6012
OTHERS = ("majordome", "observation_manager", "monitoring", "telescope")


class OneLineProtocol(Protocol):
    def __init__(self, line: str) -> None:
        self._line = line

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(f"{self._line}\n".encode())
        transport.loseWriteConnection()


class _Lines(Factory):
    noisy = False

    def __init__(self, line: str) -> None:
        self._line = line

    def buildProtocol(self, addr: Any) -> OneLineProtocol:
        return OneLineProtocol(self._line)


class DomeRig:
    """One observatory's dome; the agent begins with `start`. ``changes`` are of the configuration."""

    def __init__(self, folder: Path, *, start: datetime = MIDNIGHT, roof: bool = False, **changes: Any) -> None:
        self.reactor = MemoryReactor()
        self.clock = VirtualClock(self.reactor, start)
        for name in ("site.yaml", "simulators/dome.yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / "observatory" / name, folder / name)
        agents = {name: AgentConfig(name, "127.0.0.1", 5001 + number, "x") for number, name in enumerate(OTHERS)}
        agents["dome"] = AgentConfig(
            "dome", "127.0.0.1", 5000, "x", driver="native", address=f"tcp:127.0.0.1:{PORT}", roof=roof
        )
        config = Config(
            path=folder / "pyros_agent_config.ini", name="test", data=folder / "var", site=folder / "site.yaml",
            alert_rules=folder, agents=agents,
        )  # fmt: skip
        self.config = msgspec.structs.replace(config, **changes)
        self._description = simulators.load(folder / "simulators" / "dome.yaml")
        self.host: Host | None = None
        self.sent: list[tuple[str, str, Any]] = []
        """(agent, name, payload) of what was put on the wire."""
        self._seq: dict[str, int] = {}
        self.power_on()

    # The device ---------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Start the device, closed and without memory."""
        self.simulator = simulators.Simulator(self._description, self.reactor, self.clock)
        assert self.simulator.start().called
        self.run(0.01)

    def power_off(self) -> None:
        self.simulator.stop()
        self.run(0.01)

    @property
    def shutter(self) -> str:
        """What the device is doing."""
        return self.simulator.device.state

    def by_hand(self, line: str) -> None:
        """Somebody says so to the device: ``DO open``, ``FAULT stuck for=30``."""
        TCP4ClientEndpoint(self.reactor, "127.0.0.1", PORT).connect(_Lines(line)).addErrback(lambda _: None)
        self.run(0.01)

    def commands(self, since: float = 0.0) -> list[str]:
        """Return what the agent has told the device to do: its requests have numbers."""
        return [
            line.partition(" ")[2] for when, line in self.simulator.requests
            if when >= since and line.startswith("#") and " DO " in line
        ]  # fmt: skip

    # The agent ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new agent on the journal that the old one has left."""
        host = self.host = Host(DomeAgent(), self.config, self.reactor, self.clock, threaded=False, durable=False)
        host.start()
        host.outbound.post = self._posted  # type: ignore[method-assign]
        # What a full disk kept the old one from storing is not said again: else the numbers would have a gap.
        self._seq = {sender: host.journal.seen.get((sender, "epoch"), 0) for sender in self._seq}
        self.run(0.01)

    def stop(self, seconds: float = 200.0) -> None:
        """End the agent as a signal does."""
        if self.host is not None:
            stopped = self.host.stop()
            assert self.reactor.run_until(self.now + seconds, lambda: stopped.called), "the agent does not end"
            self.host = None

    def kill(self) -> None:
        """Let the agent's process die."""
        if self.host is not None:
            host, self.host = self.host, None
            host.kill()
            assert self.reactor.run_until(self.now + 10, lambda: host.stopped.called)

    @property
    def agent(self) -> DomeAgent:
        assert self.host is not None
        agent = self.host.agent
        assert isinstance(agent, DomeAgent)
        return agent

    def full_disk(self) -> Callable[[], None]:
        """Have the journal store nothing from now on, until what is returned is called."""
        assert self.host is not None
        journal = self.host.journal

        def full(effects: Any) -> None:
            raise JournalError("cannot store: database or disk is full")

        journal.commit = full  # type: ignore[method-assign]

        def emptied() -> None:
            journal.__dict__.pop("commit", None)

        return emptied

    def _posted(self, outgoing: list[Any]) -> None:
        self.sent += [
            (message.agent, message.name, messages.decode_payload(message.name, message.payload))
            for message in outgoing
        ]

    def told(self, name: str) -> list[Any]:
        """Return the payloads of the messages of that name that were sent."""
        return [payload for _, sent, payload in self.sent if sent == name]

    # What others say ----------------------------------------------------------------------------------------------

    def say(
        self, name: str, payload: Any = None, *, sender: str = "", age: float | None = 0.0, proved: bool = True
    ) -> None:
        """Deliver a message that was said so many seconds ago (None: nobody knows when)."""
        assert self.host is not None
        sender = sender or ("monitoring" if name.startswith("Weather") else "majordome")
        seq = self._seq[sender] = self._seq.get(sender, 0) + 1
        said = (name, messages.encode_payload(name, payload))
        self.host.loop.receive(batch_of(self.clock, sender, seq, said, age=age, proved=proved))
        self.run(0.01)

    def safe(self, age: float | None = 0.0) -> None:
        self.say(messages.WEATHER_SAFE, messages.WeatherState(reason="good"), age=age)

    def unsafe(self, reason: str = "rain", *, wet: bool = False, age: float | None = 0.0) -> None:
        self.say(messages.WEATHER_UNSAFE, messages.WeatherState(reason=reason, wet=wet), age=age)

    def keep_open(self, seconds: float = 60.0, age: float | None = 0.0) -> None:
        self.say(messages.KEEP_OPEN, messages.KeepOpen(seconds=seconds), age=age)

    def open(self, *, sender: str = "", age: float | None = 0.0) -> None:
        self.say(messages.OPEN, messages.Order(reason="for a target"), sender=sender, age=age)

    def close(self, *, sender: str = "", reason: str = "enough") -> None:
        self.say(messages.CLOSE, messages.Order(reason=reason), sender=sender)

    def opened(self) -> None:
        """Have it open, with fresh leases."""
        self.safe()
        self.open()
        assert self.until(lambda: self.shutter == "open", TRAVEL + 1), "it does not open"
        self.run(0.05)

    def kept(self, seconds: float, *, weather: bool = True, majordome: bool = True) -> None:
        """Let time pass, while the others say what they say."""
        end = self.now + seconds
        while self.now < end:
            if weather:
                self.safe()
            if majordome:
                self.keep_open()
            self.run(min(10.0, end - self.now))

    # Time ---------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.reactor.seconds()

    def run(self, seconds: float) -> None:
        self.reactor.run_until(self.now + seconds)

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true within so many seconds."""
        return self.reactor.run_until(self.now + seconds, condition)

    def close_all(self) -> list[Any]:
        """End everything; what is left behind."""
        self.kill()
        self.simulator.stop()
        self.run(10)
        return [*self.reactor.getDelayedCalls(), *self.reactor.listening]
