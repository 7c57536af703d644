"""When a request can be made next, and how soon that is known of what never can."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyros.messages import Exposures, Observation
from pyros.planning import next_up as module
from pyros.planning.next_up import next_up
from pyros.site import Site
from tests.views.written import SITE

NOW = 1_795_994_754.0  # 2026-11-29 23:25 UTC
REQUEST = Observation(id="x", target="x", ra=10.0, dec=41.0, exposures=(Exposures("r", 60.0, 3),))


@pytest.mark.parametrize(("dec", "nights"), [(-80.0, 1), (-47.5, 1), (-36.0, 132)])
def test_what_never_rises_high_enough_is_told_by_its_first_night(
    dec: float, nights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 43.93 degrees north -47.5 comes to -1.4 degrees, -36 to 10.07: that one has to be looked for in all nights."""
    looked: list[Any] = []

    def low(*given: Any) -> str:
        looked.append(given)
        return "it is too low"

    monkeypatch.setattr(module, "_first_in_night", low)
    site = Site.load(SITE)
    found = next_up(msgspec.structs.replace(REQUEST, dec=dec), site, NOW)
    assert (found.begin, found.reason, len(looked)) == (None, "it is too low", nights)


def test_what_is_up_is_told_at_once() -> None:
    found = next_up(REQUEST, Site.load(SITE), NOW)
    assert found.begin == NOW
    assert found.altitude == pytest.approx(49.7, abs=0.1)
