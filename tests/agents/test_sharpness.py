from __future__ import annotations

from pyros.agents.sharpness import Sharpness


def taken(*fwhm: float) -> Sharpness:
    sharpness = Sharpness()
    for each in fwhm:
        sharpness.take(each)
    return sharpness


def test_one_image_among_sharp_ones_is_no_reason() -> None:
    assert taken(2.0, 2.0, 2.0, 9.0).why_focus(0.2) == ""


def test_the_median_beside_the_best_one_is() -> None:
    sharpness = taken(3.0, 2.0, 2.1, 2.0, 2.5, 2.6)
    assert sharpness.why_focus(0.2) == 'the stars have become 25% wider: 2.5", from 2.0"'
    assert sharpness.why_focus(0.3) == ""


def test_before_three_images_nothing_is_known() -> None:
    assert taken(2.0, 9.0).why_focus(0.0) == ""
