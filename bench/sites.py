"""A centre and a hundred sites on one machine: what they cost at rest, and how an alert reaches all of them.

The centre is an agent in a process of its own; the sites are agents, each with its thread, port and journal, in a few
processes. Each site says every ten seconds that its weather is safe, as monitoring does. An alert is a message of the
size of a request, which the centre sends to all sites in one turn; it has reached a site when that has committed it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import config as configuration
from pyros import messages
from pyros.agents import Agent
from pyros.messages import Exposures, Observation, WeatherState
from pyros.sender import Sender, ask

Context: Any = multiprocessing.get_context("spawn")
CENTRE, FAN_OUT, SAY = "centre", "Fan out", "Say the weather"
SAY_SECONDS = 10.0
GIB = 2.0**30
MIB = 2.0**20


class SiteState(msgspec.Struct):
    """What a site remembers."""

    alerts: int = 0
    timer: int | None = None


class AlertedSite(Agent):
    """Takes alerts, and says every ten seconds that its weather is safe."""

    many = True
    state: SiteState

    def __init__(self, name: str, reached: Any) -> None:
        super().__init__(name)
        self._reached, self._number = reached, int(name.rpartition("_")[2])
        self.actions_by_message |= {messages.OBSERVATION_REQUESTED: self.alert, SAY: self.say}

    def work(self) -> None:
        self.state.timer = self.call_later(SAY_SECONDS * (self._number % 100) / 100, SAY)

    def alert(self) -> None:
        self.state.alerts += 1
        self.after_commit(self._note, self.state.alerts)

    def _note(self, alerts: int) -> None:
        """Tell the bench; in the reactor's thread, after the commit."""
        self._reached[2 * self._number], self._reached[2 * self._number + 1] = time.monotonic(), alerts

    def say(self) -> None:
        self.send_to(CENTRE, messages.WEATHER_SAFE, WeatherState(reason="all readings are within their limits"))
        self.state.timer = self.call_later(SAY_SECONDS, SAY)


class CentreState(msgspec.Struct):
    """What the centre remembers: who has said last that it is safe, by name."""

    heard: dict[str, float] = {}


class Centre(Agent):
    """Sends an alert to every site."""

    state: CentreState

    def __init__(self) -> None:
        super().__init__(CENTRE)
        self.actions_by_message |= {FAN_OUT: self.fan_out, messages.WEATHER_SAFE: self.heard}

    def fan_out(self, message: Any) -> None:
        request = msgspec.convert(message.payload, Observation)
        for name in self.config.agents:
            if name != CENTRE:
                self.send_to(name, messages.OBSERVATION_REQUESTED, request)

    def heard(self, message: Any) -> None:
        self.state.heard[message.sender] = message.sent


def _live(path: str, names: list[str], reached: Any) -> None:
    for name in names:
        (Centre() if name == CENTRE else AlertedSite(name, reached)).start(path, timeout=PATIENCE)


class SeveralSites:
    """The centre's process and those of the sites."""

    def __init__(self, folder: Path, sites: int, processes: int) -> None:
        self.names = [f"site_{number:04d}" for number in range(sites)]
        path = folder / "pyros_agent_config.ini"
        ports = free_ports(sites + 1)
        sections = "".join(
            f"[{name}]\nport = {port}\n" for name, port in zip([CENTRE, *self.names], ports, strict=True)
        )
        path.write_text(f"[observatory]\nname = bench\nsite = {path.name}\n{sections}")
        self.config = configuration.load(path)
        self.reached = Context.Array("d", 2 * sites, lock=False)
        self._shares = [self.names[number::processes] for number in range(processes)]
        self.centre = self._start([CENTRE])
        self.sites: list[Any] = []
        self.alerts = 0

    def _start(self, names: list[str]) -> Any:
        process = Context.Process(target=_live, args=(str(self.config.path), names, self.reached), daemon=True)
        process.start()
        return process

    def start_sites(self) -> float:
        """Start all sites; returns the seconds until all answer."""
        begin = time.monotonic()
        self.sites = [self._start(names) for names in self._shares]
        for name in (CENTRE, *self.names):
            while not _answers(self.config, name):
                if time.monotonic() > begin + 4 * PATIENCE:
                    raise SystemExit(f"{name} did not start")
                time.sleep(0.05)
        return time.monotonic() - begin

    def stop_sites(self) -> None:
        for process in self.sites:
            process.terminate()
        for process in self.sites:
            process.join(30)
        self.sites = []

    def stop(self) -> None:
        self.stop_sites()
        self.centre.terminate()
        self.centre.join(30)

    def alert(self, sender: Any) -> float:
        """Tell the centre of an alert; returns when that was (monotonic seconds)."""
        self.alerts += 1
        request = Observation(
            ra=150.1, dec=2.2, id=f"obs-{self.alerts}", target="burst", exposures=(Exposures("r", 60, 10),),
            priority=90, alert="ivo://bench/alert", event="event", reason="rule bursts",
        )  # fmt: skip
        began = time.monotonic()
        sender.post(FAN_OUT, msgspec.to_builtins(request))
        sender.flush()
        return began

    def wait(self) -> list[float]:
        """Wait until every site has committed every alert so far; returns when each had its last (monotonic)."""
        end = time.monotonic() + PATIENCE
        while any(self.reached[2 * number + 1] < self.alerts for number in range(len(self.names))):
            if time.monotonic() > end:
                raise SystemExit("not every site has got every alert")
            time.sleep(0.002)
        return [self.reached[2 * number] for number in range(len(self.names))]


def _answers(config: configuration.Config, name: str) -> bool:
    try:
        ask(config.agent(name), "status", 1.0)
    except Exception:
        return False
    return True


def cpu_seconds(processes: Iterable[Any]) -> float:
    """The CPU time that the threads of these processes have used, in seconds."""
    total = 0
    for process in processes:
        for task in os.listdir(f"/proc/{process.pid}/task"):
            total += int(Path(f"/proc/{process.pid}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e9


def memory(processes: Iterable[Any]) -> float:
    """Their memory, MiB: what they share counts in parts (Pss)."""
    kilobytes = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        kilobytes += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return kilobytes / 1024


def at_rest(processes: list[Any], seconds: float) -> float:
    """The share of a core that they use, percent."""
    before, begin = cpu_seconds(processes), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(processes) - before) / (time.monotonic() - begin)


def main() -> None:
    parser = arguments(__doc__.split("\n")[0])
    parser.add_argument("--sites", type=int, default=100, help="how many sites")
    parser.add_argument("--processes", type=int, default=4, help="how many processes the sites share")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds for which they are watched at rest")
    parser.add_argument("--alerts", type=int, default=20, help="alerts one after the other")
    options = parser.parse_args()
    if options.quick:
        options.sites, options.processes, options.rest, options.alerts = min(options.sites, 20), 2, 3.0, 3
    report = BenchReport("sites", options.json)
    folder = Path(tempfile.mkdtemp(prefix="sites-", dir=options.dir))
    sites = SeveralSites(folder, options.sites, options.processes)
    try:
        measure(sites, report, options)
    finally:
        sites.stop()
        shutil.rmtree(folder)
    report.ends()


def measure(sites: SeveralSites, report: BenchReport, options: Any) -> None:
    count = len(sites.names)
    report.doing(f"{count} sites start")
    started = sites.start_sites()
    with Sender.open(CENTRE, config=sites.config, timeout=PATIENCE) as sender:
        sites.alert(sender)  # connects the centre with all
        sites.wait()
        time.sleep(min(SAY_SECONDS, options.rest))
        report.doing(f"at rest for {options.rest:g} s")
        both = [at_rest([sites.centre], options.rest), at_rest(sites.sites, options.rest)]
        spaces = [memory([sites.centre]), memory(sites.sites)]
        report.doing(f"{options.alerts} alerts, one after the other")
        firsts, halves, lasts = [], [], []
        used = cpu_seconds([sites.centre])
        for _ in range(options.alerts):
            began = sites.alert(sender)
            times = sorted(each - began for each in sites.wait())
            firsts.append(times[0])
            halves.append(median(times))
            lasts.append(times[-1])
        used = (cpu_seconds([sites.centre]) - used) / options.alerts
        report.doing("as many alerts at once")
        began = time.monotonic()
        for _ in range(options.alerts):
            sites.alert(sender)
        burst = max(sites.wait()) - began
        report.doing("the sites are away")
        sites.stop_sites()
        for _ in range(options.alerts):
            sites.alert(sender)
        time.sleep(min(20.0, options.rest))  # the pauses between two attempts have become long
        absent = at_rest([sites.centre], options.rest)
    report.doing("they come back")
    sites.start_sites()
    back = time.monotonic()
    healed = max(0.0, max(sites.wait()) - back)
    journal = sum(path.stat().st_size for path in (sites.config.data / "journals").glob(f"{CENTRE}.sqlite*")) / MIB
    figures = {
        "sites": count, "processes": options.processes, "started_seconds": started,
        "centre_rest_percent": both[0], "sites_rest_percent": both[1],
        "centre_mib": spaces[0], "sites_mib": spaces[1], "journal_mib": journal,
        "first_ms": 1e3 * median(firsts), "half_ms": 1e3 * median(halves), "last_ms": 1e3 * median(lasts),
        "last_worst_ms": 1e3 * quantile(lasts, 1.0), "centre_cpu_ms_per_alert": 1e3 * used,
        "deliveries_per_second": options.alerts * count / burst, "absent_percent": absent, "healed_seconds": healed,
    }  # fmt: skip
    report.figures("sites", **figures)
    rows = [
        ("all have started", f"{started:.1f} s"),
        ("centre at rest", f"{both[0]:.2f} % of a core"),
        (f"{count} sites at rest", f"{both[1]:.1f} % of a core"),
        ("centre's memory", f"{spaces[0]:.0f} MiB"),
        (f"sites' memory, {options.processes} processes", f"{spaces[1]:.0f} MiB"),
        ("an alert is committed by the first site", f"{figures['first_ms']:.1f} ms"),
        ("by half of them", f"{figures['half_ms']:.1f} ms"),
        ("by the last, median and worst", f"{figures['last_ms']:.0f} and {figures['last_worst_ms']:.0f} ms"),
        ("centre's CPU for an alert", f"{figures['centre_cpu_ms_per_alert']:.1f} ms"),
        (f"{options.alerts} alerts at once", f"{figures['deliveries_per_second']:.0f} deliveries/s"),
        ("centre with all sites away", f"{absent:.2f} % of a core"),
        (f"{options.alerts} alerts each after they are back", f"{healed:.1f} s"),
    ]
    report.table(f"A centre and {count} sites", ("", "measured"), rows)


if __name__ == "__main__":
    main()
