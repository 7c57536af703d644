"""Alerts of several missions at one time and place: one observation at the better position, whatever came first."""

from __future__ import annotations

import sys
import tempfile
from itertools import compress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyros.agents.alert_manager import AlertManagerAgent
from pyros.alerts import events, identity, parse
from pyros.alerts.rules import decisions
from pyros.journal import AnyJournals, MemoryJournals
from tests.agents.test_alert_manager import CHANGED, REQUESTED, WITHDRAWN
from tests.builders import voevent
from tests.rig import AlertManagerRig

RULES = """
rules:
  - name: neutrino of a burst
    when: {stream: icecube, coincident_with: [swift, fermi]}
    observe: [{filter: i, seconds: 9}]
  - {name: burst, when: {stream: [swift, fermi], max_error_radius: 8}, observe: [{filter: r, seconds: 9}]}
  - {name: candidate, when: {notice_type: LVC_COUNTERPART}, observe: [{filter: g, seconds: 9}]}
"""
TIME = "2026-03-20T23:00:"


def packet(author: str, name: str, number: int, minute: int, *, second: float = 0.0, ra: float = 10.0,
           error: float = 1.0, gone: bool = False, role: str = "observation") -> bytes:  # fmt: skip
    params = f'<Param name="TrigID" value="{number}"/>' + ('<Param name="Def_NOT_a_GRB" value="true"/>' if gone else "")
    return voevent(
        f"ivo://nasa.gsfc.gcn/{author}#{name}_{number}-{minute}", author="ivo://nasa.gsfc.tan/gcn", params=params,
        role=role, date=f"2026-03-20T23:{minute:02}:00", time=f"{TIME}{second:06.3f}", ra=ra, dec=20.0, error=error,
    )  # fmt: skip


def wave(name: str, minute: int, notice: int, number: int = 0, ra: float | None = None) -> bytes:
    """Make a notice of a superevent, or of one of the candidates that are looked for in it."""
    fields = {"Packet_Type": notice, "GraceID": "S260320a", **({"Source_SerNum": number} if number else {})}
    params = "".join(f'<Param name="{field}" value="{value}"/>' for field, value in fields.items())
    return voevent(
        f"ivo://gwnet/LVC#S260320a-{name}", params=params, date=f"2026-03-20T23:{minute:02}:00", time=f"{TIME}01",
        ra=ra, dec=20.0, error=0.02,
    )  # fmt: skip


PACKETS = {
    "gbm": packet("Fermi", "GBM_Flt_Pos", 700000001, 1, second=2, ra=14.0, error=6),
    "gbm final": packet("Fermi", "GBM_Fin_Pos", 700000001, 9, second=2, ra=11.0, error=2),
    "gbm gone": packet("Fermi", "GBM_Flt_Pos", 700000001, 12, second=2, ra=11.0, error=2, gone=True),
    "bat": packet("SWIFT", "BAT_GRB_Pos", 1300001, 2, second=5, ra=10.5, error=0.05),
    "bat gone": packet("SWIFT", "BAT_GRB_Pos", 1300001, 14, second=5, ra=10.5, error=0.05, gone=True),
    "neutrino": packet("AMON", "ICECUBE_GOLD_Event", 139000, 3, second=30, ra=10.6, error=0.7),
    "neutrino gone": packet("AMON", "ICECUBE_GOLD_Event", 139000, 16, second=30, ra=10.6, error=0.7, gone=True),
    "bat test": packet("SWIFT", "BAT_GRB_Pos", 1300001, 1, second=5, ra=60.0, error=0.01, role="test"),
    "gbm test gone": packet("Fermi", "GBM_Flt_Pos", 700000001, 13, second=2, ra=11.0, error=2, gone=True, role="test"),
    "elsewhere": packet("Fermi", "GBM_Fin_Pos", 700000300, 4, second=40, ra=200.0, error=2),
    "no number": packet("SWIFT", "BAT_GRB_Pos", 0, 5, second=6, ra=100.0, error=0.05),
    "none either": packet("SWIFT", "BAT_GRB_Pos", 0, 6, second=7, ra=250.0, error=0.05),
    "none gone": packet("SWIFT", "BAT_GRB_Pos", 0, 7, second=7, ra=250.0, error=0.05, gone=True),
    "wave": wave("1-Initial", 2, 151),
    "wave gone": wave("9-Retraction", 20, 164),
    "candidate": wave("3-Counterpart", 8, 154, 1, ra=300.0),
    "candidate two": wave("4-Counterpart", 9, 154, 2, ra=320.0),
}


def remains(there: set[str]) -> list[tuple[float, float | None, str]]:
    """Return where it is observed in the end, worked out by hand: by the best that stands of what coincides."""
    swift = "bat" in there and "bat gone" not in there
    fermi = not there.isdisjoint({"gbm", "gbm final"}) and "gbm gone" not in there
    neutrino = "neutrino" in there and "neutrino gone" not in there
    found: list[tuple[float, float | None, str]] = []
    if swift:
        found.append((10.5, 0.05, "r"))
    elif fermi and neutrino:
        found.append((10.6, 0.7, "i"))
    elif fermi:
        found.append((11.0, 2.0, "r") if "gbm final" in there else (14.0, 6.0, "r"))
    alone = {
        "elsewhere": (200.0, 2.0, "r"), "no number": (100.0, 0.05, "r"), "none either": (250.0, 0.05, "r"),
        "candidate": (300.0, 0.02, "g"), "candidate two": (320.0, 0.02, "g"),
    }  # fmt: skip
    return sorted([*found, *(place for name, place in alone.items() if name in there)])


class CoincidentAlerts:
    """An alert manager, and what the scheduler has of it."""

    def __init__(self, folder: Path, journals: AnyJournals | None = None) -> None:
        self.rig = AlertManagerRig(
            AlertManagerAgent(), folder, "scheduler", rules=RULES, journals=journals or MemoryJournals()
        )
        self.waiting: dict[str, Any] = {}
        self.used: set[str] = set()

    def take(self, *names: str) -> list[str]:
        """One turn; what the scheduler hears."""
        told = self.rig.take(*(PACKETS[each] for each in names))
        for name, payload in told:
            if name == WITHDRAWN:
                del self.waiting[payload.observation]
            else:
                assert (payload.id in self.waiting) is (name == CHANGED), "changed is what waits, and requested is not"
                assert name == CHANGED or payload.id not in self.used, "an observation that is over is not asked again"
                self.waiting[payload.id] = payload
                self.used.add(payload.id)
        return [name for name, _ in told]

    def end(self) -> list[tuple[float, float | None, str]]:
        """Where it is observed in the end, and how."""
        return sorted((each.ra, each.error_radius, each.exposures[0].filter) for each in self.waiting.values())

    def stop(self) -> None:
        self.rig.stop()


@pytest.fixture
def night(tmp_path: Path) -> Any:
    made = CoincidentAlerts(tmp_path)
    yield made
    made.stop()


def test_the_better_position_wins_and_there_is_one_observation(night: CoincidentAlerts) -> None:
    assert night.take("gbm") == [REQUESTED]
    assert night.take("bat") == [CHANGED]
    assert night.end() == [(10.5, 0.05, "r")]
    assert night.take("gbm final") == [], "it is coarser than Swift's"
    ((id_, request),) = night.waiting.items()
    assert id_ == "obs-fermi-700000001"
    assert "swift:1300001 coincides with fermi:700000001" in request.reason


def test_each_retraction_is_judged_by_what_remains(night: CoincidentAlerts) -> None:
    night.take("gbm", "bat", "gbm final")
    assert night.take("bat gone") == [CHANGED]
    assert night.end() == [(11.0, 2.0, "r")], "Fermi's stands"
    assert night.take("gbm gone") == [WITHDRAWN]
    assert night.end() == []


def test_the_first_ones_retraction_leaves_the_seconds_observation(night: CoincidentAlerts) -> None:
    night.take("gbm", "bat")
    assert night.take("gbm gone") == []
    assert night.end() == [(10.5, 0.05, "r")]


def test_what_coincides_no_more_gets_an_observation_of_its_own(
    night: CoincidentAlerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKETS, "bat", packet("SWIFT", "BAT_GRB_Pos", 1300001, 2, second=5, ra=24.0, error=0.05))
    night.take("gbm", "bat")
    assert night.end() == [(24.0, 0.05, "r")], "within the flight position's 90 %, and more"
    assert sorted(night.take("gbm final")) == sorted([CHANGED, REQUESTED]), "the final one is far away"
    assert night.end() == [(11.0, 2.0, "r"), (24.0, 0.05, "r")]


def test_a_condition_on_coincidence_holds_also_for_what_came_before_it(night: CoincidentAlerts) -> None:
    assert night.take("neutrino") == []
    assert night.take("gbm final") == [REQUESTED]
    assert night.end() == [(10.6, 0.7, "i")], "the neutrino's position is the better one"


def test_what_was_wanted_only_because_of_a_burst_ends_with_it(night: CoincidentAlerts) -> None:
    night.take("neutrino", "gbm final")
    assert night.take("gbm gone") == [WITHDRAWN]
    assert night.end() == []


def test_without_what_coincided_another_rule_may_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = "{name: alone, when: {stream: [swift, fermi]}, observe: [{filter: r, seconds: 9}]}"
    both = "{name: both, when: {stream: swift, coincident_with: fermi}, observe: [{filter: i, seconds: 9}]}"
    monkeypatch.setattr(sys.modules[__name__], "RULES", f"rules: [{both}, {alone}]")
    night = CoincidentAlerts(tmp_path)
    try:
        night.take("gbm final", "bat")
        assert night.end() == [(10.5, 0.05, "i")]
        night.take("gbm gone")
        assert night.end() == [(10.5, 0.05, "r")]
    finally:
        night.stop()


def test_the_decision_keeps_what_coincides_and_the_chance_of_it(night: CoincidentAlerts) -> None:
    night.take("gbm")
    night.take("bat")
    last = decisions.read(night.rig.journal.reader())[-1]
    (agrees,) = last.looked_at["coincides_with"]
    assert agrees == "fermi:700000001 3 s before, 3.29 deg apart, by chance 9.2e-06"
    (seen,) = events.coinciding(night.rig.journal.reader(), "fermi:700000001")
    assert (seen.name, seen.seconds) == ("swift:1300001", 3.0), "also from the side of what came first"


ONE_BURST = ("bat", "bat gone", "gbm", "gbm final", "gbm gone", "neutrino", "neutrino gone")
ARRIVALS = (
    st.tuples(
        st.lists(st.booleans(), min_size=len(ONE_BURST), max_size=len(ONE_BURST)).map(
            lambda some: set(compress(ONE_BURST, some))
        ),
        st.sets(st.sampled_from(sorted(PACKETS.keys() - set(ONE_BURST))), max_size=3),
    )
    .map(lambda sets: sorted(sets[0] | sets[1]))
    .filter(len)
    .flatmap(st.permutations)
)
"""Each packet of what coincides is there or not with even chances, and some of the others, in any order."""


@settings(max_examples=60, deadline=None)
@given(ARRIVALS, st.lists(st.booleans(), min_size=len(PACKETS), max_size=len(PACKETS)))
@example(["neutrino", "gbm"], [False] * len(PACKETS))
@example(["bat", "gbm final", "bat gone", "gbm gone"], [False] * len(PACKETS))
def test_every_order_of_arrival_has_the_same_end(order: list[str], together: list[bool]) -> None:
    ends, there = [], set(order)
    for names in [order] if sorted(there) == order else [sorted(there), order]:
        with tempfile.TemporaryDirectory() as folder:
            night = CoincidentAlerts(Path(folder))
            try:
                turn: list[str] = []
                for name, more in zip(names, together, strict=False):
                    turn.append(name)
                    if not more:
                        night.take(*turn)
                        turn = []
                if turn:
                    night.take(*turn)
                ends.append(night.end())
            finally:
                night.stop()
    assert all(end == remains(there) for end in ends), ends


def test_what_a_record_keeps_is_enough_for_the_rules() -> None:
    alert = parse(PACKETS["bat"])
    again = identity.alert_of(identity.packet_record(alert))
    for field in ("stream", "id", "event", "time", "sent", "ra", "dec", "error_radius", "measured", "classification"):
        assert getattr(again, field) == getattr(alert, field), field
