"""What it costs to look at an observatory: a poll of all journals, a frame, and page 1 and 1,000 of its lists.

    python bench/views.py            a million events, each agent with all the messages that it keeps
    python bench/views.py --quick    5,000 events

The journals are written as the agents would write them, but with invented content. Each figure is the median of a
hundred, and the slowest of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench._common import Report, arguments
from pyros import config as configuration
from pyros import views
from pyros.alerts import events as table
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.config import Config
from pyros.journal import Effects, Journal, Received
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views import Observed
from pyros.views.event import event
from pyros.views.events import events
from pyros.views.messages import messages
from pyros.views.observations import observations

TIMES = 100
_TURN = 2000
_MESSAGES = 10
"""In a turn."""


def main() -> None:
    parser = arguments(__doc__ or "")
    given = parser.parse_args()
    report = Report("views", given.json)
    count, kept = (5_000, 2_000) if given.quick else (1_000_000, 50_000)
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        config = msgspec.structs.replace(configuration.load(configuration.demo_file()), data=Path(folder))
        report.doing(f"writing {count} events and {kept} messages of each agent")
        journals = list(written(config, count, kept))
        observed = views.observed(config)
        try:
            look(observed, report, journals[0])
        finally:
            observed.close()
            for journal in journals:
                journal.close()
    report.ends()


def written(config: Config, count: int, kept: int) -> Iterator[Journal]:
    """Write every agent's journal; they stay open, as those of running agents."""
    for name in (*config.agents, "broker"):
        schema = table.SCHEMA if name == "alert_manager" else ""
        journal = Journal(config.journal(name), durable=False, schema=schema)
        for begin in range(0, kept, _MESSAGES):
            effects = Effects()
            effects.state = b"{}"
            effects.received = [
                Received(f"{name}{n}", "Weather reading", "weather", float(n), float(n), b'{"wind": 5.0}')
                for n in range(begin, min(begin + _MESSAGES, kept))
            ]
            journal.commit(effects)
        if name == "alert_manager":
            write_events(journal, count)
        elif name == "scheduler":
            lines = [
                NightLine(night=f"{2000 + n // 500}-01-01", observation=f"o{n}") for n in range(min(count, 100_000))
            ]
            commit(journal, [night_log.prepare, partial(night_log.write, lines=lines)])
        yield journal


def write_events(journal: Journal, count: int) -> None:
    """Write events of one packet each, all decided about."""
    kept = EventTable(journal.rows, list)
    commit(journal, [decisions.prepare])
    for begin in range(0, count, _TURN):
        changes: list[Any] = []
        for n in range(begin + 1, min(begin + _TURN, count) + 1):
            packet = PacketRecord(
                f"ivo://bench/swift#{n}", f"swift:{n}", ra=n % 360, dec=n % 180 - 90, error_radius=0.1
            )
            changes.append(kept.change(StoredEvent(0, packet.key, Followed(event=Event((packet,)))), (packet,)))
            record = DecisionRecord(alert=packet.id, event=packet.key, decided=float(n), accepted=False, rule="",
                                    reason="no rule fits", outcome="nothing")  # fmt: skip
            changes.append(partial(decisions.write, record=record))
        commit(journal, changes)


def commit(journal: Journal, writes: list[Any]) -> None:
    effects = Effects()
    effects.also = writes
    journal.commit(effects)


def look(observed: Observed, report: Report, journal: Journal) -> None:
    """Measure each view."""
    lists: dict[str, Callable[..., Any]] = {"events": events, "messages": messages, "observations": observations}
    deep: dict[str, Any] = {name: view(observed) for name, view in lists.items()}
    for _ in range(998):
        for name, view in lists.items():
            if deep[name].after is not None:
                deep[name] = view(observed, after=deep[name].after)
    rows = []
    looks: dict[str, Callable[[], Any]] = {
        "a poll of all journals": partial(views.changes, observed),
        "a frame": partial(views.frame, observed),
        "events, page 1": partial(events, observed),
        "events, page 1,000 or the last": partial(events, observed, after=deep["events"].after or 50),
        "one event": partial(event, observed, "swift:77"),
        "messages of all, page 1": partial(messages, observed),
        "messages of all, page 1,000 or the last": partial(messages, observed, after=deep["messages"].after),
        "failed messages": partial(messages, observed, failed=True),
        "observations, page 1": partial(observations, observed),
        "observations, page 1,000 or the last": partial(observations, observed, after=deep["observations"].after or ""),
    }
    for measure, ask in looks.items():
        ask()
        spent = []
        for n in range(TIMES):
            if n % 10 == 0:
                commit(journal, [])
            begin = time.perf_counter()
            ask()
            spent.append((time.perf_counter() - begin) * 1000)
        typical, most = statistics.median(spent), max(spent)
        report.figures(measure, typical_ms=typical, most_ms=most)
        rows.append((measure, f"{typical:.2f}", f"{most:.2f}"))
    report.table(f"{len(observed.names)} journals", ("look", "typical ms", "most ms"), rows)


if __name__ == "__main__":
    main()
