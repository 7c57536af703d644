"""The level of an image, and the sets that images make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.calibration import frames
from pyros.calibration.frames import CalibrationFrame
from pyros.calibration.levels import measure_level
from pyros.messages import CalibrationOrder


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=60))
def test_the_level_is_the_exact_median(values: list[int]) -> None:
    level = measure_level("image", np.array(values, np.uint16).data.cast("B"))
    assert level.median == np.median(values)
    assert level.saturated == values.count(65535) / len(values)


def test_an_image_without_pixels_has_no_level() -> None:
    with pytest.raises(ValueError, match="dark-1: has no pixels"):
        measure_level("dark-1", memoryview(b""))


def test_darks_come_at_each_time_the_shortest_first() -> None:
    order = CalibrationOrder(id="d", kind="dark", seconds=(60.0, 20.0, 60.0), count=2)
    assert [shot.seconds for shot in frames.shots(order)] == [20.0, 20.0, 60.0, 60.0]


def test_images_of_a_time_and_a_filter_make_a_set() -> None:
    taken = [
        CalibrationFrame("DARK", "", 20.0, "a", 1000.0, -20.0),
        CalibrationFrame("DARK", "", 60.0, "b", None, None),
        CalibrationFrame("DARK", "", 20.0, "c", 1002.0, -19.0),
        CalibrationFrame("FLAT", "r", 2.0, "d", 20000.0),
        CalibrationFrame("FLAT", "r", 3.0, "e", 22000.0),
    ]
    short, long, flat = frames.sets(taken)
    assert (short.images, short.level, short.temperature) == (("a", "c"), 1001.0, -19.5)
    assert (long.images, long.level, long.temperature) == (("b",), None, None)
    assert (flat.filter, flat.seconds, flat.images, flat.level) == ("r", 3.0, ("d", "e"), 21000.0)
