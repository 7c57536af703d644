"""What it costs to look at an observatory: a poll of all journals, a frame, and page 1 and 1,000 of its lists.

    python bench/views.py                       a million events, images and packets, and all the messages that are kept
    python bench/views.py --packets 10000000    as many packets in the archive: 13 GB, 9 minutes of a processor to write
    python bench/views.py --quick               1,000 events, 300 of the others

Journals, archive and index of images are written as the agents would write them, but with invented content;
``--archive`` names a file of packets that is filled up and stays. Each figure is the median, and the slowest. The lists
have 50 lines a page.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import archive as archive_bench
from bench._common import BenchReport, arguments
from pyros import config as configuration
from pyros import views
from pyros.alerts import events as table
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import Archive
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.config import Config
from pyros.console.search_index import EVENT, LOG, TARGET, SearchIndex
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from pyros.journal import Effects, Journal, Received
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views import Observed
from pyros.views.alerts import alerts
from pyros.views.event import event
from pyros.views.events import events
from pyros.views.images import image, images
from pyros.views.messages import messages
from pyros.views.observations import observations

TIMES = 100
DEEP = 999 * 50
"""Lines before page 1,000."""
MOCS = {
    "400 square degrees in 480 pieces": "6/" + " ".join(str(20_000 + 3 * number) for number in range(480)),
    "4,000 square degrees": "3/100-174",
    "a cell of 3 arcminutes": "10/7654321",
}
"""Parts of the sky as sky maps have them."""
_TURN = 2000
_MESSAGES = 10
"""In a turn."""


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--events", type=int, default=0, help="0: a million, quickly 1,000")
    parser.add_argument("--packets", type=int, default=0, help="packets in the archive; 0: a million, quickly 300")
    parser.add_argument("--images", type=int, default=0, help="images in the index; 0: a million, quickly 300")
    parser.add_argument("--archive", type=Path, help="an archive to fill up and look at, and to leave there")
    given = parser.parse_args()
    report = BenchReport("views", given.json)
    many, few, kept = (1_000, 300, 500) if given.quick else (1_000_000, 1_000_000, 50_000)
    count = given.events or many
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        config = msgspec.structs.replace(
            configuration.load(configuration.demo_file()),
            data=Path(folder), archive=str((given.archive or Path(folder) / "archive.sqlite").absolute()),
        )  # fmt: skip
        report.doing(f"writing {count} events and {kept} messages of each agent")
        journals = list(written(config, count, kept))
        observed = views.observed(config)
        try:
            look(observed, report, journals[0])
            for what, most, fill, ask in (
                ("packets", given.packets or few, fill_archive, of_alerts),
                ("images", given.images or few, fill_images, of_images),
                ("words of events", count, fill_words, of_words),
            ):
                report.doing(f"writing {most} {what}")
                fill(observed, most)
                measure(report, f"{most:,} {what}", ask(observed, most), 3 if given.quick else 20)
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


def look(observed: Observed, report: BenchReport, journal: Journal) -> None:
    """Measure each view."""
    lists: dict[str, Callable[..., Any]] = {"events": events, "messages": messages, "observations": observations}
    deep: dict[str, Any] = {name: view(observed) for name, view in lists.items()}
    for _ in range(998):
        for name, view in lists.items():
            if deep[name].after is not None:
                deep[name] = view(observed, after=deep[name].after)
    looks: dict[str, Callable[[], Any]] = {
        "a poll of all journals": partial(views.changes, observed),
        "a frame": partial(views.frame, observed),
        "events, page 1": partial(events, observed),
        "events, page 1,000 or the last": partial(events, observed, after=deep["events"].after or 50),
        "events of 1 degree, page 1": partial(events, observed, ra=77.0, dec=-13.0, radius=1.0),
        "events of 400 square degrees, page 1": partial(events, observed, moc=MOCS["400 square degrees in 480 pieces"]),
        "one event": partial(event, observed, "swift:77"),
        "messages of all, page 1": partial(messages, observed),
        "messages of all, page 1,000 or the last": partial(messages, observed, after=deep["messages"].after),
        "failed messages": partial(messages, observed, failed=True),
        "observations, page 1": partial(observations, observed),
        "observations, page 1,000 or the last": partial(observations, observed, after=deep["observations"].after or ""),
    }
    measure(report, f"{len(observed.names)} journals", looks, TIMES, partial(commit, journal, []))


def measure(
    report: BenchReport, title: str, looks: dict[str, Callable[[], Any]], times: int,
    between: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Look so many times at each, and do something after every ten."""
    rows = []
    for what, ask in looks.items():
        ask()
        spent = []
        for n in range(times):
            if n % 10 == 0:
                between()
            begin = time.perf_counter()
            ask()
            spent.append((time.perf_counter() - begin) * 1000)
        typical, most = statistics.median(spent), max(spent)
        report.figures(what, typical_ms=typical, most_ms=most)
        rows.append((what, f"{typical:.2f}", f"{most:.2f}"))
    report.table(title, ("look", "typical ms", "most ms"), rows)


def pages(view: Callable[..., Any], of: str, what: str, *args: Any, **asked: Any) -> dict[str, Callable[[], Any]]:
    """Page 1 of a list, and page 1,000 or the last."""
    after: Any = None
    page, passed = view(*args, limit=500, **asked), 0
    while page.after is not None and passed + len(getattr(page, of)) <= DEEP:
        passed, after = passed + len(getattr(page, of)), page.after
        page = view(*args, limit=500, after=after, **asked)
    found: dict[str, Callable[[], Any]] = {f"{what}, page 1": partial(view, *args, **asked)}
    if after is not None:
        found[f"{what}, page {1 + passed // 50:,}"] = partial(view, *args, after=after, **asked)
    return found


def fill_archive(observed: Observed, count: int) -> None:
    """Write packets, unless they are there."""
    archive = Archive(observed.config.alert_archive)
    archive_bench.fill(archive, count, lambda _: None)
    archive.close()


def of_alerts(observed: Observed, count: int) -> dict[str, Callable[[], Any]]:
    """What is asked of the packets."""
    chance = random.Random(1)
    asked: dict[str, dict[str, Any]] = {
        "all": {}, "a stream": {"stream": "observatory7/stream"}, "a role": {"role": "test"},
        "a kind": {"kind": "retraction"}, "a word of every packet": {"words": "burst"},
        "a word of some": {"words": "prose12"}, "the beginning of words": {"words": "comm*"},
        "a rare word": {"words": f"trigger{count // 2 // archive_bench.PER_EVENT}"},
        "a word of a stream": {"words": "burst", "stream": "observatory7/stream"},
        "a beginning of a rare role": {"words": "comm*", "role": "utility"},
        "retractions of a stream without any": {"stream": "observatory7/stream", "kind": "retraction"},
        "tests of a stream without any": {"stream": "observatory7/stream", "role": "test"},
        "the same, with a word": {"stream": "observatory7/stream", "role": "test", "words": "burst"},
        "the same, with a beginning": {"stream": "observatory7/stream", "role": "test", "words": "comm*"},
        "an event": {"event": f"event-{count // 2 // archive_bench.PER_EVENT}"},
        "the second half": {"since": archive_bench.FIRST + archive_bench.MINUTE * count / 2},
        "a day": {"since": archive_bench.FIRST + archive_bench.MINUTE * count / 2,
                  "until": archive_bench.FIRST + archive_bench.MINUTE * (count / 2 + 1440)},
    }  # fmt: skip
    for radius in (0.1, 1.0, 3.0, 10.0, 60.0):
        asked[f"{radius:g} degrees"] = {"ra": chance.uniform(0, 360), "dec": 30.0, "radius": radius}
        asked[f"{radius:g} degrees, with a beginning"] = {**asked[f"{radius:g} degrees"], "words": "comm*"}
    asked["3 degrees of a rare role"] = {**asked["3 degrees"], "role": "utility"}
    asked["10 degrees of a stream, with a beginning"] = {
        **asked["10 degrees, with a beginning"], "stream": "observatory7/stream"
    }  # fmt: skip
    for radius in (1.0, 3.0, 10.0, 60.0):
        asked[f"{radius:g} degrees, with a word"] = {**asked[f"{radius:g} degrees"], "words": "burst"}
        asked[f"{radius:g} degrees, with a word of some"] = {**asked[f"{radius:g} degrees"], "words": "prose12"}
    for name, moc in MOCS.items():
        asked[name] = {"moc": moc}
        asked[f"{name}, with a word of some"] = {"moc": moc, "words": "prose12"}
    found: dict[str, Callable[[], Any]] = {}
    for what, values in asked.items():
        found |= pages(alerts, "alerts", f"packets: {what}", observed, **values)
    return found


def fill_images(observed: Observed, count: int) -> None:
    """Write an index of images: 500 a night, of 20 filters, 5,000 events and objects, all over the sky."""
    chance = random.Random(1)
    index = ImageIndex(index_file(observed.config))
    for begin in range(0, count, 5_000):
        records, size = [], min(5_000, count - begin)
        ras = [chance.uniform(0, 360) for _ in range(size)]
        decs = [math.degrees(math.asin(chance.uniform(-1, 1))) for _ in range(size)]
        cells = healpix.cells(np.array(ras), np.array(decs)).tolist()
        for n, ra, dec, cell in zip(range(begin, begin + size), ras, decs, cells, strict=True):
            records.append(
                ImageRecord(
                    path=f"/images/{n}.fits", night=f"night-{n // 500:05d}", started=60.0 * n, filter=f"f{n % 20}",
                    event=f"event-{n % 5000}", observation=f"obs-{n // 5}", object=f"object {n % 5000}",
                    type="LIGHT", ra=ra, dec=dec, radius=0.3, cell=cell,
                )
            )  # fmt: skip
        index.add(records)
    index.close()


def of_images(observed: Observed, count: int) -> dict[str, Callable[[], Any]]:
    """What is asked of the images."""
    asked: dict[str, dict[str, Any]] = {
        "all": {}, "a filter": {"filter": "f7"}, "a night": {"night": f"night-{count // 1000:05d}"},
        "an event": {"event": "event-77"}, "an object": {"object": "object 77"},
        "an observation": {"observation": "obs-77"},
        "a filter of an object": {"object": "object 77", "filter": "f17"},
    }  # fmt: skip
    for radius in (0.1, 1.0, 10.0, 60.0):
        asked[f"{radius:g} degrees"] = {"ra": 77.0, "dec": 30.0, "radius": radius}
    asked["10 degrees of no filter that is"] = {**asked["10 degrees"], "filter": "none"}
    asked["10 degrees of a filter"] = {**asked["10 degrees"], "filter": "f7"}
    asked |= {name: {"moc": moc} for name, moc in MOCS.items()}
    asked["a region of a filter"] = {"moc": MOCS["400 square degrees in 480 pieces"], "filter": "f7"}
    found: dict[str, Callable[[], Any]] = {"image 77": partial(image, observed, 77)}
    for what, values in asked.items():
        found |= pages(images, "images", f"images: {what}", observed, **values)
    return found


def fill_words(observed: Observed, count: int) -> None:
    """Fill the console's index of words from the journals."""
    index = SearchIndex(observed.config.data, observed)
    while not index.fill(60.0):
        pass


def of_words(observed: Observed, count: int) -> dict[str, Callable[[], Any]]:
    """What is looked for."""
    index, kinds = SearchIndex(observed.config.data, observed), (EVENT, TARGET, LOG)
    found: dict[str, Callable[[], Any]] = {
        f"words: {what}": partial(index.find, words, kinds, after, 50)
        for what, words, after in (
            ("a word of all", "rule ", None), ("a word of all, from the middle", "rule ", count // 2),
            ("a rare word", f"{count // 2} ", None), ("a beginning", "sw", None), ("two words", "rule fits ", None),
        )
    }  # fmt: skip
    return found


if __name__ == "__main__":
    main()
