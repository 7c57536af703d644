"""A wave and bursts at its time: the map tells which of them it is, whatever came first."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.alerts import events
from pyros.alerts.rules import decisions
from pyros.messages import FieldRequests, Observation, Withdrawal
from tests.agents import test_skymaps
from tests.agents.test_coincident_alerts import packet
from tests.agents.test_skymaps import Maps, MapServer, overhead, server
from tests.builders import voevent
from tests.maps import drawn_map, gw_alert

RULES = """
rules:
  - name: wave with a burst
    when: {stream: lvc, coincident_with: [fermi, swift]}
    observe: [{filter: r, seconds: 10, count: 1}]
    min_altitude: 20
  - name: burst with a wave
    when: {stream: swift, coincident_with: lvc}
    observe: [{filter: i, seconds: 10, count: 1}]
"""


def burst(number: int, minute: int, ra: float) -> bytes:
    return packet("SWIFT", "BAT_GRB_Pos", number, minute, second=9, ra=ra, error=0.05)


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_skymaps, "RULES", RULES)


__all__ = ["server"]  # a fixture


class WaveAndBursts:
    """The packets of a wave and two bursts, one of them in the wave's map (the bursts stand at declination 20)."""

    def __init__(self, rig: Maps) -> None:
        ra, _ = overhead(rig)
        wave = drawn_map(ra, 20.0, width=5.0)
        self.packets = {
            "wave": gw_alert("INITIAL", 5, wave),
            "better": gw_alert("UPDATE", 9, drawn_map(ra, 20.0, width=3.0)),
            "inside": burst(1300001, 2, ra + 3),
            "outside": burst(1300002, 3, (ra + 120) % 360),
            "gone": packet("SWIFT", "BAT_GRB_Pos", 1300001, 20, second=9, ra=ra + 3, error=0.05, gone=True),
        }


def end(rig: Maps) -> tuple[set[tuple[str, str]], bool]:
    """Who is observed in the end: the points with their filters, and whether the wave's fields are."""
    points: dict[str, Observation] = {}
    fields: dict[str, FieldRequests] = {}
    for each in rig.sent():
        match each:
            case Observation():
                points[each.id] = each
            case Withdrawal():
                points.pop(each.observation, None)
            case FieldRequests():
                fields[each.event] = each
    return {(each.event, each.exposures[0].filter) for each in points.values()}, any(
        each.requests for each in fields.values()
    )


def test_only_the_burst_in_the_map_coincides(tmp_path: Path) -> None:
    rig = Maps(tmp_path)
    try:
        packets = WaveAndBursts(rig).packets
        rig.take(packets["outside"], packets["wave"])
        assert end(rig) == (set(), False), "it is elsewhere"
        rig.take(packets["inside"])
        assert end(rig) == ({("swift:1300001", "i")}, True), "also the wave is asked about again"
        last = decisions.read(rig.journal.reader(), events=["swift:1300001"])[-1]
        (agrees,) = last.looked_at["coincides_with"]
        assert agrees.startswith("lvc:S260320a 9 s before, in the region of ")
        (seen,) = events.coinciding(rig.journal.reader(), "lvc:S260320a")
        assert seen.name == "swift:1300001"
        rig.take(packets["gone"])
        assert end(rig) == (set(), False), "nor is the wave wanted without the burst"
    finally:
        rig.stop()


def test_a_map_that_cannot_be_read_leaves_the_time_alone(tmp_path: Path) -> None:
    rig = Maps(tmp_path)
    try:
        packets = WaveAndBursts(rig).packets
        rig.take(packets["outside"], gw_alert("INITIAL", 5, b"no map"))
        assert end(rig) == ({("swift:1300002", "i")}, False)
    finally:
        rig.stop()


BURSTS = """
rules:
  - name: burst
    when: {stream: [swift, fermi], max_error_radius: 8}
    observe: [{filter: r, seconds: 9}]
    min_altitude: 20
"""


@pytest.mark.parametrize("order", [("flight", "bat"), ("bat", "flight")])
def test_a_circle_is_not_observed_in_fields_while_a_finer_place_coincides(
    order: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_skymaps, "RULES", BURSTS)
    rig = Maps(tmp_path)
    try:
        ra, _ = overhead(rig)
        flight = packet("Fermi", "GBM_Flt_Pos", 700000001, 1, second=7, ra=ra + 2, error=6)
        packets = {"flight": flight, "bat": burst(1300001, 2, ra + 3)}
        rig.take(*(packets[each] for each in order))
        points, fields = end(rig)
        assert (len(points), fields) == (1, False)
        rig.take(packet("SWIFT", "BAT_GRB_Pos", 1300001, 20, second=9, ra=ra + 3, error=0.05, gone=True))
        assert end(rig) == (set(), True)
        rig.take(packet("Fermi", "GBM_Flt_Pos", 700000001, 22, second=7, ra=ra + 2, error=6, gone=True))
        assert end(rig) == (set(), False)
    finally:
        rig.stop()


@pytest.mark.parametrize("order", [("flight", "bat", "map"), ("bat", "flight", "map"), ("flight", "map", "bat")])
def test_a_bursts_fields_leave_the_finer_point_of_another_mission(
    order: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MapServer
) -> None:
    monkeypatch.setattr(test_skymaps, "RULES", BURSTS)
    rig = Maps(tmp_path)
    try:
        ra, _ = overhead(rig)
        server.body = drawn_map(ra, 20.0, width=5.0)
        params = f'<Param name="TrigID" value="700000001"/><Param name="LocationMap_URL" value="{server.url}"/>'
        packets = {
            "flight": packet("Fermi", "GBM_Flt_Pos", 700000001, 1, second=7, ra=ra + 2, error=6),
            "bat": burst(1300001, 2, ra + 3),
            "map": voevent(
                "ivo://nasa.gsfc.gcn/Fermi#GBM_Fin_Pos_700000001-9", author="ivo://nasa.gsfc.tan/gcn", params=params,
                date="2026-03-20T23:09:00", time="2026-03-20T23:00:07", ra=ra + 1, dec=20.0, error=5,
            ),
        }  # fmt: skip
        rig.take(*(packets[each] for each in order))
        points, fields = {}, False
        for each in rig.sent():
            match each:
                case Observation():
                    points[each.id] = each
                case Withdrawal():
                    points.pop(each.observation, None)
                case FieldRequests():
                    fields = bool(each.requests)
        (point,) = points.values()
        assert point.ra == pytest.approx(ra + 3)
        assert point.error_radius == 0.05
        assert fields
        rig.take(packet("SWIFT", "BAT_GRB_Pos", 1300001, 20, second=9, ra=ra + 3, error=0.05, gone=True))
        assert end(rig) == (set(), True), "Fermi's map is observed in fields"
    finally:
        rig.stop()


NAMES = ("better", "gone", "inside", "outside", "wave")


@settings(max_examples=6, deadline=None)
@given(st.permutations(NAMES), st.sets(st.sampled_from(NAMES), min_size=2))
def test_every_order_of_a_map_and_bursts_has_the_same_end(order: list[str], there: set[str]) -> None:
    ends = []
    for names in (sorted(there), [each for each in order if each in there]):
        with tempfile.TemporaryDirectory() as folder:
            rig = Maps(Path(folder))
            try:
                packets = WaveAndBursts(rig).packets
                rig.take(*(packets[each] for each in names))
                ends.append(end(rig))
            finally:
                rig.stop()
    assert ends[0] == ends[1]
    stands = "inside" in there and "gone" not in there and not there.isdisjoint({"wave", "better"})
    assert (("swift:1300001", "i") in ends[0][0], ends[0][1]) == (stands, stands)


def gbm(name: str, minute: int, ra: float, error: float, gone: bool = False) -> bytes:
    return packet("Fermi", name, 700000001, minute, second=7, ra=ra, error=error, gone=gone)


CIRCLES = ("bat", "bat gone", "final", "flight", "flight gone", "fine")


@settings(max_examples=8, deadline=None)
@given(st.permutations(CIRCLES), st.sets(st.sampled_from(CIRCLES), min_size=2))
def test_every_order_of_circles_and_points_has_the_same_end(order: list[str], there: set[str]) -> None:
    """Of Fermi two wide circles and a fine place, of Swift a point; each may be taken back."""
    ends = []
    for names in (sorted(there), [each for each in order if each in there]):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(test_skymaps, "RULES", BURSTS)
            rig = Maps(Path(folder))
            try:
                ra, _ = overhead(rig)
                packets = {
                    "flight": gbm("GBM_Flt_Pos", 1, ra + 2, 6),
                    "final": gbm("GBM_Fin_Pos", 9, ra + 2, 4),
                    "fine": gbm("LAT_Offline", 12, ra + 2, 0.5),
                    "flight gone": gbm("GBM_Flt_Pos", 22, ra + 2, 6, gone=True),
                    "bat": burst(1300001, 2, ra + 3),
                    "bat gone": packet("SWIFT", "BAT_GRB_Pos", 1300001, 20, second=9, ra=ra + 3, error=0.05, gone=True),
                }
                rig.take(*(packets[each] for each in names))
                points, fields = end(rig)
                ends.append((len(points), fields))
            finally:
                rig.stop()
    swift = "bat" in there and "bat gone" not in there
    fermi_stands = not there.isdisjoint({"flight", "final", "fine"}) and "flight gone" not in there
    wide = fermi_stands and "fine" not in there and not swift
    assert ends == [(int(swift or (fermi_stands and not wide)), wide)] * 2
