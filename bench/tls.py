"""What TLS between two agents costs: messages a second of processor time, with it and without, in one run.

From agent to agent through an outbox, durable at both ends, as in `bench/agents.py`; both processes' time counts.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.internet.task import Clock

from bench._common import BenchReport, arguments, median
from bench.agents import Measure, PyrosServer
from pyros.agents import Agent
from pyros.authority import PROGRAM, make_authority, make_certificate
from pyros.clock import RealClock

TICKS = os.sysconf("SC_CLK_TCK")


class TlsServer(PyrosServer):
    """Two agents that speak TLS, though on one computer."""

    def __init__(self, directory: Path) -> None:
        certificates, now = directory.parent / "certificates", RealClock(Clock()).now()
        make_authority(certificates, "bench", now)
        for name in (Agent.SCHEDULER, Agent.MAJORDOME, PROGRAM):
            make_certificate(certificates, name, now)
        super().__init__(directory, f"tls = {certificates}\n", "at = tls:127.0.0.1\n")


def seconds_of(server: PyrosServer) -> float:
    """Processor time that its processes have taken."""
    stats = [Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split() for process in server.processes]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS


def main() -> None:
    """Measure, and print what was found."""
    options = arguments(__doc__ or "").parse_args()
    report = BenchReport("tls", options.json)
    measure = Measure("agent to agent", "agent_to_agent", 1, 5_000 if options.quick else 50_000, 200)
    rates: dict[str, list[float]] = {"plain": [], "TLS": []}
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-tls-") as folder:
        servers = {"plain": PyrosServer(Path(folder) / "plain"), "TLS": TlsServer(Path(folder) / "tls")}
        try:
            for number in range(2 if options.quick else 8):
                for name in list(servers)[:: 1 if number % 2 else -1]:
                    before = seconds_of(servers[name])
                    servers[name].agent_to_agent(measure)
                    rates[name].append(measure.messages / (seconds_of(servers[name]) - before))
        finally:
            for server in servers.values():
                server.stop()
    ratios = [tls / plain for tls, plain in zip(rates["TLS"][1:], rates["plain"][1:], strict=True)]
    for name, found in rates.items():
        report.figures("agent to agent", way=name, per_cpu_second=median(found[1:]), rounds=found[1:])
    report.figures("agent to agent", ratio=median(ratios), rounds=ratios)
    rows = [(name, f"{min(found[1:]):,.0f} to {max(found[1:]):,.0f}, median {median(found[1:]):,.0f}")
            for name, found in rates.items()]  # fmt: skip
    rows.append(("TLS / plain", f"{min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}"))
    report.table("Messages of 200 bytes a second of processor time", ("", ""), rows)
    report.ends()


if __name__ == "__main__":
    main()
