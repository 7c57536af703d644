"""Lists: every page of them, in order and nothing twice; and by an index, however long the list is."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pyros import messages, views
from pyros.agents.alert_manager import AlertManagerState
from pyros.agents.scheduler import SchedulerState
from pyros.alerts import events as table
from pyros.alerts.archive import healpix
from pyros.alerts.archive.archive import Archive, Packet
from pyros.alerts.events import EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.rules import decisions
from pyros.alerts.rules.decisions import DecisionRecord
from pyros.alerts.tiling import Tiling
from pyros.areas.work import MAPS_FOLDER
from pyros.config import Config
from pyros.errors import UnknownAgent
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from pyros.journal import Effects, Journal, JournalReader
from pyros.messages import (
    ExposureFinished,
    Exposures,
    ExposureStarted,
    Observation,
    SlewFinished,
    SlewStarted,
    SourceFound,
)
from pyros.nights import diary
from pyros.nights.diary import DiaryLine
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.views import Observed
from pyros.views.alerts import alerts, packet_bytes
from pyros.views.chart import finding_chart
from pyros.views.event import event
from pyros.views.events import events, short_name
from pyros.views.images import image, images
from pyros.views.log import log
from pyros.views.messages import messages as messages_of
from pyros.views.observations import observations
from pyros.views.requests import request, requests
from pyros.views.sources import sources
from tests.alerts.test_skymaps import file
from tests.builders import voevent
from tests.views.written import commit, configuration, received, write

M31 = Observation(id="m31", target="M 31", ra=10.68, dec=41.27, exposures=(Exposures("r", 60.0, 3),))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    names = ("alert_manager", "scheduler", "majordome", "observation_manager", "monitoring", "analyzer")
    return configuration(tmp_path, names)


def pages(view: Callable[..., Any], of: str, observed: Observed, limit: int, **asked: Any) -> list[Any]:
    """Return all lines of a list, page by page."""
    found: list[Any] = []
    page = view(observed, limit=limit, **asked)
    while True:
        lines = getattr(page, of)
        assert len(lines) <= limit
        found += lines
        if page.after is None:
            return found
        page = view(observed, after=page.after, limit=limit, **asked)


def packet(number: int, **values: Any) -> PacketRecord:
    place = {"ra": 10.0, "dec": 20.0, "error_radius": 0.1} | values
    return PacketRecord(id=f"ivo://gcn/swift#{number}", key=f"swift:{number}", notice_type="BAT", sent=90.0, **place)


def written_events(config: Config, count: int) -> None:
    """Write events of one packet each, the odd ones accepted."""
    journal = Journal(config.journal("alert_manager"), schema=table.SCHEMA)
    kept = EventTable(journal.rows, list)
    changes: list[Any] = [decisions.prepare]
    for number in range(1, count + 1):
        new = packet(number)
        stored = StoredEvent(0, new.key, Followed(event=Event((new,))))
        changes.append(kept.change(stored, (new,)))
        record = DecisionRecord(
            alert=new.id, event=new.key, decided=100.0 + number, accepted=bool(number % 2), rule="bursts",
            reason="error 0.1 deg", outcome="requested" if number % 2 else "nothing",
            observation=f"obs-{number}" if number % 2 else "",
        )  # fmt: skip
        changes.append(partial(decisions.write, record=record))
    write(journal, AlertManagerState(), also=changes)
    journal.close()


def test_events_are_paged_newest_first(config: Config, observed: Observed) -> None:
    written_events(config, 11)
    for limit in (1, 3, 11, 20):
        found = pages(events, "events", observed, limit)
        assert [each.name for each in found] == [f"swift:{number}" for number in range(11, 0, -1)]
    assert {(each.word, each.streams, each.came) for each in found[:2]} == {
        ("requested", ("swift",), 111.0), ("rejected", ("swift",), 110.0),
    }  # fmt: skip


def test_what_became_of_an_event_is_its_word(config: Config, observed: Observed) -> None:
    written_events(config, 3)
    line = NightLine(night="2026-03-20", observation="obs-3", fate="observed", images=4, began=200.0, ended=300.0)
    commit(config, "scheduler", also=[night_log.prepare, partial(write_fate, line=line)])
    assert [(each.word, each.images, each.why) for each in events(observed).events] == [
        ("observed", 4, "4 images"), ("rejected", 0, "error 0.1 deg"), ("requested", 0, "error 0.1 deg"),
    ]  # fmt: skip


def write_fate(db: sqlite3.Connection, line: NightLine) -> None:
    night_log.write(db, [line])
    night_log.write_fate(db, [line])


def test_an_event_has_its_steps_with_their_latencies(config: Config, observed: Observed) -> None:
    written_events(config, 1)
    found = SourceFound(
        observation="obs-1", alert="a", event="swift:1", ra=10.0, dec=20.0, magnitude=15.2, filter="r", time=106.0
    )
    commit(config, "alert_manager", messages=[received(messages.SOURCE_FOUND, found, taken=110.0)])
    told = [
        (messages.SLEW_STARTED, SlewStarted("obs-1", 4.0), 101.2),
        (messages.SLEW_FINISHED, SlewFinished("obs-1", 10.0, 20.0, 3.0), 104.0),
        (messages.SLEW_FINISHED, SlewFinished("another", 10.0, 20.0, 3.0), 104.1),
        (messages.EXPOSURE_STARTED, ExposureStarted("obs-1", 1, 2, "r", 5.0), 104.5),
        (messages.EXPOSURE_FINISHED, ExposureFinished("obs-1", 1, "r", "/x.fits"), 109.5),
    ]
    commit(config, "observation_manager", messages=[received(name, it, taken=at) for name, it, at in told])
    order = DiaryLine("2026-03-20", 101.1, "observe", "obs-1")
    commit(config, "majordome", also=[diary.prepare, partial(diary.write, line=order)])
    shown = event(observed, "ivo://gcn/swift#1")
    assert shown == event(observed, "swift:1")
    assert shown is not None
    assert [step.what for step in shown.steps] == [
        "decided", "ordered", "slew commanded", "on target", "shutter open", "image on disk", "source found",
    ]  # fmt: skip
    assert [each.magnitude for each in shown.curve] == [15.2]
    took = [step.took for step in shown.steps[1:]]
    assert took == [pytest.approx(late.at - early.at) for early, late in pairwise(shown.steps)]
    assert event(observed, "swift:7") is None


def test_images_are_paged_and_have_their_headers(config: Config, observed: Observed) -> None:
    assert "no index of images" in images(observed).problem
    index = ImageIndex(index_file(config))
    many = [ImageRecord(path=f"/images/{n}.fits", night="2026-03-20", started=float(n), filter="ri"[n % 2],
                        event="a", ra=10.0, dec=20.0, radius=0.1, cell=healpix.cell(10.0, 20.0))
            for n in range(9)]  # fmt: skip
    index.add(many)
    index.close()
    assert [each.record for each in pages(images, "images", observed, 4)] == many[::-1]
    assert [each.record.started for each in pages(images, "images", observed, 2, filter="r")] == [8, 6, 4, 2, 0]
    assert len(pages(images, "images", observed, 50, ra=10.0, dec=20.0, radius=0.2)) == 9
    shown = image(observed, images(observed).images[0].number)
    assert shown is not None
    assert (shown.there, shown.problem) == (False, "its file is gone")
    assert image(observed, 99) is None
    with pytest.raises(ValueError, match="go together"):
        images(observed, ra=1.0)


def test_messages_of_all_agents_are_paged_in_one_order(config: Config, observed: Observed) -> None:
    for step, name in enumerate(("majordome", "scheduler", "monitoring")):
        commit(config, name, messages=[
            received(f"{name} {n}", taken=float(3 * n + step), error="x" if n == 4 else None) for n in range(9)
        ])  # fmt: skip
    for limit in (1, 4, 100):
        found = pages(messages_of, "messages", observed, limit)
        assert [each.taken for each in found] == [float(n) for n in range(26, -1, -1)]
        assert len(pages(messages_of, "messages", observed, limit, failed=True)) == 3
        assert len(pages(messages_of, "messages", observed, limit, agent="majordome")) == 9
    with pytest.raises(UnknownAgent):
        messages_of(observed, agent="nobody")
    with pytest.raises(ValueError, match="after"):
        messages_of(observed, after="{]")


def test_lists_that_are_read_on_are_as_read_anew(config: Config, observed: Observed) -> None:
    def as_anew() -> list[tuple[int, str | None]]:
        fresh = views.observed(config)
        for limit in (5, 12, 50):
            assert messages_of(observed, limit=limit) == messages_of(fresh, limit=limit)
        assert messages_of(observed, failed=True) == messages_of(fresh, failed=True)
        fresh.close()
        return [(line.number, line.error) for line in messages_of(observed).messages]

    with closing(Journal(config.journal("scheduler"), durable=False)) as journal:
        write(journal, None, [received("one"), received("two", error="x"), received("three")])
        assert as_anew() == [(3, None), (2, "x"), (1, None)]
        write(journal, None, [received("four", error="y")])
        assert as_anew()[:2] == [(4, "y"), (3, None)]
        effects = Effects()
        effects.retried = [(None, 2), ("z", 4)]
        journal.commit(effects)
        assert as_anew() == [(4, "z"), (3, None), (2, None), (1, None)]
        for _ in range(30):
            write(journal, None, [received("more"), received("more")])
            as_anew()


def test_an_event_that_is_decided_about_again_is_seen(config: Config, observed: Observed) -> None:
    written_events(config, 3)
    assert [each.word for each in events(observed).events] == ["requested", "rejected", "requested"]
    record = DecisionRecord(
        alert="a", event="swift:2", decided=300.0, accepted=True, rule="bursts", reason="better now",
        outcome="requested", observation="obs-2",
    )  # fmt: skip
    commit(config, "alert_manager", also=[partial(decisions.write, record=record)], schema=table.SCHEMA)
    assert [each.why for each in events(observed).events] == ["error 0.1 deg", "better now", "error 0.1 deg"]
    fresh = views.observed(config)
    assert events(observed) == events(fresh)
    fresh.close()


def test_requests_log_and_observations_are_paged(config: Config, observed: Observed) -> None:
    many = {f"r{n}": msgspec.structs.replace(M31, id=f"r{n}", owner="anna" if n < 3 else "") for n in range(7)}
    lines = [NightLine(night=f"2026-03-{n:02}", observation=f"o{m}") for n in range(1, 5) for m in range(3)]
    state = SchedulerState(requests=many, running="r1", failures={"r2": 2})
    commit(config, "scheduler", state, also=[night_log.prepare, partial(night_log.write, lines=lines)])
    said = [DiaryLine("2026-03-20", float(n), "state", "ready") for n in range(9)]
    commit(config, "majordome", also=[diary.prepare, *(partial(diary.write, line=each) for each in said)])
    assert [each.request.id for each in pages(requests, "requests", observed, 2)] == sorted(many)
    assert [each.state for each in requests(observed, owner="anna").requests] == [
        "waits", "is being observed", "failed 2 times, is tried again",
    ]  # fmt: skip
    assert [each.time for each in pages(log, "lines", observed, 4)] == [float(n) for n in range(8, -1, -1)]
    kept = [(each.night, each.observation) for each in pages(observations, "observations", observed, 5)]
    assert kept == sorted(((line.night, line.observation) for line in lines), reverse=True)
    shown = request(observed, "r1")
    assert shown is not None
    assert shown.next_up is not None
    assert request(observed, "none") is None
    assert sources(observed) == ()


def test_a_request_that_has_ended_is_found_by_the_nights_that_had_it(config: Config, observed: Observed) -> None:
    def line(night: int, observation: str, ended: float | None, **values: Any) -> NightLine:
        return NightLine(night=f"2026-03-{night}", observation=observation, request=observation, ended=ended, **values)

    lines = [
        line(20, "cloudy", 10.0, fate="failed", fate_reason="no star", owner="anna"),
        line(21, "cloudy", 20.0, fate="observed", owner="anna", images=3), line(21, "late", 30.0, fate="observed"),
        line(21, "gone", None, fate="withdrawn", planned=25.0), line(21, "cut", 40.0, fate="interrupted"),
        line(21, "m31", 50.0, fate="failed"), line(21, "waiting", None),
    ]  # fmt: skip
    also = [night_log.prepare, partial(night_log.write, lines=lines), partial(night_log.write_fate, lines=lines)]
    commit(config, "scheduler", SchedulerState(requests={"m31": M31}), also=also)
    assert [each.observation for each in requests(observed).ended] == ["late", "gone", "cloudy", "cloudy"]
    assert [each.night for each in requests(observed, owner="anna").ended] == ["2026-03-21", "2026-03-20"]
    assert requests(observed, after="a").ended == ()
    shown = request(observed, "cloudy")
    assert shown is not None
    assert (shown.request, shown.state, [each.images for each in shown.nights]) == (None, "observed", [3, 0])


PLANS = {
    "alert_manager": (
        "SELECT content FROM alert_events WHERE number < 5 AND joined IS NULL ORDER BY number DESC LIMIT 5",
        "SELECT * FROM decisions WHERE event = 'a' AND about = 1 ORDER BY number DESC LIMIT 1",
        "SELECT * FROM decisions WHERE event = 'a' AND about IS NULL ORDER BY number DESC LIMIT 1",
    ),
    "scheduler": (
        "SELECT * FROM night_lines WHERE observation = 'a' ORDER BY night DESC LIMIT 9",
        "SELECT * FROM night_lines WHERE (night, observation) < (1, 2) ORDER BY night DESC, observation DESC LIMIT 9",
    ),
    "majordome": (
        "SELECT * FROM diary WHERE what = 'state' ORDER BY number DESC LIMIT 1",
        "SELECT * FROM diary WHERE night = 'a' ORDER BY number",
        "SELECT * FROM diary WHERE number < 9 ORDER BY number DESC LIMIT 9",
        "SELECT last, first, messages FROM turns WHERE last <= 9 ORDER BY last DESC LIMIT 9",
        "SELECT * FROM failed WHERE error IS NOT NULL AND number < 9 ORDER BY number DESC LIMIT 9",
        "SELECT 1 FROM outbox WHERE refused IS NOT NULL LIMIT 9",
    ),
}


def test_no_page_goes_through_a_whole_table(config: Config) -> None:
    written_events(config, 1)
    commit(config, "scheduler", also=[night_log.prepare])
    commit(config, "majordome", also=[diary.prepare])
    for name, query in ((name, query) for name, queries in PLANS.items() for query in queries):
        reader = JournalReader(config.journal(name))
        steps = [row[3] for row in reader.rows(f"EXPLAIN QUERY PLAN {query}")]
        reader.close()
        assert not [step for step in steps if "TEMP B-TREE" in step], (query, steps)
        scans = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step and "CONSTANT" not in step]
        assert not scans, (query, steps)


def test_names_are_shown_without_their_authority() -> None:
    assert short_name("ivo://a/b#burst-1") == "burst-1"
    assert short_name("swift:17") == "swift:17"
    assert short_name("ivo://a/b#") == "ivo://a/b#"


def archived(config: Config, count: int) -> None:
    """Archive packets: every second came in the same second as the one before it."""
    archive = Archive(config.alert_archive)
    archive.store([
        Packet(voevent(f"ivo://test/swift#{n}", ra=10.0 + n % 2, dec=20.0, text="grb odd" if n % 2 else "grb even"),
               "author 127.0.0.1", 1000.0 + n // 2)
        for n in range(count)
    ])  # fmt: skip
    archive.close()


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, range(25)), ({"words": "grb"}, range(25)), ({"words": "odd"}, range(1, 25, 2)),
        ({"ra": 10.0, "dec": 20.0, "radius": 0.1}, range(0, 25, 2)),
        ({"since": 1005.0, "until": 1007.0}, range(10, 14)),
        ({"role": "test"}, ()), ({"event": "ivo://test/swift#7"}, (7,)),
    ],
)  # fmt: skip
def test_alerts_come_page_by_page(observed: Observed, asked: dict[str, Any], wanted: range) -> None:
    archived(observed.config, 25)
    found = pages(alerts, "alerts", observed, 4, **asked)
    assert [each.identity for each in found] == [f"ivo://test/swift#{n}" for n in reversed(wanted)]


def mapped(config: Config) -> Callable[..., str]:
    """Give the event swift:1 a sky map: 60 % of it about ra 10, 35 % about ra 11; returns what writes its cells."""
    cells = np.array([healpix.cell(ra, 20.0) >> 12 for ra in (10.0, 11.0, 14.0)])
    assert len(set(cells)) == 3
    folder = config.data / MAPS_FOLDER
    folder.mkdir()
    density = np.array([0.6, 0.35, 0.05]) / (4 * math.pi / 12 / 4**6)
    (folder / "m.skymap").write_bytes(file({"UNIQ": 4 * 4**6 + cells, "PROBDENSITY": density}, ORDERING="NUNIQ"))
    return lambda *chosen: "6/" + " ".join(str(cells[each]) for each in chosen)


@pytest.mark.parametrize("asked", [{"sky_map": "swift:1", "share": 0.5}, {"sky_map": "swift:1"}, {"moc": True}])
def test_lists_of_a_part_of_the_sky(config: Config, observed: Observed, asked: dict[str, Any]) -> None:
    moc = mapped(config)
    asked = {"moc": moc(0, 1)} if "moc" in asked else asked
    ras = (10.0, 11.0) if asked.get("share") is None else (10.0,)
    places = [(10.0, 20.0), (11.0, 20.0), (14.0, 20.0), (10.0, -20.0), (200.0, 5.0)]
    journal = Journal(config.journal("alert_manager"), schema=table.SCHEMA)
    kept, changes = EventTable(journal.rows, list), list[Any]()
    for number in range(1, 31):
        ra, dec = places[number % 5]
        followed = Followed(Event((new := packet(number, ra=ra, dec=dec),)), tiling=Tiling(file="m.skymap"))
        changes.append(kept.change(StoredEvent(0, new.key, followed), (new,)))
    write(journal, AlertManagerState(), also=changes)
    journal.close()
    index = ImageIndex(index_file(config))
    index.add(
        ImageRecord(path=f"/{number}.fits", night="n", started=float(number), ra=ra, dec=20.0, radius=0.01,
                    cell=healpix.cell(ra, 20.0))
        for number, ra in enumerate((10.0, 11.0, 14.0, 200.0) * 5)
    )  # fmt: skip
    index.close()
    wanted = [number for number in range(30, 0, -1) if places[number % 5] in [(ra, 20.0) for ra in ras]]
    assert [each.number for each in pages(events, "events", observed, 4, **asked)] == wanted  # there is no archive yet
    archive = Archive(config.alert_archive)
    archive.store([
        Packet(voevent(packet(number).id, ra=places[number % 5][0], dec=places[number % 5][1]), "x", 1.0 * number)
        for number in range(1, 31)
    ])  # fmt: skip
    archive.close()
    assert [each.number for each in pages(events, "events", observed, 4, **asked)] == wanted
    heard = pages(alerts, "alerts", observed, 4, **asked)
    assert [each.identity for each in heard] == [packet(number).id for number in wanted]
    taken = pages(images, "images", observed, 3, **asked)
    assert [each.record.started for each in taken] == [
        n for n in range(19, -1, -1) if (10.0, 11.0, 14.0, 200.0)[n % 4] in ras
    ]
    cone = {"ra": 11.0, "dec": 20.0, "radius": 0.1}
    assert [each.number for each in pages(events, "events", observed, 4, **cone)] == list(range(26, 0, -5))
    assert len(pages(events, "events", observed, 4, **cone, **asked)) == (6 if 11.0 in ras else 0)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"sky_map": "nobody:1"}, "there is no event"), ({"sky_map": "swift:1"}, "no sky map of 'swift:1' was read"),
        ({"sky_map": "swift:2"}, "cannot be read"), ({"share": 0.5}, "share goes with sky_map"),
        ({"sky_map": "swift:2", "share": 1.5}, "at most 1"), ({"moc": "0/12"}, "no cell of order 0"),
        ({"moc": "0/1", "sky_map": "swift:1"}, "not both"), ({"ra": 1.0}, "go together"),
    ],
)  # fmt: skip
def test_a_place_that_makes_no_sense(config: Config, observed: Observed, asked: dict[str, Any], says: str) -> None:
    written_events(config, 1)
    journal = Journal(config.journal("alert_manager"), schema=table.SCHEMA)
    new = packet(2)
    stored = StoredEvent(0, new.key, Followed(Event((new,)), tiling=Tiling(file="gone.skymap")))
    write(journal, also=[EventTable(journal.rows, list).change(stored, (new,))])
    journal.close()
    for view in (events, alerts, images):
        with pytest.raises(ValueError, match=says):
            view(observed, **asked)


def test_alerts_before_there_is_an_archive(observed: Observed) -> None:
    assert "no such archive" in alerts(observed).problem
    assert packet_bytes(observed, "ivo://test/swift#1") is None


def test_a_packet_is_as_it_came(observed: Observed) -> None:
    archived(observed.config, 3)
    came = voevent("ivo://test/swift#1", ra=11.0, dec=20.0, text="grb odd")
    assert packet_bytes(observed, "ivo://test/swift#1") == came
    assert packet_bytes(observed, "ivo://test/swift#9") is packet_bytes(observed, "") is None


@pytest.mark.parametrize(
    "asked", [{"after": "x"}, {"after": "1e999:1"}, {"role": "captain"}, {"kind": "x"}, {"words": "!"}, {"ra": 1.0},
              {"ra": 361.0, "dec": 0.0, "radius": 1.0}],
)  # fmt: skip
def test_a_question_about_alerts_that_makes_no_sense(observed: Observed, asked: dict[str, Any]) -> None:
    archived(observed.config, 1)
    with pytest.raises(ValueError, match=next(iter(asked)) if "radius" not in asked else "cone"):
        alerts(observed, **asked)


def test_a_finding_chart_has_the_stars_of_the_analyzers_catalogue(config: Config) -> None:
    (config.path.parent / "stars.csv").write_text("ra,dec,magnitude\n10.0,20.05,9.0\n10.03,20.0,8.0\n10.0,22.0,7.0\n")
    analyzer = msgspec.structs.replace(config.agents["analyzer"], options={"catalogue": "stars.csv"})
    observed = views.observed(msgspec.structs.replace(config, agents={**config.agents, "analyzer": analyzer}))
    written_events(config, 5)
    chart = finding_chart(observed, "swift:3")
    assert finding_chart(observed, "swift:99") is None
    observed.close()
    assert chart is not None
    assert (chart.ra, chart.dec, chart.problem, len(chart.stars)) == (10.0, 20.0, "", 2)
    for star, wanted in zip(
        chart.stars, [(0.03 * math.cos(math.radians(20.0)), 0.0, 8.0), (0.0, 0.05, 9.0)], strict=True
    ):
        assert (star.east, star.north, star.magnitude) == pytest.approx(wanted, abs=1e-5)
