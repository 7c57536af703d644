"""Until when something of a request may begin."""

from __future__ import annotations

from typing import Any

import pytest

from pyros.messages import Cadence, Exposures, Observation, Window
from pyros.planning.cadence import is_over

TWICE = Cadence(period=100.0, tolerance=5.0, start=1000.0, count=2)
ENDLESS = Cadence(period=100.0, tolerance=5.0, start=1000.0)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"expires": 1000.0}, 1000.0),
        ({"expires": 1000.0, "requested": 900.0, "repeat": (1500.0, 1200.0)}, 1600.0),
        ({"windows": (Window(10.0, 700.0), Window(0.0, 300.0)), "expires": 1000.0}, 700.0),
        ({"cadence": TWICE}, 1105.0),
        ({"cadence": TWICE, "expires": 1000.0}, 1000.0),
        ({"cadence": ENDLESS, "expires": 5000.0}, 5000.0),
        ({"cadence": ENDLESS, "windows": (Window(0.0, 2000.0),)}, 2000.0),
    ],
)
def test_a_request_is_over_at_the_last_moment(fields: dict[str, Any], end: float) -> None:
    request = Observation(id="a", target="a", ra=0.0, dec=0.0, exposures=(Exposures("r", 1.0),), **fields)
    assert not is_over(request, end - 0.001)
    assert is_over(request, end)


@pytest.mark.parametrize("fields", [{}, {"requested": 5.0, "repeat": (7.0,)}, {"cadence": ENDLESS}])
def test_a_request_without_end_is_never_over(fields: dict[str, Any]) -> None:
    request = Observation(id="a", target="a", ra=0.0, dec=0.0, exposures=(Exposures("r", 1.0),), **fields)
    assert not is_over(request, 1e15)
