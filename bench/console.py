"""What the console costs beside an observatory: streams of many browsers, STOP, pages, memory.

    python bench/console.py                200 signed-in streams for a minute, 40 STOPs, 400 pages
    python bench/console.py --quick        20 streams for some seconds

The observatory is the demo's, a process of its own, and so is the console; both are on this computer, and so is what
listens. CPU is the console's own, from the kernel. Every STOP is followed by a Release, and both make every agent
commit: each is some frames for every stream. "To the page" is from the first byte of the order until the last stream
has the frame that shows the hold.
"""

from __future__ import annotations

import ctypes
import http.client
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pyros
from bench._common import PATIENCE, BenchReport, arguments, free_ports, median, quantile
from pyros import config as configuration
from pyros.cli.common import program
from pyros.clock import Deadline, steady_seconds
from pyros.config import Config
from pyros.console.links import entry_link
from pyros.console.roles import Role
from pyros.errors import DeliveryError
from pyros.sender import ask

HERE = Path(pyros.__file__).resolve().parent.parent


def copy_observatory(folder: Path) -> Config:
    """The demo observatory on free ports, with a console that is started by hand."""
    shutil.copytree(HERE / "observatory", folder / "observatory")
    shutil.copy(HERE / configuration.FILE_NAME, folder)
    files = [folder / configuration.FILE_NAME, *(folder / "observatory" / "simulators").glob("*.yaml")]
    port = re.compile(r"\b(?:50|60|80)\d\d\b")
    known = sorted({found for file in files for found in port.findall(file.read_text())})
    other = dict(zip(known, map(str, free_ports(len(known))), strict=True))
    for file in files:
        file.write_text(port.sub(lambda found: other[found[0]], file.read_text()))
    return configuration.load(files[0])


@contextmanager
def running(config: Config, plugin: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A twistd plugin as a process."""
    log = config.path.with_name(f"{plugin}.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, program("twistd"), "-n", "--pidfile=", plugin, "--config", str(config.path), *options],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for(what: str, condition: object) -> None:
    """Wait until a function returns something true."""
    deadline = Deadline(PATIENCE)
    while not condition():  # type: ignore[operator]
        if not deadline.left():
            raise SystemExit(f"waited in vain for {what}")
        deadline.pause(0.1)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, finer than the ticks of ``/proc``."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise SystemExit(f"process {pid} has ended")
    return time.clock_gettime(clock.value)


def resident(pid: int) -> float:
    """MB that a process has in memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


class SignedInBrowser:
    """Somebody who has signed in."""

    def __init__(self, config: Config, name: str) -> None:
        assert config.console is not None
        self.port, self.cookie, self.token = config.console.port, "", ""
        status, headers, _ = self.ask("GET", urlsplit(entry_link(config, name, Role.OPERATOR)).path)
        assert status == 302, status
        self.cookie = "; ".join(each.partition(";")[0] for each in headers)
        _, headers, page = self.ask("GET", "/")
        self.cookie = "; ".join([self.cookie, *(each.partition(";")[0] for each in headers)])
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found is not None
        self.token = found[1]

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, list[str], str]:
        """Return status, the cookies it sets, and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}", "Accept": "application/json",
                   "Content-Type": "application/x-www-form-urlencoded"}  # fmt: skip
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        cookies = answer.headers.get_all("Set-Cookie") or []
        connection.close()
        return answer.status, cookies, text

    def order(self, what: str) -> float:
        """Seconds until every agent has committed an order."""
        began = steady_seconds()
        status, _, text = self.ask("POST", f"/{what}", urlencode({"csrfmiddlewaretoken": self.token, "why": "bench"}))
        assert status in (200, 303), text
        return steady_seconds() - began


class Streams:
    """Many browsers that listen; a thread of its own reads them all."""

    def __init__(self, browsers: list[SignedInBrowser]) -> None:
        self._selector = selectors.DefaultSelector()
        self._rest: dict[socket.socket, bytes] = {}
        self.numbers: dict[socket.socket, set[int]] = {}
        self.held: dict[socket.socket, float] = {}
        self._ending = threading.Event()
        for browser in browsers:
            line = socket.create_connection(("127.0.0.1", browser.port), timeout=PATIENCE)
            line.sendall(
                f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n".encode()
            )
            line.setblocking(False)
            self._rest[line], self.numbers[line] = b"", set()
            self._selector.register(line, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.1):
                line: socket.socket = key.fileobj  # type: ignore[assignment]
                got = line.recv(1 << 18)
                if not got:
                    raise SystemExit("a stream has ended")
                now = steady_seconds()
                *events, self._rest[line] = (self._rest[line] + got).split(b"\n\n")
                for event in events:
                    if found := re.search(rb'event: frame\ndata: \{"number":(\d+)', event):
                        self.numbers[line].add(int(found[1]))
                        if b'"hold":{' in event:
                            self.held.setdefault(line, now)

    def end(self) -> None:
        """Stop listening."""
        self._ending.set()
        self._thread.join()
        for line in self.numbers:
            line.close()
        self._selector.close()


def measure(
    report: BenchReport, config: Config, pid: int, *, streams: int, orders: int, pages: int, seconds: float
) -> None:
    """Everything, one after the other."""
    report.doing("the console by itself")
    browser = SignedInBrowser(config, "first")
    Deadline(2).pause(2)
    before, began = cpu(pid), steady_seconds()
    Deadline(seconds).pause(seconds)
    idle = (cpu(pid) - before) / (steady_seconds() - began)
    report.doing(f"{pages} pages")
    before, began = cpu(pid), steady_seconds()
    took = []
    for _ in range(pages):
        start = steady_seconds()
        assert browser.ask("GET", "/")[0] == 200
        took.append(steady_seconds() - start)
    page_cpu = (cpu(pid) - before) / pages
    report.doing(f"{streams} streams")
    listeners = Streams([SignedInBrowser(config, f"viewer{number}") for number in range(streams)])
    wait_for("every stream", lambda: all(listeners.numbers.values()))
    first = max(min(numbers) for numbers in listeners.numbers.values())
    before, began = cpu(pid), steady_seconds()
    Deadline(seconds).pause(seconds)
    listening = (cpu(pid) - before) / (steady_seconds() - began)
    report.doing(f"{orders} orders to stop")
    committed, shown = [], []
    for _ in range(orders):
        listeners.held.clear()
        start = steady_seconds()
        committed.append(browser.order("stop"))
        wait_for("the hold on every stream", lambda: len(listeners.held) == streams)
        shown.append(max(listeners.held.values()) - start)
        browser.order("release")
    last = max(max(numbers) for numbers in listeners.numbers.values())
    wait_for("the last frame", lambda: all(last in numbers for numbers in listeners.numbers.values()))
    missed = sum(number not in numbers for numbers in listeners.numbers.values() for number in range(first, last + 1))
    memory = resident(pid)
    listeners.end()
    times = {
        f"{what}_p{share}_ms": 1e3 * quantile(values, share / 100)
        for what, values in (("committed", committed), ("shown", shown))
        for share in (50, 99)
    }
    frames = last - first + 1
    report.figures(
        "cost", idle_cpu=idle, streams=streams, stream_cpu=listening, frames=frames, frames_missed=missed,
        page_ms=1e3 * median(took), page_cpu_ms=1e3 * page_cpu, memory_mb=memory,
    )  # fmt: skip
    report.figures("stop", orders=orders, **times)
    rows = [
        ("by itself, of a core", f"{100 * idle:.2f} %"),
        (f"with {streams} streams, of a core", f"{100 * listening:.2f} %"),
        ("frames, and how many some stream missed", f"{frames}, {missed}"),
        ("Tonight, ms / ms of CPU", f"{1e3 * median(took):.1f} / {1e3 * page_cpu:.1f}"),
        ("resident memory, MB", f"{memory:.0f}"),
        ("STOP committed, p50 / p99 ms", f"{times['committed_p50_ms']:.0f} / {times['committed_p99_ms']:.0f}"),
        (f"... on {streams} pages, p50 / p99 ms", f"{times['shown_p50_ms']:.0f} / {times['shown_p99_ms']:.0f}"),
    ]
    report.table("The console", ("", ""), rows)


def main() -> None:
    parser = arguments("What the console costs, and how quick STOP is.")
    parser.add_argument("--streams", type=int, default=0, help="how many browsers listen; 0: 200, quickly 20")
    given = parser.parse_args()
    report = BenchReport("console", given.json, ["Django"])
    with tempfile.TemporaryDirectory(prefix="bench-console-", dir=given.dir) as folder:
        config = copy_observatory(Path(folder))
        report.doing("the observatory starts")
        with running(config, "pyros", "--no-console"), running(config, "pyros-console") as console:
            wait_for("the observatory", lambda: is_up(config))
            wait_for("the console", lambda: is_listening(config))
            measure(
                report, config, console.pid, streams=given.streams or (20 if given.quick else 200),
                orders=5 if given.quick else 40, pages=20 if given.quick else 400, seconds=3 if given.quick else 60,
            )  # fmt: skip
    report.ends()


def is_up(config: Config) -> bool:
    """Whether every agent answers."""
    return all(_answers(config, name) for name in config.agents)


def _answers(config: Config, name: str) -> bool:
    try:
        return bool(ask(config.agents[name], "status", 1.0))
    except DeliveryError:
        return False


def is_listening(config: Config) -> bool:
    """Whether the console does."""
    assert config.console is not None
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", config.console.port)) == 0


if __name__ == "__main__":
    main()
