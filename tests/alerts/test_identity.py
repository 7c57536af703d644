"""Packets about one event, in every order: the same event, the same belief, and nothing better is ever undone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import Alert, identity, parse
from pyros.alerts.identity import Event, PacketRecord, add, believe, is_same_event, join, packet_record, retracted_ids
from pyros.errors import AlertError

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
T0 = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def seen(name: str, minute: float | None = 0, *, key: str = "swift:1", at: Any = None, **more: Any) -> PacketRecord:
    """Make a packet that was written so many minutes after the event."""
    position = {} if at is None else {"ra": at[0], "dec": at[1], "error_radius": at[2], "containment": 0.9}
    return PacketRecord(id=name, key=key, sent=None if minute is None else T0 + 60 * minute, **position, **more)


def grouped(packets: Sequence[PacketRecord]) -> list[Event]:
    """Return the events that packets make when they come in this order, as the alert manager joins them."""
    events: list[Event] = []
    for new in packets:
        mine = [event for event in events if is_same_event(event, new)]
        events = [event for event in events if event not in mine]
        events.append(add(join(*mine), new))
    return events


def partition(events: list[Event]) -> set[tuple[frozenset[str], bool, str | None]]:
    """Return what can be compared: which packets are together, and what is believed of them."""
    found = set()
    for event in events:
        belief = believe(event)
        ids = frozenset(each.id for each in event.packets)
        found.add((ids, belief.retracted, belief.best.id if belief.best else None))
    return found


INITIAL = seen("initial", 0, notice_type="BAT", at=(10, 20, 0.05))
REFINED = seen("refined", 5, notice_type="XRT", kind="update", at=(10.01, 20.01, 0.001))
COARSE = seen("coarse", 9, notice_type="GBM", key="fermi:7", cites=(("initial", "followup"),), at=(12, 19, 4))
RETRACTION = seen("retraction", 30, kind="retraction")


def event_of(*packets: PacketRecord) -> Event:
    return reduce(add, packets, Event())


def best(*packets: PacketRecord) -> str | None:
    found = believe(event_of(*packets)).best
    return found.id if found else None


def test_an_initial_position_that_comes_after_the_refined_one_does_not_replace_it() -> None:
    assert best(INITIAL) == "initial"
    assert best(INITIAL, REFINED) == best(REFINED, INITIAL) == "refined"


def test_a_coarse_position_that_is_written_later_does_not_replace_a_fine_one_of_another_notice() -> None:
    assert best(INITIAL, REFINED, COARSE) == "refined"


def test_within_one_kind_of_notice_the_last_word_counts_even_when_it_is_less_precise() -> None:
    refined = seen("s:refined", 5, notice_type="XRT", kind="update", at=(10.01, 20.01, 0.001))
    corrected = seen("s:corrected", 6, notice_type="XRT", kind="update", at=(10.02, 20.0, 0.002))
    assert best(corrected, refined) == best(refined, corrected) == "s:corrected"
    another = seen("x:another", 7, notice_type="XRT", kind="update", at=(10.02, 20.0, 0.5))
    assert best(corrected, refined, another) == "s:corrected", "nobody corrects another author"


def test_a_revision_counts_over_another_way_too_even_when_it_is_less_precise() -> None:
    way, other = "ivo://nasa.gsfc.gcn/AMON#", "gcn.notices.icecube.track:"
    initial = seen(f"{other}1", 1, key="icecube:150001_7654321_0", notice_type="track", at=(10, 20, 0.5))
    revised = seen(f"{way}2", 60, key="icecube:150001_7654321", notice_type="GOLD", kind="update", at=(10.3, 20, 0.9))
    last = seen(f"{other}2", 61, key="icecube:150001_7654321_0", notice_type="track", kind="update", at=(10.4, 20, 1.2))
    assert best(initial, revised) == best(revised, initial) == revised.id
    assert best(last, initial, revised) == last.id
    finer = seen("ivo://x.y/optical#1", 9, key="ivo://x.y/optical#1", notice_type="O", at=(10.2, 20, 0.001))
    assert best(initial, finer, revised) == finer.id, "another mission's finer one is the best all the same"


def test_what_is_superseded_is_not_the_best_however_precise() -> None:
    wider = seen("wider", 7, notice_type="OTHER", cites=(("refined", "supersedes"),), at=(10, 20, 0.01))
    assert best(INITIAL, wider, REFINED) == "wider"


def test_radii_are_compared_at_one_containment() -> None:
    half = PacketRecord(id="half", key="a:1", notice_type="A", ra=1, dec=1, error_radius=0.9, containment=0.5)
    most = PacketRecord(id="most", key="a:1", notice_type="B", ra=1, dec=1, error_radius=1.0, containment=0.9)
    assert best(half, most) == "most"
    assert half.radius == pytest.approx(0.9 * 1.8226, rel=1e-4)


def test_a_retraction_before_what_it_retracts() -> None:
    assert believe(event_of(RETRACTION)).retracted
    after = event_of(RETRACTION, INITIAL, REFINED)
    assert believe(after).retracted
    assert believe(after).best is None
    assert retracted_ids(after) == {"initial", "refined"}


def test_a_stream_that_goes_on_by_itself_after_a_retraction_does_not_revive_its_event() -> None:
    later = seen("later", 60, notice_type="UVOT", kind="update", at=(10, 20, 0.0001))
    assert believe(event_of(INITIAL, RETRACTION, later)).retracted


def test_an_update_revives_a_gravitational_wave() -> None:
    packets = [
        seen("preliminary", 0, key="lvc:S1", at=(1, 1, 5)),
        seen("retraction", 10, key="lvc:S1", kind="retraction"),
        seen("update", 20, key="lvc:S1", kind="update", at=(1, 2, 4)),
    ]
    assert believe(event_of(*packets[:2])).retracted
    for order in (packets, packets[::-1]):
        event = event_of(*order)
        assert not believe(event).retracted
        assert retracted_ids(event) == {"preliminary"}
        assert best(*order) == "update"


def test_what_supersedes_a_retraction_revives_its_event_in_any_stream() -> None:
    again = seen("again", 20, kind="update", cites=(("retraction", "supersedes"),), at=(10, 20, 0.04))
    assert not believe(event_of(again, RETRACTION, INITIAL)).retracted


def test_the_retraction_of_one_mission_leaves_what_another_one_saw() -> None:
    event = event_of(RETRACTION, COARSE, INITIAL)
    assert not believe(event).retracted
    assert best(INITIAL, COARSE, RETRACTION) == "coarse"


def test_a_retraction_takes_back_what_it_cites_under_another_key() -> None:
    cites = seen("other", 40, key="fermi:7", kind="retraction", cites=(("initial", "retraction"),))
    assert retracted_ids(event_of(INITIAL, cites)) == {"initial"}


@pytest.mark.parametrize("role", ["test", "utility"])
def test_tests_say_nothing_of_the_sky(role: Any) -> None:
    precise = seen("precise", 7, role=role, notice_type="T", at=(50, 50, 0.0001))
    assert best(INITIAL, precise) == "initial"
    retraction = seen("r", 7, role=role, kind="retraction")
    taken_back = believe(event_of(INITIAL, retraction)).retracted
    assert taken_back is (role == "utility"), "CHIME retracts by utility packets; a test is a test"


def test_the_same_event_over_three_ways_is_one() -> None:
    voevent = seen("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1-2", 1, at=(10, 20, 0.05))
    notice = seen("gcn.notices.swift.bat.guano:1", 2, at=(10, 20, 0.05))
    follower = seen("ivo://x/y#1", 3, key="ivo://x/y#1", cites=((voevent.id, "followup"),))
    for order in ((voevent, notice, follower), (follower, notice, voevent), (notice, follower, voevent)):
        assert len(grouped(order)) == 1
        assert grouped(order)[0].keys == {"swift:1", "ivo://x/y#1"}


def test_a_citation_of_a_packet_that_never_came_joins_by_the_number_in_its_ivorn() -> None:
    follower = seen("f", key="x", cites=(("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_784159-535", "followup"),))
    other = seen("o", key="swift:784159")
    assert len(grouped([follower, other])) == len(grouped([other, follower])) == 1


def test_all_names_of_an_event_join_whichever_stands_first() -> None:
    one = seen("one", key="fermi:745121685", names=("fermi:240812094",), links=("fermi:240812094",))
    other = seen("other", key="fermi:240812094")
    retraction = seen("retraction", 9, key="fermi:240812094", kind="retraction")
    for order in itertools.permutations((one, other, retraction)):
        (event,) = grouped(order)
        assert believe(event).retracted
        assert retracted_ids(event) == {"one", "other"}


def test_what_launched_a_search_is_the_same_event_and_stands_when_the_search_is_taken_back() -> None:
    search = seen("search", 2, key="swift:694215995", links=("fermi:694215970",), at=(1, 1, 0.05))
    trigger = seen("trigger", 1, key="fermi:694215970", at=(1, 2, 5))
    retraction = seen("retraction", 9, key="swift:694215995", links=("fermi:694215970",), kind="retraction")
    for order in itertools.permutations((search, trigger, retraction)):
        (event,) = grouped(order)
        assert believe(event).best == trigger
        assert retracted_ids(event) == {"search"}


def test_candidates_for_one_gravitational_wave_are_events_of_their_own() -> None:
    wave = seen("ivo://gwnet/LVC#S300506b-1-Preliminary", key="lvc:S300506b")
    cites = ((wave.id, "followup"),)
    candidates = [seen(f"c{number}", key=f"swift:{number}", cites=cites) for number in (1, 2)]
    assert len(grouped([wave, *candidates])) == len(grouped([*candidates, wave])) == 3
    unnumbered = seen("request", key="lvc:S300506b", cites=cites)
    assert len(grouped([wave, unnumbered])) == 1, "what has no number of its own belongs to what it cites"
    superseding = seen("x", key="swift:3", cites=((wave.id, "supersedes"),))
    assert len(grouped([wave, superseding])) == 1


def test_two_numbers_of_one_mission_are_two_events_whatever_cites_what() -> None:
    first = seen("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1017711-600", key="swift:1017711")
    second = seen("second", key="swift:1017712", cites=((first.id, "followup"),))
    assert len(grouped([first, second])) == len(grouped([second, first])) == 2


@pytest.mark.parametrize("cites", [(), (("real", "followup"),)])
def test_tests_are_never_joined_with_what_is_real(cites: Any) -> None:
    real = seen("real")
    mock = seen("mock", role="test", cites=cites)
    assert len(grouped([real, mock])) == len(grouped([mock, real])) == 2


def test_a_mock_that_names_a_real_burst_joins_nothing() -> None:
    alert = Alert(stream="lvc", id="m", event="lvc:MS300506b", role="test", related=("fermi:524666471",),
                  citations=(("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1017711-600", "followup"),))  # fmt: skip
    assert packet_record(alert).links == ()
    assert packet_record(msgspec.structs.replace(alert, role="observation")).links == (
        "fermi:524666471", "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1017711-600", "swift:1017711",
    )  # fmt: skip


def test_a_packet_twice_is_one_packet() -> None:
    once = event_of(INITIAL, REFINED)
    assert once.has("initial")
    assert add(once, INITIAL) == once


def test_an_event_of_very_many_packets_keeps_what_matters() -> None:
    many = [seen(f"n{number}", number, notice_type="BAT", at=(1, 1, 1)) for number in range(300)]
    event = event_of(*many[:100], REFINED, RETRACTION, *many[100:])
    assert len(event.packets) == identity.MAX_PACKETS_PER_EVENT
    assert event.has("retraction")
    assert event.has("n299")
    unretracted = event_of(*many[:100], REFINED, *many[100:])
    assert unretracted.has("refined")


def test_what_is_stored_comes_back() -> None:
    event = event_of(INITIAL, REFINED, COARSE, RETRACTION)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


def test_an_alert_gives_what_its_event_needs() -> None:
    alert = Alert(
        stream="s", id="i", event="s:1", ra=1.0, dec=2.0, pointing=True, error_radius=0.1, containment=0.9,
        sent=datetime.fromtimestamp(T0, UTC) + timedelta(seconds=1), citations=(("c", "followup"),),
    )  # fmt: skip
    assert packet_record(alert) == PacketRecord(
        id="i", key="s:1", sent=T0 + 1, cites=(("c", "followup"),), links=("c",)
    ), "where a spacecraft looked is no position of the event"


PACKET = st.builds(
    lambda number, **more: PacketRecord(id=f"p{number}", **more),
    st.integers(0, 12),
    key=st.sampled_from(["swift:1", "swift:2", "lvc:S1", "fermi:7"]),
    kind=st.sampled_from(["initial", "update", "retraction"]),
    role=st.sampled_from(["observation", "observation", "prediction", "test", "utility"]),
    notice_type=st.sampled_from(["A", "B"]),
    sent=st.none() | st.integers(0, 5).map(float),
    ra=st.none() | st.integers(0, 3).map(float),
    dec=st.just(0.0),
    error_radius=st.none() | st.sampled_from([0.1, 1.0, 10.0]),
    containment=st.none() | st.sampled_from([0.5, 0.9]),
    cites=st.lists(
        st.tuples(st.integers(0, 12).map("p{}".format), st.sampled_from(["followup", "supersedes", "retraction"])),
        max_size=2,
    ).map(tuple),
    names=st.lists(st.sampled_from(["swift:A", "fermi:B"]), max_size=1).map(tuple),
)


@settings(max_examples=300)
@given(st.lists(PACKET, max_size=10, unique_by=lambda packet: packet.id), st.randoms(use_true_random=False))
def test_no_order_of_the_packets_makes_a_difference(packets: list[PacketRecord], shuffler: random.Random) -> None:
    first = partition(grouped(packets))
    shuffled = packets * 2  # each may come twice
    shuffler.shuffle(shuffled)
    assert partition(grouped(shuffled)) == first


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus of real packets at {CORPUS}")
def test_the_corpus_shuffled() -> None:
    packets = []
    for folder in ("voevent", "gcn-json"):
        for path in sorted((CORPUS / folder).rglob("*.*")):
            if path.is_dir():
                continue
            try:
                packets.append(packet_record(parse(path.read_bytes())))
            except AlertError:
                continue
    packets = list({packet.id: packet for packet in packets}.values())
    first = partition(grouped(packets))
    together = [ids for ids, _, _ in first if len(ids) > 1]
    assert len(together) > 40
    assert any({"ivo://org.svom/fsc#sb26030408_retraction", "ivo://org.svom/fsc#sb26030408_eclairs-wakeup"} <= ids
               and retracted for ids, retracted, _ in first)  # fmt: skip
    for seed in range(5):
        random.Random(seed).shuffle(packets)
        assert partition(grouped(packets)) == first
