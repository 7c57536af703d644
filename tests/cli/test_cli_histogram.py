"""The histogram of pyros rules try, at its extremes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pyros.cli.alerts.histogram import draw


@pytest.mark.parametrize(
    ("counts", "widest"),
    [
        ({}, 420),
        ({"one": {"2026-03": 1}}, 420),
        ({"one": {"1990-01": 1, "2026-12": 100_000}}, 1700),
    ],
)
def test_it_fits_a_screen_however_long_the_past(tmp_path: Path, counts: dict[str, dict[str, int]], widest: int) -> None:
    draw(tmp_path / "a.png", "Events", counts)
    with Image.open(tmp_path / "a.png") as image:
        assert 420 <= image.width <= widest
