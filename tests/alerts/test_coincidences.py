"""Coincidences: right by a second way of counting over many alerts, with as many false ones as chance makes."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.alerts import coincidences, identity
from pyros.alerts.coincidences import MISSIONS, PAIRS, SECONDS_PER_YEAR, Occurrence
from pyros.alerts.events import SCHEMA, EventTable, Followed, StoredEvent
from pyros.alerts.identity import Event, PacketRecord
from pyros.alerts.map_places import MapPlace
from pyros.angles import separations
from pyros.journal import Effects, MemoryJournals

RADII = {"fermi": 4.0, "icecube": 0.8, "swift": 0.05, "lvc": None, "chime": 0.3, "gecam": 3.0, "einstein_probe": 0.05}
BUSY = 100.0
"""So many times the real rates, that chance makes enough."""


def record(number: int, mission: str, time: float, ra: float, dec: float, radius: float | None) -> PacketRecord:
    placed = radius is not None
    return PacketRecord(
        id=f"{mission}-{number}", key=f"{mission}:{number}", sent=time + 30, time=time, ra=ra if placed else None,
        dec=dec if placed else None, error_radius=radius, containment=0.9 if placed else None,
    )  # fmt: skip


def made(chance: random.Random, count: int) -> tuple[list[PacketRecord], set[tuple[str, str]]]:
    """Alerts at random in time and place, and pairs of one burst among them: Fermi's and Swift's."""
    rates = {mission: MISSIONS[mission].rate for mission in RADII}
    years = count / sum(rates.values()) / BUSY
    records: list[PacketRecord] = []
    for mission, radius in RADII.items():
        for _ in range(round(rates[mission] * BUSY * years)):
            ra, dec = chance.uniform(0, 360), math.degrees(math.asin(chance.uniform(-1, 1)))
            time = chance.uniform(0, years * SECONDS_PER_YEAR)
            records.append(record(len(records), mission, time, ra, dec, radius))
    real: set[tuple[str, str]] = set()
    for each in [each for each in records if each.key.startswith("fermi")][:100]:
        assert each.ra is not None
        assert each.dec is not None
        assert each.time is not None
        dec = max(-89.0, min(89.0, each.dec + chance.gauss(0, 1.0)))
        other = record(len(records), "swift", each.time + chance.uniform(-20, 20), each.ra, dec, 0.05)
        records.append(other)
        real.add((each.key, other.key))
    chance.shuffle(records)
    return records, real


def found_by_table(records: list[PacketRecord]) -> set[tuple[str, str]]:
    """As the alert manager looks: each packet when it comes, among those that came before."""
    journal = MemoryJournals().open(Path("x"), schema=SCHEMA)
    effects = Effects()
    table = EventTable(journal.rows, lambda: effects.also)
    found: set[tuple[str, str]] = set()
    for number, each in enumerate(records):
        stored = StoredEvent(0, each.key, Followed(Event((each,))))
        found |= {tuple(sorted((each.key, agrees.name))) for _, agrees in table.coincident(stored)}  # type: ignore[misc]
        effects.also.append(table.change(stored, (each,)))
        if number % 64 == 0:
            journal.commit(effects)
            effects = Effects()
    return found


def found_by_numpy(records: list[PacketRecord]) -> set[tuple[str, str]]:
    """All pairs at once, from the tables alone."""
    found: set[tuple[str, str]] = set()
    by_mission = {mission: [each for each in records if each.key.startswith(f"{mission}:")] for mission in RADII}
    for first, ones in by_mission.items():
        for second, others in by_mission.items():
            times = PAIRS.get((MISSIONS[first].kind, MISSIONS[second].kind))
            if first == second or times is None:
                continue
            when = np.array([each.time for each in others])
            for one in ones:
                assert one.time is not None
                near = np.flatnonzero((when - one.time >= times[0]) & (when - one.time <= times[1]))
                some = [others[index] for index in near]
                if RADII[first] is not None and RADII[second] is not None and some:
                    sizes = [RADII[first], RADII[second], MISSIONS[first].systematic, MISSIONS[second].systematic]
                    limit = max(1 / 60, math.sqrt(2 * sum((size or 0) ** 2 for size in sizes)))
                    ra, dec = (np.array([getattr(each, axis) for each in some]) for axis in ("ra", "dec"))
                    apart = separations(ra, dec, one.ra or 0.0, one.dec or 0.0)
                    some = [each for each, degrees in zip(some, apart, strict=True) if degrees <= limit]
                found |= {tuple(sorted((one.key, each.key))) for each in some}  # type: ignore[misc]
    return found


@pytest.mark.timeout(300)
def test_coincidences_of_many_alerts_are_those_of_a_second_count_and_of_chance() -> None:
    records, real = made(random.Random(20260506), 10_000)
    assert len(records) >= 10_000
    found = found_by_table(records)
    assert found == found_by_numpy(records)
    real = {tuple(sorted(pair)) for pair in real}  # type: ignore[misc]
    assert len(real - found) <= 2, "the gaussian's tail beyond 99 % may be missed"
    false = found - real
    moments = {each.key: coincidences.moment_of(Event((each,))) for each in records}
    expected = 0.0  # each event's chance to meet one of another mission by chance, at the rates of this sky
    for one in moments.values():
        assert one is not None
        for mission, radius in RADII.items():
            if mission > one.mission and coincidences.window(one.mission, mission) is not None:
                other = Occurrence(mission, 0.0) if radius is None else Occurrence(mission, 0.0, 0.0, 0.0, radius)
                expected += -math.log1p(-coincidences.chance(one, other)) * BUSY
    assert expected > 100
    assert abs(len(false) - expected) < 5 * math.sqrt(expected), (len(false), expected)


PLACES = st.builds(
    MapPlace,
    st.lists(st.tuples(st.floats(0, 359.9), st.floats(-90, 90), st.floats(0, 0.99)), min_size=1, max_size=5).map(tuple),
    st.floats(0.1, 60), st.floats(0.1, 30_000),
)  # fmt: skip
KINDS, TIMES = st.sampled_from(sorted(MISSIONS)), st.floats(0, 2000)
MOMENTS = st.one_of(
    st.builds(
        Occurrence, KINDS, TIMES, st.floats(0, 359.9), st.floats(-90, 90), st.one_of(st.none(), st.floats(0.001, 20))
    ),
    st.builds(Occurrence, KINDS, TIMES, place=st.one_of(st.none(), PLACES)),
)


@given(MOMENTS, MOMENTS)
def test_a_coincidence_is_seen_from_both_sides(one: Occurrence, other: Occurrence) -> None:
    there, back = coincidences.coincide(one, other, "b"), coincidences.coincide(other, one, "a")
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert there.seconds == -back.seconds
        assert (there.separation is None) == (back.separation is None)
        assert there.share == back.share
        assert 0 < there.chance <= 1
        assert str(there).startswith("b ")


def test_the_chance_of_a_burst_in_a_neutrinos_window_is_what_one_computes_by_hand() -> None:
    neutrino = Occurrence("icecube", 0.0, 10.0, 20.0, 0.8)
    burst = Occurrence("swift", 100.0, 10.5, 20.0, 0.05)
    found = coincidences.coincide(neutrino, burst, "swift:1")
    assert found is not None
    limit = math.radians(math.sqrt(2) * math.hypot(0.8, 0.05))
    by_hand = 92 / SECONDS_PER_YEAR * 1000 * math.pi * limit**2 / (4 * math.pi)
    assert found.chance == pytest.approx(by_hand, rel=1e-3)
    assert str(found).startswith("swift:1 100 s after, 0.47 deg apart, by chance 2.9e-07")


@pytest.mark.parametrize(
    "changes",
    [{"role": "test"}, {"time": None}, {"key": "ztf:1"}, {"key": "lvc:S1a/counterpart:1"}, {"kind": "retraction"}],
)
def test_what_has_no_moment_coincides_with_nothing(changes: dict[str, object]) -> None:
    fields = {"id": "a", "key": "swift:1", "time": 10.0, "ra": 1.0, "dec": 2.0, **changes}
    assert coincidences.moment_of(Event((PacketRecord(**fields),))) is None  # type: ignore[arg-type]


def test_a_retracted_event_keeps_its_moment() -> None:
    said = PacketRecord(id="a", key="swift:1", time=10.0, sent=11.0, ra=1.0, dec=2.0, error_radius=0.1)
    taken_back = PacketRecord(id="b", key="swift:1", kind="retraction", sent=12.0)
    both = identity.join(Event((said,)), Event((taken_back,)))
    assert coincidences.moment_of(both) == coincidences.moment_of(Event((said,)))
