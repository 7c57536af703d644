"""Time to closed: how long the shutter stays open after something breaks, in separate processes, with real sockets.

    python bench/safety.py                   every failure 20 times: half an hour and more
    python bench/safety.py --quick           three failures, once each
    python bench/safety.py --only rain       that one; --times 5 --parallel 4

Each observatory is a process for each agent and simulator, and the guardian. The majordome has opened the dome for an
observation that never ends; then one thing breaks. The time runs from that moment until the dome's *simulator* says
that its shutter is closed, and so has the shutter's own 2 seconds in it. Leases: the weather's `max_silence` is 12 s
here (60 by default), the majordome's 60 s, the guardian's beat as by default.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from bench._common import PATIENCE, BenchReport, arguments, free_ports
from bench._safety_agents import HANG
from pyros import config as configuration
from pyros import messages
from pyros.cli.common import program
from pyros.clock import Deadline, steady_seconds, system_time
from pyros.errors import PyrosError
from pyros.planning import Site
from pyros.planning.visibility import place_overhead, sun_altitude
from pyros.sender import Sender

HERE = Path(__file__).resolve().parent.parent
SILENCE = 12.0
LEASE = 60.0
INTERVAL = 2.0
TRAVEL = 2.0
BEAT = 5.0
AGENTS = ("monitoring", "weather", "majordome", "dome", "telescope")
WALL_CLOCK = """
import time
_time = time.time


def _stepped():
    try:
        with open({file!r}) as file:
            return _time() + float(file.read())
    except (OSError, ValueError):
        return _time()


time.time = _stepped
"""
"""A sitecustomize.py. (libfaketime disturbs also what waits by the monotonic clock: Python's sleep fails under it.)"""
GIVE_UP = 150.0
NIGHT_LEFT = 60.0
SUN_CHECK = 5.0


class NotPossible(Exception):
    """This failure cannot be made on this computer."""


class Unopened(Exception):
    """The observatory did not get as far as an open dome."""


class Stack:
    """One observatory of separate processes, with the dome open."""

    def __init__(self, folder: Path, ports: list[int], **changes: Any) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {"PYTHONPATH": str(HERE)}
        devices = dict(zip(("dome", "weather", "telescope"), ports, strict=False))
        self.ports = devices | dict(zip((*AGENTS, "observation_manager", "guardian"), ports[3:], strict=False))
        self.device = devices
        for kind, port in devices.items():
            text = (HERE / "observatory" / "simulators" / f"{kind}.yaml").read_text()
            listen = next(line for line in text.splitlines() if line.startswith("listen:"))
            text = text.replace(listen, f"listen: tcp:{port}:interface=127.0.0.1").replace("../site.yaml", "site.yaml")
            (folder / f"{kind}.yaml").write_text(text)
        self.dawn = 0.0
        """When the Sun passes the dome's limit, monotonic seconds; only where that is to be seen."""
        self.place = (10.0, 50.0)
        """ICRS degrees of what is to be observed: up in the demo's night."""
        if changes.get("dawn"):
            self._write_dawn()
        else:
            shutil.copy(HERE / "observatory" / "site.yaml", folder)
        (folder / "rules.yaml").write_text("rules: []\n")
        lines = [
            "[observatory]", "name = bench", "site = site.yaml", "alert_rules = rules.yaml",
            f"clock = {'real' if changes.get('dawn') else 'night'}",
            f"data = {changes.get('data', 'var')}",
            "[guardian]", f"port = {self.ports['guardian']}",
            "[observation_manager]", f"port = {self.ports['observation_manager']}",
        ]  # fmt: skip
        extra = {
            "monitoring": f"max_silence = {SILENCE:g}\noption_safe_after = 1\n"
            f"option_frozen_after = {changes.get('frozen_after', 1800)}\n"
            f"disk_dome = {0.01 if 'data' in changes else 1}",
            "weather": f"option_interval = {INTERVAL:g}",
            "dome": "app = bench._safety_agents:StuckDomeAgent",
        }
        for name in AGENTS:
            lines += [f"[{name}]", f"port = {self.ports[name]}", *extra.get(name, "").splitlines()]
            if name in devices:
                lines += ["driver = native", f"address = tcp:127.0.0.1:{devices[name]}"]
        self.ini = folder / "bench.ini"
        self.ini.write_text("\n".join(lines) + "\n")
        self.config = configuration.load(self.ini)
        self.log = (folder / "log").open("ab")
        self.requests = 0

    def _write_dawn(self) -> None:
        """A site on the equator where the night ends soon: the dome's limit is where the Sun will be then."""
        now = datetime.fromtimestamp(system_time(), UTC)
        longitude = next(
            longitude
            for longitude in range(-180, 180)
            if -21 < sun_altitude(Site("dawn", 0, longitude, 0), now)
            < sun_altitude(Site("dawn", 0, longitude, 0), now + timedelta(minutes=1)) < -19
        )  # fmt: skip
        limit = sun_altitude(Site("dawn", 0, longitude, 0), now + timedelta(seconds=NIGHT_LEFT))
        self.dawn = steady_seconds() + NIGHT_LEFT
        self.place = place_overhead(Site("dawn", 0, longitude, 0), now, 60.0, 90.0)
        (self.folder / "site.yaml").write_text(
            f"name: dawn\nlatitude: 0\nlongitude: {longitude}\nelevation: 0\ndome_sun_limit: {limit:.4f}\n"
        )

    def start(self, *names: str) -> None:
        for name in names:
            kind, _, device = name.partition(" ")
            command = {
                "simulator": ["pyros-simulator", str(self.folder / f"{device}.yaml")],
                "guardian": ["pyros-guardian", "--config", str(self.ini)],
            }.get(kind, ["pyros-agent", "--config", str(self.ini), "--agent", name])
            self.processes[name] = subprocess.Popen(
                [sys.executable, program("twistd"), "-n", "--pidfile=", *command],
                cwd=HERE, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            )  # fmt: skip
        deadline = Deadline(PATIENCE)
        for name in names:
            port = self.device[name.partition(" ")[2]] if name.startswith("simulator") else self.ports[name]
            while self.processes[name].poll() is None and deadline.left():
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                deadline.pause(0.05)
            else:
                raise Unopened(f"{name} does not start: see {self.folder / 'log'}")

    def start_all(self) -> None:
        self.start(*(f"simulator {device}" for device in self.device))
        self.start(*AGENTS, "guardian")

    def signal(self, number: int, *names: str) -> None:
        for name in names:
            if self.processes[name].poll() is None:
                self.processes[name].send_signal(number)

    def kill(self, *names: str) -> None:
        self.signal(signal.SIGKILL, *names)
        for name in names:
            self.processes[name].wait()

    def ask(self, device: str, line: str) -> str:
        """What a simulator answers."""
        with socket.create_connection(("127.0.0.1", self.device[device]), 5) as connection:
            connection.settimeout(5)
            connection.sendall(f"{line}\n".encode())
            return connection.recv(300).decode().strip()

    def shutter(self) -> str:
        try:
            return self.ask("dome", "GET state").removeprefix("OK ").split()[0]
        except (OSError, IndexError):
            return "unknown"

    def send(self, agent: str, name: str, payload: Any = None) -> None:
        Sender.send_to(agent, name, payload, config=self.config, timeout=10)

    def open(self) -> None:
        """As the night does: a plan whose observation never ends."""
        deadline = Deadline(PATIENCE)
        while deadline.left():
            self.requests += 1
            ra, dec = self.place
            observation = messages.Observation(
                id=f"o{self.requests}", target="t", ra=ra, dec=dec, exposures=(messages.Exposures("r", 1.0),),
                requested=system_time(),
            )  # fmt: skip
            plan = messages.Plan((messages.PlannedObservation(observation, 50.0, "x"),), start_now=observation.id)
            with suppress(PyrosError):
                self.send("majordome", messages.PLAN_UPDATED, plan)
            once_more = Deadline(5)
            while once_more.left():
                if self.shutter() == "open":
                    return
                once_more.pause(0.1)
        raise Unopened(f"the dome does not open: see {self.folder / 'log'}")

    def closed_after(self, began: float) -> float | None:
        """Seconds from then until the shutter is closed; None when it stays open."""
        deadline = Deadline(GIVE_UP)
        while deadline.left():
            if self.shutter() == "closed":
                return steady_seconds() - began
            deadline.pause(0.05)
        return None

    def end(self) -> None:
        for running in self.processes.values():
            if running.poll() is None:
                running.send_signal(signal.SIGCONT)
                running.kill()
            running.wait()
        self.log.close()


class Breakage(NamedTuple):
    """What breaks, and within how many seconds (besides the shutter's own) the dome must be closed."""

    bound: float
    breaks: Callable[[Stack], None]
    prepare: Callable[[Stack], None] = lambda stack: None
    changes: dict[str, Any] = {}  # noqa: RUF012  never changed


def _rain(stack: Stack) -> None:
    stack.ask("weather", "SET rain 1")


def _hang(stack: Stack) -> None:
    """As a text client: a Sender would tell the next observatory at this port, too, for it never hears an answer."""
    with socket.create_connection(("127.0.0.1", stack.ports["dome"]), 5) as connection:
        connection.sendall(f"{HANG}\n".encode())


def _stopped(*names: str) -> Callable[[Stack], None]:
    return lambda stack: stack.signal(signal.SIGSTOP, *names)


def _killed(*names: str) -> Callable[[Stack], None]:
    return lambda stack: stack.kill(*names)


def _terminated(number: int) -> Callable[[Stack], None]:
    return lambda stack: stack.signal(number, *AGENTS)


def _said(device: str, *lines: str) -> Callable[[Stack], None]:
    def breaks(stack: Stack) -> None:
        for line in lines:
            stack.ask(device, line)

    return breaks


def _by_hand(agent: str, name: str, payload: Any) -> Callable[[Stack], None]:
    return lambda stack: stack.send(agent, name, payload)


def _fill(stack: Stack) -> None:
    """Fill the small disk."""
    with suppress(OSError), open(Path(stack.config.data).parent / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(65536))


def _faked(stack: Stack) -> None:
    """Have the step of the agents' wall clock, in seconds, in a file."""
    (stack.folder / "step").write_text("0\n")
    (stack.folder / "sitecustomize.py").write_text(WALL_CLOCK.format(file=str(stack.folder / "step")))
    stack.environment["PYTHONPATH"] = f"{stack.folder}{os.pathsep}{HERE}"


def _stepped(seconds: int, then: Callable[[Stack], None]) -> Callable[[Stack], None]:
    def breaks(stack: Stack) -> None:
        (stack.folder / "step").write_text(f"{seconds}\n")
        then(stack)

    return breaks


def _dawn(stack: Stack) -> None:
    left = stack.dawn - steady_seconds()
    if left < 0:
        raise Unopened("the dome opened too late to see the dawn")
    Deadline(left + 1).pause(left)


WEATHER, GUARDED, MAJORDOME = SILENCE, BEAT + 2 + 1, LEASE
FAILURES = {
    "rain": Breakage(INTERVAL, _rain),
    "the station says nonsense": Breakage(WEATHER, _said("weather", 'FAULT garbage request="GET readings" for=600')),
    "humidity and wind frozen": Breakage(
        20 + INTERVAL, _said("weather", "SET humidity 40", "SET wind 1"), changes={"frozen_after": 20}
    ),
    "station killed": Breakage(WEATHER, _killed("simulator weather")),
    "station stopped": Breakage(WEATHER + 10, _stopped("simulator weather")),
    "weather agent killed": Breakage(WEATHER, _killed("weather")),
    "weather agent stopped": Breakage(WEATHER, _stopped("weather")),
    "monitoring killed": Breakage(WEATHER, _killed("monitoring")),
    "monitoring stopped": Breakage(WEATHER, _stopped("monitoring")),
    "majordome killed": Breakage(MAJORDOME, _killed("majordome")),
    "majordome stopped": Breakage(MAJORDOME, _stopped("majordome")),
    "dome agent killed": Breakage(GUARDED, _killed("dome")),
    "dome agent stopped": Breakage(GUARDED, _stopped("dome")),
    "dome agent hangs, then rain": Breakage(INTERVAL, _rain, _hang),
    "dome agent hangs": Breakage(GUARDED, _hang),
    "all agents killed": Breakage(GUARDED, _killed(*AGENTS)),
    "disk full": Breakage(INTERVAL, _fill, changes={"small_disk": True}),
    "clock 1 h back, then rain": Breakage(INTERVAL, _stepped(-3600, _rain), changes={"faked": True}),
    "clock 1 h back, then monitoring killed": Breakage(
        WEATHER, _stepped(-3600, _killed("monitoring")), changes={"faked": True}
    ),
    "clock 1 h forward, then monitoring killed": Breakage(
        WEATHER, _stepped(3600, _killed("monitoring")), changes={"faked": True}
    ),
    "clock 1 d back, then majordome killed": Breakage(
        MAJORDOME, _stepped(-86400, _killed("majordome")), changes={"faked": True}
    ),
    "SIGTERM to every agent": Breakage(1, _terminated(signal.SIGTERM)),
    "Ctrl-C to every agent": Breakage(1, _terminated(signal.SIGINT)),
    "Shutdown to the dome": Breakage(1, _by_hand("dome", "Shutdown", None)),
    "pyros send dome Close": Breakage(1, _by_hand("dome", messages.CLOSE, messages.Order(reason="by hand"))),
    "Stop": Breakage(1, _by_hand("dome", messages.STOP, messages.HoldOrder(why="bench", who="bench"))),
    "dawn, without a scheduler": Breakage(SUN_CHECK, lambda stack: None, _dawn, {"dawn": True}),
    "the shutter refuses for 15 s, in rain": Breakage(
        15 + 10 + INTERVAL, _rain, _said("dome", 'FAULT refuse request="DO close" for=15')
    ),
}
QUICK = ("rain", "dome agent killed", "SIGTERM to every agent")
MARGIN = 1.0
"""Seconds for a busy computer, beside the bound and the shutter's travel."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 60 MB; raises NotPossible where none can be mounted."""
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        raise NotPossible("no disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def trial(failure: Breakage, folder: Path, ports: list[int]) -> float | None:
    """Seconds from the failure until the dome is closed; None when it stays open. Raises NotPossible, Unopened."""
    changes = dict(failure.changes)
    if changes.pop("small_disk", False):
        with small_disk(folder / "disk") as disk:
            return _tried(failure, folder, ports, changes | {"data": disk / "var"})
    return _tried(failure, folder, ports, changes)


def _tried(failure: Breakage, folder: Path, ports: list[int], changes: dict[str, Any]) -> float | None:
    faked = changes.pop("faked", False)
    stack = Stack(folder, ports, **changes)
    try:
        if faked:
            _faked(stack)
        stack.start_all()
        stack.open()
        Deadline(10).pause(random.uniform(0.5, 4.0))  # at any moment between two readings and two beats
        failure.prepare(stack)
        began = steady_seconds()
        failure.breaks(stack)
        return stack.closed_after(began)
    finally:
        stack.end()


def measure(
    report: BenchReport, root: Path, names: Sequence[str], times: int, parallel: int, keep: bool
) -> tuple[dict[str, list[float | None]], dict[str, str]]:
    """By failure: the seconds of each trial (None: it stayed open); and why failures were skipped."""
    work: SimpleQueue[str] = SimpleQueue()
    for _ in range(times):
        for name in names:
            work.put(name)
    results: dict[str, list[float | None]] = {name: [] for name in names}
    skipped: dict[str, str] = {}

    def run(ports: list[int]) -> None:
        with suppress(Empty):
            while True:
                name = work.get_nowait()
                if name in skipped:
                    continue
                folder = Path(tempfile.mkdtemp(prefix="observatory-", dir=root))
                try:
                    seconds = trial(FAILURES[name], folder, ports)
                except NotPossible as error:
                    skipped[name] = str(error)
                    continue
                except (Unopened, OSError, PyrosError) as error:
                    report.doing(f"{name}: not tried: {error}")
                    continue
                results[name].append(seconds)
                report.doing(f"{name}: {'STAYS OPEN' if seconds is None else f'closed after {seconds:.1f} s'}")
                if seconds is not None and not keep:
                    shutil.rmtree(folder, ignore_errors=True)

    workers = [threading.Thread(target=run, args=(free_ports(3 + len(AGENTS) + 2),)) for _ in range(parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results, skipped


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--times", type=int, default=20, help="how often each failure is tried")
    parser.add_argument("--parallel", type=int, default=2, help="observatories at the same time")
    parser.add_argument("--only", nargs="+", metavar="FAILURE", choices=FAILURES, help="these failures only")
    parser.add_argument("--keep", action="store_true", help="leave the observatories' folders behind")
    options = parser.parse_args()
    report = BenchReport("safety", options.json)
    names = options.only or (QUICK if options.quick else list(FAILURES))
    times, parallel = (1, 1) if options.quick else (options.times, options.parallel)
    options.dir.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="bench-safety-", dir=options.dir.resolve()))  # the small disk is mounted there
    results, skipped = measure(report, root, names, times, parallel, options.keep)
    broken = False
    rows = []
    for name in names:
        if name in skipped:
            report.note(f"{name}: skipped, {skipped[name]}")
            continue
        bound, found = FAILURES[name].bound + TRAVEL, results[name]
        closed = sorted(seconds for seconds in found if seconds is not None)
        late = len([seconds for seconds in closed if seconds > bound + MARGIN]) + len(found) - len(closed)
        broken = broken or bool(late) or not found
        worst = closed[-1] if len(closed) == len(found) and closed else float("inf")
        middle = closed[len(closed) // 2] if closed else float("inf")
        rows.append((name, f"{len(found)}", f"{bound:.0f} s", f"{middle:.1f} s", f"{worst:.1f} s", f"{late}"))
        report.figures(name, times=len(found), bound=bound, p50=middle, worst=worst, late=late)
    report.table("Seconds until the dome is closed", ("failure", "times", "bound", "p50", "worst", "late"), rows)
    report.ends()
    if not broken and not options.keep:
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
