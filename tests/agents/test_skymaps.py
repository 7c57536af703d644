"""Sky maps in the alert manager: read after the packet is decided, cut into fields, and one end in every order."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pyros import messages
from pyros.agents.alert_manager import AlertManagerAgent
from pyros.agents.scheduler import SchedulerAgent
from pyros.agents.skymap_messages import CHOOSE_AGAIN, MapAgain
from pyros.alerts import events
from pyros.alerts.rules import decisions
from pyros.angles import separation
from pyros.areas import work
from pyros.errors import AgentError
from pyros.journal import JournalReader
from pyros.messages import AlertReceived, FieldRequests, FollowUp, Observation
from pyros.planning import Site
from pyros.planning.visibility import place_overhead
from pyros.workers import Worker
from tests.builders import InlineReactor, voevent
from tests.maps import drawn_map, gw_alert
from tests.rig import SITE, AgentRig, make_config
from tests.web import WebAnswer, WebRequest, web_server

GW_CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "gcn-json" / "igwn.gwalert"
RULES = """
rules:
  - name: near
    when: {stream: lvc, max_area90: 2000}
    observe: [{filter: r, seconds: 10, count: 1}]
    priority: 50
    min_altitude: 20
    expires_after: 12 h
  - {name: area, when: {stream: "a*", max_area90: 5000}, observe: [{filter: r, seconds: 10, count: 1}]}
  - {name: point, when: {max_error_radius: 5}, observe: [{filter: r, seconds: 10, count: 1}]}
"""


class Maps(AgentRig):
    """An alert manager whose worker is a function call."""

    make_reactor = InlineReactor

    def __init__(self, folder: Path, options: dict[str, str] | None = None) -> None:
        (folder / "rules.yaml").write_text(RULES)
        agents = make_config(folder, "alert_manager", "scheduler").agents
        section = msgspec.structs.replace(
            agents["alert_manager"], options={"field": "5", "most": "40", **(options or {})}
        )
        super().__init__(
            AlertManagerAgent(), folder, "scheduler", alert_rules=folder / "rules.yaml", site=SITE,
            agents={**agents, "alert_manager": section}, simulators=(folder / "camera.yaml",),
        )  # fmt: skip

    def take(self, *packets: bytes, kept: int | None = None) -> list[Any]:
        """Take packets, a turn each; return what the scheduler is told until nothing more comes of them."""
        before = len(self.sent())
        for each in packets:
            self.tell(messages.ALERT_RECEIVED, AlertReceived(each, "t", 1.0, kept))
        return self.sent()[before:]

    def tell(self, name: str, payload: Any, settle: bool = True) -> None:
        outcome = self.hear(name, payload)
        for function, arguments in outcome.calls:
            function(*arguments)
        if settle:
            for _ in range(6):
                self.reactor.advance(0)
        assert self.rows("SELECT error FROM failed") == []

    def sent(self) -> list[Any]:
        rows = self.rows("SELECT name, payload FROM outbox WHERE agent = 'scheduler' ORDER BY seq")
        return [messages.decode_payload(name, payload) for name, payload in rows]

    def decisions(self) -> list[decisions.DecisionRecord]:
        with closing(JournalReader(self.journal.path)) as reader:
            return decisions.read(reader)

    def followed(self) -> events.Followed:
        (one,) = (each for each in stored(self) if not each.name.startswith("lvc:MS"))
        return one.followed

    def observe(self, request: Observation, what: Any = "finished") -> None:
        self.tell(messages.FOLLOW_UP, FollowUp(what=what, request=request, time=self.clock.time()))


def stored(rig: Maps) -> list[events.StoredEvent]:
    with closing(JournalReader(rig.journal.path)) as reader:
        return events.read(reader)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Maps]]:
    """Make alert managers; the second lives on the journal of the first, which is stopped."""
    made: list[Maps] = []

    def one(**options: str) -> Maps:
        for each in made:
            each.stop()
        made.append(Maps(tmp_path, options))
        return made[-1]

    yield one
    for each in made:
        each.stop()


@pytest.fixture
def rig(make: Callable[..., Maps]) -> Maps:
    return make()


def overhead(rig: AgentRig) -> tuple[float, float]:
    return place_overhead(Site.load(SITE), rig.clock.now())


def test_a_map_within_a_packet_becomes_fields_the_most_probable_first(rig: Maps) -> None:
    ra, dec = overhead(rig)
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(ra, dec)))
    assert isinstance(asked, FieldRequests)
    first = asked.requests[0]
    assert separation(first.ra, first.dec, ra, dec) < 5
    chances = [each.probability or 0.0 for each in asked.requests]
    assert chances == sorted(chances, reverse=True)
    assert 0.85 < sum(chances) <= 1
    assert first.priority == 50
    halves = [each for each in asked.requests if (each.probability or 0) == pytest.approx(chances[0] / 2, rel=0.05)]
    assert all(each.priority == 40 for each in halves), "half as probable is worth half as much"
    waiting, accepted = rig.decisions()
    assert "its sky map is read first" in waiting.reason
    assert accepted.accepted
    assert "fields with" in accepted.reason
    facts = rig.followed().map
    assert facts is not None
    assert facts.area90 == pytest.approx(3.14159 * 64 * 4.605, rel=0.05)


def test_an_update_cuts_anew_and_keeps_what_was_observed(rig: Maps) -> None:
    ra, dec = overhead(rig)
    (asked,) = rig.take(gw_alert("PRELIMINARY", 5, drawn_map(ra, dec)))
    done = asked.requests[:2]
    for each in done:
        rig.observe(each)
    covered = rig.followed().tiling
    assert covered is not None
    assert covered.covered is not None
    assert covered.covered == pytest.approx(sum(each.probability or 0 for each in done), abs=1e-6)
    (again,) = rig.take(gw_alert("UPDATE", 9, drawn_map(ra + 6, dec)))
    ids = {each.id for each in again.requests}
    assert ids.isdisjoint(each.id for each in done)
    assert set(again.observed) == {each.id for each in done}
    assert ids & {each.id for each in asked.requests}, "a field that stays is the same request"
    assert all(max(abs(each.dec - one.dec) / 5, abs(each.ra - one.ra)) > 0.9 for each in again.requests for one in done)
    tiling = rig.followed().tiling
    assert tiling is not None
    assert tiling.covered is not None
    assert 0 < tiling.covered < covered.covered
    assert rig.decisions()[-1].outcome == "changed"


def test_what_is_covered_of_a_new_map_is_unknown_until_its_fields_are_chosen(
    rig: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    ra, dec = overhead(rig)
    (asked,) = rig.take(gw_alert("PRELIMINARY", 5, drawn_map(ra, dec)))
    rig.observe(asked.requests[0])
    packet = gw_alert("UPDATE", 9, drawn_map(ra + 60, dec))
    begin: Callable[..., Deferred[Any]] = Worker.run

    def run(worker: Worker, function: object, *job: object, **more: object) -> Deferred[Any]:
        return Deferred() if function is work.choose else begin(worker, function, *job, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", run)
        assert rig.take(packet) == []
        rig.observe(asked.requests[1])
        tiling = rig.followed().tiling
        assert tiling is not None
        assert tiling.covered is None, "it is not that of the map before"
    rig.tell(CHOOSE_AGAIN, MapAgain(tiling.read))
    tiling = rig.followed().tiling
    assert tiling is not None
    assert tiling.covered == pytest.approx(0, abs=0.01), "both fields are far from the new map"


def test_a_retraction_withdraws_all_and_nothing_is_forgotten_of_what_was_seen(rig: Maps) -> None:
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(*overhead(rig))))
    rig.observe(asked.requests[0])
    (gone,) = rig.take(gw_alert("RETRACTION", 20, None))
    assert (gone.requests, gone.observed) == ((), ())
    assert rig.decisions()[-1].outcome == "withdrawn"
    tiling = rig.followed().tiling
    assert tiling is not None
    assert len(tiling.observed) == 1


PACKETS = {
    "initial": gw_alert("INITIAL", 5, drawn_map(150, 40)),
    "update": gw_alert("UPDATE", 9, drawn_map(155, 40)),
    "wide": gw_alert("UPDATE", 12, drawn_map(155, 40, width=30)),
    "retraction": gw_alert("RETRACTION", 15, None),
    "revival": gw_alert("UPDATE", 20, drawn_map(160, 40)),
    "mock": gw_alert("INITIAL", 7, drawn_map(150, 40), name="MS260320a"),
}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(sorted(PACKETS)), min_size=2, max_size=5, unique=True).flatmap(
    lambda names: st.tuples(st.permutations(names), st.permutations(names))
))  # fmt: skip
def test_every_order_ends_alike(orders: tuple[list[str], list[str]]) -> None:
    ends = []
    for order in orders:
        with tempfile.TemporaryDirectory() as folder:
            rig = Maps(Path(folder))
            try:
                sent = rig.take(*(PACKETS[name] for name in order))
            finally:
                rig.stop()
            last = [each for each in sent if isinstance(each, FieldRequests)][-1:]
            ends.append({(each.id.partition("-f")[2], each.ra, each.dec) for one in last for each in one.requests})
    assert ends[0] == ends[1]
    names = set(orders[0])
    assert bool(ends[0]) == wanted(names)


def wanted(names: set[str]) -> bool:
    """Tell whether the rules want the event in the end."""
    return "revival" in names or (names.isdisjoint({"retraction", "wide"}) and bool(names - {"mock"}))


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(PACKETS)), min_size=2, unique=True).flatmap(st.permutations),
    st.lists(st.integers(0, 3), min_size=len(PACKETS), max_size=len(PACKETS)),
)
def test_what_was_observed_is_not_asked_for_again_in_any_order(order: list[str], counts: list[int]) -> None:
    """Between the packets some of the fields are observed."""
    places: set[tuple[float, float]] = set()
    waiting: tuple[Observation, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        rig = Maps(Path(folder))
        try:
            for name, count in zip(order, counts, strict=False):
                for each in rig.take(PACKETS[name]):
                    assert isinstance(each, FieldRequests)
                    assert places.isdisjoint((one.ra, one.dec) for one in each.requests)
                    assert name != "mock"
                    waiting = each.requests
                for one in waiting[:count]:
                    rig.observe(one)
                    places.add((one.ra, one.dec))
                waiting = waiting[count:]
            tiling = rig.followed().tiling if set(order) != {"mock"} else None
        finally:
            rig.stop()
    if not set(order) <= {"mock", "retraction"}:
        assert tiling is not None
        assert {(each.ra, each.dec) for each in tiling.observed} == places, "nothing of it is forgotten"
    assert bool(waiting) == wanted(set(order))


def test_a_restart_while_a_map_is_read_reads_it(make: Callable[..., Maps], monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    packet = gw_alert("INITIAL", 5, drawn_map(*overhead(first)))
    payload = AlertReceived(packet, "t", 1.0, 7)
    first.hear(messages.ALERT_RECEIVED, payload)
    assert first.sent() == [], "it was killed before the map was read"
    monkeypatch.setattr(AlertManagerAgent, "packet_of", lambda *_: packet)
    second = make()
    for _ in range(6):
        second.reactor.advance(0)
    (asked,) = second.sent()
    assert len(asked.requests) > 3
    assert second.agent.state.maps == []


class MapServer:
    """A web server of one map, or of none yet."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.asked = 0
        self.url = ""

    def answer(self, _: WebRequest) -> WebAnswer:
        self.asked += 1
        return WebAnswer(status=404) if self.body is None else WebAnswer(self.body)


@pytest.fixture
def server() -> Iterator[MapServer]:
    made = MapServer()
    with web_server(made.answer) as port:
        made.url = f"http://127.0.0.1:{port}/map.fits"
        yield made


def at_url(url: str, name: str = "one", ra: float | None = None, dec: float = 0.0, error: float = 4.0) -> bytes:
    params = f'<Param name="skymap_fits" value="{url}"/>'
    date = "2026-03-20T23:01:00"
    return voevent(f"ivo://a/b#{name}", date=date, params=params, ra=ra, dec=dec, error=error)


def test_a_map_that_is_not_there_is_tried_again_and_then_has_a_fate(rig: Maps, server: MapServer) -> None:
    assert rig.take(at_url(server.url)) == []
    reasons = [each.reason for each in rig.decisions()]
    assert "read first" in reasons[0]
    assert "127.0.0.1 answers 404" in reasons[1]
    assert "tried again in 10 s" in reasons[1]
    server.body = b"not a map"
    rig.reactor.pump([5, 6] + 10 * [0])
    assert server.asked == 2
    assert len(rig.decisions()) == 2, "the same is not told twice"
    server.body = drawn_map(*overhead(rig))
    rig.reactor.pump([61] + 10 * [0])
    assert len(rig.sent()[-1].requests) > 3


def test_a_map_that_never_comes_is_given_up_in_words(rig: Maps, server: MapServer) -> None:
    rig.take(at_url(server.url))
    for pause in (11, 61, 301, 901, 3601):
        rig.reactor.pump([pause] + 10 * [0])
    assert server.asked == 6
    assert rig.decisions()[-1].reason == "its sky map cannot be read: 127.0.0.1 answers 404 Not Found"
    rig.reactor.pump([7200] + 10 * [0])
    assert server.asked == 6


def test_a_damaged_map_within_a_packet_has_a_fate_at_once(rig: Maps) -> None:
    assert rig.take(gw_alert("INITIAL", 5, drawn_map(1, 2)[:3000])) == []
    assert "its sky map cannot be read: no sky map" in rig.decisions()[-1].reason
    (asked,) = rig.take(gw_alert("UPDATE", 9, drawn_map(*overhead(rig))))
    assert asked.requests


def test_a_point_is_observed_before_its_map_is_read_and_then_the_map(rig: Maps, server: MapServer) -> None:
    place = overhead(rig)
    server.body = drawn_map(*place, width=6)
    point, withdrawn, fields = rig.take(at_url(server.url, ra=place[0], dec=place[1]))
    assert isinstance(point, Observation)
    assert (point.ra, point.dec) == pytest.approx(place, abs=1e-5)
    assert withdrawn.observation == point.id
    assert len(fields.requests) > 3
    assert rig.take(at_url(server.url, "better", *place, error=0.01).replace(
        b"</voe:VOEvent>", b'<Citations><EventIVORN cite="followup">ivo://a/b#one</EventIVORN></Citations></voe:VOEvent>'
    ))[0].error_radius == pytest.approx(0.01), "a place that one field shows is a point again"  # fmt: skip


def circle(name: str, ra: float, dec: float, error: float, cites: str = "", **how: Any) -> bytes:
    citations = [("followup", f"ivo://a/b#{cites}")] if cites else []
    return voevent(f"ivo://a/b#{name}", date=f"2026-03-20T23:0{len(cites)}:00", ra=ra, dec=dec, error=error,
                   citations=citations, **how)  # fmt: skip


def test_a_circle_wider_than_the_field_is_observed_in_fields(rig: Maps) -> None:
    ra, dec = overhead(rig)
    point, withdrawn, fields = rig.take(circle("one", ra, dec, 4.0))
    assert (point.ra, withdrawn.observation) == (pytest.approx(ra, abs=1e-3), point.id)
    assert 3 <= len(fields.requests) <= 12
    assert max(separation(each.ra, each.dec, ra, dec) for each in fields.requests) < 8
    assert sum(each.probability for each in fields.requests) > 0.85
    finer = rig.take(circle("finer", ra + 1, dec, 0.1, "one"))
    assert [type(each) for each in finer] == [FieldRequests, Observation]
    assert (finer[0].requests, finer[1].error_radius) == ((), 0.1)


def test_a_circle_within_the_field_is_a_point(rig: Maps) -> None:
    ra, dec = overhead(rig)
    assert [type(each) for each in rig.take(circle("one", ra, dec, 2.4))] == [Observation]


def test_of_a_circle_and_a_map_the_map_counts(rig: Maps, server: MapServer) -> None:
    ra, dec = overhead(rig)
    server.body = drawn_map(ra + 8, dec, width=3)
    rig.take(circle("one", ra, dec, 4.0), at_url(server.url, "m", ra, dec, 4.5).replace(
        b"</voe:VOEvent>", b'<Citations><EventIVORN cite="followup">ivo://a/b#one</EventIVORN></Citations></voe:VOEvent>'
    ), circle("last", ra, dec, 4.8, "m"))  # fmt: skip
    last = [each for each in rig.sent() if isinstance(each, FieldRequests)][-1]
    assert max(last.requests, key=lambda each: each.probability or 0.0).ra == pytest.approx(ra + 8, abs=4)


def test_a_point_is_asked_for_while_another_alerts_map_is_read(rig: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def run(_: Worker, function: object, *__: object, **___: object) -> Deferred[object]:
        given.append(function)
        return Deferred()  # the worker's process is at it for as long as it likes

    monkeypatch.setattr(Worker, "run", run)
    ra, dec = overhead(rig)
    assert rig.take(gw_alert("INITIAL", 5, drawn_map(ra, dec))) == []
    assert given == [work.read_map], "the map is read nowhere else"
    (asked,) = rig.take(voevent("ivo://a/b#burst", time="2026-03-20T23:00:00", ra=ra, dec=dec, error=0.1))
    assert (asked.ra, asked.dec) == pytest.approx((ra, dec), abs=1e-3)


def test_no_alert_makes_us_ask_our_own_network(rig: Maps, server: MapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(rig.agent.config), "simulated", property(lambda _: False))
    rig.take(at_url(server.url))
    assert server.asked == 0
    assert "our own network" in rig.decisions()[-1].reason


def test_a_narrow_telescope_gets_galaxies(make: Callable[..., Maps], tmp_path: Path) -> None:
    (tmp_path / "galaxies.csv").write_text("name,ra,dec,distance\n")
    rig = make(field="0.3", galaxies="galaxies.csv")
    ra, dec = overhead(rig)
    rows = [
        ("near", ra, dec, 100),
        ("beside it", ra + 0.1, dec, 125),
        ("far", ra + 2, dec, 900),
        ("other", ra, dec + 4, 105),
    ]
    (tmp_path / "galaxies.csv").write_text(
        "name,ra,dec,distance\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows)
    )
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(ra, dec, distance=100.0)))
    assert [each.target.partition(" ")[2] for each in asked.requests] == ["near", "other"]
    near, other = (each.probability or 0.0 for each in asked.requests)
    assert near > other
    assert near + other == pytest.approx(1, abs=1e-3), "the far one is at no distance that the map has"


def test_the_catalogue_that_ships_serves_a_narrow_telescope(make: Callable[..., Maps]) -> None:
    rig = make(field="0.5", galaxies=str(SITE.parent / "galaxies.csv"))
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(*overhead(rig), distance=200.0)))
    assert len(asked.requests) > 5
    assert all(each.target.split()[1] == "SIM" for each in asked.requests)
    assert not list(SITE.parent.glob("*.npy")), "its index is among the maps"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"field": "wide"}, "option_field"), ({"overlap": "9"}, "option_field"), ({"share": "2"}, "option_share")],
)
def test_a_mistake_in_the_options_is_told(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(AgentError, match=rf"pyros_agent_config\.ini: \[alert_manager\] {said}: "):
        Maps(tmp_path, options)


def test_the_scheduler_replaces_an_events_fields_in_one_plan(inline: Callable[..., AgentRig]) -> None:
    host = inline(SchedulerAgent(), "majordome", site=SITE)
    state: Any = host.agent.state
    ra, dec = overhead(host)

    def field(key: str, chance: float, **more: Any) -> Observation:
        return Observation(
            id=f"obs-{key}", target=key, exposures=(messages.Exposures("r", 10.0),), ra=ra, dec=dec, event="S1",
            alert="S1", probability=chance, **more,
        )  # fmt: skip

    def ask(**keys: Any) -> list[Any]:
        outcome = host.hear(messages.FIELDS_REQUESTED, FieldRequests(event="S1", **keys))
        return [messages.decode_payload(each.name, each.payload) for each in outcome.outgoing]

    host.hear(messages.OBSERVATION_REQUESTED, msgspec.structs.replace(field("point", 0.1), probability=None))
    later = (host.clock.time() + 3600,)
    plans = ask(requests=(field("a", 0.5, repeat=later), field("b", 0.3), field("c", 0.1)))
    assert len(plans) == 1
    assert set(state.requests) == {"obs-point", "obs-a", "obs-a-again1", "obs-b", "obs-c"}
    report = messages.ObservationReport(observation="obs-a")
    for name in (messages.OBSERVATION_STARTED, messages.OBSERVATION_FINISHED):
        host.hear(name, report)
    ask(requests=(field("a", 0.5), field("b", 0.4)))
    assert set(state.requests) == {"obs-point", "obs-a-again1", "obs-b"}, "it was observed, whoever knows it yet"
    (plan,) = ask(observed=("obs-a",), requests=(field("b", 0.4),))
    assert set(state.requests) == {"obs-point", "obs-a-again1", "obs-b"}
    (plan,) = ask(reason="retracted")
    assert set(plan.withdrawn) == {"obs-a-again1", "obs-b"}
    assert set(state.requests) == {"obs-point"}


@pytest.mark.skipif(not GW_CORPUS.is_dir(), reason=f"no corpus of real packets at {GW_CORPUS}")
def test_the_maps_of_a_real_event_are_followed_up_whatever_comes_first(tmp_path: Path) -> None:
    """S241125n, whose update has the wider map of a multi-order file of 21,504 cells."""
    packets = [(GW_CORPUS / f"S241125n-{name}-RAVEN.json").read_bytes() for name in ("INITIAL", "UPDATE")]
    ends = []
    for number, order in enumerate((packets, packets[::-1])):
        (tmp_path / str(number)).mkdir()
        rig = Maps(tmp_path / str(number), {"field": "10"})
        try:
            asked = rig.take(*order)[-1]
            ends.append((rig.followed().map, {(each.ra, each.dec) for each in asked.requests}))
        finally:
            rig.stop()
    assert ends[0] == ends[1]
    assert len(ends[0][1]) > 5


def test_what_is_left_of_a_map_is_chosen_anew_for_each_night(
    make: Callable[..., Maps], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "RULES", RULES.replace("expires_after: 12 h", "expires_after: 3 d"))
    rig = make()
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(*overhead(rig), width=4.0)))
    seen = {each.id for each in asked.requests[:3]}
    for each in asked.requests[:3]:
        rig.observe(each)
    hour = [3600.0, *(10 * [0.0])]
    rig.reactor.pump(24 * hour)
    again = rig.sent()[1:]
    assert len(again) == 1
    assert again[0].requests
    assert seen.isdisjoint(each.id for each in again[0].requests), "what was observed is not asked for again"
    rig.reactor.pump(120 * hour)
    assert len(rig.sent()) == 4, "the fourth night is the last that begins in time"


def test_fields_are_not_chosen_anew_when_no_night_is_left(rig: Maps) -> None:
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(*overhead(rig))))
    assert asked.requests
    rig.reactor.pump([86_400.0, *(10 * [0.0])])
    assert len(rig.sent()) == 1


def test_where_more_can_be_observed_than_is_asked_for_fields_are_chosen_anew_each_hour(
    make: Callable[..., Maps],
) -> None:
    rig = make(most="3")
    (asked,) = rig.take(gw_alert("INITIAL", 5, drawn_map(*overhead(rig))))
    assert len(asked.requests) == 3
    first = max(each.priority for each in asked.requests)
    for each in asked.requests:
        rig.observe(each)
    rig.reactor.pump([3600.0, *(10 * [0.0])])
    (again,) = rig.sent()[1:]
    assert len(again.requests) == 3
    assert {each.id for each in again.requests}.isdisjoint(each.id for each in asked.requests)
    assert all(each.priority < first for each in again.requests), "what is less probable is not more urgent than before"
