"""What the benches share: their options, the table they print, and the JSON that `--json` prints instead."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the options every bench has. From now on a bench that is told to end takes its files with it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that every ``finally`` is run
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds: fewer messages, measured once")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the tables")
    parser.add_argument("--dir", type=Path, default=Path(), help="where to write; must be on a disk, not in memory")
    return parser


PATIENCE = 120.0
"""Seconds after which what a bench waits for will not come any more, however busy the computer is."""


def quantile(values: Iterable[float], q: float) -> float:
    """The value below which a share ``q`` of the values lies (the nearest one that was measured)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def median(values: Iterable[float]) -> float:
    return quantile(values, 0.5)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, of those that the kernel gives to no outgoing connection.

    They stay this process's until it ends: another bench, which would take them before they are opened, finds that an
    abstract socket of their name is bound.
    """
    ports: list[int] = []
    for port in range(30_000, 32_700):
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0pyros-bench-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            mark.close()
            continue
        mark.detach()  # it stays bound
        ports.append(port)
        if len(ports) == count:
            return ports
    raise SystemExit("every port is in use")


class BenchReport:
    """Tables for people, or lines of JSON for programs."""

    def __init__(self, bench: str, as_json: bool, packages: Sequence[str] = (), **versions: str) -> None:
        """``packages`` are distributions whose versions matter; ``versions`` are other programs'."""
        self.bench = bench
        self._json = as_json
        self._console = Console(highlight=False)
        self._versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version} | versions
        for package in ("pyros-observatory", "Twisted", "msgspec", *packages):
            try:
                self._versions[package] = version(package)
            except PackageNotFoundError:
                continue

    def figures(self, measure: str, **figures: Any) -> None:
        """One measure's figures, for programs."""
        if self._json:
            line = {"bench": self.bench, "measure": measure} | figures
            print(json.dumps(line | {"versions": self._versions, "machine": machine()}), flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table for people: the first column is words, the others numbers."""
        if self._json:
            return
        table = Table(title=title, title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def doing(self, what: str) -> None:
        """What is measured now, for whoever waits."""
        print(f"{self.bench}: {what}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line under the tables."""
        if not self._json:
            self._console.print(text)

    def ends(self) -> None:
        """What it ran on."""
        here = machine()
        self.note(f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']}")
        self.note(", ".join(f"{name} {number}" for name, number in self._versions.items()))


def machine() -> dict[str, Any]:
    """What the bench runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or sys.platform
