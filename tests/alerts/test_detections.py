"""Which of the sources found are news."""

from __future__ import annotations

from msgspec.structs import replace

from pyros.alerts.detections import CHANGE, MAX_MEASURED, Detections, add, take
from pyros.messages import SourceFound

FOUND = SourceFound(
    observation="obs-1", alert="ivo://a/b#1", event="a:1", ra=359.99999, dec=60, magnitude=17.0, magnitude_error=0.05,
    filter="r", time=1.7e9,
)  # fmt: skip


def test_the_first_in_each_filter_and_what_has_changed_is_news() -> None:
    kept = Detections()
    assert add(kept, FOUND, CHANGE)
    assert not add(kept, replace(FOUND, magnitude=17.25), CHANGE)
    assert add(kept, replace(FOUND, filter="i"), CHANGE)
    assert add(kept, replace(FOUND, magnitude=17.35), CHANGE)
    assert not add(kept, replace(FOUND, magnitude=17.1), CHANGE), "it is compared with what was published last"
    assert add(kept, replace(FOUND, magnitude=16.9), CHANGE), "a flare"


def test_slow_fading_is_told_in_the_end() -> None:
    kept = Detections()
    news = [add(kept, replace(FOUND, magnitude=17 + 0.08 * number), CHANGE) for number in range(10)]
    assert [number for number, told in enumerate(news) if told] == [0, 4, 8]


def test_what_may_be_chance_is_no_change() -> None:
    kept = Detections()
    faint = replace(FOUND, magnitude_error=0.2)
    assert add(kept, faint, CHANGE)
    assert not add(kept, replace(faint, magnitude=17.8), CHANGE)
    assert add(kept, replace(faint, magnitude=17.9), CHANGE)


def test_a_source_beside_it_is_another_one() -> None:
    kept = Detections()
    assert add(kept, FOUND, CHANGE)
    assert not add(kept, replace(FOUND, ra=0.00001 + 4 / 3600), CHANGE), "two arcseconds, so near the pole"
    assert add(kept, replace(FOUND, dec=60 + 6 / 3600), CHANGE)


def test_without_a_change_each_is() -> None:
    kept = Detections()
    assert all(add(kept, FOUND, 0.0) for _ in range(3))
    assert take(kept) == [], "all was told"


def test_the_light_curve_is_told_once_in_the_order_of_time_and_is_bounded() -> None:
    kept = Detections()
    for number in range(MAX_MEASURED + 10):
        add(kept, replace(FOUND, time=2e9 - number), CHANGE)
    curve = take(kept)
    assert len(curve) == MAX_MEASURED
    assert [each.time for each in curve] == sorted(each.time for each in curve)
    assert take(kept) == []
    assert not add(kept, FOUND, CHANGE), "what was published is still known"
    assert take(kept) == [FOUND]
