"""A rehearsal: the whole observatory inline in one thread, on virtual time, over in-memory connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, cast

from astropy.io import fits
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from pyros import config as configuration
from pyros.agents.runtime.batches import Batch
from pyros.agents.runtime.host import Host
from pyros.clock import VirtualClock
from pyros.config import INSTRUMENTS
from pyros.errors import JournalError
from pyros.journal import SQLITE, AnyJournals, Received
from pyros.messages import encode_payload
from pyros.observatory import RunningObservatory, load_agent
from pyros.planning import Site
from pyros.planning.visibility import next_night, place_overhead
from pyros.rehearsal.client import MemoryClient
from pyros.rehearsal.folder import Keys, write_observatory
from pyros.rehearsal.reactor import MemoryReactor
from pyros.simulators import Simulator
from pyros.wire import Entry

EQUINOX = datetime(2026, 3, 20, 12, tzinfo=UTC)
"""The noon before the rehearsed night."""
_MAX_CALLS_AT_ONE_INSTANT = 5000
_MAX_MESSAGES = 1_000_000
_TAIL_LINES = 25


class RehearsalError(AssertionError):
    """What a rehearsal waits for doesn't happen, or it happens without end; the text has the end of the log."""


class RehearsalLogLine(NamedTuple):
    """A line of the log."""

    time: float
    """Virtual seconds since the beginning."""
    agent: str
    text: str


class Rehearsal:
    """The demo observatory in a folder of its own, in its site's night.

    Agents, broker, guardian and simulators are those of the product, and exchange the same bytes; they run inline in
    the thread that calls `run` and `until`, and an hour takes some seconds. Two rehearsals with the same seed, in which
    the same things happen, give the same log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        devices: Keys | None = None,
        options: Keys | None = None,
        rules: str | None = None,
        hours_after_midnight: float = 0.0,
        seed: str = "rehearsal",
        optional: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        guardian: bool = False,
        telescopes: tuple[str, ...] = (),
        sites: Mapping[str, str] | None = None,
        journals: AnyJournals = SQLITE,
    ) -> None:
        """Write the observatory into ``folder``, which must not have one, and start it.

        ``devices`` replaces keys of the simulators' descriptions and ``options`` adds keys to sections of the
        configuration, both by their names. ``rules`` replaces the demo's alert rules (YAML). ``optional`` are
        instruments that the demo does without, ``without`` those that are left out. With ``guardian`` there is one.
        ``telescopes`` and ``sites``: several, as `write_observatory` says; a device is then called as its section is.
        ``journals``: where the agents' journals are kept. Raises ConfigError or AgentError when the observatory
        cannot start.
        """
        self.folder = folder
        self.journals = journals
        demo = configuration.load(configuration.demo_file())
        self.instruments = tuple(
            name for name in INSTRUMENTS if (name in demo.agents or name in optional) and name not in without
        )
        self.config = configuration.load(
            write_observatory(
                folder,
                self.instruments,
                devices=devices or {},
                options=options or {},
                rules=rules,
                guardian=guardian,
                telescopes=telescopes,
                sites=sites,
            )
        )
        self.site = Site.load(self.config.required("site", "a rehearsal"))
        self.reactor = MemoryReactor()
        begin = next_night(self.site, EQUINOX) + timedelta(hours=hours_after_midnight)
        self.clock = VirtualClock(self.reactor, begin)
        self.log: list[RehearsalLogLine] = []
        self.watchers: list[Callable[[], None]] = []
        """Called between any two things that happen; what one of them raises ends the rehearsal."""
        self._observer = cast("Any", self._observe)
        self._instant, self._calls = 0.0, 0
        globalLogPublisher.addObserver(self._observer)
        self.observatory = RunningObservatory(
            self.config, self.reactor, self.clock, threaded=False, durable=False, journals=journals, seed=seed,
            guardian="inline",
        )  # fmt: skip
        self.simulators: dict[str, Simulator] = {
            simulator.description.file.stem.replace("_", " ") if telescopes else simulator.description.device: simulator
            for simulator in self.observatory.simulators
        }
        started = self.observatory.start()
        if not started.called:
            raise RehearsalError(f"the observatory does not start at once; the log:\n{self._tail()}")
        started.addErrback(lambda failure: failure.raiseException())

    # Time ---------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self.reactor.seconds()

    def run(self, seconds: float) -> None:
        """Let so many virtual seconds pass; the watchers look at every instant at which something happens."""
        self.reactor.run_until(self.now + seconds, self._looked)

    def until(self, condition: Callable[[], Any], seconds: float = 900.0) -> float:
        """Let time pass until the condition holds, and return when that was.

        Raises RehearsalError when ``seconds`` of virtual time have passed in vain.
        """
        end = self.now + seconds
        if not self.reactor.run_until(end, lambda: self._looked() or bool(condition())):
            raise RehearsalError(f"waited {seconds:g} virtual seconds in vain; the log ends:\n{self._tail()}")
        return self.now

    def _tail(self) -> str:
        return "\n".join(f"{line.time:9.3f} {line.agent}: {line.text}" for line in self.log[-_TAIL_LINES:])

    def _looked(self) -> bool:
        """Call the watchers, between any two calls of the reactor; returns False, so that time goes on."""
        self._instant, self._calls = self.now, self._calls + 1 if self._instant == self.now else 0
        if self._calls > _MAX_CALLS_AT_ONE_INSTANT:
            raise RehearsalError(f"at {self.now:g} virtual seconds calls come without end; the log:\n{self._tail()}")
        for watcher in self.watchers:
            watcher()
        return False

    # What happens outside -----------------------------------------------------------------------------------------

    def connect(self, port: int, data: bytes) -> MemoryClient:
        """Open an in-memory connection and send bytes; the client keeps the answer."""
        return MemoryClient.connect(self.reactor, port, data)

    def place(self, altitude: float = 65.0, azimuth: float = 90.0) -> tuple[float, float]:
        """Return right ascension and declination (ICRS degrees) of what stands at that altitude and azimuth now."""
        return place_overhead(self.site, self.clock.now(), altitude, azimuth)

    def burst(self, ivorn: str, place: tuple[float, float] | None = None) -> bytes:
        """Return the demo's alert with that name, of now, at ``place`` (ICRS degrees): 65 degrees up by default."""
        ra, dec = place or self.place()
        template = Template((self.folder / "observatory" / "demo-alert.xml").read_text("utf-8"))
        return template.substitute(ivorn=ivorn, time=f"{self.clock.now():%Y-%m-%dT%H:%M:%S}", ra=ra, dec=dec).encode()

    def publish(self, packet: bytes) -> str:
        """Send a VOEvent to the broker over VTP, and return the role of its answer: ``ack`` or ``nak``."""
        assert self.config.broker is not None
        author = self.connect(self.config.broker.receiver_port, len(packet).to_bytes(4, "big") + packet)
        self.until(lambda: b"Transport>" in author.answer, 10)
        return "ack" if b'role="ack"' in author.answer else "nak"

    def weather(self, **readings: float) -> None:
        """Have the weather station read these values from now on; without any, those of its description."""
        lines = [f"SET {name} {value}\n" for name, value in readings.items()] or ["SET climate auto\n"]
        station = self.connect(self.simulators["weather"].port, "".join(lines).encode())
        self.until(lambda: station.answer == b"OK\n" * len(lines), 10)

    def fault(self, device: str, fault: str) -> None:
        """Have something go wrong with a simulated device from now on: a fault and its arguments, or ``clear``."""
        client = self.connect(self.simulators[device].port, f"FAULT {fault}\n".encode())
        self.until(lambda: client.answer == b"OK\n", 10)

    def safety(self, safe: bool, reason: str = "smoke") -> None:
        """Have the safety monitor say from now on that it is safe, or that it isn't and why."""
        plc = self.connect(
            self.simulators["safety"].port, b"SET safe 1\n" if safe else b"SET safe 0 %s\n" % reason.encode()
        )
        self.until(lambda: plc.answer.startswith(b"OK"), 10)  # and events

    def person(self, agent: str, name: str, **payload: Any) -> None:
        """Send a message to an agent as a person does who has proved the observatory's key."""
        json = Raw(encode_payload(name, payload))
        entry = Entry(0, f"person-{self.now}", name, self.clock.time(), json, self.clock.monotonic())
        self.observatory.hosts[agent].loop.receive(Batch([entry], "program:person", proved=True))

    def everybody(self, name: str, **payload: Any) -> None:
        """Send a message as a person to every agent that runs, as `pyros stop` does."""
        for agent, host in self.observatory.hosts.items():
            if host.running:
                self.person(agent, name, **payload)

    # Starting and ending ------------------------------------------------------------------------------------------

    def stop(self, name: str) -> None:
        """End an agent as `Agent.SHUTDOWN` does: what it moves is made safe first."""
        stopped = self.observatory.hosts[name].stop()
        self.until(lambda: stopped.called, 300)

    def kill(self, name: str) -> None:
        """End an agent as SIGKILL does: it makes nothing safe and tells nobody."""
        host = self.observatory.hosts[name]
        host.kill()
        self.until(lambda: host.stopped.called, 10)

    def start(self, name: str) -> None:
        """Start an agent again, on the journal that the one before has left."""
        host = Host(
            load_agent(self.config, name), self.config, self.reactor, self.clock, threaded=False, durable=False,
            journals=self.journals,
        )  # fmt: skip
        self.observatory.hosts[name] = host
        host.start()

    def restart(self, name: str) -> None:
        """Kill an agent, and start it again a tenth of a second later."""
        self.kill(name)
        self.run(0.1)
        self.start(name)

    def stop_simulator(self, name: str) -> None:
        """Take a simulated device away, as when its power fails."""
        stopped = self.simulators[name].stop()
        self.until(lambda: stopped.called, 10)

    def start_simulator(self, name: str) -> None:
        """Bring a simulated device back, as when its power comes back: it remembers nothing.

        `requests` goes on telling what it was asked before.
        """
        old = self.simulators[name]
        new = self.simulators[name] = Simulator(old.description, self.reactor, self.clock)
        new.requests.extend(old.requests)
        self.observatory.simulators[self.observatory.simulators.index(old)] = new
        new.start()

    def close(self) -> list[Any]:
        """Stop everything, and return what is left behind: connections, ports, timers."""
        stopped: Deferred[Any] = self.observatory.stop()
        self.watchers.clear()
        self.reactor.run_until(self.now + 600, lambda: stopped.called)
        self.run(1)
        globalLogPublisher.removeObserver(self._observer)
        return [*self.reactor.timeline.waiting(), *self.reactor.listening]

    # What can be seen ---------------------------------------------------------------------------------------------

    def state(self, device: str) -> str:
        """Return what the simulated device is doing, in the words of its kind."""
        return self.simulators[device].device.state

    def requests(self, device: str, begin: str = "DO ", since: float = 0.0) -> list[tuple[float, str]]:
        """Return the requests that a simulator has heard, without their numbers, each with its virtual time."""
        lines = [(when, line.split(" ", 1)[1] if line.startswith("#") else line)
                 for when, line in self.simulators[device].requests]  # fmt: skip
        return [(when, line) for when, line in lines if line.startswith(begin) and when >= since]

    def slews(self, since: float = 0.0) -> list[tuple[float, tuple[float, float]]]:
        """Return when the mount was sent where (ICRS degrees).

        A slew that it refused because it was parked was sent again, and counts once.
        """
        slews: list[tuple[float, str]] = []
        for when, line in self.requests("telescope", "DO ", since):
            if line == "DO unpark":
                slews.pop()
            elif line.startswith("DO slew"):
                slews.append((when, line))
        named = [(when, dict(word.split("=") for word in line.split()[2:])) for when, line in slews]
        return [(when, (float(values["ra"]), float(values["dec"]))) for when, values in named]

    def said(self, text: str, agent: str = "", since: float = 0.0) -> list[RehearsalLogLine]:
        """Return the lines of the log that contain the text."""
        return [line for line in self.log if text in line.text and agent in line.agent and line.time >= since]

    def received(self, agent: str, name: str = "") -> list[Received]:
        """Return the messages that an agent has taken, the oldest first: those of a name, or all."""
        try:
            journal = self.journals.reader(self.config.journal(agent))
        except JournalError:  # it has not run yet
            return []
        try:
            return [row for _, row in journal.received(last=_MAX_MESSAGES) if name in ("", row.name)]
        finally:
            journal.close()

    def agent(self, name: str) -> Any:
        """Return the agent that runs now, to look at its state."""
        return self.observatory.hosts[name].agent

    def images(self) -> list[Path]:
        """Return the FITS files, in the order of their names."""
        return sorted(self.config.data.rglob("*.fits"))

    def objects(self) -> list[str]:
        """Return the FITS files' OBJECTs in the order of their exposures."""
        headers = [fits.getheader(path) for path in self.images()]
        return [str(header["OBJECT"]) for header in sorted(headers, key=lambda header: str(header["DATE-OBS"]))]

    def _observe(self, event: Any) -> None:
        agent = str(event.get("log_namespace", ""))
        if agent.startswith("twisted."):
            return  # factories that start and stop, named by their addresses in memory
        text = (formatEvent(event) or "").replace(str(self.folder), "")
        if "log_failure" in event:
            text += event["log_failure"].getTraceback()
        self.log.append(RehearsalLogLine(self.reactor.seconds(), agent, text))
