"""Which fields of a map are asked for, where more can be observed than may be."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from astropy.io import fits

from pyros.angles import separation, wrapped
from pyros.areas.visible import up_in_slots
from pyros.areas.work import ChooseJob, choose
from pyros.planning.night_sky import night_of
from pyros.planning.visibility import place_overhead
from pyros.site import Site
from tests.maps import drawn_map

PARANAL = Site("Paranal", -24.63, -70.40, 2635.0)


def two_places(*places: tuple[float, float, float]) -> bytes:
    """Draw a map of several places: right ascension, declination and weight of each."""
    maps = [fits.open(io.BytesIO(drawn_map(ra, dec, width=6.0, distance=60.0))) for ra, dec, _ in places]
    maps[0][1].data["PROBDENSITY"] = sum(
        each[1].data["PROBDENSITY"] * weight for each, (_, _, weight) in zip(maps, places, strict=True)
    )
    stream = io.BytesIO()
    maps[0].writeto(stream)
    for each in maps:
        each.close()
    return stream.getvalue()


@pytest.fixture
def evening(tmp_path: Path) -> tuple[ChooseJob, tuple[float, float], tuple[float, float]]:
    """Make a map of a place that sets soon, and of another, less probable, that is up later."""
    night = night_of(PARANAL, datetime(2026, 3, 20, 12, tzinfo=UTC))
    assert night is not None
    ra, dec = place_overhead(PARANAL, night[0])
    west, east = ((ra - 55.0) % 360, dec), ((ra + 60.0) % 360, dec)
    (tmp_path / "a.skymap").write_bytes(two_places((*west, 0.9), (*east, 0.1)))
    job = ChooseJob(
        path=str(tmp_path / "a.skymap"), site=PARANAL, now=night[0].timestamp(), until=None, min_altitude=30.0,
        width=2.0, height=2.0, overlap=0.0, share=0.99, limit=40, seconds=600.0,
    )  # fmt: skip
    return job, west, east


def test_what_sets_soon_leaves_room_for_what_is_up_later(
    evening: tuple[ChooseJob, tuple[float, float], tuple[float, float]],
) -> None:
    job, west, east = evening
    targets = choose(job).targets
    assert len(targets) == job.limit
    late = [each for each in targets if abs(wrapped(each.ra - east[0])) < 30]
    early = [each for each in targets if abs(wrapped(each.ra - west[0])) < 30]
    assert len(late) >= 15
    assert len(early) >= 5
    most = max(targets, key=lambda each: each.probability)
    assert targets[0] == most
    assert separation(most.ra, most.dec, *west) < 15


def test_galaxies_that_set_soon_leave_room_for_later_ones(
    evening: tuple[ChooseJob, tuple[float, float], tuple[float, float]], tmp_path: Path
) -> None:
    job, west, east = evening
    lines = ["name,ra,dec,distance"]
    for name, (ra, dec) in (("west", west), ("east", east)):
        lines += [f"{name} {row} {column},{ra + 3 * column},{dec + 3 * row},60"
                  for row in range(-3, 4) for column in range(-3, 4)]  # fmt: skip
    (tmp_path / "galaxies.csv").write_text("\n".join(lines) + "\n")
    choice = choose(msgspec.structs.replace(job, galaxies=str(tmp_path / "galaxies.csv"), limit=30))
    assert choice.kind == "galaxies"
    assert len(choice.targets) == 30
    assert sum(each.name.startswith("east") for each in choice.targets) >= 10
    assert choice.targets[0].name.startswith("west")


def test_a_slot_is_up_from_its_beginning_to_its_end() -> None:
    night = night_of(PARANAL, datetime(2026, 3, 20, 12, tzinfo=UTC))
    assert night is not None
    begin, end = (each.timestamp() for each in night)
    up = up_in_slots(PARANAL, begin, 30.0, float("inf"), 600.0, [place_overhead(PARANAL, night[0]), (0.0, 89.0)])
    assert up.shape[1] == int(np.ceil((end - begin) / 600.0))
    assert up[0, 0]
    assert not up[0, -1]
    assert not up[1].any()
    assert up_in_slots(PARANAL, end - 10, 30.0, float("inf"), 600.0, [(0.0, 0.0)]).shape == (1, 0)
