"""A night as a picture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from pyros.planning import Site, picture
from pyros.planning.night_log import NightLine

SITE = Site("Pic du Midi", 42.9365, 0.1426, 2877.0, horizon=((0.0, 5.0), (180.0, 20.0)))
DUSK = datetime(2026, 3, 1, 18, 20, tzinfo=UTC).timestamp()
DAWN = datetime(2026, 3, 2, 5, 20, tzinfo=UTC).timestamp()


def colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(1 << 24)
    return {colour for _, colour in found or []}  # type: ignore[misc]


def test_what_is_observed_is_drawn_in_its_colour(tmp_path: Path) -> None:
    lines = [
        NightLine(
            night="2026-03-01", observation="a", target="A", ra=100.0, dec=20.0, start=DUSK + 600, end=DUSK + 4000
        ),
        NightLine(night="2026-03-01", observation="b", target="B", ra=200.0, dec=40.0, start=DAWN - 9000, end=DAWN),
        NightLine(night="2026-03-01", observation="c", target="C", ra=200.0, dec=40.0, reason="not planned"),
    ]
    picture.draw_night(tmp_path / "night.png", SITE, lines, DUSK, DAWN, DUSK + 5000)
    there = colours(tmp_path / "night.png")
    drawn = [tuple(bytes.fromhex(colour[1:])) in there for colour in picture.COLOURS[:3]]
    assert drawn == [True, True, False]


def test_a_night_without_a_plan_is_drawn_too(tmp_path: Path) -> None:
    picture.draw_night(tmp_path / "night.png", SITE, [], DUSK, DAWN)
    assert tuple(bytes.fromhex(picture.COLOURS[0][1:])) not in colours(tmp_path / "night.png")


def test_many_targets_are_drawn_only_where_they_are_observed(tmp_path: Path) -> None:
    lines = [
        NightLine(night="2026-03-01", observation=f"o{number}", target=f"T{number}", ra=10.0 * number, dec=60.0,
                  start=DUSK + 1000 * number, end=DUSK + 1000 * number + 900)
        for number in range(36)
    ]  # fmt: skip
    picture.draw_night(tmp_path / "night.png", SITE, lines, DUSK, DAWN)
    with Image.open(tmp_path / "night.png") as image:
        assert image.height > 1200
